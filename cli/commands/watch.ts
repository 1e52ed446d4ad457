import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../../client/client.js';
import type { Change, WalChange, Watch } from '../../client/watch.js';
import { SkylineError } from '../../protocol/errors.js';
import type { Since } from '../../protocol/messages.js';
import { usageError } from '../errors.js';
import { bytes, span } from '../format.js';
import { collect, commonOptions, type DatabaseOptions, databaseOption, optionsOf } from '../options.js';
import { type Screen, type Session, visible } from '../output.js';
import type { Define } from '../program.js';

interface WatchOptions extends DatabaseOptions {
  readonly table?: readonly string[];
  readonly since?: string;
}

const DEFAULT_WAIT_MS = 10_000;

export const define: Define = (command) => {
  commonOptions(databaseOption(command), "how long to wait for the daemon's first answer (default: 10s)")
    .description(
      'Prints every change of a database when it is committed, whoever makes it. Starts no daemon.',
    )
    .option('--table <NAME>', 'only changes of this table (repeatable)', collect)
    .option('--since <EPOCH:REV>', 'begin with what came after this; default: now')
    .addHelpText(
      'after',
      `
It goes on until it is ended (Ctrl-C) or its reader leaves. When the daemon ends it says so, waits for the next one, and
goes on from where it was. With --json each change is one line of JSON: {"event":"change","epoch":1,"rev":42,"tables":["stars"]}.
Without "tables" any may have changed; "reset" says that what came before is not known any more.

Examples:
  skylinedb-cli watch --db stars.db
  skylinedb-cli watch --db stars.db --table stars --since 1:40
  skylinedb-cli watch --db stars.db --json | while read -r change; do make report; done`,
    );
  return () => {
    const options = optionsOf<WatchOptions>(command);
    const since = options.since === undefined ? undefined : readSince(options.since);
    return Promise.resolve<Session>({ run: (screen, json) => run(options, since, screen, json) });
  };
};

function readSince(text: string): Since {
  const match = /^(\d+):(\d+)$/.exec(text);
  const [epoch, rev] = [Number(match?.[1]), Number(match?.[2])];
  if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(rev))
    throw usageError(`--since takes an epoch and a rev, such as 1:40, but got "${text}".`);
  return { epoch, rev };
}

async function run(
  options: WatchOptions,
  since: Since | undefined,
  screen: Screen,
  json: boolean,
): Promise<number> {
  const { connect } = await import('../../client/client.js');
  const socket = options.socket === undefined ? {} : { socket: options.socket };
  const client = await connect({ ...socket, autoStart: false, name: 'skylinedb-cli watch' });
  const control = new AbortController();
  const end = () => control.abort();
  process.once('SIGINT', end).once('SIGTERM', end);
  try {
    const watch = begin(client, options, since, control.signal, screen, json);
    await ready(watch, options.timeout ?? DEFAULT_WAIT_MS);
    if (!json) await screen.err.line(`Watching ${visible(options.db)}. Ctrl-C ends it.`);
    for await (const change of watch) {
      await screen.out.line(
        json ? JSON.stringify({ event: eventOf(change), ...plain(change) }) : lineOf(change),
      );
      if (screen.out.gone) break;
    }
    return 0;
  } finally {
    process.off('SIGINT', end).off('SIGTERM', end);
    client.close();
  }
}

function begin(
  client: Client,
  { db, table }: WatchOptions,
  since: Since | undefined,
  signal: AbortSignal,
  { out, err }: Screen,
  json: boolean,
): Watch {
  return client.database(db).watch({
    since,
    signal,
    ...(table === undefined ? {} : { tables: table }),
    onWal: (wal) => void (json ? out.line(walJson(wal)) : err.line(walLine(wal))),
    onConnection: (connected) =>
      void (json
        ? out.line(JSON.stringify({ event: connected ? 'connected' : 'disconnected' }))
        : err.line(
            connected
              ? 'The daemon is there again.'
              : 'The daemon has ended. Waiting for the next one, which the next write starts.',
          )),
  });
}

/** @throws SkylineError `TIMEOUT`, and why it cannot be watched */
async function ready(watch: Watch, waitMs: number): Promise<void> {
  const control = new AbortController();
  const late = sleep(waitMs, true, { signal: control.signal }).catch(() => false);
  const isLate = await Promise.race([watch.ready.then(() => false), late]);
  control.abort();
  if (!isLate) return;
  await watch.return();
  throw new SkylineError(
    'TIMEOUT',
    `The daemon did not answer within ${waitMs} ms. Allow more with --timeout.`,
    { outcome: 'not_applied' },
  );
}

function eventOf({ reset }: Change): string {
  return reset === true ? 'reset' : 'change';
}

function plain({ reset: _reset, ...fields }: Change): object {
  return fields;
}

function lineOf({ epoch, rev, tables, foreign, reset }: Change): string {
  const place = `${epoch}:${rev}`;
  if (reset === true) return `${place}  what came before is not known any more`;
  if (foreign === true) return `${place}  another program has written past the daemon`;
  if (tables === undefined) return `${place}  (tables not known)`;
  return `${place}  ${tables.length === 0 ? '(no table)' : tables.map(visible).join(', ')}`;
}

function walJson(wal: WalChange): string {
  const { blocked, walBytes: wal_bytes, limit } = wal;
  const more = blocked ? { holders: wal.holders } : { lasted_ms: wal.lastedMs };
  return JSON.stringify({ event: 'wal', blocked, wal_bytes, limit, ...more });
}

function walLine(wal: WalChange): string {
  if (!wal.blocked)
    return `The WAL is within its limit again, after ${span(wal.lastedMs)}; it had ${bytes(wal.walBytes)}.`;
  const names = wal.holders.map(
    ({ pid, command }) => `pid ${pid}${command === undefined ? '' : ` (${visible(command)})`}`,
  );
  const who = names.length === 0 ? 'this system does not tell which process' : names.join(', ');
  return `The WAL has ${bytes(wal.walBytes)}, its limit is ${bytes(wal.limit)}: a reader or writer keeps it from being emptied: ${who}.`;
}
