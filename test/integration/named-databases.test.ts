import { existsSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeFile } from '../support/database-files.js';
import { Playground, until } from '../support/playground.js';
import { Program } from '../support/program.js';
import type { Message, Wire } from '../support/wire.js';

const CATALOG = 'skylinedb-catalog.db';
let ground: Playground;
let wire: Wire;

beforeEach(async () => {
  ground = new Playground();
  await ground.daemon();
  wire = await ground.wire();
});
afterEach(async ({ task }) => {
  try {
    if (task.result?.state !== 'fail') await ground.expectCleanEnd();
  } finally {
    await ground.dispose();
  }
});

const create = (name: string, more: Message = {}) => wire.request({ type: 'CreateDatabase', name, ...more });
const drop = (name: string, more: Message = {}) => wire.request({ type: 'DropDatabase', name, ...more });
const rename = (name: string, to: string, more: Message = {}) =>
  wire.request({ type: 'RenameDatabase', name, to, ...more });
const restore = (name: string, more: Message = {}) =>
  wire.request({ type: 'RestoreDatabase', name, ...more });

async function names(): Promise<unknown[]> {
  const { databases } = await wire.request({ type: 'ListDatabases' });
  return (databases as { name: string }[]).map(({ name }) => name);
}

/** The database `stars` with one row. */
async function makeStars(): Promise<void> {
  expect(await create('stars')).toMatchObject({ status: 'ok', created: true });
  const reply = await wire.exec('stars', ['CREATE TABLE t (a)', "INSERT INTO t VALUES ('vega')"]);
  expect(reply).toMatchObject({ status: 'ok', rev: 1, epoch: 1 });
}

