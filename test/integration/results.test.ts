import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

let ground: Playground;
let wire: Wire;
let db: string;
let next = 0;
beforeAll(async () => {
  ground = new Playground();
  await ground.daemon();
  wire = await ground.wire();
});
beforeEach(() => {
  next += 1;
  db = `results-${next}.db`;
});
afterAll(async () => {
  try {
    await ground.expectCleanEnd();
  } finally {
    await ground.dispose();
  }
});

/** A batch that must succeed; its results. */
async function run(...stmts: readonly unknown[]): Promise<Message[]> {
  const reply = await wire.exec(db, stmts);
  if (reply.status !== 'ok') throw new Error(JSON.stringify(reply));
  return reply.results as Message[];
}

describe('rows', () => {
  test('columns of the same name are all there, as arrays', async () => {
    expect(await run('SELECT 1 AS a, 2 AS a, 3 AS b, 4 AS a')).toEqual([
      { rows_affected: 0, columns: ['a', 'a', 'b', 'a'], rows: [[1, 2, 3, 4]] },
    ]);
  });

  test('columns called like parts of JavaScript are only names', async () => {
    expect(await run('SELECT 1 AS "__proto__", 2 AS "constructor", 3 AS ""')).toMatchObject([
      { columns: ['__proto__', 'constructor', ''], rows: [[1, 2, 3]] },
    ]);
  });

  test('a query without rows has columns and an empty list', async () => {
    expect(await run('SELECT 1 AS a WHERE 0')).toEqual([{ rows_affected: 0, columns: ['a'], rows: [] }]);
  });

  test('SELECT * shows a column that another batch has added since', async () => {
    await run('CREATE TABLE t (a)', 'INSERT INTO t VALUES (1)');
    expect(await run('SELECT * FROM t')).toMatchObject([{ columns: ['a'], rows: [[1]] }]);
    await run('ALTER TABLE t ADD COLUMN b DEFAULT 2');
    expect(await run('SELECT * FROM t')).toMatchObject([{ columns: ['a', 'b'], rows: [[1, 2]] }]);
  });

  test('RETURNING gives rows, counts and the rowid', async () => {
    await run('CREATE TABLE t (id INTEGER PRIMARY KEY, a)');
    expect(await run("INSERT INTO t (a) VALUES ('x'), ('y') RETURNING id, a")).toEqual([
      {
        rows_affected: 2,
        last_insert_rowid: 2,
        columns: ['id', 'a'],
        rows: [
          [1, 'x'],
          [2, 'y'],
        ],
      },
    ]);
    expect(await run("UPDATE t SET a = 'z' RETURNING id")).toEqual([
      { rows_affected: 2, columns: ['id'], rows: [[1], [2]] },
    ]);
    expect(await run('DELETE FROM t WHERE id = 1 RETURNING a')).toEqual([
      { rows_affected: 1, columns: ['a'], rows: [['z']] },
    ]);
    expect(await run('DELETE FROM t WHERE id = 99 RETURNING a')).toEqual([
      { rows_affected: 0, columns: ['a'], rows: [] },
    ]);
  });

  test('results: false leaves them out, and carries everything out', async () => {
    const reply = await wire.exec(db, ['CREATE TABLE t (a)', 'INSERT INTO t VALUES (1), (2) RETURNING a'], {
      results: false,
    });
    expect(reply).toMatchObject({ status: 'ok', rev: 1, rows_affected: 2 });
    expect(reply).not.toHaveProperty('results');
    expect(await wire.rows(db, 'SELECT count(*) FROM t')).toEqual([[2]]);
  });

  test('results: false is no reason to refuse rows that nobody wants', async () => {
    await run('CREATE TABLE t (a)');
    const sql =
      'WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < 30) INSERT INTO t SELECT zeroblob(1000000) FROM c RETURNING a';
    expect(await wire.exec(db, [sql])).toMatchObject({ code: 'RESULT_TOO_LARGE', limit: 'max_result_bytes' });
    expect(await wire.exec(db, [sql], { results: false })).toMatchObject({ status: 'ok', rows_affected: 30 });
  });
});

