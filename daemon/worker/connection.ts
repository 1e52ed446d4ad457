import Database from 'better-sqlite3';
import { SkylineError } from '../../protocol/errors.js';
import type { Limits } from '../../protocol/messages.js';
import type { SqlBind } from '../../protocol/values.js';
import type { StatementFacts } from './guard.js';
import { insertTarget } from './insert-target.js';
import { type ResultBudget, resultTooLarge, rowToJson, type StatementOutcome } from './statement-outcome.js';
import type { Tables, WrittenTables } from './written-tables.js';

/** Statements kept prepared. Long ones are not kept: they are hardly ever the same twice. */
const MAX_CACHED = 256;
const MAX_CACHED_SQL = 16 * 1024;

interface Prepared {
  readonly stmt: Database.Statement<unknown[]>;
  /** False for tables without rowid and for views, where SQLite keeps an older last_insert_rowid. */
  readonly setsRowid: boolean;
  readonly upserts: boolean;
}

/**
 * The one read-write connection to a database file: SQLite's settings, transactions, and statements kept prepared.
 * Knows nothing of clients, batches or revs.
 */
export class Connection {
  readonly #db: Database.Database;
  readonly #limits: Limits;
  readonly #statements = new Map<string, Prepared>();
  readonly #changes: Database.Statement<unknown[], { changes: number; rowid: bigint }>;
  readonly #begin: Database.Statement;
  readonly #beginImmediate: Database.Statement;
  readonly #commit: Database.Statement;
  readonly #savepoint: Database.Statement;
  readonly #release: Database.Statement;
  readonly #rollbackTo: Database.Statement;
  readonly #schemaVersion: Database.Statement;
  readonly #dataVersion: Database.Statement;
  /** Hears of every statement, while somebody wants to know what is written to. */
  written: WrittenTables | null = null;
  #durability: 'normal' | 'full';
  #foreignKeys = true;

  private constructor(db: Database.Database, limits: Limits, durability: 'normal' | 'full') {
    this.#db = db;
    this.#limits = limits;
    this.#durability = durability;
    this.#changes = db.prepare('SELECT changes() AS changes, last_insert_rowid() AS rowid');
    this.#changes.safeIntegers(true);
    // Kept prepared: every transaction needs them.
    this.#begin = db.prepare('BEGIN');
    this.#beginImmediate = db.prepare('BEGIN IMMEDIATE');
    this.#commit = db.prepare('COMMIT');
    this.#savepoint = db.prepare('SAVEPOINT batch');
    this.#release = db.prepare('RELEASE batch');
    this.#rollbackTo = db.prepare('ROLLBACK TO batch');
    this.#schemaVersion = db.prepare('PRAGMA schema_version').pluck();
    this.#dataVersion = db.prepare('PRAGMA data_version').pluck();
  }

