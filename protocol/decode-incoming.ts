import { isErrorCode, ProtocolError, SkylineError } from './errors.js';
import {
  asArray,
  asBoolean,
  asInteger,
  asString,
  field,
  flag,
  integer,
  oneOf,
  optional,
  text,
} from './fields.js';
import type { JsonObject } from './frame.js';
import type {
  AdoptProgressEvent,
  ChangeEvent,
  ErrorDetails,
  ProgressEvent,
  RequestId,
  ResetEvent,
  WalEvent,
} from './messages.js';
import { asHolders, asTrue, holders, position, replyId } from './reply-fields.js';

/** A frame from the daemon, told apart: an answer to a request, or an event. */
export type Incoming =
  | { readonly kind: 'reply'; readonly id: RequestId | undefined; readonly body: JsonObject }
  | { readonly kind: 'error'; readonly id: RequestId | undefined; readonly error: SkylineError }
  | {
      readonly kind: 'progress';
      readonly id: RequestId | undefined;
      readonly event: ProgressEvent | AdoptProgressEvent;
    }
  | { readonly kind: 'subscription'; readonly event: ChangeEvent | ResetEvent | WalEvent }
  | { readonly kind: 'detached' }
  | { readonly kind: 'unknown' };

/**
 * Tells what a frame from the daemon is. Events of a kind this version does not know are `unknown`, not errors.
 * @throws ProtocolError `INVALID_REQUEST` when a known kind has a bad field
 */
export function decodeIncoming(object: JsonObject): Incoming {
  const id = replyId(object);
  const status = field(object, 'status');
  if (status === 'ok') return { kind: 'reply', id, body: object };
  if (status === 'error') return { kind: 'error', id, error: decodeError(object) };
  const event = field(object, 'event');
  switch (event) {
    case 'progress':
      return { kind: 'progress', id, event: decodeProgress(object, id) };
    case 'change':
      return { kind: 'subscription', event: decodeChange(object) };
    case 'reset':
      return { kind: 'subscription', event: { event, ...source(object), ...position(object) } };
    case 'wal':
      return { kind: 'subscription', event: decodeWalEvent(object) };
    case 'detached':
      return { kind: 'detached' };
    default:
  }
  if (typeof event === 'string') return { kind: 'unknown' };
  throw new ProtocolError('PROTOCOL_ERROR', 'The daemon sent a frame that is neither a reply nor an event.');
}

function decodeProgress(object: JsonObject, id: RequestId | undefined): ProgressEvent | AdoptProgressEvent {
  const base = { event: 'progress' as const, ...(id === undefined ? {} : { id }) };
  if (field(object, 'files_total') !== undefined)
    return {
      ...base,
      files_done: integer(object, 'files_done'),
      files_total: integer(object, 'files_total'),
    };
  return {
    ...base,
    pages_done: integer(object, 'pages_done'),
    pages_total: integer(object, 'pages_total'),
  };
}

function decodeChange(object: JsonObject): ChangeEvent {
  return {
    event: 'change',
    ...source(object),
    ...position(object),
    ...optional(object, 'tables', (value, where) =>
      asArray(value, where).map((name) => asString(name, where)),
    ),
    ...optional(object, 'foreign', asTrue),
  };
}

function decodeWalEvent(object: JsonObject): WalEvent {
  const common = {
    event: 'wal' as const,
    ...source(object),
    limit: integer(object, 'limit'),
    wal_bytes: integer(object, 'wal_bytes'),
  };
  return flag(object, 'blocked')
    ? { ...common, blocked: true, holders: holders(object) }
    : { ...common, blocked: false, lasted_ms: integer(object, 'lasted_ms') };
}

function source(object: JsonObject): { subscription: number; db: string } {
  return { subscription: integer(object, 'subscription'), db: text(object, 'db') };
}

function decodeError(object: JsonObject): SkylineError {
  const code = text(object, 'code');
  const details: ErrorDetails = {
    ...optional(object, 'sqlite_code', asString),
    ...optional(object, 'statement_index', asInteger),
    ...optional(object, 'parameter_set', asInteger),
    ...optional(object, 'parameter', asParameter),
    ...optional(object, 'applied', asInteger),
    ...optional(object, 'limit', asString),
    ...optional(object, 'limit_value', asInteger),
    ...optional(object, 'holders', asHolders),
    ...optional(object, 'expected', asInteger),
    ...optional(object, 'actual', asInteger),
    ...optional(object, 'tx_ended', asTrue),
    ...optional(object, 'replayed', asTrue),
  };
  // A newer daemon may know more codes: the message still says what happened.
  return new SkylineError(isErrorCode(code) ? code : 'INTERNAL', text(object, 'message'), {
    outcome: oneOf(['not_applied', 'unknown', 'partial'])(field(object, 'outcome'), 'outcome'),
    retryable: asBoolean(field(object, 'retryable'), 'retryable'),
    details,
  });
}

function asParameter(value: unknown, where: string): number | string {
  return typeof value === 'string' ? value : asInteger(value, where);
}