describe('param_sets', () => {
  test('run one statement once for each set, with one result for all', async () => {
    await run('CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)');
    expect(
      await run({
        sql: 'INSERT INTO t (a, b) VALUES (?, ?)',
        param_sets: [
          [1, 'x'],
          [2, 'y'],
          [3, 'z'],
        ],
      }),
    ).toEqual([{ rows_affected: 3, last_insert_rowid: 3 }]);
    const named = await run({ sql: 'SELECT :n, a FROM t WHERE a > :n', param_sets: [{ n: 1 }, { n: 2 }] });
    expect(named[0]?.rows).toEqual([
      [1, 2],
      [1, 3],
      [2, 3],
    ]);
    expect(await run({ sql: 'DELETE FROM t WHERE a = ?', param_sets: [] })).toEqual([{ rows_affected: 0 }]);
  });

  test('are all undone when one of them fails, and the answer says which', async () => {
    await run('CREATE TABLE t (a UNIQUE)');
    const sql = 'INSERT INTO t VALUES (?)';
    expect(await wire.exec(db, [{ sql, param_sets: [[1], [2], [1]] }])).toMatchObject({
      code: 'SQL_ERROR',
      sqlite_code: 'SQLITE_CONSTRAINT_UNIQUE',
      statement_index: 0,
    });
    expect(await wire.exec(db, [{ sql, param_sets: [[5], [{ a: 1 }]] }])).toMatchObject({
      code: 'INVALID_REQUEST',
      statement_index: 0,
      parameter: 0,
      message: expect.stringContaining('1'),
    });
    expect(await wire.rows(db, 'SELECT count(*) FROM t')).toEqual([[0]]);
  });

  test('and params exclude each other', async () => {
    expect(await wire.exec(db, [{ sql: 'SELECT ?', params: [1], param_sets: [[1]] }])).toMatchObject({
      code: 'INVALID_REQUEST',
      statement_index: 0,
    });
  });
});

describe('expect', () => {
  test('makes the batch fail as a whole unless so many rows were affected', async () => {
    await run('CREATE TABLE t (a)', 'INSERT INTO t VALUES (1), (2)');
    const update = { sql: 'UPDATE t SET a = a + 10 WHERE a > ?', expect: { rows_affected: 1 } };
    expect(await wire.exec(db, ['INSERT INTO t VALUES (3)', { ...update, params: [0] }])).toMatchObject({
      code: 'EXPECTATION_FAILED',
      statement_index: 1,
      expected: 1,
      actual: 3,
      outcome: 'not_applied',
    });
    expect(await wire.rows(db, 'SELECT a FROM t')).toEqual([[1], [2]]);
    expect(await run({ ...update, params: [1] })).toEqual([{ rows_affected: 1 }]);
    const none = { sql: 'DELETE FROM t WHERE a = 99', expect: { rows_affected: 0 } };
    expect(await run(none)).toEqual([{ rows_affected: 0 }]);
  });

  test('counts all sets of one statement together', async () => {
    await run('CREATE TABLE t (a)');
    const insert = { sql: 'INSERT INTO t VALUES (?)', param_sets: [[1], [2]] };
    expect(await wire.exec(db, [{ ...insert, expect: { rows_affected: 1 } }])).toMatchObject({ actual: 2 });
    expect(await run({ ...insert, expect: { rows_affected: 2 } })).toMatchObject([{ rows_affected: 2 }]);
  });
});

