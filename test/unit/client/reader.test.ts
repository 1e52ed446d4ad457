import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type BetterSqlite3 from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Reader } from '../../../client/reader.js';

/**
 * The file is exchanged in the middle of one call of a reader: between the look at the path and the opening of the WAL, which
 * SQLite opens by its name. No file here is open twice in this process: what another connection does, another process does.
 */

const Sqlite = createRequire(import.meta.url)('better-sqlite3') as typeof BetterSqlite3;
type Method = 'pragma' | 'prepare';
const real = { pragma: Sqlite.prototype.pragma, prepare: Sqlite.prototype.prepare };
let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sky-'));
  path = join(dir, 'x.db');
});
afterEach(() => {
  Object.assign(Sqlite.prototype, real);
  rmSync(dir, { recursive: true });
});

/** A database with so many large rows; one in WAL mode has its last change in the WAL alone. */
function make(name: string, journal: 'wal' | 'delete', rows: number): string {
  const file = join(dir, name);
  const db = new Sqlite(file);
  db.exec('CREATE TABLE t (name, filling)');
  const insert = db.prepare('INSERT INTO t VALUES (?, randomblob(3000))');
  for (let row = 0; row < rows; row += 1) insert.run(name);
  db.pragma(`journal_mode = ${journal}`);
  db.prepare('UPDATE t SET filling = randomblob(3000) WHERE rowid = 1').run();
  const copy = join(dir, `copy-${name}`);
  // Copied while it is open: closing would bring the WAL home.
  copyFileSync(file, copy);
  if (journal === 'wal') copyFileSync(`${file}-wal`, `${copy}-wal`);
  db.close();
  return copy;
}

function exchange(file: string): void {
  renameSync(path, join(dir, 'old.db'));
  rmSync(`${path}-wal`, { force: true });
  rmSync(`${path}-shm`, { force: true });
  renameSync(file, path);
  renameSync(`${file}-wal`, `${path}-wal`);
}

/** Something else happens when SQLite is called so next, before it has answered or after. */
function meanwhile(method: Method, sql: string, when: 'before' | 'after', work: () => void): void {
  const original = real[method] as (
    this: BetterSqlite3.Database,
    text: string,
    ...rest: unknown[]
  ) => unknown;
  Sqlite.prototype[method] = function (this: BetterSqlite3.Database, text: string, ...rest: unknown[]) {
    if (text !== sql) return original.call(this, text, ...rest);
    Object.assign(Sqlite.prototype, real);
    if (when === 'before') work();
    const answer = original.call(this, text, ...rest);
    if (when === 'after') work();
    return answer;
  } as never;
}

const TOUCH = '"main".schema_version';
const NAMES = 'SELECT DISTINCT name FROM t';
/** A mixture of files of different sizes is an error to SQLite; of two that are built alike it is not. */
const SIZES = [60, 5];

test.each(SIZES.flatMap((rows) => [['wal', rows] as const, ['delete', rows] as const]))(
  'while the file is being opened (%s, %i rows before)',
  (journal, rows) => {
    const next = make('new.db', 'wal', 5);
    renameSync(make('old.db', journal, rows), path);
    meanwhile('pragma', TOUCH, 'before', () => exchange(next));
    const reader = new Reader(path);
    expect(reader.all(NAMES)).toEqual([{ name: 'new.db' }]);
    reader.close();
  },
);

describe.each(SIZES)('while it is open, and not in WAL mode yet (%i rows before)', (rows) => {
  let next: string;
  let reader: Reader;
  beforeEach(() => {
    next = make('new.db', 'wal', 5);
    renameSync(make('old.db', 'delete', rows), path);
    reader = new Reader(path);
    expect(reader.all(NAMES)).toEqual([{ name: 'old.db' }]);
  });
  afterEach(() => reader.close());

  test('a statement reads the new one', () => {
    meanwhile('prepare', NAMES, 'before', () => exchange(next));
    expect(reader.all(NAMES)).toEqual([{ name: 'new.db' }]);
  });

  test('so does a snapshot, and all of it', () => {
    meanwhile('pragma', TOUCH, 'before', () => exchange(next));
    expect(reader.snapshot(() => reader.all(NAMES))).toEqual([{ name: 'new.db' }]);
  });
});

test('rows that are read one after the other are all of one file', () => {
  const next = make('new.db', 'wal', 5);
  renameSync(make('old.db', 'delete', 5), path);
  const reader = new Reader(path);
  const rows = reader.iterate('SELECT name FROM t');
  // Its own connection is opened with the first, and begins then.
  meanwhile('pragma', TOUCH, 'after', () => meanwhile('pragma', TOUCH, 'before', () => exchange(next)));
  expect(new Set([...rows].map(({ name }) => name))).toEqual(new Set(['new.db']));
  reader.close();
});

