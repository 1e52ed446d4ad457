import { invalidRequest, SkylineError } from '../protocol/errors.js';
import type { ExecBatchReply, Statement, StatementResult, WireParams } from '../protocol/messages.js';
import { decodeCell, encodeValue, type SqlInput, type SqlOutput } from '../protocol/values.js';
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
  /** Gives up waiting; whether the batch was applied is then unknown. */
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

/** @throws SkylineError `INVALID_REQUEST` naming the statement */
export function encodeStatement(statement: BatchStatement, index: number): Statement {
  if (typeof statement === 'string') return { sql: statement };
  const { sql, params, paramSets, expect } = statement;
  try {
    return {
      sql,
      ...(params === undefined ? {} : { params: encodeParams(params) }),
      ...(paramSets === undefined ? {} : { param_sets: paramSets.map(encodeParams) }),
      ...(expect === undefined ? {} : { expect: { rows_affected: expect.rowsAffected } }),
    };
  } catch (error) {
    if (error instanceof SkylineError)
      throw invalidRequest(`Statement ${index}: ${error.message}`, { statement_index: index });
    throw error;
  }
}

function encodeParams(params: SqlParams): WireParams {
  if (isArray(params)) return params.map(encodeValue);
  return Object.fromEntries(Object.entries(params).map(([name, value]) => [name, encodeValue(value)]));
}

/** Array.isArray does not narrow readonly arrays out of a union. */
function isArray(params: SqlParams): params is readonly SqlInput[] {
  return Array.isArray(params);
}

export function decodeBatch(reply: ExecBatchReply): BatchResult {
  return {
    rev: reply.rev,
    epoch: reply.epoch,
    rowsAffected: reply.rows_affected,
    results: (reply.results ?? []).map(decodeResult),
  };
}

function decodeResult(result: StatementResult): ExecResult {
  const { rows_affected, last_insert_rowid: rowid, columns, rows } = result;
  return {
    rowsAffected: rows_affected,
    ...(rowid === undefined
      ? {}
      : { lastInsertRowid: typeof rowid === 'number' ? rowid : BigInt(rowid.$int) }),
    ...(columns === undefined ? {} : { columns }),
    ...(rows === undefined ? {} : { rows: rows.map((row) => row.map(decodeCell)) }),
  };
}
