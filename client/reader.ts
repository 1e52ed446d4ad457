import { createRequire } from 'node:module';
import type BetterSqlite3 from 'better-sqlite3';
import { codeOf, SkylineError } from '../protocol/errors.js';
import type { SqlOutput } from '../protocol/values.js';
import type { Row, SqlParams } from './batch.js';
import { Exchanged, readFailure } from './read-failure.js';
import { type Files, filesAt, sameFiles, shareStale } from './reader-files.js';
import { bindings, columnsOf, objectOf, rowsOf, toOutput } from './reader-rows.js';

export interface ReaderOptions {
  /** Milliseconds to wait while SQLite is briefly locked (recovery, last close). Default 5 000. */
  readonly busyTimeoutMs?: number;
  /**
   * Other databases to read in the same statements, by the name that stands before their tables: `{ moon: '/data/moon.db' }`
   * for `SELECT * FROM moon.craters` (https://sqlite.org/lang_attach.html). Read-only, like the first.
   */
  readonly attach?: { readonly [schema: string]: string };
}

/** Moments in which another process opens, closes or repairs the database: they pass. */
const PASSING = /^SQLITE_(BUSY|CANTOPEN|PROTOCOL|READONLY_(RECOVERY|ROLLBACK|CANTINIT|CANTLOCK))/;
const MAX_TRIES = 50;
const PAUSE_MS = 5;
/** When the files were exchanged, there is nothing to wait for. */
const QUICK_TRIES = 3;

/**
 * Reads a database file directly: no daemon, no copy, SQLite's own speed. It cannot write, and it follows the file when it
 * is replaced. Synchronous, like better-sqlite3 itself.
 */
export class Reader {
  /** Those with a file open; one that nobody closes and nobody uses any more can still be collected. */
  static readonly #all = new Set<WeakRef<Reader>>();

  readonly #path: string;
  readonly #busyTimeoutMs: number;
  readonly #attach: readonly (readonly [schema: string, path: string])[];
  readonly #paths: readonly string[];
  readonly #schemas: readonly string[];
  #db: BetterSqlite3.Database | null = null;
  #open: Files | null = null;
  /** Each file has its WAL open: nothing is opened by name any more. */
  #inWalMode = false;
  #closed = false;
  readonly #self = new WeakRef(this);

  /**
   * Use {@link Database.reader}.
   * @throws SkylineError `DATABASE_NOT_FOUND`
   */
  constructor(path: string, options: ReaderOptions = {}) {
    this.#path = path;
    this.#busyTimeoutMs = options.busyTimeoutMs ?? 5_000;
    this.#attach = Object.entries(options.attach ?? {});
    this.#paths = [path, ...this.#attach.map(([, other]) => other)];
    this.#schemas = ['main', ...this.#attach.map(([schema]) => schema)].map(quoted);
    this.#retrying(() => this.#current());
  }

  /**
   * All rows, as objects. Integers beyond ±(2^53−1) are bigint.
   * @throws SkylineError
   */
  all<T = Row>(sql: string, params?: SqlParams): T[] {
    const { columns, rows } = this.rows(sql, params);
    return rows.map((row) => objectOf(columns, row) as T);
  }

  /** The first row, or undefined. */
  get<T = Row>(sql: string, params?: SqlParams): T | undefined {
    return this.all<T>(sql, params)[0];
  }

