import { readdirSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Bystander } from '../support/bystander.js';
import { Playground, until } from '../support/playground.js';
import { memoryOf } from '../support/proc.js';
import { Wire } from '../support/wire.js';

/** As many as the machine lets one process have, ten thousand at most; half of what is allowed is left to others. */
const MANY = Math.min(10_000, Math.floor(descriptors() / 2));
/** Connections that are made at once. */
const AT_ONCE = 200;

let ground: Playground;
const sockets: Socket[] = [];
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await ground.dispose();
});

function descriptors(): number {
  const match = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'));
  return Number(match?.[1] ?? 1024);
}

/** Tries again while the kernel's queue is full; resolves to false when it was refused. */
async function open(): Promise<boolean> {
  for (;;) {
    const code = await new Promise<string>((resolve) => {
      const socket = connect(ground.socket);
      socket.once('connect', () => {
        sockets.push(socket);
        socket.on('error', () => undefined);
        resolve('connected');
      });
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
    });
    if (code !== 'EAGAIN') return code === 'connected';
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function openMany(count: number): Promise<number> {
  let opened = 0;
  for (let at = 0; at < count; at += AT_ONCE) {
    const some = await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - at) }, open));
    opened += some.filter(Boolean).length;
  }
  return opened;
}

function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

test(`${MANY} idle connections: others are served as ever, they are counted, and nothing of them remains`, async () => {
  const daemon = await ground.daemon();
  const bystander = await Bystander.start(ground);
  const wire = await ground.wire();
  const before = openFiles(daemon.pid);
  expect(await openMany(MANY)).toBe(MANY);
  await until(
    'all are counted',
    async () => (await wire.request({ type: 'Status' })).connections === MANY + 2,
  );
  expect(await wire.exec('x.db', ['CREATE TABLE t (a)', 'INSERT INTO t VALUES (1)'])).toMatchObject({
    status: 'ok',
  });
  expect(memoryOf(daemon.pid)).toBeLessThan(400);
  for (const socket of sockets.splice(0)) socket.destroy();
  await until('all are gone', async () => (await wire.request({ type: 'Status' })).connections === 2);
  await until('their descriptors too', () => openFiles(daemon.pid) < before + 20);
  expect((await bystander.stop()).slowestMs).toBeLessThan(2_000);
  await ground.expectCleanEnd();
});

test('connections that come and go as fast as they can keep nobody from being served', async () => {
  const daemon = await ground.daemon();
  const bystander = await Bystander.start(ground);
  const wire = await ground.wire();
  const before = openFiles(daemon.pid);
  const end = performance.now() + 3_000;
  let flooded = 0;
  const flood = async () => {
    while (performance.now() < end) {
      const one = await Wire.connect(ground.socket).catch(() => null);
      // Half of them say something, and do not wait for what comes of it.
      if (one !== null && flooded % 2 === 0) one.send({ type: 'Ping' });
      one?.destroy();
      flooded += 1;
    }
  };
  await Promise.all(Array.from({ length: 32 }, flood));
  expect(flooded).toBeGreaterThan(1_000);
  expect(await wire.request({ type: 'Ping' })).toMatchObject({ status: 'ok' });
  await until('all are gone', async () => (await wire.request({ type: 'Status' })).connections === 2);
  expect(openFiles(daemon.pid)).toBeLessThan(before + 20);
  expect(memoryOf(daemon.pid)).toBeLessThan(400);
  expect((await bystander.stop()).slowestMs).toBeLessThan(2_000);
  await ground.expectCleanEnd();
});

test('more connections than the daemon has descriptors for: those that are there are served, and others once some leave', async () => {
  const daemon = await ground.daemon([], {}, { via: ['prlimit', '--nofile=100:100'] });
  const bystander = await Bystander.start(ground);
  const wire = await ground.wire();
  await openMany(400);
  expect(await wire.exec('bystander.db', ['CREATE TABLE u (a)'])).toMatchObject({ status: 'ok' });
  const written = bystander.written;
  await until('the others go on', () => bystander.written > written + 10);
  expect(daemon.child.exitCode).toBeNull();
  for (const socket of sockets.splice(0)) socket.destroy();
  await until('there is room again', async () => {
    const one = await Wire.connect(ground.socket).catch(() => null);
    const answer = await one?.request({ type: 'Ping' }).catch(() => null);
    one?.destroy();
    return answer?.status === 'ok';
  });
  expect((await bystander.stop()).slowestMs).toBeLessThan(2_000);
  await ground.expectCleanEnd();
});
