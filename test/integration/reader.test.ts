import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync, readlinkSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, connect, type Database, type Reader, SkylineError } from '../../dist/client/index.js';
import { Playground, until } from '../support/playground.js';

let ground: Playground;
let client: Client;
let db: Database;
const readers: Reader[] = [];
beforeEach(async () => {
  ground = new Playground();
  await ground.daemon(['--worker-idle-timeout', '150ms']);
  client = await connect({ socket: ground.socket, autoStart: false });
  db = client.database(ground.file('x.db'));
  await db.batch(['CREATE TABLE t (a, b)', "INSERT INTO t VALUES (1, 'x')"]);
});
afterEach(async () => {
  for (const reader of readers.splice(0)) reader.close();
  client.close();
  await ground.dispose();
});

function open(): Reader {
  const reader = db.reader();
  readers.push(reader);
  return reader;
}

function refusal(work: () => unknown): SkylineError {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(SkylineError);
    return error as SkylineError;
  }
  throw new Error('it was not refused');
}

test('reads rows as objects and as arrays, with parameters by position and by name', () => {
  const reader = open();
  expect(reader.all('SELECT * FROM t WHERE a = ?', [1])).toEqual([{ a: 1, b: 'x' }]);
  expect(reader.get('SELECT b FROM t WHERE a = :a', { a: 1 })).toEqual({ b: 'x' });
  expect(reader.get('SELECT b FROM t WHERE a = $a AND b = @b', { $a: 1, '@b': 'x' })).toEqual({ b: 'x' });
  expect(reader.get('SELECT b FROM t WHERE a = 99')).toBeUndefined();
  expect(reader.rows('SELECT a, b, a FROM t')).toEqual({ columns: ['a', 'b', 'a'], rows: [[1, 'x', 1]] });
});

test.each([
  'INSERT INTO t VALUES (2, 2)',
  'INSERT INTO t VALUES (2, 2) RETURNING a',
  'UPDATE t SET a = 5 RETURNING a',
  'WITH x AS (SELECT 1) DELETE FROM t RETURNING a',
  'CREATE TABLE u (a)',
  'CREATE TEMP TABLE u (a)',
  'DROP TABLE t',
  'VACUUM',
  'PRAGMA journal_mode = DELETE',
  'PRAGMA query_only = OFF',
  'PRAGMA user_version = 7',
  'PRAGMA wal_checkpoint(TRUNCATE)',
  'PRAGMA locking_mode = EXCLUSIVE',
  'PRAGMA wal_autocheckpoint = 1',
  'BEGIN',
  'BEGIN IMMEDIATE',
])('cannot write or hold a lock: %s', async (sql) => {
  const reader = open();
  const before = await ground.sqlite3(db.path, 'PRAGMA journal_mode; PRAGMA user_version; SELECT * FROM t');
  try {
    reader.all(sql);
  } catch (error) {
    expect(error).toBeInstanceOf(SkylineError);
  }
  expect(await ground.sqlite3(db.path, 'PRAGMA journal_mode; PRAGMA user_version; SELECT * FROM t')).toBe(
    before,
  );
  expect(refusal(() => reader.all('INSERT INTO t VALUES (3, 3) RETURNING a'))).toMatchObject({
    outcome: 'not_applied',
  });
  // It stands in nobody's way: the daemon writes, and empties the WAL.
  expect((await db.run('INSERT INTO t VALUES (4, 4)')).rev).toBe(2);
  await db.maintenance(() => undefined, { timeoutMs: 2_000 });
  expect(reader.all('SELECT a FROM t')).toEqual([{ a: 1 }, { a: 4 }]);
});

test('cannot make or open another file', () => {
  const reader = open();
  const other = ground.file('other.db');
  expect(refusal(() => reader.all(`ATTACH '${other}' AS o`))).toMatchObject({
    code: 'STATEMENT_NOT_ALLOWED',
  });
  expect(refusal(() => reader.all(`VACUUM INTO '${other}'`))).toBeInstanceOf(SkylineError);
  expect(refusal(() => reader.all(`SELECT load_extension('${other}')`))).toBeInstanceOf(SkylineError);
  expect(existsSync(other)).toBe(false);
  expect(reader.all("SELECT name FROM pragma_database_list WHERE name <> 'temp'")).toEqual([
    { name: 'main' },
  ]);
});

