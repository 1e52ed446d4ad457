import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writers } from '../../daemon/worker/lock-holders.js';
import { Bystander } from '../support/bystander.js';
import { CLI_MAIN, Playground, until } from '../support/playground.js';
import { isAlive } from '../support/proc.js';
import type { Message, Wire } from '../support/wire.js';

const FIXTURES = fileURLToPath(new URL('../fixtures/', import.meta.url));

/** Runs until somebody ends it, and would write if it ever came to its end. */
const ENDLESS =
  'INSERT INTO t SELECT n FROM (WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c) SELECT n FROM c WHERE n < 0)';
/** Takes some seconds at most, then writes one row. */
const LONG =
  'INSERT INTO t SELECT max(n) FROM (WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < 8000000) SELECT n FROM c)';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

function batch(id: unknown, sql: string, more: Message = {}): Message {
  return { type: 'ExecBatch', db: 'x.db', id, stmts: [{ sql }], ...more };
}

/** The worker of x.db, once it holds the write lock: the statement runs. */
async function runningWorker(observer: Wire): Promise<number> {
  let pid = 0;
  await until('the worker is in a transaction', async () => {
    const { databases } = (await observer.request({ type: 'Status', db: 'x.db' })) as {
      databases: { worker_pid: number }[];
    };
    pid = databases[0]?.worker_pid ?? 0;
    return writers(ground.file('x.db')).some((writer) => writer.pid === pid);
  });
  return pid;
}

async function replies(
  wire: Wire,
  count: number,
  all = new Map<unknown, Message>(),
): Promise<Map<unknown, Message>> {
  while (all.size < count) {
    const reply = await wire.next();
    if (reply === null) throw new Error('the connection ended');
    all.set(reply.id, reply);
  }
  return all;
}

test('a statement without end is stopped at its timeout; waiting batches are carried out, others were never late', async () => {
  await ground.daemon();
  const bystander = await Bystander.start(ground);
  const wire = await ground.wire();
  const observer = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  wire.send(batch('endless', ENDLESS, { timeout_ms: 1_500 }));
  // Before it on the same connection nothing, behind it five of its own and five of others.
  for (let own = 0; own < 5; own += 1) wire.send(batch(own, `INSERT INTO t VALUES (${own})`));
  const worker = await runningWorker(observer);
  const others = await Promise.all(Array.from({ length: 5 }, () => ground.wire()));
  const waiting = others.map((one, other) => one.exec('x.db', [`INSERT INTO t VALUES (${100 + other})`]));
  const answers = await replies(wire, 6);
  expect(answers.get('endless')).toMatchObject({
    code: 'TIMEOUT',
    outcome: 'not_applied',
    retryable: true,
    message: expect.stringContaining('timeout_ms'),
  });
  for (let own = 0; own < 5; own += 1) expect(answers.get(own)).toMatchObject({ status: 'ok' });
  for (const reply of await Promise.all(waiting)) expect(reply).toMatchObject({ status: 'ok' });
  await until('its worker is gone', () => !isAlive(worker));
  expect(await wire.rows('x.db', 'SELECT a FROM t ORDER BY a')).toEqual(
    [0, 1, 2, 3, 4, 100, 101, 102, 103, 104].map((a) => [a]),
  );
  // One rev for each of them and none for what was stopped.
  expect(await wire.request({ type: 'Ping', db: 'x.db' })).toMatchObject({ rev: 11 });
  const { slowestMs } = await bystander.stop();
  expect(slowestMs).toBeLessThan(1_000);
  await ground.expectCleanEnd();
});

test('what a batch did before its statement without end is undone', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  expect(await wire.exec('x.db', ['INSERT INTO t VALUES (1)', ENDLESS], { timeout_ms: 300 })).toMatchObject({
    code: 'TIMEOUT',
    outcome: 'not_applied',
  });
  expect(await wire.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[0]]);
  expect(await ground.sqlite3(ground.file('x.db'), 'PRAGMA integrity_check')).toBe('ok');
});

test('a statement without end as the first thing ever makes no file', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  const stmts = ['CREATE TABLE t (a)', ENDLESS];
  expect(await wire.exec('x.db', stmts, { timeout_ms: 300 })).toMatchObject({
    code: 'TIMEOUT',
    outcome: 'not_applied',
  });
  expect(await wire.request({ type: 'Ping', db: 'x.db' })).toMatchObject({ exists: false, rev: 0 });
});

