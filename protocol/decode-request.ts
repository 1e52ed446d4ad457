import { catalogDecoders } from './decode-catalog-request.js';
import { asClient } from './decode-client.js';
import { asSession, decodeSession } from './decode-session.js';
import { invalidRequest, ProtocolError } from './errors.js';
import {
  asArray,
  asBoolean,
  asInteger,
  asObject,
  asString,
  asTimeout,
  field,
  oneOf,
  optional,
  text,
  unexpected,
} from './fields.js';
import type { JsonObject } from './frame.js';
import {
  type ExecBatchEnvelope,
  type HelloRequest,
  PROTOCOL_VERSION,
  type RequestId,
  type RequestType,
  type RoutedRequest,
  type Since,
} from './messages.js';

/** Longest string id, in UTF-16 units: it is kept until the reply and sent back. */
const MAX_ID_LENGTH = 256;
/** Longest `tx`, in UTF-16 units: the daemon's own are shorter. */
const MAX_TX_LENGTH = 64;
/** Most `tables` of a subscription, and the longest name, in UTF-16 units: they are kept, and compared with each change. */
const MAX_TABLES = 256;
const MAX_TABLE_NAME = 1024;

/**
 * The request's id, or undefined when it has none.
 * @throws ProtocolError `INVALID_REQUEST`
 */
export function decodeId(object: JsonObject): RequestId | undefined {
  const id = field(object, 'id');
  return id === undefined ? undefined : asId(id, 'id');
}

function asId(value: unknown, where: string): RequestId {
  if (typeof value === 'string' && value.length <= MAX_ID_LENGTH) return value;
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  throw unexpected(where, `a whole number or a string of at most ${MAX_ID_LENGTH} characters`, value);
}

/** The id to answer a request with that is wrong in some other way: undefined unless it is one. */
export function usableId({ id }: JsonObject): RequestId | undefined {
  return typeof id === 'string' || (typeof id === 'number' && Number.isSafeInteger(id)) ? id : undefined;
}

type Decoders = {
  readonly [Type in RequestType]: (
    object: JsonObject,
  ) => Omit<Extract<RoutedRequest, { type: Type }>, 'id' | 'type'>;
};

/** One decoder per request type. ExecBatch's statements are decoded where they run (decode-exec-batch.ts). */
const decoders: Decoders = {
  Hello: decodeHello,
  Ping: decodeDb,
  ExecBatch: decodeBatch,
  BeginTx: (object) => ({
    ...decodeDb(object),
    ...optional(object, 'read', asBoolean),
    ...optional(object, 'lease_ms', asSpan),
    ...optional(object, 'max_ms', asSpan),
    ...optional(object, 'timeout_ms', asTimeout),
    ...optional(object, 'durable', asBoolean),
    ...optional(object, 'foreign_keys', asBoolean),
  }),
  Exec: (object) => ({
    ...decodeDb(object),
    ...optional(object, 'timeout_ms', asTimeout),
    ...optional(object, 'cancellable', asBoolean),
  }),
  Commit: (object) => ({ ...decodeDb(object), ...decodeSession(object), tx: decodeTx(object) }),
  Rollback: (object) => ({ ...decodeDb(object), tx: decodeTx(object) }),
  Cancel: (object) => ({ target: asId(field(object, 'target'), 'target') }),
  PrepareForMaintenance: (object) => ({ ...decodeDb(object), ...optional(object, 'timeout_ms', asTimeout) }),
  CloseDatabase: (object) => ({ ...decodeDb(object), ...optional(object, 'timeout_ms', asTimeout) }),
  ReopenDatabase: (object) => ({ ...decodeDb(object), ...optional(object, 'allow_missing', asBoolean) }),
  ReplaceDatabase: (object) => ({
    ...decodeDb(object),
    ...optional(object, 'timeout_ms', asTimeout),
    from: text(object, 'from'),
  }),
  Backup: (object) => ({
    ...decodeDb(object),
    ...optional(object, 'overwrite', asBoolean),
    to: text(object, 'to'),
  }),
  Checkpoint: (object) => ({
    ...decodeDb(object),
    ...optional(object, 'mode', oneOf(['passive', 'full', 'restart', 'truncate'])),
  }),
  Attach: decodeDb,
  Shutdown: (object) => ({
    ...optional(object, 'if_older_than', asVersion),
    ...optional(object, 'timeout_ms', asTimeout),
  }),
  Status: (object) => ({ ...decodeDb(object), ...optional(object, 'detail', asBoolean) }),
  Metrics: () => ({}),
  ...catalogDecoders,
  Subscribe: (object) => ({
    ...decodeDb(object),
    ...optional(object, 'since', asSince),
    ...optional(object, 'tables', asTables),
  }),
  Unsubscribe: (object) => ({ subscription: asInteger(field(object, 'subscription'), 'subscription', 1) }),
};

