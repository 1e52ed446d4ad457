import BetterSqlite3 from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Bystander } from '../support/bystander.js';
import { Playground, until } from '../support/playground.js';
import { memoryOf, untilQuiet } from '../support/proc.js';
import { Wire } from '../support/wire.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

/** A statement whose one row has so many bytes. */
function large(bytes: number): { sql: string; params: unknown[] } {
  return { sql: "SELECT replace(hex(zeroblob(? / 2)), '0', 'x')", params: [bytes] };
}

async function workerOf(wire: Wire, db: string): Promise<number> {
  const { databases } = (await wire.request({ type: 'Status', db })) as {
    databases: { worker_pid: number }[];
  };
  return databases[0]?.worker_pid ?? 0;
}

/** The most memory that any of the processes has, in MiB, while the other client writes so many rows. */
async function peak(bystander: Bystander, rows: number, pids: readonly number[]): Promise<number> {
  const end = bystander.written + rows;
  let most = 0;
  await until('the other client has written its rows', () => {
    most = Math.max(most, ...pids.map(memoryOf));
    return bystander.written >= end;
  });
  return most;
}

test.each([
  ['with ids', true],
  ['without ids', false],
])('a client that asks for a gigabyte and never reads costs bounded memory, %s', async (_how, ids) => {
  const daemon = await ground.daemon();
  const bystander = await Bystander.start(ground);
  const observer = await ground.wire();
  const deaf = await ground.wire();
  await deaf.exec('x.db', ['CREATE TABLE t (a)']);
  const worker = await workerOf(observer, 'x.db');
  deaf.socket.pause();
  for (let id = 0; id < 100; id += 1)
    deaf.send({ type: 'ExecBatch', db: 'x.db', stmts: [large(4_000_000)], ...(ids ? { id } : {}) });
  let most = 0;
  await untilQuiet(worker, () => {
    most = Math.max(most, memoryOf(daemon.pid), memoryOf(worker));
  });
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThan(250);
  // It is held back, not thrown out: as soon as it reads, it gets everything.
  deaf.socket.resume();
  for (let id = 0; id < 100; id += 1) {
    const reply = await deaf.next();
    expect(reply).toMatchObject({ status: 'ok', ...(ids ? { id } : {}) });
  }
  await bystander.stop();
  await ground.expectCleanEnd();
});

test('a client that sends small requests for ever and never reads is not read any more', async () => {
  const daemon = await ground.daemon();
  const bystander = await Bystander.start(ground);
  const deaf = await ground.wire();
  deaf.socket.pause();
  const flood = Buffer.concat(Array.from({ length: 4096 }, () => Wire.frame({ type: 'Status' })));
  // Until the daemon takes no more: what is written stays on this side.
  let sent = 0;
  for (; sent < 100 && deaf.socket.writableLength < 16 * flood.length; sent += 1) {
    deaf.raw(flood);
    await peak(bystander, 5, [daemon.pid]);
  }
  expect(sent).toBeLessThan(100);
  expect(await peak(bystander, 200, [daemon.pid])).toBeLessThan(300);
  await bystander.stop();
});

test('a client that is told of its broken frame, does not read it and goes on sending costs no memory', async () => {
  const daemon = await ground.daemon();
  const bystander = await Bystander.start(ground);
  const deaf = await ground.wire();
  deaf.socket.pause();
  // More than a socket holds, so that the error frame behind it cannot leave.
  deaf.send({ type: 'ExecBatch', db: 'x.db', stmts: [large(900_000)] });
  deaf.raw(Buffer.alloc(4));
  const before = memoryOf(daemon.pid);
  let sent = 0;
  let most = 0;
  for (; sent < 300 && deaf.socket.writableLength < 64_000_000; sent += 1) {
    deaf.raw(Buffer.alloc(1_000_000));
    most = Math.max(most, await peak(bystander, 2, [daemon.pid]));
  }
  expect(most - before).toBeLessThan(150);
  await bystander.stop();
});

test('a client that is still sending reads the error and what was answered before it', async () => {
  await ground.daemon();
  for (let round = 0; round < 20; round += 1) {
    const wire = await ground.wire();
    wire.send({ type: 'Ping', id: 'before' });
    wire.raw(Buffer.alloc(4));
    // The daemon has ended its side by now or does so in between.
    for (let more = 0; more < 20; more += 1) {
      wire.raw(Buffer.alloc(100));
      await new Promise(setImmediate);
    }
    expect(await wire.next()).toMatchObject({ status: 'ok', id: 'before' });
    expect(await wire.next()).toMatchObject({ code: 'PROTOCOL_ERROR' });
    expect(await wire.next()).toBeNull();
  }
});

test('a client that vanishes in mid-request leaves a whole batch or none', async () => {
  await ground.daemon();
  const bystander = await Bystander.start(ground);
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (client, part)']);
  for (let client = 0; client < 50; client += 1) {
    const fleeting = await ground.wire();
    fleeting.send({
      type: 'ExecBatch',
      db: 'x.db',
      stmts: [1, 2, 3].map((part) => ({ sql: 'INSERT INTO t VALUES (?, ?)', params: [client, part] })),
    });
    if (client % 2 === 0) fleeting.destroy();
    else fleeting.socket.write(Buffer.from([0, 1]), () => fleeting.destroy());
  }
  await until('they are gone', async () => (await wire.request({ type: 'Status' })).connections === 2);
  await until('nothing is in hand', async () => {
    const status = await wire.request({ type: 'Status', db: 'x.db' });
    return (status.databases as { queue_depth: number }[])[0]?.queue_depth === 0;
  });
  const parts = await wire.rows('x.db', 'SELECT DISTINCT count(*) FROM t GROUP BY client');
  expect(parts).toEqual([[3]]);
  await bystander.stop();
  await ground.expectCleanEnd();
});