describe('last_insert_rowid', () => {
  test('is there for a row that was inserted, and only then', async () => {
    expect(
      await run(
        'CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE)',
        "INSERT INTO t VALUES (5, 'x')",
        "INSERT OR IGNORE INTO t VALUES (6, 'x')",
        "UPDATE t SET a = 'y'",
        'SELECT 1',
        "REPLACE INTO t VALUES (7, 'y')",
        'DELETE FROM t',
        'INSERT INTO t SELECT 8, 8 WHERE 0',
        'INSERT INTO t DEFAULT VALUES',
        'INSERT INTO t VALUES (-3, 0)',
      ),
    ).toMatchObject([
      { rows_affected: 0 },
      { rows_affected: 1, last_insert_rowid: 5 },
      { rows_affected: 0 },
      { rows_affected: 1 },
      { rows_affected: 0 },
      { rows_affected: 1, last_insert_rowid: 7 },
      { rows_affected: 1 },
      { rows_affected: 0 },
      { rows_affected: 1, last_insert_rowid: 1 },
      { rows_affected: 1, last_insert_rowid: -3 },
    ]);
    const results = await run('INSERT OR IGNORE INTO t VALUES (9, 0)', 'DELETE FROM t');
    for (const result of results) expect(result).not.toHaveProperty('last_insert_rowid');
  });

  test('is exact beyond 2^53', async () => {
    await run('CREATE TABLE t (a)');
    expect(await run('INSERT INTO t (rowid, a) VALUES (9223372036854775807, 1)')).toEqual([
      { rows_affected: 1, last_insert_rowid: { $int: '9223372036854775807' } },
    ]);
  });

  test('of an upsert is there when it inserted and missing when it updated', async () => {
    await run('CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE, n)');
    const upsert = (a: string) => ({
      sql: 'INSERT INTO t (a, n) VALUES (?, 1) ON CONFLICT (a) DO UPDATE SET n = n + 1',
      params: [a],
    });
    const [inserted, updated, again] = await run(upsert('x'), upsert('x'), upsert('y'));
    expect(inserted).toEqual({ rows_affected: 1, last_insert_rowid: 1 });
    expect(updated).toEqual({ rows_affected: 1 });
    expect(again).toEqual({ rows_affected: 1, last_insert_rowid: 2 });
    expect(await run(upsert('x'))).toEqual([{ rows_affected: 1 }]);
  });

  test('is missing where there is no rowid: WITHOUT ROWID, views', async () => {
    await run(
      'CREATE TABLE t (a PRIMARY KEY) WITHOUT ROWID',
      'CREATE TABLE log (id INTEGER PRIMARY KEY, a)',
      'CREATE VIEW v AS SELECT a FROM log',
      'CREATE TRIGGER tr INSTEAD OF INSERT ON v BEGIN INSERT INTO log (a) VALUES (new.a); END',
    );
    const [first, second, third] = await run(
      'INSERT INTO log (id, a) VALUES (77, 1)',
      'INSERT INTO t VALUES (1)',
      'INSERT INTO v VALUES (2)',
    );
    expect(first).toMatchObject({ last_insert_rowid: 77 });
    expect(second).toEqual({ rows_affected: 1 });
    expect(third).not.toHaveProperty('last_insert_rowid');
  });

  test("is the statement's own row, not the one that its trigger inserted", async () => {
    await run(
      'CREATE TABLE t (id INTEGER PRIMARY KEY)',
      'CREATE TABLE log (id INTEGER PRIMARY KEY, a)',
      'INSERT INTO log (id) VALUES (900)',
      'CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log (a) VALUES (new.id); END',
    );
    expect(await run('INSERT INTO t VALUES (4)')).toEqual([{ rows_affected: 1, last_insert_rowid: 4 }]);
    const [[logged] = []] = await wire.rows(db, 'SELECT max(id) FROM log');
    expect(logged).toBe(901);
  });
});

test('rows_affected is never an older count, neither after DDL nor after a query', async () => {
  const results = await run(
    'CREATE TABLE t (a)',
    'INSERT INTO t VALUES (1), (2), (3)',
    'CREATE TABLE u (a)',
    'SELECT * FROM t',
    'CREATE INDEX i ON t (a)',
    'PRAGMA user_version = 3',
    'PRAGMA user_version',
    'CREATE TABLE copy AS SELECT * FROM t',
    'ANALYZE',
    'REINDEX',
    'EXPLAIN DELETE FROM t',
    'WITH x AS (SELECT 1) SELECT * FROM x',
    'DROP TABLE copy',
    'UPDATE t SET a = 9 WHERE a = 100',
    'DELETE FROM t',
  );
  expect(results.map((result) => result.rows_affected)).toEqual([
    0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3,
  ]);
});
