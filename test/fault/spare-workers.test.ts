import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Client, connect } from '../../dist/client/index.js';
import { Playground, until } from '../support/playground.js';

const FIXTURES = fileURLToPath(new URL('../fixtures', import.meta.url));

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

test('a spare that is killed is replaced, and whoever asks meanwhile is served', async () => {
  await ground.daemon();
  await until('there is a spare', () => ground.spares().length === 1);
  const [dead = 0] = ground.spares();
  const wire = await ground.wire();
  process.kill(dead, 'SIGKILL');
  // Also when the daemon has not noticed yet.
  expect(await wire.exec('a.db', ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok', rev: 1 });
  await until('there is another spare', () => ground.spares().some((pid) => pid !== dead));
  expect(await wire.exec('b.db', ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok', rev: 1 });
  await ground.expectCleanEnd();
});

test('when the daemon is killed its spares leave', async () => {
  const daemon = await ground.daemon(['--spare-workers', '3']);
  await until('there are three spares', () => ground.spares().length === 3);
  const wire = await ground.wire();
  await wire.exec('a.db', ['CREATE TABLE t (a)']);
  process.kill(daemon.pid, 'SIGKILL');
  await until('no process is left', () => ground.processes().length === 0);
});

test('a worker that has served before is killed in the middle of its next database: that one goes on, the first is whole', async () => {
  await ground.daemon(['--max-workers', '1', '--spare-workers', '1']);
  const wire = await ground.wire();
  for (const db of ['a.db', 'b.db', 'a.db']) {
    await wire.exec(db, ['CREATE TABLE IF NOT EXISTS t (a)', 'INSERT INTO t VALUES (1)']);
  }
  for (const pid of ground.workers()) process.kill(pid, 'SIGKILL');
  expect(await wire.exec('a.db', ['INSERT INTO t VALUES (1)'])).toMatchObject({ rev: 3 });
  expect(await wire.exec('b.db', ['INSERT INTO t VALUES (1)'])).toMatchObject({ rev: 2 });
  await ground.expectCleanEnd();
});

test("databases that take each other's processes over while those are killed: each has its own batches, once", async () => {
  await ground.daemon(['--max-workers', '3']);
  Object.assign(process.env, ground.env);
  const clients = await Promise.all(Array.from({ length: 3 }, () => connect({ autoStart: false })));
  const done = new Map<string, number>();
  let touched = 0;
  const touch = async (client: Client, n: number) => {
    // One of them is hot now and then: its batches go straight to a worker, which leaves all the same.
    const name = n % 40 < 20 ? 'hot' : `${Math.floor(Math.random() * 8)}`;
    const db = client.database(ground.file(`${name}.db`));
    await db.batch([
      'CREATE TABLE IF NOT EXISTS t (name)',
      { sql: 'INSERT INTO t VALUES (?)', params: [name] },
    ]);
    done.set(name, (done.get(name) ?? 0) + 1);
    touched += 1;
  };
  const work = Promise.all(
    clients.map(async (client) => {
      for (let n = 0; n < 200; n += 1) await touch(client, n);
    }),
  );
  for (let kill = 1; kill <= 8; kill += 1) {
    await until(`${60 * kill} batches are done`, () => touched >= 60 * kill);
    const workers = ground.workers();
    const victim = workers[Math.floor(Math.random() * workers.length)];
    if (victim !== undefined) process.kill(victim, 'SIGKILL');
  }
  await work;
  for (const client of clients) client.close();
  for (const [name, count] of done) {
    const sql = `SELECT count(*) || ' ' || min(name) || ' ' || max(name) FROM t`;
    await until('the file can be read', async () => {
      const found = await ground.sqlite3(ground.file(`${name}.db`), sql).catch(() => null);
      if (found !== null) expect(found).toBe(`${count} ${name} ${name}`);
      return found !== null;
    });
  }
  await ground.expectCleanEnd();
});

test('where no worker can start, spares are tried again ever more slowly', async () => {
  await ground.daemon([], {
    NODE_OPTIONS: `--require ${join(FIXTURES, 'worker-that-dies-at-its-start.cjs')}`,
  });
  const log = join(ground.stateDir, 'daemon.log');
  const troubles = () =>
    (existsSync(log) ? readFileSync(log, 'utf8') : '')
      .split('\n')
      .filter((line) => line.includes('a spare worker did not last'))
      .map((line) => Date.parse((JSON.parse(line) as { time: string }).time));
  await until('three have died', () => troubles().length >= 3);
  const [first = 0, second = 0, third = 0] = troubles();
  expect(second - first).toBeGreaterThanOrEqual(990);
  expect(third - second).toBeGreaterThanOrEqual(1_990);
  await ground.expectCleanEnd();
});
