import { SkylineError } from '../protocol/errors.js';
import { decodeText, parseObject } from '../protocol/frame.js';
import type { ErrorCode } from '../protocol/messages.js';
import { describeExit, type WorkerExit } from './worker-process.js';

/** What is said of a batch whose worker has died. */

/** What is known of it. */
export interface Loss {
  /** A worker that has died may have applied it. */
  readonly open: boolean;
  /** Its deadline had passed while it ran: that worker was killed for it. */
  readonly timedOut: boolean;
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
  if (loss.timedOut) {
    return new SkylineError('TIMEOUT', `The batch ran past its timeout_ms and was stopped; ${applied}.`, {
      outcome,
    });
  }
  const times = loss.losses > 1 ? `, as ${loss.losses - 1} before it,` : '';
  const words = lastWords.trim() === '' ? '' : ` Its last words: ${lastWords.trim()}`;
  return new SkylineError(
    'WORKER_CRASHED',
    `The database's worker ${describeExit(exit)}${times} while it had this batch; ${applied}.${words}`,
    { outcome },
  );
}
