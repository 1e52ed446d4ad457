import { invalidRequest, SkylineError } from '../../protocol/errors.js';
import type { SqlInput, SqlOutput } from '../../protocol/values.js';
import type { ExecResult, Row } from '../batch.js';
import type { TransactionOptions } from '../begin.js';
import type { Database } from '../database.js';
import type { Transaction } from '../transaction.js';
import type { DirectReads } from './direct-reads.js';
import { foreignKeysPragma, transactionWord } from './statement-kind.js';

/**
 * What a driver takes for a connection of SQLite. What only reads goes to the file, everything else through the daemon; and
 * between `begin` and `commit` or `rollback` all of it, since it has to see what the transaction has written.
 */
export class DriverConnection {
  readonly #database: Database;
  readonly #reads: DirectReads;
  readonly #options: TransactionOptions;
  #transaction: Transaction | null = null;
  /** Whether they are enforced in the transactions to come; of one that is open it cannot be changed. */
  #foreignKeys = true;

  constructor(database: Database, reads: DirectReads, options: TransactionOptions = {}) {
    this.#database = database;
    this.#reads = reads;
    this.#options = options;
  }

  get inTransaction(): boolean {
    return this.#transaction !== null;
  }

  /**
   * Runs one statement. BEGIN, COMMIT and ROLLBACK are {@link begin}, {@link commit} and {@link rollback}; what `PRAGMA
   * foreign_keys` is set to holds for what this connection does from its next transaction on.
   * @throws SkylineError
   */
  async execute(sql: string, params: readonly unknown[]): Promise<ExecResult> {
    try {
      const word = transactionWord(sql);
      if (word !== undefined) {
        await this[word]();
        return NOTHING;
      }
      const setting = foreignKeysPragma(sql);
      if (setting !== undefined) return await this.#setForeignKeys(setting);
      // Their values are checked one by one when they are encoded.
      return await this.#run(sql, params as readonly SqlInput[]);
    } catch (error) {
      throw withCallersStack(error);
    }
  }

  async #run(sql: string, params: readonly SqlInput[]): Promise<ExecResult> {
    if (this.#transaction !== null) return withBuffers(await this.#transaction.exec(sql, params));
    const read = this.#reads.rows(sql, params);
    if (read !== null) return read;
    if (this.#foreignKeys) return withBuffers(await this.#database.exec(sql, params));
    return await this.#database.transaction(
      async (tx) => withBuffers(await tx.exec(sql, params)),
      this.#terms(),
    );
  }

  async #setForeignKeys(setting: boolean | 'ask'): Promise<ExecResult> {
    if (setting === 'ask')
      return { rowsAffected: 0, columns: ['foreign_keys'], rows: [[this.#foreignKeys ? 1 : 0]] };
    // Inside a transaction SQLite ignores it. Whoever counts on it loses rows to ON DELETE CASCADE when a table is dropped.
    if (this.#transaction === null) this.#foreignKeys = setting;
    else if (!setting && this.#foreignKeys && (await hasForeignKeys(this.#transaction)))
      throw invalidRequest(
        'Foreign keys cannot be turned off inside a transaction: SQLite would ignore it. Do it before the transaction begins.',
      );
    return NOTHING;
  }

  #terms(): TransactionOptions {
    return this.#foreignKeys ? this.#options : { ...this.#options, foreignKeys: false };
  }

  /** Rows one after the other; within a transaction they are read at once. */
  async *stream(sql: string, params: readonly unknown[]): AsyncGenerator<Row, void, undefined> {
    const direct =
      this.#transaction === null ? this.#reads.iterate(sql, params as readonly SqlInput[]) : null;
    if (direct !== null) yield* direct;
    else yield* objectsOf(await this.execute(sql, params));
  }

  /**
   * Begins a transaction. It takes the write lock at once, like BEGIN IMMEDIATE: no other writer comes between a read and the
   * write that depends on it. With `read` it takes none and sees the database as it is now.
   */
  async begin(options: { readonly read?: boolean; readonly foreignKeys?: boolean } = {}): Promise<void> {
    if (this.#transaction !== null)
      throw invalidRequest('Cannot start a transaction within a transaction: use a savepoint.');
    if (options.foreignKeys !== undefined) this.#foreignKeys = options.foreignKeys;
    this.#transaction = await this.#database.begin({ ...this.#terms(), ...options });
  }

  async commit(): Promise<void> {
    await this.#end().commit();
  }

  async rollback(): Promise<void> {
    await this.#end().rollback();
  }

  /** Whatever becomes of it: this connection is outside of the transaction then. */
  #end(): Transaction {
    const transaction = this.#transaction;
    if (transaction === null)
      throw new SkylineError('INVALID_REQUEST', 'Cannot commit or roll back: no transaction is active.');
    this.#transaction = null;
    return transaction;
  }
}

async function hasForeignKeys(transaction: Transaction): Promise<boolean> {
  const { rows } = await transaction.exec(
    'SELECT 1 FROM sqlite_schema AS s, pragma_foreign_key_list(s.name) LIMIT 1',
  );
  return rows !== undefined && rows.length > 0;
}

const NOTHING: ExecResult = Object.freeze({ rowsAffected: 0 });

/** Rows as objects. Columns of the same name fall together. */
export function objectsOf({ columns = [], rows = [] }: ExecResult): Row[] {
  return rows.map((row) => Object.fromEntries(columns.map((column, at) => [column, row[at] as SqlOutput])));
}

/** An answer is read where nothing of the application is on the stack any more; whoever waits for it is. */
function withCallersStack(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const [, ...frames] = (new Error().stack ?? '').split('\n');
  error.stack = [error.stack, ...frames].join('\n');
  return error;
}

/** Blobs as better-sqlite3 gives them, wherever they come from. */
export function withBuffers(result: ExecResult): ExecResult {
  if (result.rows === undefined) return result;
  return { ...result, rows: result.rows.map((row) => row.map(asBuffer)) };
}

function asBuffer(value: SqlOutput): SqlOutput {
  return value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : value;
}