test('sees each write as soon as its reply is there', async () => {
  const reader = open();
  for (let a = 2; a <= 300; a += 1) {
    await db.run('INSERT INTO t VALUES (?, NULL)', [a]);
    expect(reader.get('SELECT count(*) AS n, max(a) AS a FROM t')).toEqual({ n: a, a });
  }
});

test('sees a changed schema', async () => {
  const reader = open();
  expect(reader.all('SELECT * FROM t')).toEqual([{ a: 1, b: 'x' }]);
  await db.exec('ALTER TABLE t ADD COLUMN c DEFAULT 3');
  expect(reader.all('SELECT * FROM t')).toEqual([{ a: 1, b: 'x', c: 3 }]);
});

test('follows the file when it is replaced, and never reads half of each', async () => {
  const reader = open();
  const other = client.database(ground.file('other.db'));
  for (let round = 0; round < 5; round += 1) {
    await other.batch([
      'CREATE TABLE IF NOT EXISTS t (a)',
      'DELETE FROM t',
      `INSERT INTO t VALUES (${round + 10})`,
    ]);
    await other.maintenance((path) => copyFileSync(path, ground.file('new.db')));
    const { epoch } = await db.replace(ground.file('new.db'));
    expect(epoch).toBe(round + 2);
    expect(reader.all('SELECT * FROM t')).toEqual([{ a: round + 10 }]);
    await db.run('INSERT INTO t VALUES (0)');
    expect(reader.get('SELECT count(*) AS n FROM t')).toEqual({ n: 2 });
  }
});

test('goes on when the worker leaves, and reads what the next one writes', async () => {
  const reader = open();
  for (let a = 2; a <= 4; a += 1) {
    await until('the worker has left', () => ground.workers().length === 0);
    expect(reader.get('SELECT max(a) AS a FROM t')).toEqual({ a: a - 1 });
    const second = db.reader();
    expect(second.get('SELECT max(a) AS a FROM t')).toEqual({ a: a - 1 });
    second.close();
    await db.run('INSERT INTO t VALUES (?, NULL)', [a]);
    expect(reader.get('SELECT max(a) AS a FROM t')).toEqual({ a });
  }
});

test('can be opened again and again while workers come and go', async () => {
  const writing = (async () => {
    for (let a = 2; a <= 20; a += 1) {
      await db.run('INSERT INTO t VALUES (?, NULL)', [a]);
      if (a % 5 === 0) await until('the worker has left', () => ground.workers().length === 0);
    }
  })();
  let done = false;
  void writing.finally(() => {
    done = true;
  });
  let last = 0;
  while (!done) {
    const reader = db.reader();
    const { n } = reader.get<{ n: number }>('SELECT count(*) AS n FROM t') ?? { n: 0 };
    reader.close();
    expect(n).toBeGreaterThanOrEqual(last);
    last = n;
    await new Promise(setImmediate);
  }
  await writing;
});

test('says that it is closed, and that there is no file', () => {
  const reader = open();
  reader.close();
  reader.close();
  expect(refusal(() => reader.all('SELECT 1'))).toMatchObject({
    code: 'INVALID_REQUEST',
    message: expect.stringContaining('closed'),
  });
  expect(refusal(() => client.database(ground.file('none.db')).reader())).toMatchObject({
    code: 'DATABASE_NOT_FOUND',
  });
  expect(existsSync(ground.file('none.db'))).toBe(false);
});

test('names what is wrong with a query', () => {
  const reader = open();
  expect(refusal(() => reader.all('SELECT nonsense'))).toMatchObject({
    code: 'SQL_ERROR',
    details: { sqlite_code: 'SQLITE_ERROR' },
  });
  expect(refusal(() => reader.all('SELECT ?', []))).toMatchObject({ outcome: 'not_applied' });
  expect(refusal(() => reader.all('SELECT ?', [Number.NaN]))).toMatchObject({ code: 'INVALID_REQUEST' });
  expect(reader.all('SELECT ? AS v', [2n ** 60n])).toEqual([{ v: 2n ** 60n }]);
});

