import { decodeId } from './decode-request.js';
import { readSession } from './decode-session.js';
import { invalidRequest, ProtocolError } from './errors.js';
import {
  asArray,
  asBoolean,
  asInteger,
  asObject,
  asString,
  asTimeout,
  type Complete,
  given,
  isObject,
  oneOf,
  optional,
  unexpected,
} from './fields.js';
import type { JsonObject } from './frame.js';
import type { ExecBatchRequest, Limits, Statement, WireParams } from './messages.js';

/** A statement with all its fields, absent ones undefined. */
export type DecodedStatement = Complete<Statement>;
/** An `ExecBatch` with all its fields, absent ones undefined: every batch comes through here, and all have one shape. */
export type DecodedBatch = Omit<Complete<ExecBatchRequest>, 'stmts'> & {
  readonly stmts: readonly DecodedStatement[];
};

const asTx = oneOf(['atomic', 'none']);

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
    cancellable: given(object.cancellable, 'cancellable', asBoolean),
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
    cancellable: given(object.cancellable, 'cancellable', asBoolean),
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
  cancellable: undefined,
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
