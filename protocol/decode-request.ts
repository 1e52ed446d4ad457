import { catalogDecoders } from './decode-catalog-request.js';
import { invalidRequest, ProtocolError } from './errors.js';
import {
  asArray,
  asBoolean,
  asInteger,
  asObject,
  asString,
  asTimeout,
  field,
  isObject,
  oneOf,
  optional,
  unexpected,
} from './fields.js';
import type { JsonObject } from './frame.js';
import {
  type CommitRequest,
  type ExecBatchRequest,
  type HelloRequest,
  type Limits,
  PROTOCOL_VERSION,
  type RequestId,
  type RequestType,
  type RoutedRequest,
  type Since,
  type Statement,
  type WireParams,
} from './messages.js';

/** Longest string id, in UTF-16 units: it is kept until the reply and sent back. */
const MAX_ID_LENGTH = 256;
/** Longest `tx`, in UTF-16 units: the daemon's own are shorter. */
const MAX_TX_LENGTH = 64;
/** Longest `session`, in UTF-16 units: it is the key of a row in the database. */
const MAX_SESSION_LENGTH = 128;
/** Most `tables` of a subscription, and the longest name, in UTF-16 units: they are kept, and compared with each change. */
const MAX_TABLES = 256;
const MAX_TABLE_NAME = 1024;

/**
 * The request's id, or undefined when it has none.
 * @throws ProtocolError `INVALID_REQUEST`
 */