test('a client that vanishes while large answers are on their way frees what they take', async () => {
  const daemon = await ground.daemon();
  const bystander = await Bystander.start(ground);
  const observer = await ground.wire();
  await observer.exec('x.db', ['CREATE TABLE t (a)']);
  for (let client = 0; client < 10; client += 1) {
    const fleeting = await ground.wire();
    fleeting.socket.pause();
    for (let request = 0; request < 5; request += 1)
      fleeting.send({ type: 'ExecBatch', db: 'x.db', stmts: [large(4_000_000)] });
    const { written } = bystander;
    await until('the daemon has begun', () => bystander.written > written + 2);
    fleeting.destroy();
  }
  // What was sent whole is done: fifty answers of 8 MB, which takes a busy machine a while.
  await until(
    'nothing is in hand',
    async () => {
      const status = await observer.request({ type: 'Status', db: 'x.db' });
      return (status.databases as { queue_depth: number }[])[0]?.queue_depth === 0;
    },
    80_000,
  );
  expect(memoryOf(daemon.pid)).toBeLessThan(400);
  await bystander.stop();
});

test('a client that half-closes after its request still gets its answer, then the end', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  wire.send({ type: 'ExecBatch', db: 'x.db', stmts: [{ sql: 'CREATE TABLE t (a)' }] });
  wire.socket.end();
  expect(await wire.next()).toMatchObject({ status: 'ok', rev: 1 });
  expect(await wire.next()).toBeNull();
});

test('a client that half-closes behind what takes long gets signs of life, then its answer', async () => {
  await ground.daemon(['--busy-timeout', '1m']);
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  // Somebody else's lock, for as long as it takes.
  const lock = new BetterSqlite3(ground.file('x.db'));
  lock.exec('BEGIN IMMEDIATE');
  wire.send({ type: 'ExecBatch', db: 'x.db', id: 1, stmts: [{ sql: 'INSERT INTO t VALUES (1)' }] });
  wire.socket.end();
  await until('it has heard of the daemon', () => wire.signsOfLife > 1);
  lock.exec('COMMIT');
  lock.close();
  expect(await wire.next()).toMatchObject({ status: 'ok', id: 1, rev: 2 });
  expect(await wire.next()).toBeNull();
  await ground.expectCleanEnd();
});

test('a client that half-closes is not disturbed by others that come and go', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  const slow =
    'WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 3000000) SELECT max(n) FROM c';
  wire.send({ type: 'ExecBatch', db: 'x.db', stmts: [{ sql: slow }] });
  wire.socket.end();
  const others = await Promise.all(Array.from({ length: 10 }, () => ground.wire()));
  for (const other of others) {
    await other.request({ type: 'Ping' });
    other.destroy();
  }
  expect(await wire.next()).toMatchObject({ status: 'ok' });
  expect(await wire.next()).toBeNull();
});

test('a client that half-closes behind more requests than the daemon takes at once gets all answers', async () => {
  await ground.daemon();
  const first = await ground.wire();
  for (const db of ['a', 'b', 'c', 'd', 'e']) await first.exec(`${db}.db`, ['CREATE TABLE t (a)']);
  const wire = await ground.wire();
  wire.socket.pause();
  // They come in one piece with the end behind them, and their answers are more than the daemon keeps at once.
  const count = 3000;
  wire.raw(Buffer.concat(Array.from({ length: count }, () => Wire.frame({ type: 'Status' }))));
  wire.socket.end();
  const requests = async () => (await first.request({ type: 'Status' })).requests as number;
  await until('the daemon has begun with them', async () => (await requests()) > 1000);
  wire.socket.resume();
  let answers = 0;
  while ((await wire.next()) !== null) answers += 1;
  expect(answers).toBe(count);
  await ground.expectCleanEnd();
});

test('thousands of pipelined requests are all carried out, each once, in their order', async () => {
  await ground.daemon();
  const bystander = await Bystander.start(ground);
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (n INTEGER PRIMARY KEY, id)']);
  const count = 5000;
  const insert = (id: number) => ({
    type: 'ExecBatch',
    id,
    db: 'x.db',
    stmts: [{ sql: 'INSERT INTO t (id) VALUES (?)', params: [id] }],
  });
  wire.raw(Buffer.concat(Array.from({ length: count }, (_, id) => Wire.frame(insert(id)))));
  for (let id = 0; id < count; id += 1)
    expect(await wire.next()).toMatchObject({ status: 'ok', id, rev: id + 2 });
  expect(await wire.rows('x.db', 'SELECT count(*), count(DISTINCT id), sum(n = id + 1) FROM t')).toEqual([
    [count, count, count],
  ]);
  await bystander.stop();
});

test('five hundred connections are served at once, and none of them remains', async () => {
  await ground.daemon();
  const observer = await ground.wire();
  for (let db = 0; db < 5; db += 1) await observer.exec(`${db}.db`, ['CREATE TABLE t (client)']);
  const wires = await Promise.all(Array.from({ length: 500 }, () => ground.wire()));
  await until('all are there', async () => (await observer.request({ type: 'Status' })).connections === 501);
  const replies = await Promise.all(
    wires.map((wire, client) =>
      wire.exec(`${client % 5}.db`, [{ sql: 'INSERT INTO t VALUES (?)', params: [client] }]),
    ),
  );
  expect(replies.every(({ status }) => status === 'ok')).toBe(true);
  for (let db = 0; db < 5; db += 1)
    expect(await observer.rows(`${db}.db`, 'SELECT count(DISTINCT client) FROM t')).toEqual([[100]]);
  for (const wire of wires) wire.destroy();
  await until('they are gone', async () => (await observer.request({ type: 'Status' })).connections === 1);
  await ground.expectCleanEnd();
});
