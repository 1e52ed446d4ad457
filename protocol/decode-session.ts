import { invalidRequest } from './errors.js';
import { asBoolean, asInteger, type Complete, given, unexpected } from './fields.js';
import type { JsonObject } from './frame.js';
import type { CommitRequest, ExecBatchRequest } from './messages.js';

/** Longest `session`, in UTF-16 units: it is the key of a row in the database. */
const MAX_SESSION_LENGTH = 128;

/** Fields that say nothing without a session. */
const OF_SESSION = [
  'seq',
  'acked',
  'session_epoch',
  'session_rev',
  'session_database',
  'only_replay',
] as const;

/** All fields of a session, absent ones undefined. */
export type SessionFields = Pick<Complete<ExecBatchRequest>, 'session' | (typeof OF_SESSION)[number]>;

/**
 * The fields by which a batch or a commit is applied at most once.
 * @throws ProtocolError `INVALID_REQUEST`
 */
export function readSession(object: JsonObject): SessionFields {
  const session = object.session === undefined ? undefined : asSession(object.session, 'session');
  if (session === undefined) refuseStray(object);
  const fields: SessionFields = {
    session,
    seq: session === undefined ? undefined : asInteger(object.seq, 'seq', 1),
    acked: given(object.acked, 'acked', asInteger),
    session_epoch: given(object.session_epoch, 'session_epoch', asInteger),
    session_rev: given(object.session_rev, 'session_rev', asInteger),
    session_database: given(object.session_database, 'session_database', asTold),
    only_replay: given(object.only_replay, 'only_replay', asBoolean),
  };
  const { seq, acked } = fields;
  if (acked !== undefined && seq !== undefined && acked >= seq)
    throw invalidRequest(
      `"acked" must be less than "seq" (${seq}): this batch's own answer cannot have arrived.`,
    );
  return fields;
}

/** The same without what is absent. */
export function decodeSession(object: JsonObject): Partial<Required<CommitRequest>> {
  const fields = Object.entries(readSession(object)).filter(([, value]) => value !== undefined);
  return Object.fromEntries(fields);
}

function refuseStray(object: JsonObject): void {
  const stray = OF_SESSION.find((name) => object[name] !== undefined);
  if (stray !== undefined)
    throw invalidRequest(`"${stray}" needs a "session" that it belongs to. Send both, or neither.`);
}

function asTold(value: unknown, where: string): true | string {
  return value === true ? value : asSession(value, where);
}

export function asSession(value: unknown, where: string): string {
  const length = typeof value === 'string' && value.isWellFormed() ? value.length : 0;
  if (typeof value !== 'string' || length === 0 || length > MAX_SESSION_LENGTH)
    throw unexpected(where, `a string of 1 to ${MAX_SESSION_LENGTH} characters`, value);
  return value;
}
