import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';
import type { Wire } from '../support/wire.js';

let ground: Playground;
let wire: Wire;
let other: Wire;
beforeEach(async () => {
  ground = new Playground();
  await ground.daemon();
  wire = await ground.wire();
  other = await ground.wire();
});
afterEach(async () => {
  await ground.dispose();
});

/** Asserts that the database stands where it stood, and that another client's next batch is the next rev. */
async function expectAsBefore(rev: number, rows: number): Promise<void> {
  expect(await other.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[rows]]);
  expect(await ground.sqlite3(ground.file('x.db'), 'SELECT count(*) FROM t; PRAGMA integrity_check')).toBe(
    `${rows}\nok`,
  );
  expect(await other.exec('x.db', ['INSERT INTO t (a) VALUES (1000)'])).toMatchObject({ rev: rev + 1 });
  await ground.expectCleanEnd();
}

describe('a batch whose statement ends the transaction by itself fails as a whole and cleanly', () => {
  const schema = [
    'CREATE TABLE t (a UNIQUE ON CONFLICT ABORT, b)',
    'CREATE TABLE strict (a UNIQUE ON CONFLICT ROLLBACK)',
    "CREATE TRIGGER tr BEFORE INSERT ON t WHEN new.a = 'no' BEGIN SELECT RAISE(ROLLBACK, 'not this one'); END",
    "INSERT INTO t (a) VALUES ('there')",
    'INSERT INTO strict VALUES (1)',
  ];
  test.each([
    ['INSERT OR ROLLBACK', "INSERT OR ROLLBACK INTO t (a) VALUES ('there')"],
    ['UPDATE OR ROLLBACK', "UPDATE OR ROLLBACK t SET a = 'there'"],
    ['RAISE(ROLLBACK) in a trigger', "INSERT INTO t (a) VALUES ('no')"],
    ['ON CONFLICT ROLLBACK in the schema', 'INSERT INTO strict VALUES (1)'],
    ['RAISE(ROLLBACK) while rows are returned', "INSERT INTO t (a) VALUES ('yes'), ('no') RETURNING a"],
  ])('%s', async (_what, sql) => {
    await wire.exec('x.db', schema);
    const reply = await wire.exec('x.db', [
      "INSERT INTO t (a) VALUES ('before')",
      sql,
      "INSERT INTO t (a) VALUES ('after')",
    ]);
    expect(reply).toMatchObject({
      code: 'SQL_ERROR',
      statement_index: 1,
      sqlite_code: expect.stringContaining('SQLITE_CONSTRAINT'),
      outcome: 'not_applied',
    });
    await expectAsBefore(1, 1);
  });

  test('and without a transaction only that statement is undone', async () => {
    await wire.exec('x.db', schema);
    const stmts = ["INSERT INTO t (a) VALUES ('before')", "INSERT INTO t (a) VALUES ('no')", 'DELETE FROM t'];
    expect(await wire.exec('x.db', stmts, { tx: 'none' })).toMatchObject({
      code: 'SQL_ERROR',
      statement_index: 1,
      outcome: 'partial',
      applied: 1,
    });
    await expectAsBefore(2, 2);
  });
});

test('foreign keys that are checked at the commit make the batch fail there', async () => {
  await wire.exec('x.db', [
    'CREATE TABLE t (a)',
    'CREATE TABLE p (id INTEGER PRIMARY KEY)',
    'CREATE TABLE late (p REFERENCES p DEFERRABLE INITIALLY DEFERRED)',
    'CREATE TABLE soon (p REFERENCES p)',
  ]);
  const failing = { code: 'SQL_ERROR', sqlite_code: 'SQLITE_CONSTRAINT_FOREIGNKEY', outcome: 'not_applied' };
  expect(await wire.exec('x.db', ['INSERT INTO late VALUES (1)', 'INSERT INTO t VALUES (1)'])).toMatchObject(
    failing,
  );
  const inTime = await wire.exec('x.db', ['INSERT INTO late VALUES (1)', 'INSERT INTO p VALUES (1)']);
  expect(inTime).toMatchObject({ status: 'ok', rev: 2 });
  // PRAGMA defer_foreign_keys holds for its batch and no longer.
  const deferred = ['PRAGMA defer_foreign_keys = ON', 'INSERT INTO soon VALUES (2)'];
  expect(await wire.exec('x.db', deferred)).toMatchObject(failing);
  expect(await wire.exec('x.db', [...deferred, 'INSERT INTO p VALUES (2)'])).toMatchObject({ rev: 3 });
  expect(await other.exec('x.db', ['INSERT INTO soon VALUES (3)', 'INSERT INTO p VALUES (3)'])).toMatchObject(
    {
      ...failing,
      statement_index: 0,
    },
  );
  await wire.exec('x.db', ['PRAGMA defer_foreign_keys = ON'], { tx: 'none' });
  expect(await other.exec('x.db', ['INSERT INTO soon VALUES (4)', 'INSERT INTO p VALUES (4)'])).toMatchObject(
    {
      ...failing,
      statement_index: 0,
    },
  );
  await expectAsBefore(4, 0);
});

