import {
  ERROR_CODES,
  type ErrorCode,
  type ErrorDetails,
  type ErrorReply,
  type Outcome,
  type RequestId,
} from './messages.js';

/** Codes that the client library adds for what happens before or after the daemon. */
export const CLIENT_ERROR_CODES = ['NO_DAEMON', 'CONNECTION_LOST', 'ABORTED'] as const;
export type ClientErrorCode = (typeof CLIENT_ERROR_CODES)[number];

/** Worth sending again unchanged: the reason lies outside the request and may pass. */
const RETRYABLE: ReadonlySet<string> = new Set<ErrorCode | ClientErrorCode>([
  'DATABASE_PREPARING',
  'DATABASE_CLOSED',
  'DATABASE_IN_USE',
  'BUSY',
  'CHECKPOINT_BUSY',
  'DISK_FULL',
  'TIMEOUT',
  'QUEUE_FULL',
  'WORKER_CRASHED',
  'SHUTTING_DOWN',
  'NO_DAEMON',
  'CONNECTION_LOST',
]);

const KNOWN: ReadonlySet<string> = new Set(ERROR_CODES);

/** The details of an error reply, and what the client library adds when a load fails. */
export interface FailureDetails extends ErrorDetails {
  /** Rows of the load that are committed. */
  readonly rows_committed?: number;
  /** The first row of the failed batch, from 0, and the first one behind it. */
  readonly failed_rows?: readonly [from: number, to: number];
}

/**
 * Any failure that SkylineDB reports. Match `code`; `message` says which side failed and what to do next.
 */
export class SkylineError extends Error {
  override readonly name: string = 'SkylineError';
  readonly code: ErrorCode | ClientErrorCode;
  /** What became of the request. */
  readonly outcome: Outcome;
  /** Whether sending the same request again is safe and may succeed: never unless nothing of it was applied. */
  readonly retryable: boolean;
  readonly details: FailureDetails;

  constructor(
    code: ErrorCode | ClientErrorCode,
    message: string,
    options: { outcome?: Outcome; retryable?: boolean; details?: FailureDetails; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.outcome = options.outcome ?? 'not_applied';
    this.retryable = options.retryable ?? (this.outcome === 'not_applied' && RETRYABLE.has(code));
    this.details = options.details ?? {};
  }
}

/** What arrived breaks the protocol: a frame, its JSON, or a field of a message. */
export class ProtocolError extends SkylineError {
  override readonly name = 'ProtocolError';

  /** After a fatal one the stream cannot be trusted any more: one error frame, then the end. */
  get fatal(): boolean {
    return this.code === 'PROTOCOL_ERROR' || this.code === 'FRAME_TOO_LARGE';
  }
}

/** A field of a request is not what it must be. The connection goes on. */
export function invalidRequest(message: string, details: ErrorDetails = {}): ProtocolError {
  return new ProtocolError('INVALID_REQUEST', message, { details });
}

/** True for a code that this version of the protocol knows. */
export function isErrorCode(code: string): code is ErrorCode {
  return KNOWN.has(code);
}

/** Makes the error frame's object. Whatever is not a SkylineError is a bug and becomes `INTERNAL`. */
export function toErrorReply(error: unknown, id?: RequestId): ErrorReply {
  const known =
    error instanceof SkylineError
      ? error
      : new SkylineError('INTERNAL', `The daemon failed: ${messageOf(error)}. Its log has the details.`, {
          outcome: 'unknown',
        });
  return {
    status: 'error',
    ...(id === undefined ? {} : { id }),
    code: isErrorCode(known.code) ? known.code : 'INTERNAL',
    message: known.message,
    retryable: known.retryable,
    outcome: known.outcome,
    ...known.details,
  };
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message;
  try {
    return String(error);
  } catch {
    // An object without a prototype has no string form.
    return typeof error;
  }
}

/** The `code` of a Node.js system error or a SQLite error; undefined for others. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** For the end of a switch over a union: the compiler proves that nothing is left. */
export function never(value: never): never {
  throw new Error(`unexpected value: ${JSON.stringify(value)}`);
}
