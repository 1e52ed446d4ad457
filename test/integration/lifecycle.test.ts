import { existsSync, readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Load } from '../support/load.js';
import { Playground, until } from '../support/playground.js';
import { Program } from '../support/program.js';
import type { Message, Wire } from '../support/wire.js';

/** Never ends, and takes no memory. */
const ENDLESS = 'WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

/** A database's record in Status. */
async function status(wire: Wire, db: string): Promise<Message> {
  const answer = await wire.request({ type: 'Status', db });
  const [record] = answer.databases as Message[];
  if (record === undefined) throw new Error(JSON.stringify(answer));
  return record;
}

/** Puts a database's worker into a statement without end, and waits until it is in it. */
async function occupy(wire: Wire, db: string): Promise<void> {
  wire.send({ type: 'ExecBatch', db, stmts: [{ sql: ENDLESS }], id: 'endless' });
  const other = await ground.wire();
  // Twice: once may be a machine that was busy with something else.
  const silent = async () => (await status(other, db)).stale === true;
  await until('the worker is too busy for figures', async () => (await silent()) && (await silent()));
}

function expectNothingLeft(...files: string[]): void {
  expect(ground.processes()).toEqual([]);
  expect(readdirSync(dirname(ground.socket))).toEqual([]);
  expect(readdirSync(ground.dataDir).sort()).toEqual(files);
}

test('a worker leaves when it is idle, with nothing beside the database, and the next request starts it again', async () => {
  await ground.daemon(['--worker-idle-timeout', '30ms']);
  const wire = await ground.wire();
  expect(await wire.exec('a.db', ['CREATE TABLE t (a)'])).toMatchObject({ rev: 1 });
  await until('the worker has left', () => ground.workers().length === 0);
  await until('the router knows it', async () => (await status(wire, 'a.db')).worker_pid === null);
  expect(readdirSync(ground.dataDir)).toEqual(['a.db']);
  expect(await wire.exec('a.db', ['INSERT INTO t VALUES (1)'])).toMatchObject({ rev: 2, epoch: 1 });
  expect((await status(wire, 'a.db')).counters).toMatchObject({ worker_restarts: 0 });
  await ground.expectCleanEnd();
});