test('a batch whose timeout passes behind a long one is answered in time, and never carried out', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  const observer = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  wire.send(batch('long', LONG));
  let longIsDone = false;
  const long = wire.next().then((reply) => {
    longIsDone = true;
    return reply;
  });
  await runningWorker(observer);
  const late = await observer.exec('x.db', ['INSERT INTO t VALUES (-1)'], { timeout_ms: 100 });
  expect(late).toMatchObject({ code: 'TIMEOUT', outcome: 'not_applied' });
  expect(longIsDone).toBe(false);
  expect(await long).toMatchObject({ id: 'long', status: 'ok' });
  expect(await wire.rows('x.db', 'SELECT count(*) FROM t WHERE a = -1')).toEqual([[0]]);
});

test('a timeout that is not reached changes nothing', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  expect(await wire.exec('x.db', ['CREATE TABLE t (a)', LONG], { timeout_ms: 60_000 })).toMatchObject({
    status: 'ok',
    rev: 1,
  });
});

test('a worker that is killed in mid-batch: its batch is undone and says so in the end, those behind it are carried out', async () => {
  await ground.daemon();
  const bystander = await Bystander.start(ground);
  const wire = await ground.wire();
  const observer = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  wire.send(batch('long', ENDLESS));
  for (let own = 0; own < 5; own += 1) wire.send(batch(own, `INSERT INTO t VALUES (${own})`));
  // An untouched batch is given to the next worker, but not for ever: it may be what kills them.
  const answered = replies(wire, 6);
  const seen = new Set<number>();
  while (seen.size < 3) {
    const worker = await runningWorker(observer);
    if (seen.has(worker)) continue;
    seen.add(worker);
    process.kill(worker, 'SIGKILL');
  }
  const other = observer.exec('x.db', ['INSERT INTO t VALUES (100)']);
  const answers = await answered;
  expect(answers.get('long')).toMatchObject({
    code: 'WORKER_CRASHED',
    outcome: 'not_applied',
    retryable: true,
    message: expect.stringContaining('SIGKILL'),
  });
  for (let own = 0; own < 5; own += 1) expect(answers.get(own)).toMatchObject({ status: 'ok' });
  expect(await other).toMatchObject({ status: 'ok' });
  expect(await wire.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[6]]);
  const status = (await observer.request({ type: 'Status', db: 'x.db' })) as {
    databases: { counters: { worker_restarts: number } }[];
  };
  expect(status.databases[0]?.counters.worker_restarts).toBe(3);
  await bystander.stop();
  await ground.expectCleanEnd();
});

test('the outcome is certain although batches that were sent earlier still wait for their turn', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  const observer = await ground.wire();
  const impatient = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  wire.send(batch('long', LONG));
  for (let own = 0; own < 5; own += 1) wire.send(batch(own, `INSERT INTO t VALUES (${own})`));
  await runningWorker(observer);
  // Clients take turns: it comes after the long one and one more, and four that are older are still waiting then.
  const endless = impatient.exec('x.db', [ENDLESS], { timeout_ms: 4_000 });
  expect(await endless).toMatchObject({ code: 'TIMEOUT', outcome: 'not_applied' });
  for (const [, reply] of await replies(wire, 6)) expect(reply).toMatchObject({ status: 'ok' });
  expect(await wire.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[6]]);
});

test('a worker that is killed again and again never makes an answer untrue', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a UNIQUE)']);
  const count = 400;
  const slowly = (id: number) =>
    `INSERT INTO t SELECT ${id} + 0 * max(n) FROM (WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < 20000) SELECT n FROM c)`;
  for (let id = 0; id < count; id += 1) wire.send(batch(id, slowly(id)));
  const answers = new Map<unknown, Message>();
  const answered = replies(wire, count, answers);
  let killed = 0;
  for (let part = 1; part <= 6; part += 1) {
    await until('some more are answered', () => answers.size >= part * 50);
    for (const pid of ground.workers()) {
      process.kill(pid, 'SIGKILL');
      killed += 1;
    }
  }
  await answered;
  const stored = new Set((await wire.rows('x.db', 'SELECT a FROM t')).flat());
  for (const [id, { status, outcome, code }] of answers) {
    if (status === 'ok') expect(stored.has(id), `answered ok: ${id}`).toBe(true);
    else if (outcome === 'not_applied') expect(stored.has(id), `not applied: ${id}`).toBe(false);
    // Nothing was sent twice: a batch that was applied cannot fail for its own row.
    if (status !== 'ok') expect(code).toBe('WORKER_CRASHED');
  }
  expect(killed).toBeGreaterThanOrEqual(3);
});

