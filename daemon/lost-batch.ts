import { SkylineError } from '../protocol/errors.js';
import { decodeText, parseObject } from '../protocol/frame.js';
import type { ErrorCode, ErrorDetails } from '../protocol/messages.js';
import type { Job } from './job.js';
import { describeExit, type WorkerExit } from './worker-process.js';

/** What is said of a batch that no worker goes on with: most of all of one whose worker has died. */

/** What is known of it. */
export interface Loss {
  readonly job: Pick<Job, 'kind'>;
  /** A worker that has died may have applied it. */
  readonly open: boolean;
  /** Its deadline had passed while it ran: that worker was killed for it. */
  readonly timedOut: boolean;
  /** Its client wanted it no more. */
  readonly cancelled: boolean;
  /** Workers that died before they answered it. */
  readonly losses: number;
}

/** Errors of a batch that was looked up first, or that can never have been applied. */
const LEARNED: ReadonlySet<unknown> = new Set([
  'SQL_ERROR',
  'STATEMENT_NOT_ALLOWED',
  'EXPECTATION_FAILED',
  'INVALID_REQUEST',
  'RESULT_TOO_LARGE',
  'SESSION_CONFLICT',
  'TX_EXPIRED',
  'TIMEOUT',
]);

/**
 * The error of a worker that could not learn what became of a batch under the one before: it could not open the file, or not
 * write it. Null for every other reply.
 */
export function unlearned(payload: Buffer): SkylineError | null {
  const {
    status,
    id: _id,
    code,
    message,
    retryable: _retryable,
    outcome,
    ...details
  } = parseObject(decodeText(payload));
  if (status !== 'error' || outcome !== 'not_applied' || details.replayed === true || LEARNED.has(code))
    return null;
  return new SkylineError(code as ErrorCode, String(message), { details });
}

/** Whether a worker has not begun it because its time was over. */
export function isTimeout(payload: Buffer): boolean {
  return parseObject(decodeText(payload)).code === 'TIMEOUT';
}

/** The answer to what its client wants no more. */
export function cancelled(outcome: 'not_applied' | 'unknown', details: ErrorDetails = {}): SkylineError {
  const applied = outcome === 'unknown' ? 'it may have been applied' : 'nothing of it was applied';
  const over = details.tx_ended === true ? ' Its transaction is over.' : '';
  return new SkylineError('CANCELLED', `The request was cancelled; ${applied}.${over}`, { outcome, details });
}

/** What would be an error before anything was done, after a worker may have applied it. */
export function asOpen(error: SkylineError): SkylineError {
  if (error.outcome !== 'not_applied') return error;
  return new SkylineError(
    error.code,
    `${error.message} A worker that died before may have applied the batch: send it again with the same session and seq to learn that.`,
    { outcome: 'unknown', details: error.details, cause: error },
  );
}

/** The error of a batch that no further worker is given. */
export function lossError(loss: Loss, exit: WorkerExit, lastWords: string): SkylineError {
  const outcome = loss.open ? 'unknown' : 'not_applied';
  const applied = loss.open
    ? 'it may have been applied: look before you send it again'
    : 'nothing of it was applied';
  // A transaction is over with its worker.
  const details: ErrorDetails = loss.job.kind === 'step' ? { tx_ended: true } : {};
  if (loss.timedOut) {
    return new SkylineError('TIMEOUT', `The batch ran past its timeout_ms and was stopped; ${applied}.`, {
      outcome,
      details,
    });
  }
  if (loss.cancelled) return cancelled(outcome, details);
  const times = loss.losses > 1 ? `, as ${loss.losses - 1} before it,` : '';
  const words = lastWords.trim() === '' ? '' : ` Its last words: ${lastWords.trim()}`;
  return new SkylineError(
    'WORKER_CRASHED',
    `The database's worker ${describeExit(exit)}${times} while it had this batch; ${applied}.${words}`,
    { outcome },
  );
}
