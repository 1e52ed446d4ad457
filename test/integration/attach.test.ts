import { readdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground, until } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

let ground: Playground;
let router: Wire;
let db: string;

async function begin(args: readonly string[] = []): Promise<void> {
  await ground.daemon(args);
  router = await ground.wire();
  db = ground.file('x.db');
  expect(await router.exec(db, ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok', rev: 1 });
}

async function attach(): Promise<{ reply: Message; worker: Wire }> {
  const reply = await router.request({ type: 'Attach', db });
  expect(reply).toMatchObject({ status: 'ok', db_path: db });
  return { reply, worker: await ground.wire(String(reply.endpoint)) };
}

/** What arrives until the worker ends the connection. */
async function rest(wire: Wire): Promise<Message[]> {
  const all: Message[] = [];
  for (let message = await wire.next(); message !== null; message = await wire.next()) all.push(message);
  return all;
}

function workerSockets(): string[] {
  return readdirSync(dirname(ground.socket)).filter((name) => name.includes('.w'));
}

const ENDLESS = 'WITH RECURSIVE c(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c';

beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

test('both ways write the same database, and each sees what the other has done', async () => {
  await begin();
  const { reply, worker } = await attach();
  expect(reply).toMatchObject({ rev: 1, epoch: 1 });
  for (let round = 0; round < 20; round += 1) {
    const rev = 2 + 2 * round;
    expect(await worker.exec(undefined, ['INSERT INTO t VALUES (1)'])).toMatchObject({ status: 'ok', rev });
    expect(await router.request({ type: 'Ping', db })).toMatchObject({ rev });
    expect(await router.exec(db, ['INSERT INTO t VALUES (2)'])).toMatchObject({ status: 'ok', rev: rev + 1 });
    expect(await worker.request({ type: 'Ping' })).toMatchObject({
      rev: rev + 1,
      state: 'open',
      exists: true,
    });
  }
  const { databases } = (await router.request({ type: 'Status' })) as { databases: Message[] };
  expect(databases).toMatchObject([{ rev: 41, counters: { batches: 41, failed: 0 } }]);
  expect(await worker.rows(db, 'SELECT count(*) FROM t')).toEqual([[40]]);
  await ground.expectCleanEnd();
});

test('Attach comes behind the batches that were sent before it', async () => {
  await begin();
  for (let n = 0; n < 200; n += 1)
    router.send({ type: 'ExecBatch', db, stmts: [{ sql: 'INSERT INTO t VALUES (?)', params: [n] }] });
  expect(await router.request({ type: 'Attach', db })).toMatchObject({ rev: 201 });
});

test('a database that does not exist yet can be attached to, which makes no file', async () => {
  await ground.daemon();
  router = await ground.wire();
  db = ground.file('new.db');
  const { reply, worker } = await attach();
  expect(reply).toMatchObject({ rev: 0, epoch: 1 });
  expect(await worker.request({ type: 'Ping' })).toMatchObject({ exists: false, rev: 0 });
  expect(readdirSync(ground.dataDir)).toEqual([]);
  expect(await worker.exec(db, ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok', rev: 1 });
});

test("the worker's socket is its user's alone, and goes with the worker", async () => {
  await begin(['--worker-idle-timeout', '300ms']);
  const { reply, worker } = await attach();
  expect(statSync(String(reply.endpoint)).mode & 0o777).toBe(0o600);
  expect(workerSockets()).toHaveLength(1);
  expect(await rest(worker)).toEqual([{ event: 'detached' }]);
  await until('its socket is gone', () => workerSockets().length === 0);
  expect(await router.exec(db, ['INSERT INTO t VALUES (1)'])).toMatchObject({ rev: 2 });
  await ground.expectCleanEnd();
});

test('it takes its own database and nothing else', async () => {
  await begin();
  const { worker } = await attach();
  expect(await worker.exec(ground.file('other.db'), ['SELECT 1'])).toMatchObject({
    code: 'DATABASE_NOT_ALLOWED',
  });
  for (const type of ['Backup', 'CloseDatabase', 'ReplaceDatabase', 'Attach', 'Status', 'Shutdown']) {
    expect(await worker.request({ type, db, to: 'a', from: 'b' })).toMatchObject({
      code: 'INVALID_REQUEST',
      message: expect.stringContaining(ground.socket),
    });
  }
  expect(await worker.request({ type: 'Nothing' })).toMatchObject({ code: 'INVALID_REQUEST' });
  expect(await worker.request({ type: 'Hello', protocol: 2 })).toMatchObject({ code: 'VERSION_MISMATCH' });
  expect(await worker.request({ type: 'Hello', protocol: 1 })).toMatchObject({ protocol: 1 });
  expect(await worker.request({ type: 'Checkpoint', mode: 'truncate' })).toMatchObject({ busy: false });
  expect(await worker.exec(db, ['SELECT nonsense'])).toMatchObject({ code: 'SQL_ERROR' });
});

test('what is no frame ends that connection, and no other', async () => {
  await begin();
  const { reply, worker } = await attach();
  const other = await ground.wire(String(reply.endpoint));
  worker.raw(Buffer.from([3, 0, 0, 0, 1, 2, 3]));
  expect(await rest(worker)).toMatchObject([{ code: 'PROTOCOL_ERROR' }]);
  expect(await other.exec(db, ['INSERT INTO t VALUES (1)'])).toMatchObject({ status: 'ok' });
});

test.each(['PrepareForMaintenance', 'CloseDatabase'])(
  'on %s what was taken is answered, then the client is sent to the router',
  async (type) => {
    await begin();
    const { worker } = await attach();
    const answered = rest(worker);
    let sent = 0;
    const send = () => {
      worker.send({ type: 'ExecBatch', id: sent, stmts: [{ sql: `INSERT INTO t VALUES (${sent})` }] });
      sent += 1;
    };
    for (let n = 0; n < 500; n += 1) send();
    const pusher = setInterval(() => {
      if (worker.socket.writable) send();
    });
    expect(await router.request({ type, db })).toMatchObject({ status: 'ok' });
    const messages = await answered;
    clearInterval(pusher);
    expect(messages.at(-1)).toEqual({ event: 'detached' });
    const applied = messages.slice(0, -1);
    expect(applied.every(({ status }) => status === 'ok')).toBe(true);
    // In order, without a gap: what has no answer was not executed.
    expect(applied.map(({ id }) => id)).toEqual(applied.map((_, at) => at));
    expect(await ground.sqlite3(db, 'SELECT count(*) FROM t')).toBe(`${applied.length}`);
    expect(workerSockets()).toEqual([]);
    const code = type === 'CloseDatabase' ? 'DATABASE_CLOSED' : 'DATABASE_PREPARING';
    expect(await router.request({ type: 'Attach', db })).toMatchObject({ code });
    expect(await router.request({ type: 'ReopenDatabase', db })).toMatchObject({ rev: 1 + applied.length });
    const again = await attach();
    expect(await again.worker.exec(db, ['SELECT 1'])).toMatchObject({ status: 'ok', epoch: 1 });
  },
);

test('whoever was connected before is told, however soon it ends', async () => {
  await begin();
  for (let round = 0; round < 40; round += 1) {
    const { worker } = await attach();
    const answered = rest(worker);
    const type = round % 2 === 0 ? 'CloseDatabase' : 'PrepareForMaintenance';
    expect(await router.request({ type, db })).toMatchObject({ status: 'ok' });
    expect(await answered).toEqual([{ event: 'detached' }]);
    expect(await router.request({ type: 'ReopenDatabase', db })).toMatchObject({ reopened: true });
  }
});

test('Shutdown answers what attached clients had sent before', async () => {
  await begin();
  const { worker } = await attach();
  const answered = rest(worker);
  for (let id = 0; id < 300; id += 1)
    worker.send({ type: 'ExecBatch', id, stmts: [{ sql: 'INSERT INTO t VALUES (1)' }] });
  expect(await router.request({ type: 'Shutdown' })).toMatchObject({ status: 'ok' });
  const messages = await answered;
  expect(messages.at(-1)).toEqual({ event: 'detached' });
  expect(await ground.sqlite3(db, 'SELECT count(*) FROM t')).toBe(`${messages.length - 1}`);
  await until('no process is left', () => ground.processes().length === 0);
});

test('a batch past its timeout takes its worker along, without a word that it was not executed', async () => {
  await begin();
  const { worker } = await attach();
  worker.send({ type: 'ExecBatch', id: 1, timeout_ms: 300, stmts: [{ sql: ENDLESS }] });
  let reply = await worker.next();
  // Not even begun in its time, on a very busy machine: it has another.
  while (reply?.code === 'TIMEOUT' && reply.outcome === 'not_applied') {
    worker.send({ type: 'ExecBatch', id: 1, timeout_ms: 300, stmts: [{ sql: ENDLESS }] });
    reply = await worker.next();
  }
  expect(reply).toBeNull();
  expect(await router.exec(db, ['INSERT INTO t VALUES (1)'])).toMatchObject({ status: 'ok', rev: 2 });
  await until('its socket is gone', () => workerSockets().length === 0);
});

test('a batch that ends before its timeout harms nobody after it', async () => {
  await begin();
  const { worker } = await attach();
  const insert = (ms: number) => worker.exec(db, ['INSERT INTO t VALUES (1)'], { timeout_ms: ms });
  let ms = 100;
  let reply = await insert(ms);
  // Not begun in its time, on a very busy machine: it has more.
  while (reply.code === 'TIMEOUT') {
    ms *= 2;
    reply = await insert(ms);
  }
  expect(reply).toMatchObject({ rev: 2 });
  const [pid] = ground.workers();
  // Nothing follows it that would tell the router of something else, until its time is long over.
  const until = performance.now() + 4 * ms;
  while (performance.now() < until) expect(await worker.request({ type: 'Ping' })).toMatchObject({ rev: 2 });
  expect(ground.workers()).toEqual([pid]);
});

test('sockets of processes that were killed together are removed by the next daemon', async () => {
  await begin();
  await attach();
  for (const pid of ground.processes()) process.kill(pid, 'SIGKILL');
  await until('all are gone', () => ground.processes().length === 0);
  expect(workerSockets()).toHaveLength(1);
  await ground.daemon();
  expect(workerSockets()).toEqual([]);
});

test('an attached client that does not read holds up neither others nor the end of its worker', async () => {
  await begin();
  const { reply, worker } = await attach();
  const other = await ground.wire(String(reply.endpoint));
  worker.socket.pause();
  for (let id = 0; id < 40; id += 1)
    worker.send({ type: 'ExecBatch', id, stmts: [{ sql: 'SELECT hex(randomblob(200000))' }] });
  for (let n = 0; n < 50; n += 1)
    expect(await other.exec(db, ['INSERT INTO t VALUES (1)'])).toMatchObject({ status: 'ok' });
  expect(await router.request({ type: 'CloseDatabase', db })).toMatchObject({ closed: true });
  expect(ground.workers()).toEqual([]);
});
