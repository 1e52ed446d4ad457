import { copyFileSync, existsSync, readdirSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KernelLock } from '../../daemon/worker/kernel-lock.js';
import { Playground, until } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

let ground: Playground;
let wire: Wire;
let daemon: { readonly pid: number };
beforeEach(async () => {
  ground = new Playground();
  daemon = await ground.daemon(['--worker-idle-timeout', '0']);
  wire = await ground.wire();
});
afterEach(async () => {
  await ground.dispose();
});

/** A finished database of other contents, made by plain `sqlite3`: its pages look like ours, so that a WAL would fit. */
async function otherFile(name: string): Promise<string> {
  const path = join(ground.dir, name);
  await ground.sqlite3(
    path,
    'PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1000); CREATE TABLE other (b); PRAGMA wal_checkpoint(TRUNCATE)',
  );
  expect(readdirSync(ground.dir).filter((one) => one.startsWith(name))).toEqual([name]);
  return path;
}

/** x.db, open in a worker, with a WAL that has not reached the main file. */
async function fill(db = 'x.db'): Promise<void> {
  expect(await wire.exec(db, ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok' });
  await wire.request({ type: 'Checkpoint', db, mode: 'truncate' });
  const fifty =
    'WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 50) INSERT INTO t SELECT ? FROM c';
  for (let n = 1; n <= 20; n += 1)
    expect(await wire.exec(db, [{ sql: fifty, params: [n] }])).toMatchObject({ rows_affected: 50 });
}

async function workerOf(db: string): Promise<number> {
  const { databases } = await wire.request({ type: 'Status', db });
  return Number((databases as Message[])[0]?.worker_pid);
}

async function expectSound(db: string): Promise<void> {
  expect(await wire.rows(db, 'PRAGMA integrity_check')).toEqual([['ok']]);
  expect(await ground.sqlite3(ground.file(db), 'PRAGMA integrity_check')).toBe('ok');
}

/** The new file is served, whole, further on than anything before. */
async function expectNewFile(db: string, before: Message): Promise<void> {
  expect(await wire.rows(db, 'SELECT count(*), max(a) FROM t')).toEqual([[1, 1000]]);
  const after = await wire.exec(db, ['INSERT INTO other VALUES (1)']);
  expect(after).toMatchObject({ status: 'ok' });
  expect(Number(after.epoch)).toBeGreaterThan(Number(before.epoch));
  await expectSound(db);
  expect(await wire.request({ type: 'Ping', db })).toMatchObject({ epoch: after.epoch, rev: after.rev });
}

test('a file put in the place of an open one by mv is served with the next request, apart from the old WAL', async () => {
  await fill();
  const before = await wire.request({ type: 'Ping', db: 'x.db' });
  renameSync(await otherFile('new.db'), ground.file('x.db'));
  await expectNewFile('x.db', before);
  await ground.expectCleanEnd();
  expect(await ground.sqlite3(ground.file('x.db'), 'PRAGMA integrity_check')).toBe('ok');
});

test('a file put in the place of one that has seen a single batch is served with the next request', async () => {
  const before = await wire.exec('x.db', ['CREATE TABLE t (a)']);
  renameSync(await otherFile('new.db'), ground.file('x.db'));
  await expectNewFile('x.db', before);
  await ground.expectCleanEnd();
});

test('a file put in the place of one whose worker was just killed is served apart from the old WAL', async () => {
  await fill();
  const before = await wire.request({ type: 'Ping', db: 'x.db' });
  process.kill(await workerOf('x.db'), 'SIGKILL');
  await until('the worker is gone', () => ground.workers().length === 0);
  renameSync(await otherFile('new.db'), ground.file('x.db'));
  await expectNewFile('x.db', before);
  await ground.expectCleanEnd();
});

test('a file exchanged while nothing was open has a higher epoch, too', async () => {
  await fill();
  const before = await wire.request({ type: 'Ping', db: 'x.db' });
  await wire.request({ type: 'CloseDatabase', db: 'x.db' });
  await wire.request({ type: 'ReopenDatabase', db: 'x.db' });
  process.kill(await workerOf('x.db'), 'SIGKILL');
  await until('the worker is gone', () => ground.workers().length === 0);
  rmSync(ground.file('x.db-wal'), { force: true });
  renameSync(await otherFile('new.db'), ground.file('x.db'));
  await expectNewFile('x.db', before);
  await ground.expectCleanEnd();
});

test('an older copy put back by mv does not take the revs back', async () => {
  await wire.exec('x.db', ['CREATE TABLE t (a)', 'INSERT INTO t VALUES (1000)', 'CREATE TABLE other (b)']);
  await wire.request({ type: 'Checkpoint', db: 'x.db', mode: 'truncate' });
  copyFileSync(ground.file('x.db'), join(ground.dir, 'older.db'));
  await wire.exec('x.db', ['UPDATE t SET a = 7']);
  const before = await wire.request({ type: 'Ping', db: 'x.db' });
  expect(before).toMatchObject({ rev: 2, epoch: 1 });
  renameSync(join(ground.dir, 'older.db'), ground.file('x.db'));
  await expectNewFile('x.db', before);
  await ground.expectCleanEnd();
});

test('a file deleted under the open database is missing from then on, and a new one begins in a higher epoch', async () => {
  await fill();
  const before = await wire.request({ type: 'Ping', db: 'x.db' });
  rmSync(ground.file('x.db'));
  expect(await wire.request({ type: 'Ping', db: 'x.db' })).toMatchObject({ exists: false });
  expect(await wire.exec('x.db', ['SELECT * FROM t'])).toMatchObject({ code: 'SQL_ERROR' });
  await until('the old worker is gone', () => !existsSync(ground.file('x.db-wal')));
  const after = await wire.exec('x.db', ['CREATE TABLE t (a)', 'INSERT INTO t VALUES (5)']);
  expect(after).toMatchObject({ status: 'ok', rev: 1 });
  expect(Number(after.epoch)).toBeGreaterThan(Number(before.epoch));
  expect(await wire.rows('x.db', 'SELECT a FROM t')).toEqual([[5]]);
  await expectSound('x.db');
  await ground.expectCleanEnd();
});

test('a batch sent at once after the deletion goes into a new file, and none into the deleted one', async () => {
  await fill();
  rmSync(ground.file('x.db'));
  const after = await wire.exec('x.db', ['CREATE TABLE t (a)', 'INSERT INTO t VALUES (5)']);
  expect(after).toMatchObject({ status: 'ok', epoch: 2, rev: 1 });
  expect(await ground.sqlite3(ground.file('x.db'), 'SELECT a FROM t')).toBe('5');
  await expectSound('x.db');
  await ground.expectCleanEnd();
});

test('a file renamed by mv is never written through its old name and its new one at once', async () => {
  await fill();
  for (const suffix of ['', '-wal', '-shm'])
    renameSync(ground.file(`x.db${suffix}`), ground.file(`y.db${suffix}`));
  expect(await wire.rows('y.db', 'SELECT count(*), max(a) FROM t')).toEqual([[1000, 20]]);
  expect(await wire.exec('y.db', ['INSERT INTO t VALUES (21)'])).toMatchObject({ status: 'ok' });
  expect(await wire.request({ type: 'Ping', db: 'x.db' })).toMatchObject({ exists: false });
  expect(await wire.exec('y.db', ['INSERT INTO t VALUES (22)'])).toMatchObject({ status: 'ok' });
  await expectSound('y.db');
  expect(await wire.rows('y.db', 'SELECT count(*), max(a) FROM t')).toEqual([[1002, 22]]);
  await ground.expectCleanEnd();
  expect(await ground.sqlite3(ground.file('y.db'), 'PRAGMA integrity_check')).toBe('ok');
});

test('a main file renamed alone is whole under its new name, whatever its old worker still had in hand', async () => {
  await fill();
  renameSync(ground.file('x.db'), ground.file('y.db'));
  for (let n = 0; n < 30; n += 1)
    expect(
      await wire.exec('y.db', [`CREATE TABLE u${n} (a)`, `INSERT INTO u${n} VALUES (zeroblob(9000))`]),
    ).toMatchObject({ status: 'ok' });
  // A worker that still has the file open brings its own WAL into it when nothing happens for a while.
  await wire.request({ type: 'Checkpoint', db: 'y.db', mode: 'truncate' });
  const { mtimeNs } = statSync(ground.file('y.db'), { bigint: true });
  await until(
    'the old worker has left, or has done its worst',
    () =>
      ground.workers().length === 1 || statSync(ground.file('y.db'), { bigint: true }).mtimeNs !== mtimeNs,
  );
  await expectSound('y.db');
  expect(await wire.rows('y.db', "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'u%'")).toEqual([[30]]);
  await ground.expectCleanEnd();
  expect(await ground.sqlite3(ground.file('y.db'), 'PRAGMA integrity_check')).toBe('ok');
});

test('a main file renamed under a link that has its old name is served by one worker, with one WAL', async () => {
  await fill();
  await wire.request({ type: 'Checkpoint', db: 'x.db', mode: 'truncate' });
  const old = await workerOf('x.db');
  renameSync(ground.file('x.db'), ground.file('y.db'));
  symlinkSync('y.db', ground.file('x.db'));
  expect(await wire.exec('y.db', ['INSERT INTO t VALUES (21)'])).toMatchObject({ status: 'ok' });
  expect(ground.workers()).not.toContain(old);
  expect(await wire.exec('x.db', ['INSERT INTO t VALUES (22)'])).toMatchObject({ status: 'ok' });
  expect(ground.workers()).toHaveLength(1);
  expect(await wire.rows('y.db', 'SELECT count(*), max(a) FROM t')).toEqual([[1002, 22]]);
  await expectSound('y.db');
  await ground.expectCleanEnd();
  expect(await ground.sqlite3(ground.file('y.db'), 'SELECT count(*), max(a) FROM t')).toBe('1002|22');
});

test('other databases notice nothing of a file that was exchanged', async () => {
  await fill();
  await wire.exec('calm.db', ['CREATE TABLE t (a)']);
  const calm = await workerOf('calm.db');
  renameSync(await otherFile('new.db'), ground.file('x.db'));
  expect(await wire.exec('x.db', ['INSERT INTO other VALUES (1)'])).toMatchObject({ status: 'ok' });
  expect(await wire.exec('calm.db', ['INSERT INTO t VALUES (1)'])).toMatchObject({ rev: 2, epoch: 1 });
  expect(await workerOf('calm.db')).toBe(calm);
  await ground.expectCleanEnd();
});

/** Keeps the next worker of a database at its door, as a worker of the same daemon does that is just leaving. */
function holdDoor(db: string): KernelLock {
  const owner = { pid: process.pid, routerPid: daemon.pid, endpoint: ground.socket };
  const lock = KernelLock.acquire(`${ground.file(db)}-owner`, owner);
  if (!(lock instanceof KernelLock)) throw new Error('somebody else has the lock');
  return lock;
}

test('a file exchanged while its worker was starting is the one that it serves, and its WAL stays', async () => {
  renameSync(await otherFile('old.db'), ground.file('x.db'));
  const door = holdDoor('x.db');
  const first = wire.exec('x.db', ['INSERT INTO t VALUES (1)']);
  // Behind it: by then it has been looked up.
  await wire.request({ type: 'Ping' });
  renameSync(await otherFile('new.db'), ground.file('x.db'));
  door.release();
  expect(await first).toMatchObject({ status: 'ok' });
  const worker = await workerOf('x.db');
  expect(await wire.rows('x.db', 'SELECT a FROM t')).toEqual([[1000], [1]]);
  expect(await workerOf('x.db')).toBe(worker);
  expect(readdirSync(ground.file('.')).filter((name) => name.includes('orphaned'))).toEqual([]);
  await ground.expectCleanEnd();
});

test('the same, with requests that were looked up before the worker has said what it opened', async () => {
  renameSync(await otherFile('old.db'), ground.file('x.db'));
  const door = holdDoor('x.db');
  const first = wire.exec('x.db', ['INSERT INTO t VALUES (1)']);
  await wire.request({ type: 'Ping' });
  renameSync(await otherFile('new.db'), ground.file('x.db'));
  const second = wire.exec('x.db', ['INSERT INTO t VALUES (2)']);
  await wire.request({ type: 'Ping' });
  door.release();
  for (const reply of await Promise.all([first, second])) expect(reply).toMatchObject({ status: 'ok' });
  expect(await wire.rows('x.db', 'SELECT a FROM t')).toEqual([[1000], [1], [2]]);
  expect(readdirSync(ground.file('.')).filter((name) => name.includes('orphaned'))).toEqual([]);
  await ground.expectCleanEnd();
});