/**
 * A request's fields, checked one by one, except the statements of an `ExecBatch`, which the router passes on unread.
 * Unknown fields are ignored.
 * @throws ProtocolError `INVALID_REQUEST`, `VERSION_MISMATCH`
 */
export function decodeRequest(object: JsonObject): RoutedRequest {
  const type = field(object, 'type');
  if (typeof type !== 'string' || !Object.hasOwn(decoders, type)) {
    const known = Object.keys(decoders).join(', ');
    throw invalidRequest(
      typeof type === 'string'
        ? `This daemon has no request of type ${JSON.stringify(type.slice(0, 60))}; it knows ${known}.`
        : `"type" must be one of ${known}.`,
    );
  }
  const id = decodeId(object);
  const request: { type?: string; id?: RequestId } = decoders[type as RequestType](object);
  // Into the object that was made for it: another one would cost a batch as much as all its fields.
  request.type = type;
  if (id !== undefined) request.id = id;
  return request as RoutedRequest;
}

/**
 * Field by field, not from parts with a field each, which would cost more than all else that the router does with a batch.
 * @param object made by JSON.parse: no field of these names can be inherited
 */
function decodeBatch(object: JsonObject): Omit<ExecBatchEnvelope, 'id' | 'type'> {
  const { db, timeout_ms: timeout, session, only_replay: asked, cancellable } = object;
  const batch: { -readonly [Name in keyof ExecBatchEnvelope]?: ExecBatchEnvelope[Name] } = {};
  if (db !== undefined) batch.db = asString(db, 'db');
  if (timeout !== undefined) batch.timeout_ms = asTimeout(timeout, 'timeout_ms');
  if (session !== undefined) batch.session = asSession(session, 'session');
  if (asked !== undefined) batch.only_replay = asBoolean(asked, 'only_replay');
  if (cancellable !== undefined) batch.cancellable = asBoolean(cancellable, 'cancellable');
  return batch;
}

function decodeDb(object: JsonObject): { db?: string } {
  return optional(object, 'db', asString);
}

/** A version as package.json has it: three numbers, perhaps with a pre-release behind a hyphen. */
function asVersion(value: unknown, where: string): string {
  if (typeof value !== 'string' || value.length > MAX_ID_LENGTH || !/^\d+\.\d+\.\d+(-.*)?$/.test(value))
    throw unexpected(where, 'a version such as "1.2.3"', value);
  return value;
}

/** Milliseconds of a lease: none at all would end the transaction before its first statement. */
function asSpan(value: unknown, where: string): number {
  asInteger(value, where, 1);
  return asTimeout(value, where);
}

/**
 * The name of the transaction that a request belongs to.
 * @throws ProtocolError `INVALID_REQUEST`
 */
export function decodeTx(object: JsonObject): string {
  const tx = field(object, 'tx');
  if (typeof tx === 'string' && tx.length > 0 && tx.length <= MAX_TX_LENGTH) return tx;
  throw unexpected('tx', 'the "tx" of a BeginTx reply', tx);
}

function asSince(value: unknown, where: string): Since {
  const object = asObject(value, where);
  return {
    epoch: asInteger(field(object, 'epoch'), `${where}.epoch`),
    rev: asInteger(field(object, 'rev'), `${where}.rev`),
  };
}

function asTables(value: unknown, where: string): string[] {
  const names = asArray(value, where);
  if (names.length === 0 || names.length > MAX_TABLES)
    throw unexpected(where, `an array of 1 to ${MAX_TABLES} names of tables`, value);
  return names.map((name, at) => {
    if (typeof name !== 'string' || name === '' || name.length > MAX_TABLE_NAME)
      throw unexpected(`${where}[${at}]`, `a string of 1 to ${MAX_TABLE_NAME} characters`, name);
    return name;
  });
}

function decodeHello(object: JsonObject): Omit<HelloRequest, 'id' | 'type'> {
  const protocol = asInteger(field(object, 'protocol'), 'protocol');
  if (protocol !== PROTOCOL_VERSION) {
    throw new ProtocolError(
      'VERSION_MISMATCH',
      `The client speaks protocol ${protocol}, this daemon speaks ${PROTOCOL_VERSION}. Update whichever is older; "skylinedb-cli shutdown" ends this daemon.`,
    );
  }
  return {
    protocol,
    ...optional(object, 'client', asClient),
  };
}
