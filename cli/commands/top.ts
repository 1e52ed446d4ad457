import { setTimeout as sleep } from 'node:timers/promises';
import { usageError } from '../errors.js';
import {
  type CommonOptions,
  commonOptions,
  duration,
  optionalDatabaseOption,
  optionsOf,
} from '../options.js';
import type { Screen, Session } from '../output.js';
import type { Define } from '../program.js';
import { Feed } from '../top/feed.js';
import { live } from '../top/live.js';
import { START } from '../top/state.js';
import { snapshot } from '../top/view.js';

interface TopOptions extends CommonOptions {
  readonly db?: string;
  readonly interval?: number;
  readonly once?: true;
}

const DEFAULT_INTERVAL_MS = 1_000;
const SHORTEST_MS = 100;
const DEFAULT_WAIT_MS = 5_000;

export const define: Define = (command) => {
  commonOptions(
    optionalDatabaseOption(command, 'only this database'),
    'how long to wait for each answer of the daemon (default: 5s)',
  )
    .description('Shows what the daemon and its databases do now, on the whole screen. Starts no daemon.')
    .option('--interval <TIME>', 'between two looks (default: 1s)', duration)
    .option('--once', 'look once, for one interval, and print that')
    .addHelpText(
      'after',
      `
On the screen: < > choose the column to sort by, r turns the order round, p pauses, ? explains everything, q quits.
Where stdout is no terminal it prints the figures of one interval and ends. With --json it prints a line of JSON for each
interval until it is ended, or one with --once.

Examples:
  skylinedb-cli top
  skylinedb-cli top --once
  skylinedb-cli top --json | jq --unbuffered .batches`,
    );
  return () => {
    const options = optionsOf<TopOptions>(command);
    const { interval = DEFAULT_INTERVAL_MS } = options;
    if (interval < SHORTEST_MS) throw usageError(`--interval takes ${SHORTEST_MS}ms at least.`);
    return Promise.resolve<Session>({ run: (screen, json) => top(options, interval, screen, json) });
  };
};

async function top(options: TopOptions, intervalMs: number, screen: Screen, json: boolean): Promise<number> {
  const { connect } = await import('../../client/client.js');
  const socket = options.socket === undefined ? {} : { socket: options.socket };
  const client = await connect({ ...socket, autoStart: false, name: 'skylinedb-cli top' });
  try {
    const feed = new Feed(client, options.db, options.timeout ?? DEFAULT_WAIT_MS);
    if (json) return await lines(feed, intervalMs, options.once === true, screen);
    if (screen.out.isTerminal && options.once !== true) return await live(feed, intervalMs, screen);
    await feed.look();
    await sleep(intervalMs);
    const { sample, message } = await feed.look();
    for (const line of snapshot({ ...START, sample, message }, screen.out.colors))
      await screen.out.line(line);
    return 0;
  } finally {
    client.close();
  }
}

/** A line of JSON for each interval. While no daemon runs there are none. */
async function lines(feed: Feed, intervalMs: number, once: boolean, { out }: Screen): Promise<number> {
  await feed.look();
  for (;;) {
    await sleep(intervalMs);
    const { sample } = await feed.look();
    if (sample !== null && sample.batches !== null) {
      await out.line(JSON.stringify(sample));
      if (once) return 0;
    }
    if (out.gone) return 0;
  }
}
