import { type FailureDetails, SkylineError } from '../protocol/errors.js';
import type { Outcome } from '../protocol/messages.js';
import type { Connection } from './connection.js';

/** Milliseconds that the answer to a request that was cancelled is waited for. */
export const CANCEL_GRACE_MS = 2_000;

/**
 * Asks the daemon to stop a request. Its answer says what became of it, and is worth waiting for.
 * @param giveUp called when it is not to be waited for any more
 * @returns to be called when the answer is there
 */
export function cancel(connection: Connection, id: number, giveUp: () => void): () => void {
  const timer = setTimeout(giveUp, CANCEL_GRACE_MS);
  connection.post(`{"type":"Cancel","target":${id}`, {
    resolve: () => undefined,
    reject: (error) => {
      // An older daemon stops nothing. Where the connection is lost, whoever waits for the answer learns that by itself.
      if (error instanceof SkylineError && error.code === 'INVALID_REQUEST') giveUp();
    },
  });
  return () => clearTimeout(timer);
}

/** What the caller gets for a request that was cancelled for its signal. */
export function stopped(outcome: Outcome, reason: unknown, details: FailureDetails = {}): SkylineError {
  const applied =
    outcome === 'not_applied' ? 'nothing of it was applied' : 'whether it was applied is unknown';
  const over = details.tx_ended === true ? ' Its transaction is over.' : '';
  return new SkylineError(
    'ABORTED',
    `The request was aborted: the daemon has stopped it, and ${applied}.${over}`,
    {
      outcome,
      retryable: false,
      details,
      cause: reason,
    },
  );
}
