import { SkylineError } from '../protocol/errors.js';
import type { JsonObject } from '../protocol/frame.js';
import type { ExecBatchRequest } from '../protocol/messages.js';

/** A batch without what the route adds to it. */
export type BatchBody = Omit<
  ExecBatchRequest,
  'type' | 'id' | 'session' | 'seq' | 'acked' | 'session_epoch' | 'session_rev'
>;

/** A batch whose answer the caller waits for. */
export interface Pending {
  readonly body: BatchBody;
  /** Its number in the session. */
  seq: number;
  /** The session in which it was sent first: only there the daemon knows it again. */
  session: string | null;
  /** On performance.now()'s clock. */
  readonly deadline: number;
  /** It is sent, and has no answer yet. */
  inFlight: boolean;
  /** It was sent on a way that ended before the answer. */
  perhapsApplied: boolean;
  /** The daemon has given it up without knowing what became of it: its record tells. */
  givenUp: SkylineError | null;
  /** It was sent last to be told what became of it, not to be run. */
  asked: boolean;
  /** Times that it was sent again. */
  repeats: number;
  /** Settles with it. */
  answer: Promise<unknown>;
  resolve(body: JsonObject): void;
  reject(error: unknown): void;
}

/** What is known of a batch that gets no answer any more. */
export function outcomeOf({ inFlight, perhapsApplied }: Pending): 'not_applied' | 'unknown' {
  return inFlight || perhapsApplied ? 'unknown' : 'not_applied';
}

/** Refusals behind which the daemon had looked whether the batch was applied before. */
const LOOKED: ReadonlySet<string> = new Set([
  'SQL_ERROR',
  'STATEMENT_NOT_ALLOWED',
  'EXPECTATION_FAILED',
  'INVALID_REQUEST',
  'RESULT_TOO_LARGE',
]);

/** `not_applied` speaks of the last sending: what became of those before is known only where the daemon has looked. */
export function explain({ perhapsApplied, givenUp, asked }: Pending, error: unknown): unknown {
  if (!perhapsApplied || !(error instanceof SkylineError) || error.outcome !== 'not_applied') return error;
  const { code, message, details } = error;
  // Nothing is recorded, so nothing was applied.
  if (asked && code === 'TIMEOUT')
    return givenUp === null
      ? error
      : new SkylineError(givenUp.code, givenUp.message, { details: givenUp.details, cause: givenUp });
  const otherFile = code === 'SESSION_CONFLICT' && details.expected !== undefined;
  if (LOOKED.has(code) || details.replayed === true || (code === 'SESSION_CONFLICT' && !otherFile))
    return error;
  return new SkylineError(code, `${message} Whether it was applied when it was sent before is unknown.`, {
    outcome: 'unknown',
    retryable: false,
    details,
    cause: error,
  });
}

/** Promise.withResolvers, which Node has from 22 on. */
export function withResolvers<T>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
} {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
