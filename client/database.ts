import { resolve } from 'node:path';
import { isBareName } from '../protocol/database-name.js';
import { decodeReply } from '../protocol/decode-reply.js';
import type { JsonObject } from '../protocol/frame.js';
import type {
  BackupReply,
  CheckpointMode,
  CheckpointReply,
  PingDatabaseReply,
  ProgressEvent,
  ReopenDatabaseReply,
  ReplaceDatabaseReply,
} from '../protocol/messages.js';
import {
  type BatchOptions,
  type BatchResult,
  type BatchStatement,
  decodeBatch,
  decodeExec,
  decodeRun,
  type ExecResult,
  encodeBatch,
  type Row,
  type SqlParams,
} from './batch.js';
import { fileOfName } from './catalog-file.js';
import type { Client } from './client.js';
import type { RequestOptions, Unnumbered } from './connection.js';
import type { LoadTarget } from './insert-rows.js';
import { type LoadOptions, type LoadResult, load } from './load.js';
import { Reader, type ReaderOptions } from './reader.js';

export interface MaintenanceOptions {
  /** Milliseconds for readers to leave. Default 5 000. */
  readonly timeoutMs?: number;
  readonly onProgress?: (event: ProgressEvent) => void;
}

/** One database. Writes go through the daemon; {@link reader} reads the file directly. */
export class Database {
  readonly #client: Client;
  /** The file's absolute path; of a database that has a name, the name. */
  readonly path: string;

  /** Use {@link Client.database}. */
  constructor(client: Client, path: string) {
    this.#client = client;
    this.path = path;
  }

  /**
   * Runs one statement in a transaction of its own.
   * @throws SkylineError `SQL_ERROR` with `details.sqlite_code`, and the codes of {@link batch}
   */
  exec(
    sql: string,
    params?: SqlParams,
    options: BatchOptions = {},
  ): Promise<ExecResult & { rev: number; epoch: number }> {
    return this.#submit([params === undefined ? sql : { sql, params }], options, decodeExec);
  }

  /** Runs one statement for its effect. */
  run(
    sql: string,
    params?: SqlParams,
    options: BatchOptions = {},
  ): Promise<{ rowsAffected: number; lastInsertRowid?: number | bigint; rev: number; epoch: number }> {
    return this.#submit([params === undefined ? sql : { sql, params }], options, decodeRun);
  }

  /** Runs one statement on the writer and returns its rows as objects: for RETURNING, or to read behind one's own writes. */
  async all<T = Row>(sql: string, params?: SqlParams, options: BatchOptions = {}): Promise<T[]> {
    const { columns = [], rows = [] } = await this.exec(sql, params, options);
    return rows.map((row) => Object.fromEntries(columns.map((column, at) => [column, row[at]])) as T);
  }

  /**
   * Runs statements as one transaction: all of them or none.
   * @throws SkylineError with `code`, `outcome` and `details`; `outcome: "unknown"` only when the connection was lost
   */
  batch(statements: readonly BatchStatement[], options: BatchOptions = {}): Promise<BatchResult> {
    return this.#submit(statements, options, decodeBatch);
  }

