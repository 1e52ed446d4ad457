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
import { type BatchOptions, type BatchStatement, encodeBatch, type Row, type SqlParams } from './batch.js';
import { begin, type TransactionOptions } from './begin.js';
import { fileOfName } from './catalog-file.js';
import type { Client } from './client.js';
import type { RequestOptions, Unnumbered } from './connection.js';
import type { LoadTarget } from './insert-rows.js';
import { type LiveOptions, live } from './live.js';
import { type LoadOptions, type LoadResult, load } from './load.js';
import { Reader, type ReaderOptions } from './reader.js';
import { Statements } from './statements.js';
import { type TransactOptions, transact } from './transact.js';
import type { Transaction } from './transaction.js';
import { Watch, type WatchOptions } from './watch.js';

export interface MaintenanceOptions {
  /** Milliseconds for readers to leave. Default 5 000. */
  readonly timeoutMs?: number;
  readonly onProgress?: (event: ProgressEvent) => void;
}

/**
 * One database. Writes go through the daemon, each call as a transaction of its own; {@link reader} reads the file directly.
 */
export class Database extends Statements {
  readonly #client: Client;
  /** The file's absolute path; of a database that has a name, the name. */
  readonly path: string;

  /** Use {@link Client.database}. */
  constructor(client: Client, path: string) {
    super();
    this.#client = client;
    this.path = path;
  }

  protected override submit<T>(
    statements: readonly BatchStatement[],
    options: BatchOptions = {},
    decode: (reply: JsonObject) => T,
  ): Promise<T> {
    try {
      return this.#client.route(this.path).submit(encodeBatch(statements, options), decode, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Runs a function in a transaction: it is committed when the function's promise resolves, and rolled back when it rejects.
   * All others who write wait meanwhile, so what takes long belongs before or behind it. Inside, use `tx`: what is sent
   * through the database itself waits for the transaction, and awaited there, until its lease has ended.
   *
   * @example
   * await db.transaction(async (tx) => {
   *   const star = await tx.get<{ id: number }>('SELECT id FROM stars WHERE name = ?', ['Vega']);
   *   if (star !== undefined) await tx.run('UPDATE stars SET seen = seen + 1 WHERE id = ?', [star.id]);
   * });
   *
   * @returns what the function returns, when it is committed
   * @throws what the function throws; SkylineError `TX_EXPIRED` when the transaction has ended before the function:
   *   nothing of it was applied
   */
  transaction<T>(work: (tx: Transaction) => Promise<T> | T, options: TransactOptions = {}): Promise<T> {
    return transact(() => this.begin(options), work, options);
  }

  /**
   * Begins a transaction that stays open until `commit` or `rollback`; {@link transaction} does both by itself.
   * @throws SkylineError `TIMEOUT` when its turn has not come in time; `BUSY`, `DATABASE_PREPARING`, …
   */
  begin(options: TransactionOptions = {}): Promise<Transaction> {
    return begin(this.#client.transactions(this.path), options);
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

  /**
   * Every change, in order, whoever makes it. Nothing is missed when workers or the daemon are killed: it subscribes again
   * from where it was, and starts the daemon if need be. Where that is not known any more, or more than 1 000 changes wait
   * to be read, there is one with `reset: true`.
   *
   * It begins at once; what is written after {@link Watch.ready} has resolved is told. Leaving the loop ends it.
   *
   * @example
   * for await (const { rev, tables } of db.watch({ tables: ['stars'] })) console.log(rev, tables);
   *
   * @throws SkylineError `INVALID_REQUEST` for an option, or at the limit of subscriptions
   */
  watch(options: WatchOptions = {}): Watch {
    return new Watch(this.path, options, {
      subscribe: (message, listener) => this.#client.connection.subscribe(message, listener),
      autoStart: this.#client.connection.autoStart,
    });
  }

  /**
   * A query's rows, now and after each change of a table that it reads, views looked through. The rows are read directly from
   * the file, when the next ones are asked for: whoever is slow gets the latest.
   *
   * @example
   * for await (const stars of db.live('SELECT * FROM stars ORDER BY name')) render(stars);
   *
   * @throws SkylineError `DATABASE_NOT_FOUND` while the file does not exist; `SQL_ERROR`
   */
  live<T = Row>(
    sql: string,
    params?: SqlParams,
    options: LiveOptions = {},
  ): AsyncGenerator<T[], void, undefined> {
    return live<T>(this, sql, params, options);
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
