import { setTimeout as sleep } from 'node:timers/promises';
import { SkylineError } from '../../protocol/errors.js';
import { walBytes } from './checkpoint.js';
import { describeHolders, walUsers } from './lock-holders.js';
import type { ServedDatabase } from './served-database.js';

/** Milliseconds between two looks at whether the readers have left. */
const READERS_POLL_MS = 20;

/**
 * Brings the whole WAL into the main file and empties it, waiting for readers to leave.
 * @throws SkylineError `CHECKPOINT_BUSY` naming the readers; `DATABASE_NOT_FOUND`
 */
export async function emptyWal(database: ServedDatabase, timeoutMs: number): Promise<void> {
  const { path } = await database.file();
  const until = performance.now() + timeoutMs;
  for (;;) {
    const { busy, log, checkpointed } = await database.checkpoint('truncate');
    // The row and the file must both say so: with a reader in the way SQLite reports no error.
    if (!busy && log === checkpointed && walBytes(path) === 0) return;
    if (performance.now() >= until) throw readersInTheWay(path, timeoutMs);
    await sleep(Math.min(READERS_POLL_MS, timeoutMs));
  }
}

function readersInTheWay(path: string, timeoutMs: number): SkylineError {
  const holders = walUsers(path);
  return new SkylineError(
    'CHECKPOINT_BUSY',
    `${path}: a reader or writer kept the WAL from being emptied for ${timeoutMs} ms (${describeHolders(holders)}). End its transaction or allow more time; the database is open again.`,
    { details: { holders } },
  );
}