  /** One promise per batch, whatever is made of its reply. */
  #submit<T>(
    statements: readonly BatchStatement[],
    options: BatchOptions,
    decode: (reply: JsonObject) => T,
  ): Promise<T> {
    try {
      return this.#client.route(this.path).submit(encodeBatch(statements, options), decode, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Loads many rows: reads them no faster than the daemon takes them, and sends them in batches that are a transaction each.
   *
   * The first batch that fails ends the load. Three others may have been on their way and are committed then:
   * `details.rows_committed` counts all rows that are, and `details.failed_rows` has the first row that is not, from 0, and
   * the first one behind the failed batch. With `outcome: "unknown"` the rows of `failed_rows` may be committed, too.
   *
   * @param target a table, or a statement that is run for each row: `{ sql: 'INSERT OR IGNORE INTO t VALUES (?, ?)' }`
   * @param rows arrays of values in the columns' order, or objects by the columns' names, all with those of the first;
   *   for a statement its parameters
   * @example
   * await db.load('stars', parseLines(file), { columns: ['name', 'magnitude'] });
   * @throws SkylineError the batch's; `ABORTED` for the signal, and when the iterable throws (`cause`)
   */
  async load(
    target: LoadTarget,
    rows: Iterable<SqlParams> | AsyncIterable<SqlParams>,
    options: LoadOptions = {},
  ): Promise<LoadResult> {
    return await load(this, target, rows, options);
  }

  /**
   * A direct, read-only connection to the file. It sees every write whose answer has arrived.
   * Of a database that has a name it is the file that has this name now.
   * @throws SkylineError `DATABASE_NOT_FOUND` while the file does not exist
   */
  reader(options: ReaderOptions = {}): Reader {
    const { dataDir } = this.#client;
    const named = isBareName(this.path) && dataDir !== undefined;
    return new Reader(named ? fileOfName(dataDir, this.path) : this.path, options);
  }

  /** Where the database stands. Creates nothing. */
  async ping(options: RequestOptions = {}): Promise<PingDatabaseReply> {
    return decodeReply('PingDatabase', await this.#client.request({ type: 'Ping', db: this.path }, options));
  }

  /**
   * Closes the database for everybody, calls back, and reopens it, also when the callback throws. Meanwhile the file may be
   * copied, changed or replaced by whatever means.
   * @throws SkylineError `CHECKPOINT_BUSY` when a reader does not leave in time: then nothing was called
   */
  async maintenance<T>(
    callback: (path: string) => Promise<T> | T,
    options: MaintenanceOptions = {},
  ): Promise<T> {
    const path = isBareName(this.path) ? (await this.ping()).db_path : this.path;
    await this.close(options);
    let result: T;
    try {
      result = await callback(path);
    } catch (error) {
      try {
        await this.reopen();
      } catch (reopening) {
        throw new AggregateError(
          [error, reopening],
          `The maintenance failed, and ${this.path} stays closed. See "errors".`,
        );
      }
      throw error;
    }
    await this.reopen();
    return result;
  }

  /** Finishes what is queued, refuses new writes, and brings the WAL into the main file. {@link reopen} ends it. */
  async prepare(options: MaintenanceOptions = {}): Promise<void> {
    const { timeoutMs } = options;
    const message = {
      type: 'PrepareForMaintenance' as const,
      db: this.path,
      ...(timeoutMs === undefined ? {} : { timeout_ms: timeoutMs }),
    };
    decodeReply('PrepareForMaintenance', await this.#request(message));
  }

  /** Closes the file until {@link reopen}, across all restarts. */
  async close(options: MaintenanceOptions = {}): Promise<void> {
    const { timeoutMs } = options;
    const message = {
      type: 'CloseDatabase' as const,
      db: this.path,
      ...(timeoutMs === undefined ? {} : { timeout_ms: timeoutMs }),
    };
    decodeReply('CloseDatabase', await this.#request(message));
  }

  /** @param options.allowMissing the file is gone for good: the next write makes a new one */
  async reopen(options: { allowMissing?: boolean } = {}): Promise<ReopenDatabaseReply> {
    const allow = options.allowMissing === undefined ? {} : { allow_missing: options.allowMissing };
    return decodeReply(
      'ReopenDatabase',
      await this.#request({ type: 'ReopenDatabase', db: this.path, ...allow }),
    );
  }

  /**
   * Puts a copy of another file in the database's place, in one step for everybody. The old file is kept.
   * @param file relative to this process's working directory; it is neither moved nor changed
   */
  async replace(file: string, options: MaintenanceOptions = {}): Promise<ReplaceDatabaseReply> {
    const { timeoutMs, onProgress } = options;
    const message = {
      type: 'ReplaceDatabase' as const,
      db: this.path,
      from: resolve(file),
      ...(timeoutMs === undefined ? {} : { timeout_ms: timeoutMs }),
    };
    return decodeReply('ReplaceDatabase', await this.#request(message, { onProgress }));
  }

  /**
   * Copies the database while it goes on being written.
   * @param to relative to this process's working directory
   */
  async backup(
    to: string,
    options: { overwrite?: boolean; onProgress?: (event: ProgressEvent) => void } = {},
  ): Promise<BackupReply> {
    const { overwrite, onProgress } = options;
    const message = {
      type: 'Backup' as const,
      db: this.path,
      to: resolve(to),
      ...(overwrite === undefined ? {} : { overwrite }),
    };
    return decodeReply('Backup', await this.#request(message, { onProgress }));
  }

  /** https://sqlite.org/pragma.html#pragma_wal_checkpoint */
  async checkpoint(mode: CheckpointMode = 'passive'): Promise<CheckpointReply> {
    return decodeReply('Checkpoint', await this.#request({ type: 'Checkpoint', db: this.path, mode }));
  }

  /** Behind the batches that were sent before, also where those went another way. */
  async #request(message: Unnumbered, options: RequestOptions = {}): Promise<JsonObject> {
    const route = this.#client.route(this.path);
    if (route.isDirect) await route.settled();
    return await this.#client.request(message, options);
  }
}
