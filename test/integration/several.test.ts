import { mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DAEMON_MAIN, Playground, until } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

/** Worker pids by the name of the database's file. */
async function workers(wire: Wire): Promise<{ [name: string]: unknown }> {
  const { databases } = (await wire.request({ type: 'Status' })) as { databases?: Message[] };
  return Object.fromEntries(
    (databases ?? []).map(({ db_path, worker_pid }) => [String(db_path).split('/').at(-1), worker_pid]),
  );
}

test('more databases than workers are all served', async () => {
  await ground.daemon(['--max-workers', '2']);
  const wires = await Promise.all(Array.from({ length: 18 }, () => ground.wire()));
  const answers = await Promise.all(
    wires.map((wire, at) => wire.exec(`${at % 6}.db`, ['CREATE TABLE IF NOT EXISTS t (a)'])),
  );
  for (const answer of answers) expect(answer).toMatchObject({ status: 'ok' });
  expect(ground.workers().length).toBeLessThanOrEqual(2);
  expect(readdirSync(ground.dataDir).filter((name) => name.endsWith('.db')).length).toBe(6);
  await ground.expectCleanEnd();
});

test('the least recently used worker makes room, and the others stay', async () => {
  await ground.daemon(['--max-workers', '2']);
  const wire = await ground.wire();
  for (const db of ['a.db', 'b.db', 'a.db'])
    expect(await wire.exec(db, ['CREATE TABLE IF NOT EXISTS t (a)'])).toMatchObject({ status: 'ok' });
  const before = await workers(wire);
  expect(await wire.exec('c.db', ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok' });
  const after = await workers(wire);
  expect(after['a.db']).toBe(before['a.db']);
  expect(after['b.db']).toBeNull();
  expect(after['c.db']).toEqual(expect.any(Number));
  await ground.expectCleanEnd();
});

test('a worker whose attached clients are at work stays, however many others come and go', async () => {
  await ground.daemon(['--max-workers', '2']);
  const wire = await ground.wire();
  const { endpoint } = await wire.request({ type: 'Attach', db: 'hot.db' });
  const attached = await ground.wire(String(endpoint));
  await attached.exec(undefined, ['CREATE TABLE t (a)']);
  for (let n = 0; n < 60; n += 1) {
    expect(await wire.exec(`${n % 3}.db`, ['CREATE TABLE IF NOT EXISTS t (a)'])).toMatchObject({
      status: 'ok',
    });
    expect(await attached.exec(undefined, ['INSERT INTO t VALUES (1)'])).toMatchObject({ rev: n + 2 });
  }
  await ground.expectCleanEnd();
});

test('a worker that was busy with something else than a batch makes room when that is done', async () => {
  await ground.daemon(['--max-workers', '1']);
  const wires = await Promise.all([ground.wire(), ground.wire()]);
  const [one, other] = wires as [Wire, Wire];
  await one.exec('a.db', ['CREATE TABLE t (a)']);
  await one.exec('b.db', ['CREATE TABLE t (a)']);
  // No worker for a.db now: Ping needs one, and while it is asked somebody wants the only place.
  for (const ask of [{ type: 'Ping' }, { type: 'Checkpoint' }, { type: 'PrepareForMaintenance' }]) {
    const answers = await Promise.all([
      one.request({ ...ask, db: 'a.db' }),
      other.exec('b.db', ['INSERT INTO t VALUES (1)']),
    ]);
    for (const answer of answers) expect(answer).toMatchObject({ status: 'ok' });
    await one.request({ type: 'ReopenDatabase', db: 'a.db' });
  }
  await ground.expectCleanEnd();
});

test('a second daemon at the same endpoint says so and ends, and the first serves on', async () => {
  const daemon = await ground.daemon();
  const second = await ground.run(process.execPath, [DAEMON_MAIN]);
  expect(second).toMatchObject({ code: 1, signal: null });
  expect(second.stderr).toContain('Another daemon instance is already running');
  expect(second.stderr).toContain(`pid ${daemon.pid}`);
  expect(second.stderr).toContain(ground.socket);
  const wire = await ground.wire();
  expect(await wire.request({ type: 'Ping' })).toMatchObject({ pid: daemon.pid });
  await ground.expectCleanEnd();
});

test('a second daemon elsewhere is refused a database that the first one serves, and gets it afterwards', async () => {
  const first = await ground.daemon(['--worker-idle-timeout', '0']);
  const socket = join(ground.dir, 's2', 'v1.sock');
  const state = { SKYLINEDB_STATE_DIR: join(ground.dir, 'state2') };
  await ground.daemon(['--socket', socket], state);
  const wire = await ground.wire();
  const rival = await ground.wire(socket);
  await wire.exec('a.db', ['CREATE TABLE t (a)']);
  const refused = await rival.exec('a.db', ['INSERT INTO t VALUES (1)']);
  expect(refused).toMatchObject({ code: 'DATABASE_NOT_ALLOWED', outcome: 'not_applied' });
  expect(refused.message).toContain(`${first.pid}`);
  expect(refused.message).toContain(ground.socket);
  // By another name just as well.
  mkdirSync(join(ground.dir, 'links'));
  symlinkSync(ground.file('a.db'), join(ground.dir, 'links', 'x.db'));
  const alias = await rival.exec(join(ground.dir, 'links', 'x.db'), ['INSERT INTO t VALUES (1)']);
  expect(alias).toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
  expect(await wire.exec('a.db', ['INSERT INTO t VALUES (2)'])).toMatchObject({ status: 'ok', rev: 2 });
  // Databases that nobody else has are not concerned.
  expect(await rival.exec('b.db', ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok' });
  expect(await wire.request({ type: 'Shutdown' })).toMatchObject({ status: 'ok' });
  expect(await rival.exec('a.db', ['INSERT INTO t VALUES (3)'])).toMatchObject({ status: 'ok', rev: 3 });
  expect(await ground.sqlite3(ground.file('a.db'), 'SELECT group_concat(a) FROM t')).toBe('2,3');
  expect(await rival.request({ type: 'Shutdown' })).toMatchObject({ status: 'ok' });
  await ground.expectCleanEnd();
});

test('a database goes over to another daemon as soon as the first one is killed', async () => {
  const first = await ground.daemon();
  const socket = join(ground.dir, 's2', 'v1.sock');
  await ground.daemon(['--socket', socket], { SKYLINEDB_STATE_DIR: join(ground.dir, 'state2') });
  const wire = await ground.wire();
  const rival = await ground.wire(socket);
  await wire.exec('a.db', ['CREATE TABLE t (a)']);
  first.child.kill('SIGKILL');
  await first.exited;
  expect(await rival.exec('a.db', ['INSERT INTO t VALUES (1)'])).toMatchObject({ status: 'ok', rev: 2 });
  expect(await rival.request({ type: 'Shutdown' })).toMatchObject({ status: 'ok' });
  await until('no process is left', () => ground.processes().length === 0);
  expect(readdirSync(ground.dataDir)).toEqual(['a.db']);
});
