import { invalidRequest, ProtocolError } from './errors.js';
import {
  asArray,
  asBoolean,
  asInteger,
  asObject,
  asString,
  field,
  oneOf,
  optional,
  unexpected,
} from './fields.js';
import type { JsonObject } from './frame.js';
import {
  type ExecBatchRequest,
  type HelloRequest,
  type Limits,
  PROTOCOL_VERSION,
  type RequestId,
  type RequestType,
  type RoutedRequest,
  type Statement,
  type WireParams,
} from './messages.js';

/** Longest string id, in UTF-16 units: it is kept until the reply and sent back. */
const MAX_ID_LENGTH = 256;
/** Longest `timeout_ms`: a day. setTimeout cuts anything over 2^31−1 to 1 ms. */
const MAX_TIMEOUT_MS = 24 * 60 * 60 * 1000;
/** Longest `session`, in UTF-16 units: it is the key of a row in the database. */
const MAX_SESSION_LENGTH = 128;

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
  Status: decodeDb,
  Shutdown: () => ({}),
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

function asTimeout(value: unknown, where: string): number {
  return Math.min(asInteger(value, where), MAX_TIMEOUT_MS);
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

/**
 * A whole `ExecBatch`, in the worker. Parameters keep their JSON form; values.ts checks each where it is bound.
 * @throws ProtocolError `INVALID_REQUEST`, naming the field or the limit
 */
export function decodeExecBatch(object: JsonObject, limits: Limits): ExecBatchRequest {
  const id = decodeId(object);
  const stmts = asArray(field(object, 'stmts'), 'stmts');
  if (stmts.length === 0) throw invalidRequest('"stmts" must have at least one statement.');
  if (stmts.length > limits.max_statements)
    throw overLimit('statements in this batch', stmts.length, limits, 'max_statements');
  return {
    type: 'ExecBatch',
    ...(id === undefined ? {} : { id }),
    ...decodeDb(object),
    ...optional(object, 'tx', oneOf(['atomic', 'none'])),
    ...optional(object, 'durable', asBoolean),
    ...optional(object, 'expect_rev', asInteger),
    ...optional(object, 'expect_epoch', asInteger),
    ...optional(object, 'timeout_ms', asTimeout),
    ...optional(object, 'results', asBoolean),
    ...decodeSession(object),
    stmts: stmts.map((stmt, index) => decodeStatement(stmt, index, limits)),
  };
}

/** Fields that say nothing without a session. */
const OF_SESSION = ['seq', 'acked', 'session_epoch', 'session_rev', 'only_replay'] as const;

type SessionFields = Pick<ExecBatchRequest, 'session' | (typeof OF_SESSION)[number]>;

function decodeSession(object: JsonObject): SessionFields {
  if (field(object, 'session') === undefined) {
    const stray = OF_SESSION.find((name) => field(object, name) !== undefined);
    if (stray !== undefined)
      throw invalidRequest(`"${stray}" needs a "session" that it belongs to. Send both, or neither.`);
    return {};
  }
  const fields: { -readonly [Name in keyof SessionFields]: SessionFields[Name] } & { seq: number } = {
    session: asSession(object.session, 'session'),
    seq: asInteger(field(object, 'seq'), 'seq', 1),
  };
  // One by one: every batch of a client comes through here.
  const acked = field(object, 'acked');
  if (acked !== undefined) fields.acked = asInteger(acked, 'acked');
  const epoch = field(object, 'session_epoch');
  if (epoch !== undefined) fields.session_epoch = asInteger(epoch, 'session_epoch');
  const rev = field(object, 'session_rev');
  if (rev !== undefined) fields.session_rev = asInteger(rev, 'session_rev');
  const only = field(object, 'only_replay');
  if (only !== undefined) fields.only_replay = asBoolean(only, 'only_replay');
  if (fields.acked !== undefined && fields.acked >= fields.seq)
    throw invalidRequest(
      `"acked" must be less than "seq" (${fields.seq}): this batch's own answer cannot have arrived.`,
    );
  return fields;
}

function asSession(value: unknown, where: string): string {
  const length = typeof value === 'string' && value.isWellFormed() ? value.length : 0;
  if (typeof value !== 'string' || length === 0 || length > MAX_SESSION_LENGTH)
    throw unexpected(where, `a string of 1 to ${MAX_SESSION_LENGTH} characters`, value);
  return value;
}

function decodeStatement(value: unknown, index: number, limits: Limits): Statement {
  try {
    const object = asObject(value, `stmts[${index}]`);
    const sql = asString(field(object, 'sql'), 'sql');
    if (!sql.isWellFormed()) throw invalidRequest('"sql" has a lone surrogate, which UTF-8 cannot hold.');
    // A UTF-16 unit is at most three bytes: most statements need no count.
    if (sql.length * 3 > limits.max_sql_bytes && Buffer.byteLength(sql) > limits.max_sql_bytes) {
      throw overLimit('bytes in this statement', Buffer.byteLength(sql), limits, 'max_sql_bytes');
    }
    const statement: Statement = {
      sql,
      ...optional(object, 'params', (params, where) => asParams(params, where, limits)),
      ...optional(object, 'param_sets', (sets, where) =>
        asArray(sets, where).map((set, at) => asParams(set, where, limits, at)),
      ),
      ...optional(object, 'expect', (expect, where) =>
        optional(asObject(expect, where), 'rows_affected', asInteger),
      ),
    };
    if (statement.params !== undefined && statement.param_sets !== undefined) {
      throw invalidRequest('"params" and "param_sets" exclude each other.');
    }
    return statement;
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
