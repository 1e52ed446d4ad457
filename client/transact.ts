import { setTimeout as sleep } from 'node:timers/promises';
import { invalidRequest, SkylineError } from '../protocol/errors.js';
import type { TransactionOptions } from './begin.js';
import type { Transaction } from './transaction.js';
import { unlessAborted } from './transaction-way.js';

export interface TransactOptions extends TransactionOptions {
  /**
   * How often the function is run again when its transaction has ended before it and nothing was applied (a lease that was
   * over, a daemon that was killed). Default 0: what else the function does would be done again, too.
   */
  readonly retries?: number;
  /** Gives up waiting for its turn, and rolls back what has begun; a commit that is on its way is not stopped. */
  readonly signal?: AbortSignal | undefined;
}

/** Milliseconds before the first repetition; each further one waits longer. */
const PAUSE_MS = 20;

/** Runs a function in a transaction that it commits or rolls back. */
export async function transact<T>(
  begin: () => Promise<Transaction>,
  work: (tx: Transaction) => Promise<T> | T,
  { retries = 0, signal }: TransactOptions,
): Promise<T> {
  if (!Number.isSafeInteger(retries) || retries < 0)
    throw invalidRequest('The option "retries" must be a whole number from 0.');
  for (let run = 0; ; run += 1) {
    let tx: Transaction | null = null;
    try {
      tx = await begin();
      return await once(tx, work, signal);
    } catch (error) {
      if (run >= retries || tx?.state === 'committed' || !mayRunAgain(error)) throw error;
      await sleep(PAUSE_MS * 2 ** Math.min(run, 5) * (0.5 + Math.random()));
    }
  }
}

async function once<T>(
  tx: Transaction,
  work: (tx: Transaction) => Promise<T> | T,
  signal: AbortSignal | undefined,
): Promise<T> {
  let result: T;
  try {
    result = await unlessAborted(Promise.resolve(work(tx)), signal);
  } catch (error) {
    // Its steps may be waiting for one that runs: it does not matter any more.
    if (signal?.aborted === true) tx.abandon();
    await tx.rollback();
    throw error;
  }
  // The function may have ended it by itself. One that is lost says so.
  if (tx.state === 'open' || tx.state === 'lost') await tx.commit();
  return result;
}

function mayRunAgain(error: unknown): boolean {
  return (
    error instanceof SkylineError &&
    error.outcome === 'not_applied' &&
    (error.retryable || error.code === 'TX_EXPIRED')
  );
}
