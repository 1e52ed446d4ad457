import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import type BetterSqlite3 from 'better-sqlite3';
import { codeOf, SkylineError } from '../protocol/errors.js';
import { nativeModuleRemedy } from '../protocol/native-module.js';
import { encodeValue, type SqlInput, type SqlOutput } from '../protocol/values.js';
import type { Row, SqlParams } from './batch.js';

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

/** Which files are at the paths. */
interface Files {
  readonly main: string;
  /** The `-shm`s that are shared with the writers. */
  readonly index: string;
  readonly allInWalMode: boolean;
}

/** Another file has come to the path in the middle of the work: it is done once more, on that one. */
class Exchanged extends Error {
  readonly code = 'SQLITE_BUSY';
  override readonly message = 'the file was exchanged again and again while it was read';
}

/**
 * Reads a database file directly: no daemon, no copy, SQLite's own speed. It cannot write, and it follows the file when it
 * is replaced. Synchronous, like better-sqlite3 itself.
 */
export class Reader {
  readonly #path: string;
  readonly #busyTimeoutMs: number;
  readonly #attach: readonly (readonly [schema: string, path: string])[];
  readonly #paths: readonly string[];
  #db: BetterSqlite3.Database | null = null;
  #open: Files | null = null;
  #closed = false;

  /**
   * Use {@link Database.reader}.
   * @throws SkylineError `DATABASE_NOT_FOUND`
   */
  constructor(path: string, options: ReaderOptions = {}) {
    this.#path = path;
    this.#busyTimeoutMs = options.busyTimeoutMs ?? 5_000;
    this.#attach = Object.entries(options.attach ?? {});
    this.#paths = [path, ...this.#attach.map(([, other]) => other)];
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
    const files = this.#look();
    if (this.#db !== null && sameFiles(files, this.#open)) return this.#db;
    this.#release();
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
      throw this.#look().main === files.main ? error : new Exchanged();
    }
    // Of the same file, too: a -shm that was removed in between would never tell of the writer's commits.
    if (!sameFiles(this.#look(), files)) {
      db.close();
      throw new Exchanged();
    }
    this.#db = db;
    this.#open = files;
    return db;
  }

  /** Reads something of each file. SQLite opens a WAL by its name, when it first reads. */
  #touch(db: BetterSqlite3.Database): void {
    for (const schema of ['main', ...this.#attach.map(([name]) => name)])
      db.pragma(`${quoted(schema)}.schema_version`);
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
      db.exec('ROLLBACK');
      throw error;
    }
  }

  /** Where none has a WAL open yet, the last statement may have opened that of a file which has just come to the path. */
  #refuseMixture(db: BetterSqlite3.Database): void {
    if (this.#open?.allInWalMode === false && !db.inTransaction && this.#exchanged()) throw new Exchanged();
  }

  /** Whether a path shows another file than the one that is open. */
  #exchanged(): boolean {
    return this.#open !== null && this.#look().main !== this.#open.main;
  }

  #look(): Files {
    const main = this.#paths.map(fileAt).join();
    const indexes = this.#paths.map(indexAt);
    return { main, index: indexes.join(), allInWalMode: !indexes.includes('') };
  }

  #retrying<T>(work: () => T): T {
    for (let tries = 1; ; tries += 1) {
      try {
        return work();
      } catch (error) {
        if (error instanceof SkylineError) throw error;
        const code = codeOf(error) ?? '';
        // A mixture of two files can look like anything.
        const exchanged =
          error instanceof Exchanged || (this.#db?.inTransaction !== true && this.#exchanged());
        if (tries >= MAX_TRIES || !(exchanged || PASSING.test(code)))
          throw readFailure(this.#path, error, code);
        if (!exchanged) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
      }
    }
  }

  #release(): void {
    this.#db?.close();
    this.#db = null;
    this.#open = null;
  }
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Loaded with the first reader: an application that only writes does not pay for it. */
function betterSqlite3(): typeof BetterSqlite3 {
  return createRequire(import.meta.url)('better-sqlite3') as typeof BetterSqlite3;
}

/** @throws SkylineError `DATABASE_NOT_FOUND`, `DATABASE_NOT_ALLOWED` */
function fileAt(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (stat === undefined)
    throw new SkylineError(
      'DATABASE_NOT_FOUND',
      `There is no database at ${path}. The first write makes it.`,
    );
  if (!stat.isFile())
    throw new SkylineError('DATABASE_NOT_ALLOWED', `${path} is no regular file, so no database.`);
  return `${stat.dev}:${stat.ino}`;
}