  /** All rows, as arrays in the order of the columns: nothing is lost where two have the same name. */
  rows(sql: string, params?: SqlParams): { columns: string[]; rows: SqlOutput[][] } {
    return this.#retrying(() => {
      const db = this.#current();
      const stmt = db.prepare<unknown[]>(sql);
      if (!stmt.reader) throw onlyReads();
      const read = rowsOf(stmt, sql, params);
      this.#refuseMixture(db);
      return read;
    });
  }

  /**
   * Whether SQLite calls the statement read-only (https://sqlite.org/c3ref/stmt_readonly.html), as it does COMMIT and ATTACH,
   * too. It is not run; but some PRAGMAs have an effect even so.
   * @throws SkylineError `SQL_ERROR` for what is no statement, or names what is not there
   */
  reads(sql: string): boolean {
    return this.#retrying(() => {
      const stmt = this.#current().prepare(sql);
      return stmt.reader && stmt.readonly;
    });
  }

  /**
   * Rows one after the other, as objects, on a connection of their own: all of them as they were when the first was read.
   * Until the iteration ends, the WAL cannot shrink and maintenance has to wait: read it to its end, or leave the loop.
   * @throws SkylineError
   */
  *iterate<T = Row>(sql: string, params?: SqlParams): Generator<T, void, undefined> {
    const own = new Reader(this.#path, {
      busyTimeoutMs: this.#busyTimeoutMs,
      attach: Object.fromEntries(this.#attach),
    });
    try {
      const db = own.#retrying(() => own.#begin());
      const stmt = own.#retrying(() => db.prepare<unknown[]>(sql));
      if (!stmt.reader || !stmt.readonly) throw onlyReads();
      const columns = columnsOf(stmt);
      const rows = stmt
        .safeIntegers(true)
        .raw(true)
        .iterate(...bindings(sql, params)) as IterableIterator<unknown[]>;
      for (const row of rows) yield objectOf(columns, row.map(toOutput)) as T;
    } catch (error) {
      throw error instanceof SkylineError ? error : readFailure(this.#path, error, codeOf(error) ?? '');
    } finally {
      own.close();
    }
  }

  /**
   * Reads in one transaction: everything in it sees the database as it is when it begins to read.
   * @param work must not wait for anything: as long as it lasts, the WAL cannot be emptied
   */
  snapshot<T>(work: () => T): T {
    const outer = this.#retrying(() => this.#current());
    if (outer.inTransaction) return outer.transaction(work)();
    const db = this.#retrying(() => this.#begin());
    try {
      return db.transaction(work)();
    } finally {
      if (db.inTransaction) db.exec('ROLLBACK');
    }
  }

  /** Closes the file. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#release();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The connection to the file that is at the path now; inside a transaction, to the one that was read. */
  #current(): BetterSqlite3.Database {
    if (this.#closed) throw new SkylineError('INVALID_REQUEST', 'This reader is closed.');
    if (this.#db?.inTransaction === true) return this.#db;
    const files = filesAt(this.#paths);
    if (this.#db !== null && sameFiles(files, this.#open)) return this.#db;
    this.#release();
    const held = this.#releaseOthers(files);
    const db = new (betterSqlite3())(this.#path, {
      readonly: true,
      fileMustExist: true,
      timeout: this.#busyTimeoutMs,
    });
    try {
      db.pragma('query_only = ON');
      db.pragma('wal_autocheckpoint = 0');
      for (const [schema, path] of this.#attach) db.prepare(`ATTACH ? AS ${quoted(schema)}`).run(path);
      this.#touch(db);
    } catch (error) {
      db.close();
      throw filesAt(this.#paths).main === files.main ? error : new Exchanged();
    }
    // Of the same file, too: a -shm that was removed in between would never tell of the writer's commits.
    if (!sameFiles(filesAt(this.#paths), files)) {
      db.close();
      throw new Exchanged();
    }
    this.#db = db;
    // Shared with a transaction that goes on, the -shm is still that of before: the next read tries again.
    this.#open = held ? { ...files, index: 'of before' } : files;
    this.#inWalMode = this.#schemas.every(
      (schema) => db.pragma(`${schema}.journal_mode`, { simple: true }) === 'wal',
    );
    Reader.#all.add(this.#self);
    return db;
  }

  /** Reads something of each file. SQLite opens a WAL by its name, when it first reads. */
  #touch(db: BetterSqlite3.Database): void {
    for (const schema of this.#schemas) db.pragma(`${schema}.schema_version`);
  }

  /** Begins a transaction that has read: from here on it sees the same, of the same files. */
  #begin(): BetterSqlite3.Database {
    const db = this.#current();
    db.exec('BEGIN');
    try {
      this.#touch(db);
      if (this.#exchanged()) throw new Exchanged();
      return db;
    } catch (error) {
      // SQLite may have done so by itself.
      if (db.inTransaction) db.exec('ROLLBACK');
      throw error;
    }
  }

  /** Where none has a WAL open yet, the last statement may have opened that of a file which has just come to the path. */
  #refuseMixture(db: BetterSqlite3.Database): void {
    if (!this.#inWalMode && !db.inTransaction && this.#exchanged()) throw new Exchanged();
  }

  /** Whether a path shows another file than the one that is open. */
  #exchanged(): boolean {
    return this.#open !== null && filesAt(this.#paths).main !== this.#open.main;
  }

  #retrying<T>(work: () => T): T {
    // SQLite has waited once by itself: it is not asked to wait so long again.
    const until = performance.now() + this.#busyTimeoutMs;
    for (let tries = 1; ; tries += 1) {
      try {
        return work();
      } catch (error) {
        if (error instanceof SkylineError) throw error;
        const code = codeOf(error) ?? '';
        // A mixture of two files can look like anything.
        const exchanged =
          error instanceof Exchanged || (this.#db?.inTransaction !== true && this.#exchanged());
        const passing = PASSING.test(code) && performance.now() < until;
        if (tries >= MAX_TRIES || !(exchanged || passing)) throw readFailure(this.#path, error, code);
        if (!exchanged || tries > QUICK_TRIES)
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
      }
    }
  }

  /**
   * All connections of a process to one file share one `-shm`, until the last of them is closed (unixShmNode in SQLite's
   * os_unix.c). So others that still have the one of before let go of it.
   * @returns whether one could not, in the middle of a transaction: then this has to be tried again
   */
  #releaseOthers(files: Files): boolean {
    let held = false;
    for (const ref of Reader.#all) {
      const other = ref.deref();
      if (other === undefined) {
        Reader.#all.delete(ref);
        continue;
      }
      if (other.#open === null || !shareStale(other.#open, files)) continue;
      if (other.#db?.inTransaction === true) held = true;
      else other.#release();
    }
    return held;
  }

  #release(): void {
    this.#db?.close();
    this.#db = null;
    this.#open = null;
    Reader.#all.delete(this.#self);
  }
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Loaded with the first reader: an application that only writes does not pay for it. */
function betterSqlite3(): typeof BetterSqlite3 {
  return createRequire(import.meta.url)('better-sqlite3') as typeof BetterSqlite3;
}

function onlyReads(): SkylineError {
  return new SkylineError(
    'STATEMENT_NOT_ALLOWED',
    'A reader only reads: send what writes through the daemon (exec, run, batch).',
  );
}
