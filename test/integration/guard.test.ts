import { existsSync, readdirSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

let ground: Playground;
let wire: Wire;
let other: Wire;
/** A database for each test. */
let db: string;
let made = 0;
beforeAll(async () => {
  ground = new Playground();
  await ground.daemon();
  wire = await ground.wire();
  other = await ground.wire();
});
beforeEach(async () => {
  made += 1;
  db = `guard-${made}.db`;
  await wire.exec(db, ['CREATE TABLE t (a)', 'CREATE TABLE child (p REFERENCES parent (id))']);
  await wire.exec(db, ['CREATE TABLE parent (id INTEGER PRIMARY KEY)']);
});
afterAll(async () => {
  try {
    await ground.expectCleanEnd();
  } finally {
    await ground.dispose();
  }
});

/** What another client can see of the connection that all share. */
async function state(): Promise<unknown> {
  const settings = await other.rows(
    db,
    `SELECT (SELECT foreign_keys FROM pragma_foreign_keys), (SELECT journal_mode FROM pragma_journal_mode),
      (SELECT synchronous FROM pragma_synchronous), (SELECT recursive_triggers FROM pragma_recursive_triggers),
      (SELECT defer_foreign_keys FROM pragma_defer_foreign_keys), (SELECT query_only FROM pragma_query_only),
      (SELECT writable_schema FROM pragma_writable_schema), (SELECT cache_size FROM pragma_cache_size),
      (SELECT temp_store FROM pragma_temp_store), (SELECT ignore_check_constraints FROM pragma_ignore_check_constraints),
      (SELECT locking_mode FROM pragma_locking_mode), (SELECT trusted_schema FROM pragma_trusted_schema),
      (SELECT reverse_unordered_selects FROM pragma_reverse_unordered_selects),
      (SELECT group_concat(name) FROM pragma_database_list), (SELECT count(*) FROM sqlite_temp_schema),
      last_insert_rowid(), changes(), 'A' LIKE 'a'`,
  );
  return settings[0];
}

const orphan = ['INSERT INTO child VALUES (42)'];

/** Asserts that nothing of it remains, and that the next batch of another client works and is guarded as before. */
async function expectUntouched(before: unknown, rows: number): Promise<void> {
  expect(await other.exec(db, orphan)).toMatchObject({ sqlite_code: 'SQLITE_CONSTRAINT_FOREIGNKEY' });
  expect(await state()).toEqual(before);
  expect(await other.rows(db, 'SELECT count(*) FROM t')).toEqual([[rows]]);
  // Readers of the file see the same: no transaction is open.
  expect(await ground.sqlite3(ground.file(db), 'SELECT count(*) FROM t')).toBe(String(rows));
  expect(await other.exec(db, ['DELETE FROM t WHERE a = 0'])).toMatchObject({ status: 'ok' });
}

describe('what would reach beyond the batch is refused, however it is written, and nothing is applied', () => {
  const refused = [
    'BEGIN',
    'begin immediate',
    '  \n\tCoMmIt',
    '/* a */ COMMIT /* b */',
    '-- x\nROLLBACK',
    ';;COMMIT',
    'END TRANSACTION',
    'SAVEPOINT s',
    'RELEASE s',
    'ROLLBACK TO s',
    'EXPLAIN COMMIT',
    'EXPLAIN QUERY PLAN COMMIT',
    "ATTACH 'other.db' AS o",
    "/**/ATTACH DATABASE 'other.db' AS o",
    'DETACH main',
    "VACUUM INTO 'other.db'",
    "VACUUM main INTO 'other.db'",
    'VACUUM',
    'CREATE TEMP TABLE s (a)',
    'CREATE TEMPORARY VIEW s AS SELECT 1',
    'CREATE TABLE temp.s (a)',
    'CREATE TABLE "temp".s (a)',
    'CREATE TABLE IF NOT EXISTS [TEMP].s (a)',
    'CREATE TEMP TRIGGER s AFTER INSERT ON t BEGIN SELECT 1; END',
    'CREATE VIRTUAL TABLE temp.s USING fts5(a)',
    "SELECT load_extension('x')",
    'SELECT "load_extension" (\'x\')',
    'PRAGMA foreign_keys = OFF',
    'PRAGMA foreign_keys',
    'pragma/**/foreign_keys(0)',
    'PRAGMA "foreign_keys" = 0',
    'PRAGMA main.foreign_keys = 0',
    '/* */ PRAGMA synchronous(OFF)',
    'EXPLAIN PRAGMA synchronous = OFF',
    'EXPLAIN QUERY PLAN PRAGMA synchronous = OFF',
    'PRAGMA journal_mode = DELETE',
    'PRAGMA journal_mode',
    'PRAGMA writable_schema = ON',
    'PRAGMA locking_mode = EXCLUSIVE',
    'PRAGMA wal_checkpoint(TRUNCATE)',
    'PRAGMA query_only = ON',
    'PRAGMA case_sensitive_like = ON',
    'PRAGMA recursive_triggers = ON',
    'PRAGMA ignore_check_constraints = ON',
    'PRAGMA cache_size = 1',
    'PRAGMA max_page_count = 1',
    'PRAGMA schema_version = 7',
    'PRAGMA temp_store_directory = "."',
    'PRAGMA no_such_thing',
    'INSERT INTO t VALUES (2); INSERT INTO t VALUES (3)',
    'INSERT INTO t VALUES (2);;COMMIT',
    'SELECT 1; SELECT 2',
    'UPDATE _skylinedb_database SET rev = 0',
    'DELETE FROM "_skylinedb_database"',
    'drop table [_SKYLINEDB_DATABASE]',
    "INSERT INTO '_skylinedb_database' VALUES (1, 1, 1, 1)",
    'WITH x AS (SELECT 1) UPDATE main . `_skylinedb_database` SET epoch = 9',
    'ALTER TABLE _skylinedb_database RENAME TO mine',
    'CREATE TABLE _skylinedb_mine (a)',
    'CREATE TRIGGER tr AFTER INSERT ON t BEGIN DELETE FROM _skylinedb_database; END',
    'CREATE INDEX i ON _skylinedb_database (rev)',
  ];

  test('in a batch, between two other statements', async () => {
    const before = await state();
    for (const sql of refused) {
      const reply = await wire.exec(db, ['INSERT INTO t VALUES (1)', sql, 'INSERT INTO t VALUES (2)']);
      expect(reply, sql).toMatchObject({
        code: 'STATEMENT_NOT_ALLOWED',
        statement_index: 1,
        outcome: 'not_applied',
        retryable: false,
      });
    }
    await expectUntouched(before, 0);
    expect(readdirSync(ground.dataDir)).not.toContain('other.db');
  });

  test('in a batch without a transaction, of which nothing is applied either', async () => {
    const before = await state();
    for (const sql of refused.filter((one) => one !== 'VACUUM')) {
      const reply = await wire.exec(db, ['INSERT INTO t VALUES (1)', sql], { tx: 'none' });
      expect(reply, sql).toMatchObject({ code: 'STATEMENT_NOT_ALLOWED', statement_index: 1 });
    }
    await expectUntouched(before, 0);
  });

  test('as the first thing ever: no file is made for it', async () => {
    for (const sql of ['PRAGMA journal_mode = WAL', 'BEGIN', 'CREATE TEMP TABLE s (a)'])
      expect(await wire.exec('new.db', [sql])).toMatchObject({ code: 'STATEMENT_NOT_ALLOWED' });
    expect(existsSync(ground.file('new.db'))).toBe(false);
  });

  test.each(['', '   ', ';', '-- only a comment', '/* one that never ends', '\u0000'])(
    'and %j is no statement',
    async (sql) => {
      expect(await wire.exec(db, ['INSERT INTO t VALUES (1)', sql])).toMatchObject({
        code: 'INVALID_REQUEST',
        statement_index: 1,
      });
      expect(await wire.rows(db, 'SELECT count(*) FROM t')).toEqual([[0]]);
    },
  );
});

describe('what is allowed works', () => {
  test.each([
    'PRAGMA table_info(t)',
    'PRAGMA main.table_info("t")',
    'PRAGMA integrity_check',
    'PRAGMA quick_check(5)',
    'PRAGMA foreign_key_check',
    'PRAGMA page_count',
    'PRAGMA user_version',
    'PRAGMA user_version = 5',
    'PRAGMA application_id(7)',
    'PRAGMA optimize',
    'PRAGMA incremental_vacuum(1)',
    ';; SELECT 1 ;;',
    'SELECT 1; -- one statement and a comment',
    "SELECT 'COMMIT; PRAGMA foreign_keys = OFF'",
    'SELECT 1 AS "commit"',
    'CREATE TABLE "begin" ("end", "temp", "attach")',
    'CREATE TABLE commits (begin_at)',
    'CREATE TABLE templates (a)',
    'WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < 3) INSERT INTO t SELECT n FROM c',
    'EXPLAIN QUERY PLAN SELECT * FROM t',
    'EXPLAIN DELETE FROM t',
    'CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO t2 VALUES (1); DELETE FROM t2; END',
    'REINDEX',
    'ANALYZE t',
    'SELECT epoch, rev FROM _skylinedb_database',
    "SELECT * FROM pragma_table_info('t')",
  ])('%s', async (sql) => {
    expect(await wire.exec(db, [sql])).toMatchObject({ status: 'ok' });
  });

  test('user_version is set with its batch, and undone with it', async () => {
    expect(await wire.exec(db, ['PRAGMA user_version = 5', 'SELECT nonsense'])).toMatchObject({
      code: 'SQL_ERROR',
    });
    expect(await other.rows(db, 'PRAGMA user_version')).toEqual([[0]]);
    expect(await wire.exec(db, ['PRAGMA user_version = 6'])).toMatchObject({ status: 'ok', rev: 3 });
    expect(await other.rows(db, 'PRAGMA user_version')).toEqual([[6]]);
  });

  test('VACUUM runs in a batch without a transaction', async () => {
    expect(await wire.exec(db, ['VACUUM'], { tx: 'none' })).toMatchObject({ status: 'ok', rev: 3 });
    expect(await wire.exec(db, ['INSERT INTO t VALUES (1)', 'VACUUM'])).toMatchObject({
      code: 'STATEMENT_NOT_ALLOWED',
      statement_index: 1,
      message: expect.stringContaining('"tx": "none"'),
    });
  });

  test("a table called meta is the user's own", async () => {
    expect(
      await wire.exec(db, ['CREATE TABLE meta (rev, epoch)', "INSERT INTO meta VALUES ('mine', -1)"]),
    ).toMatchObject({ status: 'ok', rev: 3, epoch: 1 });
    expect(await wire.exec(db, ['UPDATE meta SET epoch = 0'])).toMatchObject({ rev: 4, epoch: 1 });
    expect(await other.rows(db, 'SELECT * FROM meta')).toEqual([['mine', 0]]);
    const names = await other.rows(
      db,
      "SELECT name FROM sqlite_schema WHERE name LIKE '\\_skyline%' ESCAPE '\\'",
    );
    expect(names.length).toBeGreaterThan(0);
  });

  test('the tables that begin with _skylinedb_ can be read', async () => {
    const { rev, epoch } = (await wire.request({ type: 'Ping', db: db })) as Message;
    expect(await other.rows(db, 'SELECT rev, epoch FROM _skylinedb_database')).toEqual([[rev, epoch]]);
  });
});
