import { setTimeout as sleep } from 'node:timers/promises';
import { SkylineError } from '../../protocol/errors.js';
import { monotonicMs } from './link.js';
import { describeHolders, writers } from './lock-holders.js';
import { fromSqlite } from './sqlite-errors.js';

/** SQLite's own steps for waiting on a lock, in milliseconds (sqliteDefaultBusyCallback in main.c). */
const STEPS = [1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100];

/** How long to wait for another program's lock. */
export interface Patience {
  readonly busyTimeoutMs: number;
  /** On the machine's monotonic clock; 0 for none. */
  readonly deadline: number;
}

/**
 * Tries again while another program holds a lock. SQLite's busy timeout would sleep on this thread; between these steps
 * the worker can still hear its router.
 * @param attempt leaves nothing behind when it fails
 * @throws SkylineError `BUSY` naming the holder, `TIMEOUT` at the deadline, or what the attempt threw
 */
export async function untilFree<T>(path: string, patience: Patience, attempt: () => T): Promise<T> {
  const start = monotonicMs();
  for (let round = 0; ; round += 1) {
    try {
      return attempt();
    } catch (error) {
      const failure = fromSqlite(error, path);
      if (failure.code !== 'BUSY' || failure.outcome !== 'not_applied') throw failure;
      const now = monotonicMs();
      if (patience.deadline > 0 && now >= patience.deadline) throw notBegun();
      if (now - start >= patience.busyTimeoutMs) throw stillBusy(path, now - start, failure);
      const step = STEPS[Math.min(round, STEPS.length - 1)] ?? 1;
      await sleep(patience.deadline > 0 ? Math.min(step, patience.deadline - now) : step);
    }
  }
}

function stillBusy(path: string, waitedMs: number, failure: SkylineError): SkylineError {
  const holders = writers(path);
  return new SkylineError(
    'BUSY',
    `${path}: another program has held the write lock for ${Math.round(waitedMs)} ms (${describeHolders(holders)}). End its transaction, then try again.`,
    { details: { ...failure.details, holders }, cause: failure },
  );
}

/** The answer to a request that its client has cancelled before its turn. */
export function cancelledInTime(): SkylineError {
  return new SkylineError('CANCELLED', 'The request was cancelled before its turn; nothing of it was done.');
}

/** The answer to a batch whose deadline has passed before its turn. */
export function notBegun(): SkylineError {
  return new SkylineError(
    'TIMEOUT',
    'The batch was not begun within its timeout_ms; nothing of it was applied.',
  );
}
