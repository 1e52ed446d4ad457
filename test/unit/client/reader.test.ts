import { copyFileSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type BetterSqlite3 from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Reader } from '../../../client/reader.js';

/**
 * The file is exchanged in the middle of one call of a reader: between the look at the path and the opening of the WAL, which
 * SQLite opens by its name. No file here is open twice in this process.
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

/** Has the file exchanged when SQLite is called so next. */
function exchangeAt(method: Method, sql: string, file: string): void {
  const original = real[method] as (
    this: BetterSqlite3.Database,
    text: string,
    ...rest: unknown[]
  ) => unknown;
  Sqlite.prototype[method] = function (this: BetterSqlite3.Database, text: string, ...rest: unknown[]) {
    if (text === sql) {
      Object.assign(Sqlite.prototype, real);
      exchange(file);
    }
    return original.call(this, text, ...rest);
  } as never;
}

const NAMES = 'SELECT DISTINCT name FROM t';

test.each(['wal', 'delete'] as const)('while the file is being opened (%s before)', (journal) => {
  const next = make('new.db', 'wal', 5);
  renameSync(make('old.db', journal, 60), path);
  exchangeAt('pragma', 'schema_version', next);
  const reader = new Reader(path);
  expect(reader.all(NAMES)).toEqual([{ name: 'new.db' }]);
  reader.close();
});

test('while it is open, and not in WAL mode yet', () => {
  const next = make('new.db', 'wal', 5);
  renameSync(make('old.db', 'delete', 60), path);
  const reader = new Reader(path);
  expect(reader.all(NAMES)).toEqual([{ name: 'old.db' }]);
  exchangeAt('prepare', NAMES, next);
  expect(reader.all(NAMES)).toEqual([{ name: 'new.db' }]);
  reader.close();
});