function sameFiles(one: Files, other: Files | null): boolean {
  return one.main === other?.main && one.index === other.index;
}

/** Another one than before: the file was exchanged, and this connection would not hear of the writer's commits any more. */
function indexAt(path: string): string {
  const stat = statSync(`${path}-shm`, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? '' : `${stat.dev}:${stat.ino}`;
}

function onlyReads(): SkylineError {
  return new SkylineError(
    'STATEMENT_NOT_ALLOWED',
    'A reader only reads: send what writes through the daemon (exec, run, batch).',
  );
}

type Statement = BetterSqlite3.Statement<unknown[]>;

function rowsOf(
  stmt: Statement,
  sql: string,
  params: SqlParams | undefined,
): { columns: string[]; rows: SqlOutput[][] } {
  const rows = stmt
    .safeIntegers(true)
    .raw(true)
    .all(...bindings(sql, params)) as unknown[][];
  return { columns: columnsOf(stmt), rows: rows.map((row) => row.map(toOutput)) };
}

function columnsOf(stmt: Statement): string[] {
  return stmt.columns().map(({ name }) => name);
}

function objectOf(columns: readonly string[], row: readonly SqlOutput[]): Row {
  return Object.fromEntries(columns.map((column, at) => [column, row[at] as SqlOutput]));
}

/** To better-sqlite3 `?1` is a parameter of the name 1. */
const NUMBERED = /\?\d/;

function bindings(sql: string, params: SqlParams | undefined): unknown[] {
  if (params === undefined) return [];
  if (Array.isArray(params)) {
    const values = (params as readonly SqlInput[]).map(toBind);
    return NUMBERED.test(sql) ? [Object.fromEntries(values.map((value, at) => [at + 1, value]))] : values;
  }
  return [
    Object.fromEntries(
      Object.entries(params).map(([name, value]) => [name.replace(/^[:@$?]/, ''), toBind(value as SqlInput)]),
    ),
  ];
}

/** better-sqlite3 binds every number as REAL: whole ones go in as bigint. */
function toBind(value: SqlInput): unknown {
  if (value instanceof Uint8Array) return value;
  const wire = encodeValue(value);
  if (typeof wire === 'number') return Number.isInteger(wire) ? BigInt(wire) : wire;
  if (typeof wire === 'boolean') return wire ? 1n : 0n;
  if (typeof value === 'bigint') return value;
  if (typeof wire === 'object' && wire !== null && '$real' in wire) return Number(wire.$real);
  return wire;
}

function toOutput(value: unknown): SqlOutput {
  if (typeof value !== 'bigint') return value as SqlOutput;
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(value)
    : value;
}

function readFailure(path: string, error: unknown, code: string): SkylineError {
  const message = error instanceof Error ? error.message : String(error);
  const remedy = nativeModuleRemedy(error);
  if (remedy !== null) return new SkylineError('IO_ERROR', remedy, { cause: error });
  if (code === 'SQLITE_NOTADB')
    return new SkylineError('NOT_A_DATABASE', `${path}: ${message}.`, { cause: error });
  if (code.startsWith('SQLITE_CORRUPT'))
    return new SkylineError('DATABASE_CORRUPT', `${path}: ${message}.`, { cause: error });
  if (code.startsWith('SQLITE_BUSY'))
    return new SkylineError('BUSY', `${path}: ${message}. Another process holds it; try again.`, {
      cause: error,
    });
  if (code === 'SQLITE_READONLY_ROLLBACK' || code === 'SQLITE_READONLY_RECOVERY') {
    return new SkylineError(
      'BUSY',
      `${path}: whoever wrote it last was cut off in the middle. The next write through the daemon repairs it; try again.`,
      { cause: error },
    );
  }
  if (code.startsWith('SQLITE_CANTOPEN') || code.startsWith('SQLITE_READONLY_CANT')) {
    return new SkylineError(
      'IO_ERROR',
      `${path}: ${message}. A database in WAL mode can only be read where its folder is writable.`,
      { cause: error },
    );
  }
  return new SkylineError('SQL_ERROR', `SQLite: ${message}`, {
    cause: error,
    details: code === '' ? {} : { sqlite_code: code },
  });
}