test('REPLACE takes the place of every row in conflict', async () => {
  await wire.exec('x.db', ['CREATE TABLE t (a UNIQUE, b UNIQUE)', "INSERT INTO t VALUES (1, 'x'), (2, 'y')"]);
  expect(await wire.exec('x.db', ["REPLACE INTO t VALUES (1, 'y')"])).toMatchObject({ rows_affected: 1 });
  expect(await other.rows('x.db', 'SELECT * FROM t')).toEqual([[1, 'y']]);
  await expectAsBefore(2, 1);
});

test('triggers that set each other off are not run from within themselves', async () => {
  await wire.exec('x.db', [
    'CREATE TABLE t (a)',
    'CREATE TABLE u (a)',
    'CREATE TRIGGER one AFTER INSERT ON u BEGIN INSERT INTO t VALUES (new.a); END',
    'CREATE TRIGGER two AFTER INSERT ON t WHEN new.a = 7 BEGIN INSERT INTO u VALUES (7); END',
  ]);
  const reply = await wire.exec('x.db', ['INSERT INTO t VALUES (1)', 'INSERT INTO t VALUES (7)']);
  // Without PRAGMA recursive_triggers SQLite does not run a trigger from within itself.
  expect(reply).toMatchObject({ status: 'ok', rows_affected: 2, rev: 2 });
  expect(await other.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[3]]);
  await expectAsBefore(2, 3);
});

test('without a transaction the first error ends the batch, which says how many were applied', async () => {
  await wire.exec('x.db', ['CREATE TABLE t (a UNIQUE)']);
  const insert = (a: number) => `INSERT INTO t VALUES (${a})`;
  expect(await wire.exec('x.db', [insert(1), insert(2), insert(1), insert(3)], { tx: 'none' })).toMatchObject(
    { code: 'SQL_ERROR', statement_index: 2, applied: 2, outcome: 'partial' },
  );
  expect(await wire.exec('x.db', [insert(1), insert(9)], { tx: 'none' })).toMatchObject({
    statement_index: 0,
    applied: 0,
    outcome: 'not_applied',
  });
  expect(await wire.exec('x.db', ['SELECT 1', insert(1)], { tx: 'none' })).toMatchObject({
    applied: 1,
    outcome: 'not_applied',
  });
  await expectAsBefore(3, 2);
});

describe('what one client leaves in the connection is not seen by another', () => {
  const counts = async () => (await other.rows('x.db', 'SELECT last_insert_rowid(), changes()'))[0];

  test('neither last_insert_rowid() nor changes(), after a success, a failure, a rollback', async () => {
    await wire.exec('x.db', ['CREATE TABLE t (a UNIQUE)']);
    const before = await counts();
    await wire.exec('x.db', ['INSERT INTO t (rowid, a) VALUES (71, 1), (72, 2)']);
    expect(await counts()).toEqual(before);
    await wire.exec('x.db', ['INSERT INTO t (rowid, a) VALUES (81, 3), (82, 4)', 'SELECT nonsense']);
    expect(await counts()).toEqual(before);
    await wire.exec('x.db', [
      'INSERT INTO t (rowid, a) VALUES (91, 3)',
      'INSERT OR ROLLBACK INTO t VALUES (1)',
    ]);
    expect(await counts()).toEqual(before);
    await wire.exec('x.db', ['UPDATE t SET a = a + 10'], { tx: 'none' });
    expect(await counts()).toEqual(before);
    await wire.exec('x.db', ['INSERT INTO t (rowid, a) VALUES (95, 9), (96, 1)', 'SELECT 1'], {
      expect_rev: 1,
    });
    expect(await counts()).toEqual(before);
    await expectAsBefore(3, 2);
  });
});

test('expect_rev and expect_epoch carry a batch out only where the client thinks it is', async () => {
  const create = 'CREATE TABLE t (a)';
  expect(await wire.exec('x.db', [create], { expect_rev: 1 })).toMatchObject({
    code: 'EXPECTATION_FAILED',
    expected: 1,
    actual: 0,
  });
  expect(await wire.exec('x.db', [create], { expect_rev: 0, expect_epoch: 1 })).toMatchObject({ rev: 1 });
  const insert = (a: number, more: object) => wire.exec('x.db', [`INSERT INTO t VALUES (${a})`], { ...more });
  const replies = await Promise.all(
    [0, 1, 2, 3].map(async (a) => {
      const one = await ground.wire();
      return await one.exec('x.db', [`INSERT INTO t VALUES (${a})`], { expect_rev: 1 });
    }),
  );
  expect(replies.filter(({ status }) => status === 'ok')).toHaveLength(1);
  expect(replies.filter(({ code }) => code === 'EXPECTATION_FAILED')).toHaveLength(3);
  expect(await insert(1, { expect_epoch: 2 })).toMatchObject({ expected: 2, actual: 1, retryable: false });
  expect(await insert(1, { expect_rev: 2, tx: 'none' })).toMatchObject({ rev: 3 });
  expect(await wire.exec('x.db', ['SELECT 1'], { expect_rev: 2 })).toMatchObject({
    code: 'EXPECTATION_FAILED',
  });
  await expectAsBefore(3, 2);
});