describe('names', () => {
  test('nothing is made before the first name is given', async () => {
    expect(await names()).toEqual([]);
    expect(await wire.exec('stars', ['SELECT 1'])).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
    expect(readdirSync(ground.dataDir)).toEqual([]);
  });

  test('a name means its database, and the file is there at once, at rev 0', async () => {
    const made = await create('stars');
    expect(made).toMatchObject({ created: true, name: 'stars', db_path: ground.file('stars.db') });
    expect(await wire.request({ type: 'Ping', db: 'stars' })).toMatchObject({
      exists: true,
      rev: 0,
      epoch: 1,
    });
    expect(await wire.rows('stars', 'SELECT id FROM _skylinedb_database')).toEqual([[made.database_id]]);
  });

  test('letter case does not tell names apart', async () => {
    await makeStars();
    expect(await wire.rows('STARS', 'SELECT a FROM t')).toEqual([['vega']]);
    expect(await create('Stars')).toMatchObject({ code: 'DATABASE_EXISTS', outcome: 'not_applied' });
    expect(await create('STARS', { if_not_exists: true })).toMatchObject({ created: false, name: 'stars' });
  });

  test('an unknown name says how to make it, and how to name a file', async () => {
    const { code, message } = await wire.exec('moons', ['SELECT 1']);
    expect(code).toBe('DATABASE_NOT_FOUND');
    expect(message).toContain('create-database moons');
    expect(message).toContain('./moons');
  });

  test('a path works as it did: with an extension, and with a slash', async () => {
    await wire.exec('stars.db', ['CREATE TABLE t (a)']);
    expect(await wire.exec('./plain', ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok' });
    expect(existsSync(ground.file('plain'))).toBe(true);
    expect(await wire.exec('stars', ['SELECT 1'])).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
  });

  test('what no database is called, and what one can be', async () => {
    const bad = [
      '',
      'a b',
      'sünde',
      'x'.repeat(64),
      'con',
      'LPT1',
      'main',
      'Temp',
      'skylinedb-catalog',
      'a.db',
      '../x',
    ];
    for (const name of bad) {
      expect(await create(name), name).toMatchObject({ code: 'INVALID_REQUEST' });
      expect(await rename('stars', name), name).toMatchObject({ code: 'INVALID_REQUEST' });
    }
    expect(existsSync(ground.file(CATALOG))).toBe(false);
    for (const name of ['x'.repeat(63), 'a', '0', '-', '_a-B9']) {
      expect(await create(name), name).toMatchObject({ created: true });
      expect(await wire.exec(name, ['CREATE TABLE t (a)']), name).toMatchObject({ status: 'ok', rev: 1 });
    }
  });

  test('the name, and the path of its file, are one database', async () => {
    await makeStars();
    await wire.exec('stars.db', ["INSERT INTO t VALUES ('deneb')"]);
    expect(await wire.rows('stars', 'SELECT a FROM t')).toEqual([['vega'], ['deneb']]);
    const { databases } = await wire.request({ type: 'Status', db: 'stars' });
    expect(databases).toMatchObject([{ name: 'stars', db_path: ground.file('stars.db'), rev: 2 }]);
  });

  test('a file that is there already is nobody else’s to take', async () => {
    await makeFile(ground, ground.file('stars.db'), 1, 'old');
    expect(await create('stars')).toMatchObject({ code: 'DATABASE_EXISTS' });
    expect(await names()).toEqual([]);
    expect(await wire.rows('stars.db', 'SELECT mark FROM stars')).toEqual([['old']]);
  });

  test('two databases with tables of the same name never mix', async () => {
    const all = ['a', 'b', 'c'];
    for (const name of all) await create(name);
    const wires = await Promise.all(all.map(() => ground.wire()));
    await Promise.all(
      all.map(async (name, at) => {
        const mine = wires[at] ?? wire;
        await mine.exec(name, ['CREATE TABLE t (owner TEXT, n INTEGER)']);
        await Promise.all(
          Array.from({ length: 200 }, (_, n) =>
            mine.exec(name, [{ sql: 'INSERT INTO t VALUES (?, ?)', params: [name, n] }]),
          ),
        );
      }),
    );
    for (const name of all) {
      expect(await wire.rows(name, 'SELECT owner, count(*), sum(n) FROM t GROUP BY owner')).toEqual([
        [name, 200, 19900],
      ]);
      expect(await ground.sqlite3(ground.file(`${name}.db`), 'SELECT DISTINCT owner FROM t')).toBe(name);
    }
  });

  test('what is sent behind CreateDatabase on one connection finds it, without waiting for the answer', async () => {
    wire.send({ type: 'CreateDatabase', name: 'stars' });
    wire.send({ type: 'ExecBatch', db: 'stars', stmts: [{ sql: 'CREATE TABLE t (a)' }] });
    wire.send({ type: 'RenameDatabase', name: 'stars', to: 'suns' });
    wire.send({ type: 'ExecBatch', db: 'suns', stmts: [{ sql: 'INSERT INTO t VALUES (1)' }] });
    expect(await wire.next()).toMatchObject({ created: true });
    expect(await wire.next()).toMatchObject({ rev: 1 });
    expect(await wire.next()).toMatchObject({ name: 'suns', rev: 1 });
    expect(await wire.next()).toMatchObject({ rev: 2 });
  });

  test('ten who create the same database at once: one makes it, the others find it', async () => {
    const wires = await Promise.all(Array.from({ length: 10 }, () => ground.wire()));
    const replies = await Promise.all(
      wires.map((one) => one.request({ type: 'CreateDatabase', name: 'stars', if_not_exists: true })),
    );
    expect(replies.filter(({ created }) => created === true)).toHaveLength(1);
    expect(replies.filter(({ created }) => created === false)).toHaveLength(9);
    expect(new Set(replies.map(({ database_id: id }) => id)).size).toBe(1);
  });

  test('with a place for one worker, the catalog and its databases take turns', async () => {
    await wire.request({ type: 'Shutdown' });
    await until('it is gone', () => ground.processes().length === 0);
    await ground.daemon(['--max-workers', '1']);
    wire = await ground.wire();
    for (const name of ['a', 'b']) {
      expect(await create(name)).toMatchObject({ created: true });
      expect(await wire.exec(name, ['CREATE TABLE t (a)'])).toMatchObject({ rev: 1 });
    }
    expect(await rename('a', 'c')).toMatchObject({ rev: 1 });
    expect(await wire.exec('c', ['INSERT INTO t VALUES (1)'])).toMatchObject({ rev: 2 });
    expect(await names()).toEqual(['b', 'c']);
  });

  test('names outlive the daemon', async () => {
    await makeStars();
    await wire.request({ type: 'Shutdown' });
    await until('it is gone', () => ground.processes().length === 0);
    await ground.daemon();
    wire = await ground.wire();
    expect(await wire.rows('stars', 'SELECT a FROM t')).toEqual([['vega']]);
    const { databases } = await wire.request({ type: 'ListDatabases' });
    expect(databases).toMatchObject([{ name: 'stars', last_used: expect.stringMatching(/^20.*Z$/) }]);
  });

  test('a file that was deleted by hand is an error: no empty one takes its place', async () => {
    await makeStars();
    await wire.request({ type: 'Shutdown' });
    await until('it is gone', () => ground.processes().length === 0);
    await ground.run('rm', [ground.file('stars.db')]);
    await ground.daemon();
    wire = await ground.wire();
    for (const db of ['stars', 'stars.db'])
      expect(await wire.exec(db, ['CREATE TABLE t (a)'])).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
    expect(existsSync(ground.file('stars.db'))).toBe(false);
    expect(await drop('stars')).toMatchObject({ dropped: true });
    expect(await create('stars')).toMatchObject({ created: true });
  });
});

describe('the catalog', () => {
  test('can be read, and is written by nobody but the daemon', async () => {
    await makeStars();
    expect(await wire.rows(CATALOG, 'SELECT name, path FROM databases')).toEqual([['stars', 'stars.db']]);
    for (const sql of ['DELETE FROM databases', 'DROP TABLE databases', 'PRAGMA user_version = 9', 'VACUUM'])
      expect(await wire.exec(CATALOG, [sql], { tx: 'none' })).toMatchObject({ code: 'DATABASE_READONLY' });
    const attached = await wire.request({ type: 'Attach', db: CATALOG });
    const direct = await ground.wire(String(attached.endpoint));
    expect(await direct.exec(undefined, ['DELETE FROM databases'])).toMatchObject({
      code: 'DATABASE_READONLY',
    });
    direct.destroy();
    expect(await names()).toEqual(['stars']);
  });

  test('is closed and exchanged by nobody', async () => {
    await makeStars();
    const more = { db: CATALOG, from: 'stars.db' };
    for (const type of ['PrepareForMaintenance', 'CloseDatabase', 'ReopenDatabase', 'ReplaceDatabase'])
      expect(await wire.request({ type, ...more })).toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
    const backup = { type: 'Backup', db: 'stars', to: CATALOG, overwrite: true };
    expect(await wire.request(backup)).toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
    expect(await wire.request({ type: 'Backup', db: CATALOG, to: 'copy.db' })).toMatchObject({
      status: 'ok',
    });
  });

  test('of a newer daemon is left alone', async () => {
    await makeStars();
    await wire.request({ type: 'Shutdown' });
    await until('it is gone', () => ground.processes().length === 0);
    await ground.sqlite3(ground.file(CATALOG), 'PRAGMA user_version = 99');
    await ground.daemon();
    wire = await ground.wire();
    expect(await wire.exec('stars', ['SELECT 1'])).toMatchObject({ code: 'VERSION_MISMATCH' });
    expect(await wire.exec('stars.db', ['SELECT 1'])).toMatchObject({ status: 'ok' });
  });
});

describe('drop and restore', () => {
  test('a dropped database is gone, and comes back as it was', async () => {
    await makeStars();
    expect(await drop('stars')).toMatchObject({ dropped: true, until: expect.stringMatching(/Z$/) });
    expect(existsSync(ground.file('stars.db'))).toBe(false);
    expect(readdirSync(ground.file('skylinedb-trash'))).toHaveLength(1);
    expect(await wire.exec('stars', ['SELECT 1'])).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
    expect(await wire.request({ type: 'ListDatabases' })).toMatchObject({
      databases: [],
      dropped: [{ name: 'stars' }],
    });
    expect(await restore('stars')).toMatchObject({ name: 'stars', rev: 1, epoch: 1 });
    expect(await wire.rows('stars', 'SELECT a FROM t')).toEqual([['vega']]);
    expect(readdirSync(ground.file('skylinedb-trash'))).toEqual([]);
  });

  test('a database that is not there: an error, unless it need not be', async () => {
    expect(await drop('stars')).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
    expect(await drop('stars', { if_exists: true })).toMatchObject({ dropped: false });
    expect(await restore('stars')).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
  });

  test('what is made under the name of a dropped one has a higher epoch, and both can be had', async () => {
    await makeStars();
    await drop('stars');
    await create('stars');
    const reply = await wire.exec('stars', ['CREATE TABLE other (b)']);
    expect(reply).toMatchObject({ rev: 1, epoch: 2 });
    expect(await restore('stars')).toMatchObject({ code: 'DATABASE_EXISTS' });
    expect(await restore('stars', { as: 'old' })).toMatchObject({ name: 'old', rev: 1 });
    expect(await wire.rows('old', 'SELECT a FROM t')).toEqual([['vega']]);
    expect(await wire.rows('stars', 'SELECT count(*) FROM other')).toEqual([[0]]);
  });

  test('the same after a restart of the daemon', async () => {
    await makeStars();
    await drop('stars');
    await wire.request({ type: 'Shutdown' });
    await until('it is gone', () => ground.processes().length === 0);
    await ground.daemon();
    wire = await ground.wire();
    await create('stars');
    expect(await wire.exec('stars', ['CREATE TABLE other (b)'])).toMatchObject({ rev: 1, epoch: 2 });
    await drop('stars');
    // Of two, the one that was dropped last; its epoch is the latest that was there.
    expect(await restore('stars')).toMatchObject({ rev: 1, epoch: 2 });
    expect(await wire.rows('stars', 'SELECT count(*) FROM other')).toEqual([[0]]);
  });

  test('a file in the trash is served under no path', async () => {
    await makeStars();
    await drop('stars');
    const [file = ''] = readdirSync(ground.file('skylinedb-trash'));
    const reply = await wire.exec(join('skylinedb-trash', file), ['DELETE FROM t']);
    expect(reply).toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
    const adopting = await wire.request({ type: 'AdoptDirectory', dir: 'skylinedb-trash' });
    expect(adopting).toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
  });

  test('after seven days it is removed for good', async () => {
    await makeStars();
    await create('kept');
    await drop('stars');
    await drop('kept');
    await wire.request({ type: 'Shutdown' });
    await until('it is gone', () => ground.processes().length === 0);
    const week = new Date(Date.now() - 7 * 24 * 3_600_000 - 1_000).toISOString();
    await ground.sqlite3(
      ground.file(CATALOG),
      `UPDATE databases SET dropped = '${week}' WHERE name = 'stars'`,
    );
    await ground.daemon();
    wire = await ground.wire();
    await until('it is removed', () => readdirSync(ground.file('skylinedb-trash')).length === 1);
    await until('it is forgotten', async () => {
      const { dropped } = await wire.request({ type: 'ListDatabases' });
      return (dropped as unknown[]).length === 1;
    });
    expect(await restore('stars')).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
    expect(await restore('kept')).toMatchObject({ status: 'ok' });
  });
});

describe('rename', () => {
  test('keeps the rows, rev, epoch and identity; the old name and path are gone', async () => {
    await makeStars();
    const id = await wire.rows('stars', 'SELECT id FROM _skylinedb_database');
    expect(await rename('stars', 'suns')).toMatchObject({ name: 'suns', rev: 1, epoch: 1 });
    expect(await wire.rows('suns', 'SELECT id FROM _skylinedb_database')).toEqual(id);
    expect(await wire.exec('suns', ["INSERT INTO t VALUES ('deneb')"])).toMatchObject({ rev: 2, epoch: 1 });
    expect(await wire.exec('stars', ['SELECT 1'])).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
    expect(existsSync(ground.file('stars.db'))).toBe(false);
    expect(await names()).toEqual(['suns']);
    const { databases } = await wire.request({ type: 'Status' });
    const shown = (databases as { db_path: string }[]).map(({ db_path: path }) => path);
    expect(shown).not.toContain(ground.file('stars.db'));
  });

  test('only the letter case', async () => {
    await makeStars();
    expect(await rename('stars', 'Stars')).toMatchObject({ name: 'Stars' });
    expect(await names()).toEqual(['Stars']);
    expect(await wire.rows('stars', 'SELECT a FROM t')).toEqual([['vega']]);
  });

  test('to a name, or a file, that is there: nothing changes', async () => {
    await makeStars();
    await create('moons');
    writeFileSync(ground.file('planets.db'), '');
    expect(await rename('stars', 'MOONS')).toMatchObject({ code: 'DATABASE_EXISTS' });
    expect(await rename('stars', 'planets')).toMatchObject({ code: 'DATABASE_EXISTS' });
    expect(await rename('comets', 'x')).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
    expect(await names()).toEqual(['moons', 'stars']);
    expect(await wire.rows('stars', 'SELECT a FROM t')).toEqual([['vega']]);
  });

  test('two that change places by way of a third name keep their own rows', async () => {
    for (const name of ['a', 'b']) {
      await create(name);
      await wire.exec(name, ['CREATE TABLE t (x)', { sql: 'INSERT INTO t VALUES (?)', params: [name] }]);
    }
    await rename('a', 'c');
    await rename('b', 'a');
    await rename('c', 'b');
    expect(await wire.rows('a', 'SELECT x FROM t')).toEqual([['b']]);
    expect(await wire.rows('b', 'SELECT x FROM t')).toEqual([['a']]);
    expect(await wire.exec('a', ['DELETE FROM t'])).toMatchObject({ rev: 2, epoch: 1 });
  });
});

describe('in use', () => {
  test('by a direct reader, in no transaction: who it is is said; force goes on', async () => {
    await makeStars();
    const reader = Program.fixture(ground, 'idle-reader', [ground.file('stars.db')]);
    await reader.line();
    for (const attempt of [drop, (name: string) => rename(name, 'suns')])
      expect(await attempt('stars')).toMatchObject({
        code: 'DATABASE_IN_USE',
        retryable: true,
        holders: [{ pid: reader.pid }],
        message: expect.stringContaining('has the file open'),
      });
    expect(await wire.rows('stars', 'SELECT a FROM t')).toEqual([['vega']]);
    expect(await drop('stars', { force: true })).toMatchObject({ dropped: true });
    await create('stars');
    await wire.exec('stars', ['CREATE TABLE fresh (b)']);
    expect(await ground.sqlite3(ground.file('stars.db'), '.tables')).toContain('fresh');
    reader.child.stdin?.end();
    await reader.exited;
    expect(await wire.rows('stars', 'SELECT count(*) FROM fresh')).toEqual([[0]]);
  });

  test('by a reader in a transaction that needs the WAL: not even force takes it away', async () => {
    await makeStars();
    const reader = Program.fixture(ground, 'reads-in-a-transaction', [ground.file('stars.db'), 't']);
    await reader.line();
    await wire.exec('stars', ["INSERT INTO t VALUES ('deneb')"]);
    const refused = await drop('stars', { force: true, timeout_ms: 200 });
    expect(refused).toMatchObject({ code: 'DATABASE_IN_USE', holders: [{ pid: reader.pid }] });
    expect(await wire.exec('stars', ["INSERT INTO t VALUES ('altair')"])).toMatchObject({ status: 'ok' });
    reader.child.stdin?.end();
    await reader.exited;
    expect(await drop('stars')).toMatchObject({ dropped: true });
  });

  test('by a batch that never ends: force ends it, and it is told so', async () => {
    await makeStars();
    const endless =
      'INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n';
    const other = await ground.wire();
    const late = other.exec('stars', [endless]);
    await until('it is accepted', async () => {
      const { databases } = await wire.request({ type: 'Status', db: 'stars' });
      return (databases as { queue_depth: number }[])[0]?.queue_depth === 1;
    });
    expect(await drop('stars')).toMatchObject({ code: 'DATABASE_IN_USE' });
    expect(await drop('stars', { force: true, timeout_ms: 100 })).toMatchObject({ dropped: true });
    expect(await late).toMatchObject({ status: 'error', code: 'DATABASE_NOT_FOUND' });
    expect(await restore('stars')).toMatchObject({ rev: 1 });
    expect(await wire.rows('stars', 'SELECT a FROM t')).toEqual([['vega']]);
  });

  test('by a transaction that is open: it is said; force ends it, and nothing of it stays', async () => {
    await makeStars();
    const other = await ground.wire();
    await other.request({ type: 'Hello', protocol: 1, client: { name: 'editor', pid: 77 } });
    const { tx } = await other.request({ type: 'BeginTx', db: 'stars' });
    const step = { type: 'Exec', db: 'stars', tx, stmts: [{ sql: "INSERT INTO t VALUES ('deneb')" }] };
    expect(await other.request(step)).toMatchObject({ rows_affected: 1 });
    for (const refused of [await drop('stars'), await rename('stars', 'suns')]) {
      expect(refused).toMatchObject({ code: 'DATABASE_IN_USE' });
      expect(refused.message).toContain('a transaction of editor (pid 77) is open');
    }
    expect(await rename('stars', 'suns', { force: true, timeout_ms: 100 })).toMatchObject({ rev: 1 });
    expect(await other.request({ type: 'Commit', db: 'suns', tx })).toMatchObject({ status: 'error' });
    expect(await wire.rows('suns', 'SELECT a FROM t')).toEqual([['vega']]);
  });

  test('by a subscription: force takes the file away from under it', async () => {
    await makeStars();
    const other = await ground.wire();
    expect(await other.request({ type: 'Subscribe', db: 'stars' })).toMatchObject({ status: 'ok' });
    const refused = await rename('stars', 'suns');
    expect(refused).toMatchObject({ code: 'DATABASE_IN_USE' });
    expect(refused.message).toContain('a client watches it');
    expect(await rename('stars', 'suns', { force: true })).toMatchObject({ rev: 1 });
    other.destroy();
    expect(await wire.rows('suns', 'SELECT a FROM t')).toEqual([['vega']]);
  });

  test('by whoever has closed it for maintenance', async () => {
    await makeStars();
    await wire.request({ type: 'CloseDatabase', db: 'stars' });
    expect(await drop('stars', { force: true })).toMatchObject({ code: 'DATABASE_CLOSED' });
    expect(await rename('stars', 'suns')).toMatchObject({ code: 'DATABASE_CLOSED' });
    await wire.request({ type: 'ReopenDatabase', db: 'stars' });
    expect(await rename('stars', 'suns')).toMatchObject({ status: 'ok' });
  });
});

describe('settings', () => {
  test('a database has its own, and keeps them', async () => {
    await create('stars', { settings: { durability: 'full', max_statements: 2, mmap_size: 1 << 20 } });
    await create('moons');
    for (const [db, sync, statements] of [
      ['stars', 2, 'INVALID_REQUEST'],
      ['moons', 1, undefined],
      ['./stars.db', 2, 'INVALID_REQUEST'],
    ] as const) {
      expect(await wire.rows(db, 'SELECT synchronous FROM pragma_synchronous')).toEqual([[sync]]);
      expect((await wire.exec(db, ['SELECT 1', 'SELECT 2', 'SELECT 3'])).code).toBe(statements);
    }
    const alter = {
      type: 'AlterDatabase',
      name: 'stars',
      settings: { wal_limit: 1 << 21 },
      reset: ['durability'],
    };
    expect(await wire.request(alter)).toMatchObject({
      settings: { max_statements: 2, mmap_size: 1 << 20, wal_limit: 1 << 21 },
      in_effect: true,
    });
    expect(await wire.rows('stars', 'SELECT synchronous FROM pragma_synchronous')).toEqual([[1]]);
    const { databases } = await wire.request({ type: 'Status', db: 'stars' });
    expect(databases).toMatchObject([{ wal: { limit: 1 << 21 } }]);
  });

  test('they count for its path, too, after a restart', async () => {
    await create('stars', { settings: { max_statements: 2 } });
    await wire.request({ type: 'Shutdown' });
    await until('it is gone', () => ground.processes().length === 0);
    await ground.daemon();
    wire = await ground.wire();
    const reply = await wire.exec('stars.db', ['SELECT 1', 'SELECT 2', 'SELECT 3']);
    expect(reply).toMatchObject({ code: 'INVALID_REQUEST', limit: 'max_statements' });
  });

  test('what they cannot be is refused, and named', async () => {
    const bad = [
      [{ durability: 'some' }, 'durability'],
      [{ wal_limit: 12 }, 'wal_limit'],
      [{ walLimit: 1 << 21 }, 'walLimit'],
      [{ max_statements: 1.5 }, 'max_statements'],
      [[], 'settings'],
    ] as const;
    for (const [settings, named] of bad) {
      const reply = await create('stars', { settings });
      expect(reply).toMatchObject({ code: 'INVALID_REQUEST' });
      expect(reply.message).toContain(named);
    }
  });

  test('an idle time of its own', async () => {
    await create('stars', { settings: { worker_idle_timeout_ms: 50 } });
    await until('its worker has left', async () => {
      const { databases } = await wire.request({ type: 'Status' });
      const found = (databases as { name?: string; worker_pid: unknown }[]).find(
        ({ name }) => name === 'stars',
      );
      return found?.worker_pid === null;
    });
  });
});

test('a catalog that is a link to a file elsewhere is that file', async () => {
  const elsewhere = join(ground.dir, 'elsewhere.db');
  symlinkSync(elsewhere, ground.file(CATALOG));
  await makeStars();
  expect(await names()).toEqual(['stars']);
  expect(existsSync(elsewhere)).toBe(true);
  const closed = await wire.request({ type: 'CloseDatabase', db: elsewhere });
  expect(closed).toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
});
