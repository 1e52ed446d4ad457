import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground, until } from '../support/playground.js';
import { isAlive, untilQuiet } from '../support/proc.js';
import type { Wire } from '../support/wire.js';

/** What a worker says travels behind its large answers: these tests are about what it does before it was heard. */

/** Some megabytes of result after some hundred milliseconds of work. */
const LARGE =
  "SELECT replace(hex(zeroblob(4000000)), '0', 'x') || count(*) FROM (WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < 4000000) SELECT n FROM c)";
const COUNT =
  'WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < 12000000) SELECT max(n) FROM c';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

async function busyWorker(observer: Wire): Promise<number> {
  let pid = 0;
  await until('the worker is busy and has another batch waiting', async () => {
    const { databases } = (await observer.request({ type: 'Status', db: 'x.db' })) as {
      databases: { worker_pid: number; queue_depth: number; stale: boolean }[];
    };
    pid = databases[0]?.worker_pid ?? 0;
    return databases[0]?.stale === true && databases[0].queue_depth === 2;
  });
  return pid;
}

test('a batch that a dying worker had committed unheard is not carried out twice', async () => {
  const daemon = await ground.daemon();
  const wire = await ground.wire();
  const other = await ground.wire();
  const observer = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  const large = wire.exec('x.db', [LARGE]);
  large.catch(() => undefined);
  const insert = other.exec('x.db', ['INSERT INTO t VALUES (1)']);
  const worker = await busyWorker(observer);
  // The daemon hears nothing while the worker finishes the query, whose answer fills the channel between them.
  process.kill(daemon.pid, 'SIGSTOP');
  await untilQuiet(worker);
  process.kill(worker, 'SIGKILL');
  await until('the worker is dead', () => !isAlive(worker));
  process.kill(daemon.pid, 'SIGCONT');
  const reply = await insert;
  const [[stored] = []] = await other.rows('x.db', 'SELECT count(*) FROM t');
  if (reply.status === 'ok' || reply.outcome === 'not_applied')
    expect(stored).toBe(reply.status === 'ok' ? 1 : 0);
  expect(stored).toBeLessThanOrEqual(1);
  await large;
});

test('a batch that runs past its timeout behind a large answer is not called not begun', async () => {
  const daemon = await ground.daemon();
  const wire = await ground.wire();
  const other = await ground.wire();
  const observer = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  const large = wire.exec('x.db', [LARGE]);
  const insert = other.exec('x.db', [COUNT, 'INSERT INTO t VALUES (1)'], { timeout_ms: 2_000 });
  const worker = await busyWorker(observer);
  process.kill(daemon.pid, 'SIGSTOP');
  await untilQuiet(worker);
  process.kill(daemon.pid, 'SIGCONT');
  const reply = await insert;
  await large;
  const [[stored] = []] = await other.rows('x.db', 'SELECT count(*) FROM t');
  if (reply.status === 'ok') expect(stored).toBe(1);
  else expect({ ...reply, stored }).toMatchObject({ code: 'TIMEOUT', outcome: 'not_applied', stored: 0 });
});