test('the -shm is removed while it is being opened, and made anew by the writer: its commits are seen', () => {
  renameSync(make('a.db', 'wal', 5), path);
  const reader = new Reader(path);
  const writeAnew = (sql: string) => {
    rmSync(`${path}-wal`);
    rmSync(`${path}-shm`);
    write(sql);
  };
  // For this one it is opened again.
  writeAnew("INSERT INTO t VALUES ('first', 0)");
  meanwhile('pragma', TOUCH, 'after', () => writeAnew("INSERT INTO t VALUES ('second', 0)"));
  expect(reader.all(NAMES)).toEqual([{ name: 'a.db' }, { name: 'second' }]);
  write("INSERT INTO t VALUES ('third', 0)");
  expect(reader.all(NAMES)).toEqual([{ name: 'a.db' }, { name: 'second' }, { name: 'third' }]);
  reader.close();
});

describe('several readers of one file, whose -shm is made anew by the writer', () => {
  let one: Reader;
  let other: Reader;
  beforeEach(() => {
    renameSync(make('a.db', 'wal', 5), path);
    one = new Reader(path);
    other = new Reader(path);
    rmSync(`${path}-wal`);
    rmSync(`${path}-shm`);
    write("INSERT INTO t VALUES ('written', 0)");
  });
  afterEach(() => {
    one.close();
    other.close();
  });
  const both = [{ name: 'a.db' }, { name: 'written' }];

  test('all see its commits', () => {
    expect(one.all(NAMES)).toEqual(both);
    expect(other.all(NAMES)).toEqual(both);
    expect(new Reader(path).all(NAMES)).toEqual(both);
    write("INSERT INTO t VALUES ('later', 0)");
    for (const reader of [one, other]) expect(reader.all(NAMES)).toEqual([...both, { name: 'later' }]);
  });

  test('also a new one', () => {
    const anew = new Reader(path);
    expect(anew.all(NAMES)).toEqual(both);
    anew.close();
  });
});

test('while one is in a transaction with the -shm of before, others see later commits when it has ended', () => {
  renameSync(make('a.db', 'wal', 5), path);
  const one = new Reader(path);
  const other = new Reader(path);
  const rows = one.iterate('SELECT name FROM t');
  rows.next();
  rmSync(`${path}-wal`);
  rmSync(`${path}-shm`);
  write("INSERT INTO t VALUES ('written', 0)");
  expect(other.all(NAMES)).toEqual([{ name: 'a.db' }]);
  expect([...rows].length).toBe(4);
  expect(other.all(NAMES)).toEqual([{ name: 'a.db' }, { name: 'written' }]);
  one.close();
  other.close();
});

test('beside a -shm that was left over, a file that is not in WAL mode is read whole, too', () => {
  const next = make('new.db', 'wal', 5);
  renameSync(make('old.db', 'delete', 5), path);
  writeFileSync(`${path}-shm`, '');
  const reader = new Reader(path);
  meanwhile('prepare', NAMES, 'before', () => exchange(next));
  expect(reader.all(NAMES)).toEqual([{ name: 'new.db' }]);
  reader.close();
});

test('a writer that was cut off in the middle of a transaction', () => {
  renameSync(make('a.db', 'delete', 5), path);
  const cutOff = `db.exec("BEGIN; UPDATE t SET filling = randomblob(3000)"); db.pragma('cache_spill = 1'); process.kill(process.pid, 'SIGKILL');`;
  expect(() => run(`db.pragma('cache_size = 1'); ${cutOff}`)).toThrow();
  expect(() => new Reader(path)).toThrow(
    expect.objectContaining({ code: 'BUSY', message: expect.stringContaining('cut off') }),
  );
  write("INSERT INTO t VALUES ('repaired', 0)");
  const reader = new Reader(path);
  expect(reader.all(NAMES)).toEqual([{ name: 'a.db' }, { name: 'repaired' }]);
  reader.close();
});

/** By another process. */
function write(sql: string): void {
  run(`db.exec(${JSON.stringify(sql)})`);
}

function run(script: string): void {
  const open = `const db = new (require('better-sqlite3'))(${JSON.stringify(path)});`;
  execFileSync(process.execPath, ['-e', `${open} ${script}`], { cwd: import.meta.dirname, stdio: 'pipe' });
}