test('the daemon leaves when it has neither clients nor workers, and the next client starts it again', async () => {
  const daemon = await ground.daemon(['--idle-timeout', '100ms', '--worker-idle-timeout', '30ms']);
  const wire = await ground.wire();
  expect(await wire.exec('a.db', ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok' });
  // As long as a client is there, it stays.
  await until(
    'it is older than its idle time',
    async () => Number((await wire.request({ type: 'Ping' })).uptime_ms) > 300,
  );
  wire.destroy();
  expect(await daemon.exited).toMatchObject({ code: 0, signal: null, stderr: '' });
  expectNothingLeft('a.db');
  const next = Program.fixture(ground, 'writes-when-told', [ground.file('a.db')]);
  await next.line();
  next.say('go');
  const said = await next.json<{ daemon: number; rev: number }>();
  expect(said.daemon).not.toBe(daemon.pid);
  expect(said.rev).toBe(2);
  await next.exited;
  await ground.expectCleanEnd();
});

test('a direct reader inside a transaction is not disturbed by a worker that leaves for idleness', async () => {
  await ground.daemon(['--worker-idle-timeout', '30ms']);
  const wire = await ground.wire();
  await wire.exec('a.db', ['CREATE TABLE t (a)', 'INSERT INTO t VALUES (1)']);
  const reader = Program.fixture(ground, 'reads-in-a-transaction', [ground.file('a.db'), 't']);
  expect(await reader.line()).toBe('1');
  expect(await wire.exec('a.db', ['INSERT INTO t VALUES (2), (3)'])).toMatchObject({ status: 'ok' });
  await until('the worker has left', () => ground.workers().length === 0);
  expect(await reader.ask('count')).toBe('1');
  expect(await reader.ask('commit')).toBe('3');
  expect(await wire.exec('a.db', ['INSERT INTO t VALUES (4)'])).toMatchObject({ status: 'ok' });
  expect(await reader.ask('count')).toBe('4');
  expect(await reader.end()).toMatchObject({ code: 0, stderr: '' });
  expect(await ground.sqlite3(ground.file('a.db'), 'PRAGMA integrity_check')).toBe('ok');
  expect(await wire.exec('a.db', ['INSERT INTO t VALUES (5)'])).toMatchObject({ status: 'ok' });
  await ground.expectCleanEnd();
});

test.each(['SIGTERM', 'SIGINT', 'Shutdown'] as const)(
  '%s under load loses no answered batch, cuts none in two, and leaves nothing behind',
  async (how) => {
    const daemon = await ground.daemon();
    const control = await ground.wire();
    const loads = [await Load.start(ground, 'a.db'), await Load.start(ground, 'b.db')];
    await until('there is load', () => loads.every(({ applied }) => applied.length > 200));
    if (how === 'Shutdown')
      expect(await control.request({ type: 'Shutdown' })).toMatchObject({ status: 'ok' });
    else process.kill(daemon.pid, how);
    for (const load of loads) await load.done;
    expect(await daemon.exited).toMatchObject({ code: 0, signal: null, stderr: '' });
    expectNothingLeft('a.db', 'b.db');
    for (const load of loads)
      for (const answer of load.refused.values()) expect(answer).toMatchObject({ code: 'SHUTTING_DOWN' });
    await loads[0]?.expectTrue(ground, ground.file('a.db'));
    await loads[1]?.expectTrue(ground, ground.file('b.db'));
  },
);

test('a client that sends and never reads does not keep the daemon from leaving', async () => {
  const daemon = await ground.daemon();
  const wire = await ground.wire();
  wire.socket.pause();
  const sql = 'SELECT hex(zeroblob(500000))';
  for (let sent = 0; sent < 40; sent += 1)
    // Each by itself: what shares a transaction is answered together.
    wire.send({ type: 'ExecBatch', db: 'a.db', stmts: [{ sql }], tx: 'none', id: sent });
  wire.send({ type: 'ExecBatch', db: 'a.db', stmts: [{ sql: 'CREATE TABLE t (a)' }], id: 'last' });
  const other = await ground.wire();
  await until('its answers are stuck', async () => Number((await status(other, 'a.db')).queue_depth) > 0);
  process.kill(daemon.pid, 'SIGTERM');
  expect(await daemon.exited).toMatchObject({ code: 0, signal: null });
  expect(ground.processes()).toEqual([]);
});

test('a second signal ends the daemon at once, whatever still runs', async () => {
  const daemon = await ground.daemon();
  const wire = await ground.wire();
  await occupy(wire, 'a.db');
  process.kill(daemon.pid, 'SIGTERM');
  await until('it refuses', async () => (await wire.request({ type: 'Ping' })).code === 'SHUTTING_DOWN');
  expect(daemon.child.exitCode).toBeNull();
  process.kill(daemon.pid, 'SIGTERM');
  expect(await daemon.exited).toMatchObject({ code: 1, signal: null });
});

test('after kill -9 of a worker the next request is served, and other databases notice nothing', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  const other = await Load.start(ground, 'other.db');
  await wire.exec('a.db', ['CREATE TABLE t (a)', 'INSERT INTO t VALUES (1)']);
  const before = await status(wire, 'other.db');
  for (let round = 2; round < 5; round += 1) {
    process.kill(Number((await status(wire, 'a.db')).worker_pid), 'SIGKILL');
    const more = other.applied.length + 50;
    expect(await wire.exec('a.db', ['INSERT INTO t VALUES (1)'])).toMatchObject({ rev: round, epoch: 1 });
    await until('the other database goes on', () => other.applied.length > more);
  }
  expect(await wire.rows('a.db', 'SELECT count(*) FROM t')).toEqual([[4]]);
  expect((await status(wire, 'a.db')).counters).toMatchObject({ worker_restarts: 3 });
  const after = await status(wire, 'other.db');
  expect(after.worker_pid).toBe(before.worker_pid);
  other.stop();
  await ground.expectCleanEnd();
  expect(other.refused.size).toBe(0);
  await other.expectTrue(ground, ground.file('other.db'));
});

test('after kill -9 of the daemon its workers leave by themselves, and no batch is cut in two', async () => {
  const daemon = await ground.daemon();
  const loads = [await Load.start(ground, 'a.db'), await Load.start(ground, 'b.db')];
  await until('there is load', () => loads.every(({ applied }) => applied.length > 200));
  process.kill(daemon.pid, 'SIGKILL');
  for (const load of loads) await load.done;
  await until('the workers have left', () => ground.processes().length === 0);
  expect(readdirSync(ground.dataDir).sort()).toEqual(['a.db', 'b.db']);
  await loads[0]?.expectTrue(ground, ground.file('a.db'));
  await loads[1]?.expectTrue(ground, ground.file('b.db'));
  await ground.daemon();
  const wire = await ground.wire();
  expect(await wire.exec('a.db', ['INSERT INTO load VALUES (0)'])).toMatchObject({ status: 'ok', epoch: 1 });
  await ground.expectCleanEnd();
});

test('a worker does not leave for Ctrl-C or a TERM to the whole group: the daemon says when', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  await wire.exec('a.db', ['CREATE TABLE t (a)']);
  const { worker_pid: worker } = await status(wire, 'a.db');
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.kill(Number(worker), signal);
    expect(await wire.exec('a.db', ['INSERT INTO t VALUES (1)'])).toMatchObject({ status: 'ok' });
  }
  expect(await status(wire, 'a.db')).toMatchObject({ worker_pid: worker });
  await ground.expectCleanEnd();
});

test('a worker in an endless statement whose daemon was killed does not block the next daemon for ever', async () => {
  const daemon = await ground.daemon();
  const wire = await ground.wire();
  await wire.exec('a.db', ['CREATE TABLE t (a)']);
  await occupy(wire, 'a.db');
  const [orphan] = ground.workers();
  process.kill(daemon.pid, 'SIGKILL');
  await daemon.exited;
  expect(ground.workers()).toEqual([orphan]);
  await ground.daemon();
  const next = await ground.wire();
  expect(await next.exec('a.db', ['INSERT INTO t VALUES (1)'])).toMatchObject({ status: 'ok', rev: 2 });
  expect(ground.workers()).not.toContain(orphan);
  expect(existsSync(ground.file('a.db'))).toBe(true);
  await ground.expectCleanEnd();
});

test('who only asks for figures does not keep a worker from leaving', async () => {
  await ground.daemon(['--worker-idle-timeout', '300ms']);
  const wire = await ground.wire();
  await wire.exec('a.db', ['CREATE TABLE t (a)']);
  await until('the worker has left', async () => (await status(wire, 'a.db')).worker_pid === null);
  expect(await status(wire, 'a.db')).toMatchObject({ rev: 1, stale: false });
  await ground.expectCleanEnd();
});