test('a worker that dies at each start ends in an error with its last words, not in a loop', async () => {
  const daemon = await ground.daemon([], {
    NODE_OPTIONS: `--require ${join(FIXTURES, 'worker-that-dies-at-its-start.cjs')}`,
  });
  const wire = await ground.wire();
  for (const more of [{}, { timeout_ms: 20_000 }, { tx: 'none' }]) {
    expect(await wire.exec('x.db', ['CREATE TABLE t (a)'], more)).toMatchObject({
      code: 'WORKER_CRASHED',
      outcome: 'not_applied',
      message: expect.stringContaining('this worker never starts'),
    });
  }
  const { databases } = (await wire.request({ type: 'Status', db: 'x.db' })) as {
    databases: { counters: { worker_restarts: number } }[];
  };
  const restarts = databases[0]?.counters.worker_restarts ?? 0;
  expect(restarts).toBeGreaterThan(0);
  expect(restarts).toBeLessThanOrEqual(9);
  await until('no worker is left', () => ground.processes().length === 1);
  expect(await wire.request({ type: 'Shutdown' })).toMatchObject({ status: 'ok' });
  expect(await daemon.exited).toMatchObject({ code: 0 });
});

test('batches that were in hand together with one that kills workers are carried out', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  const observer = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  // They wait together for a worker that is stopped, and become one group.
  const [first = 0] = ground.workers();
  process.kill(first, 'SIGSTOP');
  for (let own = 0; own < 3; own += 1) wire.send(batch(own, `INSERT INTO t VALUES (${own})`));
  wire.send(batch('long', ENDLESS));
  for (let own = 3; own < 6; own += 1) wire.send(batch(own, `INSERT INTO t VALUES (${own})`));
  await wire.request({ type: 'Ping' });
  const got = new Map<unknown, Message>();
  const answered = replies(wire, 7, got);
  process.kill(first, 'SIGCONT');
  const killed = new Set<number>();
  while (killed.size < 3) {
    // The next one does them one by one: once these are answered, it is the long one that has the write lock.
    if (killed.size > 0)
      await until('those before it are answered', () => [0, 1, 2].every((own) => got.has(own)));
    const worker = await runningWorker(observer);
    if (killed.has(worker)) continue;
    killed.add(worker);
    process.kill(worker, 'SIGKILL');
  }
  const answers = await answered;
  expect(answers.get('long')).toMatchObject({ code: 'WORKER_CRASHED', outcome: 'not_applied' });
  for (let own = 0; own < 6; own += 1) expect(answers.get(own)).toMatchObject({ status: 'ok' });
  expect(await wire.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[6]]);
  await ground.expectCleanEnd();
});

test('a statement without end does not outlive the command that sent it', async () => {
  await ground.daemon();
  const observer = await ground.wire();
  await observer.exec('x.db', ['CREATE TABLE t (n)']);
  const command = ground.start(process.execPath, [CLI_MAIN, 'exec', '--db', 'x.db', ENDLESS]);
  const worker = await runningWorker(observer);
  command.kill('SIGKILL');
  expect(await observer.exec('x.db', ['INSERT INTO t VALUES (1)'])).toMatchObject({ status: 'ok', rev: 2 });
  expect(isAlive(worker)).toBe(false);
  await ground.expectCleanEnd();
});

test('one whose client has gone, and which says nothing of itself, is not begun again when its worker is killed', async () => {
  await ground.daemon();
  const observer = await ground.wire();
  await observer.exec('x.db', ['CREATE TABLE t (n)']);
  const client = await ground.wire();
  client.send(batch(1, ENDLESS));
  const worker = await runningWorker(observer);
  client.socket.destroy();
  const connections = async () =>
    ((await observer.request({ type: 'Status' })) as { connections: number }).connections;
  await until('the daemon has noticed', async () => (await connections()) === 1);
  process.kill(worker, 'SIGKILL');
  expect(await observer.exec('x.db', ['INSERT INTO t VALUES (1)'])).toMatchObject({ status: 'ok', rev: 2 });
  await ground.expectCleanEnd();
});