  /**
   * Opens the file; `:memory:` for a rehearsal. Reads nothing yet: a file that is no database is noticed by the first use.
   * @throws SqliteError
   */
  static open(
    path: string,
    options: {
      create: boolean;
      limits: Limits;
      durability: 'normal' | 'full';
      readonly?: boolean;
      mmapSize?: number | undefined;
    },
  ): Connection {
    // timeout 0: waiting for a lock inside SQLite would block this thread; the caller waits and tries again.
    const { create, readonly = false } = options;
    const db = new Database(path, { fileMustExist: !create, readonly, timeout: 0 });
    try {
      db.pragma('foreign_keys = ON');
      // Checkpoints happen in one place, never in the middle of somebody's commit.
      db.pragma('wal_autocheckpoint = 0');
      // 2 MB, SQLite's own default; better-sqlite3 is compiled for 16. What is not in it is in the system's page cache.
      db.pragma('cache_size = -2000');
      db.pragma(`synchronous = ${options.durability}`);
      if (options.mmapSize !== undefined) db.pragma(`mmap_size = ${options.mmapSize}`);
      return new Connection(db, options.limits, options.durability);
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** The underlying handle, for backup and checkpoint, which are SQLite's own operations. */
  get handle(): Database.Database {
    return this.#db;
  }

  get inTransaction(): boolean {
    return this.#db.inTransaction;
  }

  /**
   * Begins a transaction: one that writes takes the write lock at once, so that it cannot fail half way for another's.
   * @param durability for this transaction; cannot be changed inside one (https://sqlite.org/pragma.html#pragma_synchronous)
   * @param foreignKeys whether they are enforced; the same (https://sqlite.org/pragma.html#pragma_foreign_keys)
   */
  begin(writes: boolean, durability: 'normal' | 'full', foreignKeys = true): void {
    this.setDurability(durability);
    if (foreignKeys !== this.#foreignKeys) {
      this.#db.pragma(`foreign_keys = ${foreignKeys ? 'ON' : 'OFF'}`);
      this.#foreignKeys = foreignKeys;
    }
    (writes ? this.#beginImmediate : this.#begin).run();
  }

  /** What a statement outside of a transaction is synced with. */
  setDurability(durability: 'normal' | 'full'): void {
    if (durability === this.#durability) return;
    this.#db.pragma(`synchronous = ${durability}`);
    this.#durability = durability;
  }

  commit(): void {
    if (!this.#foreignKeys) this.#checkForeignKeys();
    this.#commit.run();
  }

  /** What SQLite would have refused if it had looked. @throws SkylineError */
  #checkForeignKeys(): void {
    const broken = this.#db
      .prepare<[], { table: string; rowid: number | null; parent: string }>('PRAGMA foreign_key_check')
      .get();
    if (broken === undefined) return;
    const row = broken.rowid === null ? 'A row' : `Row ${broken.rowid}`;
    throw new SkylineError(
      'SQL_ERROR',
      `SQLite: FOREIGN KEY constraint failed. ${row} of "${broken.table}" refers to what is not in "${broken.parent}".`,
      { details: { sqlite_code: 'SQLITE_CONSTRAINT_FOREIGNKEY' } },
    );
  }

  /** Ends the transaction if there still is one: some conflicts end it by themselves (ON CONFLICT ROLLBACK). */
  rollback(): void {
    if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
  }

  /** Begins a part of the transaction that can be taken back by itself (https://sqlite.org/lang_savepoint.html). */
  savepoint(): void {
    this.#savepoint.run();
  }

  /** The part is done; it counts when the whole transaction does. */
  release(): void {
    this.#release.run();
  }

  /** Takes the part back; the savepoint stays until it is released. */
  rollbackToSavepoint(): void {
    this.#rollbackTo.run();
  }

  /** Rises with every change of the schema, whoever makes it (https://sqlite.org/pragma.html#pragma_schema_version). */
  get schemaVersion(): number {
    return this.#schemaVersion.get() as number;
  }

  /**
   * A batch begins, in a transaction that is open: {@link takeWritten} is to tell what it has written to.
   * @param statements all SQL of it; null if more may come
   */
  beginBatch(statements: readonly { readonly sql: string }[] | null): void {
    // Without foreign keys the same statement writes to less.
    this.written?.begin(`${this.schemaVersion} ${this.#foreignKeys}`, statements);
  }

  /** Before the position is written: see {@link WrittenTables}. null where nobody wants to know, too. */
  takeWritten(): Tables {
    return this.written?.take() ?? null;
  }

  /** Another one than before: another connection has committed something since (https://sqlite.org/pragma.html#pragma_data_version). */
  get dataVersion(): number {
    return this.#dataVersion.get() as number;
  }

  /**
   * Runs one statement to its end.
   * @param bindings for Statement.run, from parameters.ts
   * @param keepRows false steps through the rows and keeps none, so that none can be too many
   * @param outcome to which this adds what the statement has done: of one that runs many times all share it
   * @throws SqliteError, SkylineError `RESULT_TOO_LARGE`
   */
  run(
    sql: string,
    facts: StatementFacts,
    bindings: readonly unknown[],
    budget: ResultBudget,
    keepRows: boolean,
    outcome: StatementOutcome,
  ): void {
    const { stmt, setsRowid, upserts } = this.#prepare(sql, facts);
    const before = upserts ? this.#changes.get()?.rowid : undefined;
    let rows = 0;
    let rowid: bigint | undefined;
    this.written?.note(sql, facts, bindings);
    if (stmt.reader) {
      for (const row of stmt.iterate(...bindings) as IterableIterator<SqlBind[]>) {
        if (!keepRows) continue;
        const json = rowToJson(row);
        budget.left -= Buffer.byteLength(json) + 1;
        if (budget.left < 0) throw resultTooLarge(this.#limits.max_result_bytes);
        outcome.rows.push(json);
      }
      // After the run: a schema change may have altered what `SELECT *` means since it was prepared.
      outcome.columns = stmt.columns().map((column) => column.name);
      if (facts.changesRows) {
        const state = this.#changes.get();
        rows = Number(state?.changes ?? 0);
        if (facts.inserts) rowid = state?.rowid;
      }
    } else {
      const info = stmt.run(...bindings);
      // changes() keeps an older statement's count after DDL.
      if (facts.changesRows) rows = info.changes;
      if (facts.inserts) rowid = info.lastInsertRowid as bigint;
    }
    outcome.rowsAffected += rows;
    if (rows > 0 && setsRowid && rowid !== undefined && rowid !== before) outcome.lastInsertRowid = rowid;
    if (facts.changesSchema) this.#statements.clear();
    this.written?.noted(facts);
  }

  /** Closes the file. As the last connection SQLite brings the WAL into it and removes `-wal` and `-shm`. */
  close(): void {
    this.#statements.clear();
    this.#db.close();
  }

  #prepare(sql: string, facts: StatementFacts): Prepared {
    const kept = this.#statements.get(sql);
    if (kept !== undefined) return kept;
    const stmt = this.#db.prepare<unknown[]>(sql);
    stmt.safeIntegers(true);
    if (stmt.reader) stmt.raw(true);
    const target = facts.inserts ? insertTarget(sql) : null;
    const prepared = {
      stmt,
      setsRowid: target !== null && this.#hasRowid(target.table),
      upserts: target?.upserts === true,
    };
    // Some PRAGMAs take effect when they are prepared, and only then: each use needs its own.
    if (sql.length > MAX_CACHED_SQL || facts.pragma !== undefined) return prepared;
    if (this.#statements.size >= MAX_CACHED) {
      const oldest = this.#statements.keys().next();
      if (!oldest.done) this.#statements.delete(oldest.value);
    }
    this.#statements.set(sql, prepared);
    return prepared;
  }

  #hasRowid(table: string): boolean {
    const row = this.#db
      .prepare<[string], { type: string; wr: number }>('SELECT type, wr FROM pragma_table_list(?)')
      .get(table);
    return row === undefined || (row.type !== 'view' && row.wr === 0);
  }
}
