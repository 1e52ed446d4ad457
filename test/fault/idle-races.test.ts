import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect } from '../../dist/client/index.js';
import { Playground } from '../support/playground.js';

/** Timers that fire while a request arrives. Each test goes on for so long, and on a busy machine until it has seen enough. */
const MS = 5_000;

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

test('workers that leave while a batch arrives: each batch is done, once, and rev has no gap', async () => {
  const daemon = await ground.daemon(['--worker-idle-timeout', '3ms', '--log-level', 'error']);
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (n)']);
  const end = performance.now() + MS;
  const seen = new Set<number>();
  let n = 0;
  while (performance.now() < end || seen.size <= 2 || n <= 50) {
    n += 1;
    const insert = { sql: 'INSERT INTO t VALUES (?)', params: [n] };
    expect(await wire.exec('x.db', [insert])).toMatchObject({ status: 'ok', rev: n + 1 });
    if (n % 10 === 0) for (const pid of ground.workers()) seen.add(pid);
    // Mostly about when the worker leaves.
    if (n % 3 > 0) await pause(2 + Math.random() * 4);
  }
  expect(await wire.rows('x.db', 'SELECT count(*), max(n) FROM t')).toEqual([[n, n]]);
  expect(daemon.child.exitCode).toBeNull();
  await ground.expectCleanEnd();
});

test('workers that leave while an attached client sends: the library notices nothing', async () => {
  await ground.daemon(['--worker-idle-timeout', '3ms', '--log-level', 'error']);
  const client = await connect({ socket: ground.socket, autoStart: false });
  const db = client.database(ground.file('x.db'));
  await db.exec('CREATE TABLE t (n)');
  const end = performance.now() + MS;
  let n = 0;
  while (performance.now() < end || n <= 50) {
    const some = Array.from({ length: 1 + (n % 3) }, () => {
      n += 1;
      return db.run('INSERT INTO t VALUES (?)', [n]);
    });
    for (const { rev } of await Promise.all(some)) expect(rev).toBeLessThanOrEqual(n + 1);
    if (n % 4 > 0) await pause(2 + Math.random() * 4);
  }
  expect(await db.all('SELECT count(*) AS n, count(DISTINCT n) AS d FROM t')).toEqual([{ n, d: n }]);
  expect((await db.ping()).rev).toBe(n + 1);
  client.close();
  await ground.expectCleanEnd();
});

test('workers that make room for others while batches arrive for both: none is lost or done twice', async () => {
  await ground.daemon(['--max-workers', '1', '--log-level', 'error']);
  const wires = [await ground.wire(), await ground.wire(), await ground.wire()];
  for (const [at, wire] of wires.entries()) await wire.exec(`${at}.db`, ['CREATE TABLE t (n)']);
  const end = performance.now() + MS;
  const written = await Promise.all(
    wires.map(async (wire, at) => {
      let n = 0;
      while (performance.now() < end || n <= 20) {
        n += 1;
        const insert = { sql: 'INSERT INTO t VALUES (?)', params: [n] };
        expect(await wire.exec(`${at}.db`, [insert])).toMatchObject({ status: 'ok', rev: n + 1 });
        if (n % 5 === 0) await pause(Math.random() * 3);
      }
      return n;
    }),
  );
  for (const [at, n] of written.entries()) {
    expect(await wires[at]?.rows(`${at}.db`, 'SELECT count(*), max(n) FROM t')).toEqual([[n, n]]);
  }
  await ground.expectCleanEnd();
});

test('a daemon that leaves while clients come: each of them is served, by this one or the next', async () => {
  const end = performance.now() + MS;
  const daemonArgs = ['--idle-timeout', '15ms', '--worker-idle-timeout', '10ms', '--log-level', 'error'];
  const options = { socket: ground.socket, daemonArgs };
  Object.assign(process.env, ground.env);
  const daemons = new Set<number>();
  let n = 0;
  while (performance.now() < end || daemons.size <= 2 || n <= 10) {
    const client = await connect(options);
    const db = client.database(ground.file('x.db'));
    if (n === 0) await db.exec('CREATE TABLE t (n)');
    n += 1;
    expect((await db.run('INSERT INTO t VALUES (?)', [n])).rev).toBe(n + 1);
    if (client.daemon !== null) daemons.add(client.daemon.pid);
    client.close();
    await pause(Math.random() * 60);
  }
  expect(await ground.sqlite3(ground.file('x.db'), 'SELECT count(*), max(n) FROM t')).toBe(`${n}|${n}`);
});