test('reads rows one after the other, as they were when it began, and lets go of the file', async () => {
  const reader = open();
  expect(reader.get('SELECT count(*) AS n FROM t')).toEqual({ n: 1 });
  const descriptors = () =>
    readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith(db.path);
      } catch {
        return false;
      }
    }).length;
  const before = descriptors();
  await db.load(
    't',
    (function* () {
      for (let a = 2; a <= 500; a += 1) yield [a, null];
    })(),
  );
  const seen: unknown[] = [];
  for (const { a } of reader.iterate<{ a: number }>('SELECT a FROM t WHERE a <= ? ORDER BY a', [1_000])) {
    if (seen.push(a) === 1) await db.run('INSERT INTO t VALUES (999, NULL)');
  }
  expect(seen).toEqual(Array.from({ length: 500 }, (_, at) => at + 1));
  for (const row of reader.iterate('SELECT * FROM t')) {
    expect(row).toEqual({ a: 1, b: 'x' });
    break;
  }
  await db.maintenance(() => undefined, { timeoutMs: 2_000 });
  expect(refusal(() => [...reader.iterate('DELETE FROM t RETURNING a')])).toMatchObject({
    code: 'STATEMENT_NOT_ALLOWED',
  });
  expect(refusal(() => [...reader.iterate('SELECT nonsense')])).toMatchObject({ code: 'SQL_ERROR' });
  // What fails in the middle has let go, too.
  const late = reader.iterate(
    'SELECT CASE WHEN a < 400 THEN a ELSE abs(-9223372036854775807 - 1) END FROM t ORDER BY a',
  );
  expect(refusal(() => [...late])).toMatchObject({
    code: 'SQL_ERROR',
    message: expect.stringContaining('overflow'),
  });
  await db.maintenance(() => undefined, { timeoutMs: 2_000 });
  expect(reader.get('SELECT count(*) AS n FROM t')).toEqual({ n: 501 });
  // SQLite keeps one that it will use again: closing it would drop the locks of this process.
  for (let round = 0; round < 20; round += 1)
    for (const _ of reader.iterate('SELECT a FROM t')) if (round % 2 === 0) break;
  expect(descriptors()).toBeLessThanOrEqual(before + 1);
});

test('tells whether a statement only reads', () => {
  const reader = open();
  expect(reader.reads('WITH x AS (SELECT 1) SELECT * FROM x')).toBe(true);
  expect(reader.reads('WITH x AS (SELECT 1) INSERT INTO t SELECT 1, 2 RETURNING a')).toBe(false);
  expect(reader.reads('DELETE FROM t')).toBe(false);
  expect(refusal(() => reader.reads('SELECT nonsense'))).toMatchObject({ code: 'SQL_ERROR' });
  expect(reader.all('SELECT count(*) AS n FROM t')).toEqual([{ n: 1 }]);
});

describe('other databases', () => {
  test('are read beside the first, and followed when they are replaced', async () => {
    const moon = client.database(ground.file('moon.db'));
    await moon.batch(['CREATE TABLE t (a)', "INSERT INTO t VALUES ('Tycho')"]);
    const next = client.database(ground.file('next.db'));
    await next.batch(['CREATE TABLE t (a)', "INSERT INTO t VALUES ('Kepler')"]);
    await next.close();
    const reader = db.reader({ attach: { 'the "moon"': moon.path } });
    readers.push(reader);
    const both = () => reader.rows('SELECT t.b, m.a FROM t, "the ""moon"""."t" AS m').rows;
    expect(both()).toEqual([['x', 'Tycho']]);
    expect(() => reader.rows('DELETE FROM "the ""moon""".t')).toThrow(/only reads/);
    await moon.exec("UPDATE t SET a = 'Clavius'");
    expect(both()).toEqual([['x', 'Clavius']]);
    expect([...reader.iterate('SELECT a FROM "the ""moon""".t')]).toEqual([{ a: 'Clavius' }]);
    await moon.replace(next.path);
    expect(both()).toEqual([['x', 'Kepler']]);
  });

  test('must be there', () => {
    const missing = () => db.reader({ attach: { moon: ground.file('moon.db') } });
    expect(missing).toThrow(expect.objectContaining({ code: 'DATABASE_NOT_FOUND' }));
  });
});

test('a snapshot is one moment', () => {
  const reader = open();
  const count = () => reader.get<{ n: number }>('SELECT count(*) AS n FROM t')?.n;
  const seen = reader.snapshot(() => {
    const before = count();
    const { status } = spawnSync('sqlite3', [db.path, "INSERT INTO t VALUES (2, 'y')"]);
    return [before, status, count()];
  });
  expect([...seen, count()]).toEqual([1, 0, 1, 2]);
});
