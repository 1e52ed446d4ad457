import { existsSync } from 'node:fs';
import { SkylineError } from '../protocol/errors.js';
import type { ClientInfo, LockHolder } from '../protocol/messages.js';
import type { RoutedDatabase } from './database.js';
import { type Figures, figuresOf } from './figures.js';
import type { Said } from './status.js';
import { describeHolders, walConnections } from './worker/lock-holders.js';

/** Who uses a database, for whoever wants to take its file away. */
export interface Users {
  /** For people: `2 batches wait or run`, `pid 812 (node report.mjs) has the file open`. */
  readonly reasons: readonly string[];
  /** Processes that have the file open themselves. Nobody but they can end that. */
  readonly holders: readonly LockHolder[];
  /** Its worker has something to do. */
  readonly working: boolean;
}

/** Each takes a quarter of a second where the worker does not answer. */
const MORE_LOOKS = 7;

/** Looks who uses the database now. */
export async function usersOf(database: RoutedDatabase, said: Said = () => undefined): Promise<Users> {
  const reasons: string[] = [];
  const { queueDepth, stale, stats } = await heard(database);
  // A worker that does not answer is in the middle of a long statement, perhaps of a client that is attached to it.
  const depth = Math.max(queueDepth, stale && database.worker?.state === 'serving' ? 1 : 0);
  if (depth > 0) reasons.push(depth === 1 ? 'a batch waits or runs' : `${depth} batches wait or run`);
  for (const { lane, client, since_ms: ms } of stats?.transactions ?? [])
    reasons.push(`a transaction${ofClient(client ?? said(lane))} is open since ${ms} ms`);
  const working = reasons.length > 0;
  const { subscriptions } = database;
  if (subscriptions > 0)
    reasons.push(subscriptions === 1 ? 'a client watches it' : `${subscriptions} subscriptions watch it`);
  const holders = walConnections(database.path).filter(({ pid }) => pid !== database.worker?.pid);
  if (holders.length > 0) reasons.push(`${describeHolders(holders)} has the file open`);
  return { reasons, holders, working };
}

/** A worker that was only slow to answer has nothing to do: it is given time. */
async function heard(database: RoutedDatabase): Promise<Figures> {
  let figures = await figuresOf(database);
  for (let more = MORE_LOOKS; more > 0 && figures.stale && database.depth === 0; more -= 1)
    figures = await figuresOf(database);
  return figures;
}

function ofClient(client: ClientInfo | undefined): string {
  if (client === undefined) return '';
  const { name = 'a program', pid } = client;
  return ` of ${name}${pid === undefined ? '' : ` (pid ${pid})`}`;
}

/** After our own worker has closed a database, its `-shm` is gone unless somebody else has it open: every system tells that. */
export function isOpenElsewhere(path: string): boolean {
  return existsSync(`${path}-shm`);
}

/** The refusal that says who. */
export function inUse(name: string, { reasons, holders }: Users): SkylineError {
  const who =
    reasons.length === 0
      ? 'another program has its file open; this system does not tell which'
      : reasons.join('; ');
  return new SkylineError(
    'DATABASE_IN_USE',
    `The database ${name} is in use: ${who}. End that and try again, or say "force": true (--force), which ends what can be ended.`,
    holders.length === 0 ? {} : { details: { holders } },
  );
}
