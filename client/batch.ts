import { invalidRequest, SkylineError } from '../protocol/errors.js';
import { asArray, asInteger, asObject, asString, unexpected } from '../protocol/fields.js';
import type { JsonObject } from '../protocol/frame.js';
import type { WireParams, WireValue } from '../protocol/messages.js';
import { decodeCell, encodeValue, isPlain, type SqlInput, type SqlOutput } from '../protocol/values.js';
import type { Database } from './database.js';

/** A batch as applications write it, and what comes of it; and both as they travel. */

/** Parameters by position, or by name. */
export type SqlParams = readonly SqlInput[] | { readonly [name: string]: SqlInput };

/** A row as an object. Columns of the same name fall together: use {@link Database.exec} and its arrays for those. */
export type Row = { [column: string]: SqlOutput };

/** One statement of a batch; a plain string has no parameters. */
export type BatchStatement =
  | string
  | {
      readonly sql: string;
      readonly params?: SqlParams;
      /** Runs the statement once for each. */
      readonly paramSets?: readonly SqlParams[];
      /** Makes the whole batch fail unless it holds. */
      readonly expect?: { readonly rowsAffected: number };
    };

export interface BatchOptions {
  /** `atomic` (default): all or nothing. `none`: each statement on its own; the only place for VACUUM. */
  readonly tx?: 'atomic' | 'none';
  /** On disk before the answer, whatever the daemon's `--durability`. */
  readonly durable?: boolean;
  /** Compare-and-set: fails with `EXPECTATION_FAILED` unless the database is there. */
  readonly expectRev?: number;
  readonly expectEpoch?: number;
  /** Milliseconds after which the daemon gives the batch up, a running statement included. */
  readonly timeoutMs?: number;
  /**
   * Stops the batch, also while it runs. The promise rejects with `ABORTED`, whose `outcome` is `not_applied` where that is
   * certain and `unknown` where the daemon did not say within 2 s; a batch that was faster resolves. What runs is not stopped
   * where many batches have led the client to the worker's own socket: `connect({ direct: false })` keeps it from there.
   */
  readonly signal?: AbortSignal;
  /** `false` leaves the statements' results out. */
  readonly results?: boolean;
}

/** What one statement did. */
export interface ExecResult {
  readonly rowsAffected: number;
  /** Where the statement inserted a row; bigint beyond ±(2^53−1). */
  readonly lastInsertRowid?: number | bigint;
  /** For whatever returns rows. */
  readonly columns?: readonly string[];
  readonly rows?: readonly (readonly SqlOutput[])[];
}

export interface BatchResult {
  /** The database's place after the batch: rev counts committed write batches, epoch changes when the file is replaced. */
  readonly rev: number;
  readonly epoch: number;
  readonly rowsAffected: number;
  /** One per statement, unless left out. */
  readonly results: readonly ExecResult[];
}

/**
 * A batch's fields as JSON text, without the braces around them. Composed of a few native calls: an object for every batch,
 * built field by field, would cost more than sending it.
 * @throws SkylineError `INVALID_REQUEST` naming the statement
 */
export function encodeBatch(statements: readonly BatchStatement[], options: BatchOptions): string {
  if (!Array.isArray(statements)) throw invalidRequest('A batch is an array of statements.');
  const { tx, durable, expectRev, expectEpoch, timeoutMs, results, signal } = options;
  let text = '"stmts":[';
  for (let index = 0; index < statements.length; index += 1)
    text += (index === 0 ? '' : ',') + encodeStatement(statements[index] as BatchStatement, index);
  text += ']';
  if (tx !== undefined) text += `,"tx":${json(tx)}`;
  if (durable !== undefined) text += `,"durable":${json(durable)}`;
  if (expectRev !== undefined) text += `,"expect_rev":${json(expectRev)}`;
  if (expectEpoch !== undefined) text += `,"expect_epoch":${json(expectEpoch)}`;
  if (timeoutMs !== undefined) text += `,"timeout_ms":${json(timeoutMs)}`;
  if (signal !== undefined) text += ',"cancellable":true';
  if (results !== undefined) text += `,"results":${json(results)}`;
  return text;
}