export function decodeId(object: JsonObject): RequestId | undefined {
  const id = field(object, 'id');
  if (id === undefined) return undefined;
  if (typeof id === 'string' && id.length <= MAX_ID_LENGTH) return id;
  if (typeof id === 'number' && Number.isSafeInteger(id)) return id;
  throw unexpected('id', `a whole number or a string of at most ${MAX_ID_LENGTH} characters`, id);
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

/** One decoder per request type. ExecBatch's statements are decoded where they run (decodeExecBatch). */
const decoders: Decoders = {
  Hello: decodeHello,
  Ping: decodeDb,
  ExecBatch: (object) => ({
    ...decodeDb(object),
    ...optional(object, 'timeout_ms', asTimeout),
    ...optional(object, 'session', asSession),
  }),
  BeginTx: (object) => ({
    ...decodeDb(object),
    ...optional(object, 'read', asBoolean),
    ...optional(object, 'lease_ms', asSpan),
    ...optional(object, 'max_ms', asSpan),
    ...optional(object, 'timeout_ms', asTimeout),
    ...optional(object, 'durable', asBoolean),
    ...optional(object, 'foreign_keys', asBoolean),
  }),
  Exec: (object) => ({ ...decodeDb(object), ...optional(object, 'timeout_ms', asTimeout) }),
  Commit: (object) => ({ ...decodeDb(object), ...decodeSession(object), tx: decodeTx(object) }),
  Rollback: (object) => ({ ...decodeDb(object), tx: decodeTx(object) }),
  PrepareForMaintenance: (object) => ({ ...decodeDb(object), ...optional(object, 'timeout_ms', asTimeout) }),
  CloseDatabase: (object) => ({ ...decodeDb(object), ...optional(object, 'timeout_ms', asTimeout) }),
  ReopenDatabase: (object) => ({ ...decodeDb(object), ...optional(object, 'allow_missing', asBoolean) }),
  ReplaceDatabase: (object) => ({
    ...decodeDb(object),
    ...optional(object, 'timeout_ms', asTimeout),
    from: asString(field(object, 'from'), 'from'),
  }),
  Backup: (object) => ({
    ...decodeDb(object),
    ...optional(object, 'overwrite', asBoolean),
    to: asString(field(object, 'to'), 'to'),
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
  const fields = decoders[type as RequestType](object);
  return { type, ...(id === undefined ? {} : { id }), ...fields } as RoutedRequest;
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
    ...optional(object, 'client', (value, where) => {
      const client = asObject(value, where);
      return {
        ...optional(client, 'name', asString),
        ...optional(client, 'pid', asInteger),
        ...optional(client, 'version', asString),
      };
    }),
  };
}

/** A statement with all its fields, absent ones undefined. */
export type DecodedStatement = Complete<Statement>;
/** An `ExecBatch` with all its fields, absent ones undefined: every batch comes through here, and all have one shape. */
export type DecodedBatch = Omit<Complete<ExecBatchRequest>, 'stmts'> & {
  readonly stmts: readonly DecodedStatement[];
};
type Complete<T> = { readonly [Name in keyof Required<T>]: T[Name] };

/**
 * A whole `ExecBatch`, in the worker. Parameters keep their JSON form; values.ts checks each where it is bound.
 * @param object made by JSON.parse: no field of these names can be inherited
 * @throws ProtocolError `INVALID_REQUEST`, naming the field or the limit
 */
export function decodeExecBatch(object: JsonObject, limits: Limits): DecodedBatch {
  const stmts = decodeStatements(object.stmts, limits);
  const { session, seq, acked, session_epoch, session_rev, session_database, only_replay } =
    readSession(object);
  return {
    type: 'ExecBatch',
    id: decodeId(object),
    db: given(object.db, 'db', asString),
    stmts,
    tx: given(object.tx, 'tx', asTx),
    durable: given(object.durable, 'durable', asBoolean),
    expect_rev: given(object.expect_rev, 'expect_rev', asInteger),
    expect_epoch: given(object.expect_epoch, 'expect_epoch', asInteger),
    timeout_ms: given(object.timeout_ms, 'timeout_ms', asTimeout),
    results: given(object.results, 'results', asBoolean),
    session,
    seq,
    acked,
    session_epoch,
    session_rev,
    session_database,
    only_replay,
  };
}

/**
 * The statements of an `Exec`, in the worker, as a batch without fields of its own.
 * @throws ProtocolError `INVALID_REQUEST`, naming the field or the limit
 */
export function decodeExec(object: JsonObject, limits: Limits): DecodedBatch {
  return {
    ...BARE,
    id: decodeId(object),
    stmts: decodeStatements(object.stmts, limits),
    timeout_ms: given(object.timeout_ms, 'timeout_ms', asTimeout),
    results: given(object.results, 'results', asBoolean),
  };
}

/** A batch without statements and of no session: what stands for a `Commit` has the rest of its fields. */
export const BARE: DecodedBatch = {
  type: 'ExecBatch',
  id: undefined,
  db: undefined,
  stmts: [],
  tx: undefined,
  durable: undefined,
  expect_rev: undefined,
  expect_epoch: undefined,
  timeout_ms: undefined,
  results: undefined,
  session: undefined,
  seq: undefined,
  acked: undefined,
  session_epoch: undefined,
  session_rev: undefined,
  session_database: undefined,
  only_replay: undefined,
};

function decodeStatements(value: unknown, limits: Limits): DecodedStatement[] {
  const list = asArray(value, 'stmts');
  if (list.length === 0) throw invalidRequest('"stmts" must have at least one statement.');
  if (list.length > limits.max_statements)
    throw overLimit('statements in this batch', list.length, limits, 'max_statements');
  const stmts = new Array<DecodedStatement>(list.length);
  for (let index = 0; index < list.length; index += 1)
    stmts[index] = decodeStatement(list[index], index, limits);
  return stmts;
}

/** An optional field's value, checked if there is one. */
function given<T>(value: unknown, where: string, read: (value: unknown, where: string) => T): T | undefined {
  return value === undefined ? undefined : read(value, where);
}

const asTx = oneOf(['atomic', 'none']);

/** Fields that say nothing without a session. */
const OF_SESSION = [
  'seq',
  'acked',
  'session_epoch',
  'session_rev',
  'session_database',
  'only_replay',
] as const;

type SessionFields = Pick<DecodedBatch, 'session' | (typeof OF_SESSION)[number]>;

function readSession(object: JsonObject): SessionFields {
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
function decodeSession(object: JsonObject): Partial<Required<CommitRequest>> {
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

function asSession(value: unknown, where: string): string {
  const length = typeof value === 'string' && value.isWellFormed() ? value.length : 0;
  if (typeof value !== 'string' || length === 0 || length > MAX_SESSION_LENGTH)
    throw unexpected(where, `a string of 1 to ${MAX_SESSION_LENGTH} characters`, value);
  return value;
}

function decodeStatement(value: unknown, index: number, limits: Limits): DecodedStatement {
  try {
    const object = isObject(value) ? value : asObject(value, `stmts[${index}]`);
    const sql = asString(object.sql, 'sql');
    if (!sql.isWellFormed()) throw invalidRequest('"sql" has a lone surrogate, which UTF-8 cannot hold.');
    // A UTF-16 unit is at most three bytes: most statements need no count.
    if (sql.length * 3 > limits.max_sql_bytes && Buffer.byteLength(sql) > limits.max_sql_bytes) {
      throw overLimit('bytes in this statement', Buffer.byteLength(sql), limits, 'max_sql_bytes');
    }
    const { params, param_sets: sets, expect } = object;
    if (params !== undefined && sets !== undefined)
      throw invalidRequest('"params" and "param_sets" exclude each other.');
    return {
      sql,
      params: params === undefined ? undefined : asParams(params, 'params', limits),
      param_sets:
        sets === undefined
          ? undefined
          : asArray(sets, 'param_sets').map((set, at) => asParams(set, 'param_sets', limits, at)),
      expect:
        expect === undefined ? undefined : optional(asObject(expect, 'expect'), 'rows_affected', asInteger),
    };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw invalidRequest(`Statement ${index}: ${error.message}`, {
      ...error.details,
      statement_index: index,
    });
  }
}

/** @param at which of many: its name is made for an error only, since there may be very many */
function asParams(value: unknown, where: string, limits: Limits, at?: number): WireParams {
  const name = () => (at === undefined ? where : `${where}[${at}]`);
  if (typeof value !== 'object' || value === null) throw unexpected(name(), 'an array or an object', value);
  const count = Array.isArray(value) ? value.length : Object.keys(value).length;
  if (count > limits.max_parameters)
    throw overLimit(`parameters in "${name()}"`, count, limits, 'max_parameters');
  return value as WireParams;
}

/** The error for a request that is larger than a limit; it names the limit. */
export function overLimit(what: string, count: number, limits: Limits, name: keyof Limits): ProtocolError {
  return invalidRequest(`${count} ${what}; the limit is ${limits[name]} (${name}).`, {
    limit: name,
    limit_value: limits[name],
  });
}
