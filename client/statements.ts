import type { JsonObject } from '../protocol/frame.js';
import {
  type BatchOptions,
  type BatchResult,
  type BatchStatement,
  decodeBatch,
  decodeExec,
  decodeRun,
  type ExecResult,
  type Row,
  type SqlParams,
} from './batch.js';

/** Where statements are run: a database, of which each call is a transaction of its own, or a transaction. */
export abstract class Statements<Options = BatchOptions> {
  /**
   * Runs one statement.
   * @throws SkylineError `SQL_ERROR` with `details.sqlite_code`, and the codes of {@link batch}
   */
  exec(
    sql: string,
    params?: SqlParams,
    options?: Options,
  ): Promise<ExecResult & { rev: number; epoch: number }> {
    return this.submit([params === undefined ? sql : { sql, params }], options, decodeExec);
  }

  /** Runs one statement for its effect. */
  run(
    sql: string,
    params?: SqlParams,
    options?: Options,
  ): Promise<{ rowsAffected: number; lastInsertRowid?: number | bigint; rev: number; epoch: number }> {
    return this.submit([params === undefined ? sql : { sql, params }], options, decodeRun);
  }

  /** Runs one statement on the writer and returns its rows as objects: for RETURNING, or to read behind one's own writes. */
  async all<T = Row>(sql: string, params?: SqlParams, options?: Options): Promise<T[]> {
    const { columns = [], rows = [] } = await this.exec(sql, params, options);
    return rows.map((row) => Object.fromEntries(columns.map((column, at) => [column, row[at]])) as T);
  }

  /** The first of these rows, or undefined. */
  async get<T = Row>(sql: string, params?: SqlParams, options?: Options): Promise<T | undefined> {
    return (await this.all<T>(sql, params, options))[0];
  }

  /**
   * Runs statements: all of them or none.
   * @throws SkylineError with `code`, `outcome` and `details`; `outcome: "unknown"` only when the connection was lost
   */
  batch(statements: readonly BatchStatement[], options?: Options): Promise<BatchResult> {
    return this.submit(statements, options, decodeBatch);
  }

  /** One promise per request, whatever is made of its reply. */
  protected abstract submit<T>(
    statements: readonly BatchStatement[],
    options: Options | undefined,
    decode: (reply: JsonObject) => T,
  ): Promise<T>;
}
