import { SkylineError } from '../../protocol/errors.js';

/** What somebody is told who has stopped something with Ctrl-C. */

/** Why it was stopped: what is said where nothing more is known. */
export function byHand(): SkylineError {
  return new SkylineError('ABORTED', 'It was stopped.', { retryable: false });
}

/** Whether this is what has come of stopping a statement that the daemon ran, and no failure of its own. */
export function isInterruption(error: unknown, signal: AbortSignal): error is SkylineError {
  if (!signal.aborted || !(error instanceof SkylineError)) return false;
  return error.code === 'ABORTED' || error.code === 'CONNECTION_LOST' || error.code === 'TX_EXPIRED';
}

/** @param over the transaction that it belonged to has ended with it */
export function interrupted(error: SkylineError, over: boolean): SkylineError {
  const stopped = error.code === 'ABORTED' && error.outcome === 'not_applied';
  const what = stopped ? 'The statement was stopped' : 'The statement is not waited for any more';
  const applied = stopped ? ': nothing of it was applied.' : ': whether it is applied is unknown.';
  const message = over
    ? `${what}, and the transaction is over: nothing of it is applied. ROLLBACK goes on without it.`
    : what + applied;
  const { code, outcome, details } = error;
  return new SkylineError(code, message, {
    outcome: over ? 'not_applied' : outcome,
    retryable: false,
    details,
    cause: error,
  });
}

/** It was done all the same. What was typed behind it was not meant to follow. */
export function tooLate(): SkylineError {
  return new SkylineError('ABORTED', 'It was done before it could be stopped.', { retryable: false });
}
