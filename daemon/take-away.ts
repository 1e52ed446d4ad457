import { setTimeout as sleep } from 'node:timers/promises';
import { SkylineError } from '../protocol/errors.js';
import type { DropDatabaseRequest, RenameDatabaseRequest } from '../protocol/messages.js';
import type { RoutedDatabase } from './database.js';
import type { Asker } from './database-requests.js';
import { inUse, isOpenElsewhere, usersOf } from './database-users.js';
import { DEFAULT_MAINTENANCE_MS, type Maintenance } from './maintenance.js';
import type { Position } from './worker/link.js';

/**
 * Has a database closed by everybody, and calls back. With `force` whatever can be ended of those who use it is ended.
 * @param work told where the database stands
 * @throws SkylineError `DATABASE_IN_USE` that says who uses it; `DATABASE_CLOSED`, `DATABASE_PREPARING`, `TIMEOUT`
 */
export async function takeAway(
  database: RoutedDatabase,
  maintenance: Maintenance,
  name: string,
  request: DropDatabaseRequest | RenameDatabaseRequest,
  asker: Asker,
  work: (position: Position) => Promise<void>,
): Promise<void> {
  const { type: operation, force = false, timeout_ms: timeoutMs = DEFAULT_MAINTENANCE_MS } = request;
  // What the asker itself has sent before is no other's use.
  if (asker.busy && database.depth > 0)
    await Promise.race([
      database.order({ op: 'position' }, asker.lane),
      sleep(timeoutMs, undefined, { ref: false }),
    ]);
  const users = await usersOf(database, asker.said);
  if (users.reasons.length > 0 && !force) throw inUse(name, users);
  const attempt = (ms: number) =>
    maintenance.away(database, operation, ms, async (position) => {
      if (isOpenElsewhere(database.path) && !force) throw inUse(name, await usersOf(database, asker.said));
      await work(position);
    });
  const end = () => endWork(database, `${operation} of ${name}`);
  try {
    await (force ? insisting(attempt, timeoutMs, end) : attempt(timeoutMs));
  } catch (error) {
    if (!(error instanceof SkylineError) || error.code !== 'CHECKPOINT_BUSY') throw error;
    throw inUse(name, await usersOf(database, asker.said));
  }
}

/** A batch that runs for long is not waited for any longer: its worker is ended, and what waits is told so. */
function endWork(database: RoutedDatabase, why: string): void {
  database.endBatches(new SkylineError('DATABASE_NOT_FOUND', `The batch was ended by a forced ${why}.`));
}

/** Once more, with what stood in the way ended. */
async function insisting(
  attempt: (ms: number) => Promise<void>,
  timeoutMs: number,
  end: () => void,
): Promise<void> {
  try {
    await attempt(timeoutMs);
  } catch (error) {
    if (!(error instanceof SkylineError) || error.code !== 'TIMEOUT') throw error;
    end();
    // What is waited for now is a new worker, and nobody's work.
    await attempt(Math.max(timeoutMs, DEFAULT_MAINTENANCE_MS));
  }
}
