import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground, until } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

/** The one spare, as soon as there is exactly one. */
async function spare(): Promise<number> {
  await until('there is one spare', () => ground.spares().length === 1);
  return ground.spares()[0] ?? 0;
}

async function workerOf(wire: Wire, db: string): Promise<unknown> {
  const { databases } = await wire.request({ type: 'Status', db });
  return (databases as Message[])[0]?.worker_pid;
}

/** What a process has open below the playground's folders, by name and by inode. */
function openFiles(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/${pid}/fd/${fd}`);
      return target.startsWith(ground.dir) ? [target] : [];
    } catch {
      return [];
    }
  });
}

function openSockets(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
}

test('a new database gets the spare that is there, and another one takes its place', async () => {
  await ground.daemon();
  const first = await spare();
  const wire = await ground.wire();
  expect(await wire.exec('a.db', ['CREATE TABLE t (a)'])).toMatchObject({ rev: 1 });
  expect(await workerOf(wire, 'a.db')).toBe(first);
  const second = await spare();
  expect(second).not.toBe(first);
  // A spare is no worker yet.
  expect(await wire.request({ type: 'Status' })).toMatchObject({ workers: 1 });
  await ground.expectCleanEnd();
});

test('a worker that has closed its database serves another one: nothing of the first is open there, or known', async () => {
  await ground.daemon(['--spare-workers', '1']);
  await spare();
  const wire = await ground.wire();
  const served = new Map<unknown, string>();
  let turn = 0;
  // A worker that is back is kept where there is no other spare: the next is forked ever later when they do not last.
  await until('a process has served two databases', async () => {
    const db = `${turn}.db`;
    turn += 1;
    expect(await wire.exec(db, ['CREATE TABLE t (a)', 'INSERT INTO t VALUES (1)'])).toMatchObject({
      rev: 1,
      epoch: 1,
      results: [{}, { last_insert_rowid: 1 }],
    });
    const [record] = (await wire.request({ type: 'Status', db })).databases as Message[];
    for (const other of ground.spares()) process.kill(other, 'SIGKILL');
    expect(await wire.request({ type: 'CloseDatabase', db })).toMatchObject({ closed: true });
    const pid = record?.worker_pid as number | null;
    for (const one of ground.processes())
      expect(openFiles(one).filter((file) => file.startsWith(ground.dataDir))).toEqual([]);
    if (pid === null) return false;
    const before = served.get(pid);
    served.set(pid, db);
    if (before !== undefined) expect(record).toMatchObject({ counters: { batches: 1, commits: 1 } });
    return before !== undefined;
  });
  expect(readdirSync(ground.dataDir).filter((name) => !name.endsWith('.db'))).toEqual([]);
  await ground.expectCleanEnd();
});

test('closed for maintenance means that no process has the file open, also where its worker stays as a spare', async () => {
  await ground.daemon(['--spare-workers', '4']);
  await until('there are four spares', () => ground.spares().length === 4);
  const wire = await ground.wire();
  await wire.exec('a.db', ['CREATE TABLE t (a)']);
  const worker = (await workerOf(wire, 'a.db')) as number;
  expect(openFiles(worker)).toContain(ground.file('a.db'));
  expect(await wire.request({ type: 'CloseDatabase', db: 'a.db' })).toMatchObject({ closed: true });
  for (const pid of ground.processes())
    expect(openFiles(pid).filter((file) => file.startsWith(ground.dataDir))).toEqual([]);
  expect(readdirSync(ground.dataDir)).toEqual(['a.db']);
  expect(ground.workers()).toEqual([]);
  expect(await wire.request({ type: 'ReopenDatabase', db: 'a.db' })).toMatchObject({
    reopened: true,
    rev: 1,
  });
  expect(await wire.exec('a.db', ['INSERT INTO t VALUES (1)'])).toMatchObject({ rev: 2 });
  await ground.expectCleanEnd();
});

test('the worker that makes room for another database can be the one that gets it', async () => {
  await ground.daemon(['--max-workers', '1']);
  const wire = await ground.wire();
  for (let turn = 0; turn < 8; turn += 1) {
    const db = `${turn % 2}.db`;
    expect(await wire.exec(db, ['CREATE TABLE IF NOT EXISTS t (a)', 'SELECT 1'])).toMatchObject({
      status: 'ok',
    });
    expect(ground.workers().length).toBeLessThanOrEqual(1);
  }
  await spare();
  expect(ground.processes().length).toBeLessThanOrEqual(3);
  expect(statSync(ground.file('0.db')).size).toBeGreaterThan(0);
  await ground.expectCleanEnd();
});

test.each(['0', '2'])(
  'many databases that take turns are served by the processes that are there; with --spare-workers %s',
  async (spares) => {
    await ground.daemon(['--max-workers', '3', '--spare-workers', spares]);
    const wires = await Promise.all(Array.from({ length: 4 }, () => ground.wire()));
    const written = new Map<string, number>();
    const touch = async (wire: Wire) => {
      const db = `${Math.floor(Math.random() * 12)}.db`;
      const n = (written.get(db) ?? 0) + 1;
      written.set(db, n);
      const sql = ['CREATE TABLE IF NOT EXISTS t (a)', 'INSERT INTO t VALUES (1)'];
      expect(await wire.exec(db, sql)).toMatchObject({ status: 'ok' });
    };
    const full = 1 + 3 + Number(spares);
    await until('all places are taken', async () => {
      await Promise.all(wires.map(touch));
      return ground.processes().length === full;
    });
    const before = ground.processes();
    for (let round = 0; round < 10; round += 1) {
      await Promise.all(
        wires.map(async (wire) => {
          for (let n = 0; n < 8; n += 1) await touch(wire);
        }),
      );
      expect(ground.processes()).toEqual(before);
    }
    for (const [db, n] of written) expect(await wires[0]?.rows(db, 'SELECT count(*) FROM t')).toEqual([[n]]);
    await ground.expectCleanEnd();
  },
);

test('a worker that clients are attached to serves the next database as well, and those clients not', async () => {
  await ground.daemon(['--max-workers', '1', '--spare-workers', '0']);
  const wire = await ground.wire();
  const sockets: string[] = [];
  let before: Wire | undefined;
  let pid: number | undefined;
  for (const db of ['a.db', 'b.db', 'a.db', 'c.db']) {
    const { endpoint } = await wire.request({ type: 'Attach', db });
    // Whoever was attached to the last one was sent away, and finds nobody where it was.
    expect(await before?.next()).toEqual(before === undefined ? undefined : { event: 'detached' });
    expect(await before?.next()).toEqual(before === undefined ? undefined : null);
    for (const socket of sockets) await expect(ground.wire(socket)).rejects.toThrow('ENOENT');
    before = await ground.wire(String(endpoint));
    expect(await before.exec(undefined, ['CREATE TABLE IF NOT EXISTS t (a)'])).toMatchObject({
      status: 'ok',
    });
    const [worker] = ground.workers();
    expect(worker).toBe(pid ?? worker);
    pid = worker;
    sockets.push(String(endpoint));
  }
  expect(new Set(sockets).size).toBe(4);
  await ground.expectCleanEnd();
});

test('attached clients that do not read their last answers do not keep the process from the next database', async () => {
  await ground.daemon(['--max-workers', '1', '--spare-workers', '0']);
  const wire = await ground.wire();
  await wire.exec('a.db', ['CREATE TABLE t (a)']);
  const [pid = 0] = ground.workers();
  const sockets = openSockets(pid);
  const { endpoint } = await wire.request({ type: 'Attach', db: 'a.db' });
  const deaf = await ground.wire(String(endpoint));
  deaf.socket.pause();
  for (let id = 0; id < 8; id += 1)
    deaf.send({ type: 'ExecBatch', id, stmts: [{ sql: 'SELECT hex(randomblob(200000))' }] });
  await until('more has run than it takes', async () => {
    const { databases } = await wire.request({ type: 'Status', db: 'a.db' });
    return (databases as { counters: { batches: number } }[])[0]?.counters.batches !== 1;
  });
  expect(await wire.exec('b.db', ['CREATE TABLE t (a)'])).toMatchObject({ rev: 1 });
  expect(ground.workers()).toEqual([pid]);
  expect(openSockets(pid)).toBeGreaterThan(sockets);
  // Nor for ever: it is left behind, without the end of its answers.
  await until('its connection is closed', () => openSockets(pid) === sockets);
  expect(await wire.exec('b.db', ['SELECT 1'])).toMatchObject({ status: 'ok' });
  await ground.expectCleanEnd();
});

test('with --spare-workers 0 a process starts for each database, and leaves with it', async () => {
  await ground.daemon(['--spare-workers', '0', '--worker-idle-timeout', '30ms']);
  const wire = await ground.wire();
  await wire.exec('a.db', ['CREATE TABLE t (a)']);
  await until('the worker has left', () => ground.processes().length === 1);
  expect(ground.spares()).toEqual([]);
  await ground.expectCleanEnd();
});

test('spares do not keep a daemon that nobody needs', async () => {
  const daemon = await ground.daemon(['--idle-timeout', '50ms', '--spare-workers', '3']);
  expect(await daemon.exited).toMatchObject({ code: 0 });
  await until('the spares have gone with it', () => ground.processes().length === 0);
});