function encodeStatement(statement: BatchStatement, index: number): string {
  if (typeof statement === 'string') return `{"sql":${sqlText(statement)}}`;
  const { sql, params, paramSets, expect } = statement;
  try {
    let text = `{"sql":${sqlText(sql)}`;
    if (params !== undefined) text += `,"params":${json(encodeParams(params))}`;
    if (paramSets !== undefined) text += `,"param_sets":${json(paramSets.map(encodeParams))}`;
    if (expect !== undefined) text += `,"expect":${json({ rows_affected: expect.rowsAffected })}`;
    return `${text}}`;
  } catch (error) {
    if (error instanceof SkylineError)
      throw invalidRequest(`Statement ${index}: ${error.message}`, { statement_index: index });
    throw error;
  }
}

/** Statements whose JSON text is kept, and how long they may be. */
const MAX_KEPT = 256;
const MAX_KEPT_SQL = 4096;
const kept = new Map<string, string>();

/** Applications run the same statements over and over: one that is known is not written as JSON again. */
function sqlText(sql: string): string {
  const known = kept.get(sql);
  if (known !== undefined) return known;
  const text = json(sql);
  if (typeof sql !== 'string' || sql.length > MAX_KEPT_SQL) return text;
  if (kept.size >= MAX_KEPT) kept.clear();
  kept.set(sql, text);
  return text;
}

/** What has no JSON form the daemon is to refuse, with the name of its field. */
function json(value: unknown): string {
  return JSON.stringify(value) ?? 'null';
}

function encodeParams(params: SqlParams): WireParams {
  // Most values travel as they are: no copy is made of what has only those.
  if (isArray(params))
    return params.every(isPlain) ? (params as readonly WireValue[]) : params.map(encodeValue);
  return Object.fromEntries(Object.entries(params).map(([name, value]) => [name, encodeValue(value)]));
}

/** Array.isArray does not narrow readonly arrays out of a union. */
function isArray(params: SqlParams): params is readonly SqlInput[] {
  return Array.isArray(params);
}

/**
 * The result of a batch, from its reply.
 * @throws ProtocolError `INVALID_REQUEST` when the daemon sent something else than the protocol says
 */
export function decodeBatch({ rev, epoch, rows_affected: rows, results }: JsonObject): BatchResult {
  return {
    rev: asInteger(rev, 'rev'),
    epoch: asInteger(epoch, 'epoch'),
    rowsAffected: asInteger(rows, 'rows_affected'),
    results: results === undefined ? [] : asArray(results, 'results').map(decodeResult),
  };
}

const NOTHING: ExecResult = Object.freeze({ rowsAffected: 0 });

/** The result of a batch's only statement. */
export function decodeExec(reply: JsonObject): ExecResult & { rev: number; epoch: number } {
  const { rev, epoch, results } = decodeBatch(reply);
  return { ...(results[0] ?? NOTHING), rev, epoch };
}

/** The same without its rows. */
export function decodeRun(reply: JsonObject): {
  rowsAffected: number;
  lastInsertRowid?: number | bigint;
  rev: number;
  epoch: number;
} {
  const { rev, epoch, results } = decodeBatch(reply);
  const { rowsAffected, lastInsertRowid } = results[0] ?? NOTHING;
  return lastInsertRowid === undefined
    ? { rowsAffected, rev, epoch }
    : { rowsAffected, lastInsertRowid, rev, epoch };
}

function decodeResult(value: unknown): ExecResult {
  const { rows_affected, last_insert_rowid, columns, rows } = asObject(value, 'results');
  const rowsAffected = asInteger(rows_affected, 'rows_affected');
  if (columns === undefined) {
    return last_insert_rowid === undefined
      ? { rowsAffected }
      : { rowsAffected, lastInsertRowid: decodeRowid(last_insert_rowid) };
  }
  return {
    rowsAffected,
    ...(last_insert_rowid === undefined ? {} : { lastInsertRowid: decodeRowid(last_insert_rowid) }),
    columns: asArray(columns, 'columns').map((column) => asString(column, 'columns')),
    rows: asArray(rows, 'rows').map((row) => asArray(row, 'rows').map(decodeCell)),
  };
}

function decodeRowid(value: unknown): number | bigint {
  const rowid = decodeCell(value);
  if (typeof rowid === 'bigint' || (typeof rowid === 'number' && Number.isSafeInteger(rowid))) return rowid;
  throw unexpected('last_insert_rowid', 'a 64-bit integer', value);
}
