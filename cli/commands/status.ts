import type { DatabaseStatus, StatusReply } from '../../protocol/messages.js';
import { bytes, micros, span } from '../format.js';
import { type CommonOptions, commonOptions, optionalDatabaseOption, optionsOf } from '../options.js';
import { details, done, type Output, replyReport, visible } from '../output.js';
import type { Define } from '../program.js';
import { withClient } from '../session.js';

interface StatusOptions extends CommonOptions {
  readonly db?: string;
}

const DEFAULT_WAIT_MS = 10_000;

export const define: Define = (command) => {
  commonOptions(
    optionalDatabaseOption(command, 'only this database'),
    'how long to wait for the answer (default: 10s)',
  )
    .description('Prints figures of the daemon and of each database that it knows. Starts no daemon.')
    .addHelpText(
      'after',
      `
p50 and p99: half, and 99 of 100 batches were answered within this time. A * marks figures of a worker that was too busy to
answer: they are the last known ones.

Examples:
  skylinedb-cli status
  skylinedb-cli status --db stars.db --json | jq '.databases[0].rev'`,
    );
  return async () => {
    const options = optionsOf<StatusOptions>(command);
    const { db, timeout: waitMs = DEFAULT_WAIT_MS } = options;
    const reply = await withClient(options, { start: false, waitMs }, (client) => client.status(db));
    return replyReport(reply, async ({ out }) => {
      await out.line(done(out, 'Daemon is running'));
      await out.write(overview(out, reply));
      await out.line(
        reply.databases.length === 0 ? '  No database has been used yet.' : await table(out, reply.databases),
      );
      for (const line of reply.databases.flatMap((one) => [
        ...openTransactions(one),
        ...blockedWal(one),
        ...warnings(one),
      ]))
        await out.line(line);
    });
  };
};

function warnings({ db_path: path, warnings: list = [] }: DatabaseStatus): string[] {
  return list.map(({ message }) => `  ${visible(path)}: ${visible(message)}`);
}

/** Whose transactions others may be waiting for. */
function openTransactions({
  db_path: path,
  transactions = [],
  queue_depth: depth,
}: DatabaseStatus): string[] {
  return transactions.map(({ read, since_ms: since, idle_ms: idle, client }) => {
    const pid = client?.pid === undefined ? '' : ` (pid ${client.pid})`;
    const who = `${visible(client?.name ?? 'a client that has not said who it is')}${pid}`;
    const effect = read ? 'reads' : `writes, and ${depth} wait for it`;
    return `  A transaction of ${who} on ${visible(path)} ${effect}: open for ${span(since)}, last used ${span(idle)} ago.`;
  });
}

/** Who keeps a database's WAL beyond its limit. */
function blockedWal({ db_path: path, wal_bytes: size, wal }: DatabaseStatus): string[] {
  if (wal === undefined || wal.blocked === null) return [];
  const { holders, since_ms: ms } = wal.blocked;
  const names = holders.map(({ pid, command }) =>
    command === undefined ? `pid ${pid}` : `pid ${pid} (${visible(command)})`,
  );
  const who = names.length === 0 ? 'this system does not tell which process' : names.join(', ');
  return [
    `  The WAL of ${visible(path)} has ${bytes(size)}, its limit is ${bytes(wal.limit)}: for ${span(ms)} a reader or writer has kept it from being emptied: ${who}.`,
  ];
}

function overview(out: Output, reply: StatusReply): string {
  return details(out, [
    ['version', reply.version],
    ['pid', String(reply.pid)],
    ['uptime', span(reply.uptime_ms)],
    ['endpoint', reply.endpoint],
    ['data', reply.data_dir],
    ['state', reply.state_dir],
    ['connections', String(reply.connections)],
    ['workers', String(reply.workers)],
    ['requests', String(reply.requests)],
  ]);
}

const COLUMNS: readonly (readonly [
  head: string,
  cell: (database: DatabaseStatus) => string,
  right: boolean,
])[] = [
  [
    'database',
    ({ name, db_path: path }) => (name === undefined ? visible(path) : `${name} (${visible(path)})`),
    false,
  ],
  ['state', ({ state, stale }) => (stale ? `${state} *` : state), false],
  ['rev', ({ rev }) => String(rev), true],
  ['epoch', ({ epoch }) => String(epoch), true],
  ['worker', ({ worker_pid: pid }) => (pid === null ? '-' : String(pid)), true],
  ['queue', ({ queue_depth: depth }) => String(depth), true],
  ['WAL', ({ wal_bytes: size }) => bytes(size), true],
  ['batches', ({ counters }) => String(counters.batches), true],
  ['failed', ({ counters }) => String(counters.failed), true],
  ['p50', ({ latency_us: latency }) => (latency === null ? '-' : micros(latency.p50)), true],
  ['p99', ({ latency_us: latency }) => (latency === null ? '-' : micros(latency.p99)), true],
];

async function table(out: Output, databases: readonly DatabaseStatus[]): Promise<string> {
  const { default: Table } = await import('cli-table3');
  const drawn = new Table({
    head: COLUMNS.map(([head]) => out.colors.bold(head)),
    colAligns: COLUMNS.map(([, , right]) => (right ? 'right' : 'left')),
    style: { head: [], border: [], compact: true },
  });
  drawn.push(...databases.map((database) => COLUMNS.map(([, cell]) => cell(database))));
  return drawn.toString();
}
