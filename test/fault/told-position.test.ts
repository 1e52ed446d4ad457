import { afterEach, beforeEach, expect, test } from 'vitest';
import { Fixture } from '../support/fixture.js';
import { Playground, until } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

/** Nobody is told an older rev than an attached client was answered, of which the router has heard nothing. */

let ground: Playground;
let db: string;
let wire: Wire;
beforeEach(async () => {
  ground = new Playground();
  await ground.daemon();
  db = ground.file('x.db');
  wire = await ground.wire();
  await wire.exec(db, ['CREATE TABLE t (a)']);
  const { endpoint } = await wire.request({ type: 'Attach', db });
  const direct = await ground.wire(String(endpoint));
  for (let n = 0; n < 5; n += 1) await direct.exec(db, ['INSERT INTO t VALUES (1)']);
});
afterEach(async () => {
  await ground.dispose();
});

async function status(): Promise<{ state?: string; worker_pid?: number | null }> {
  const { databases } = (await wire.request({ type: 'Status' })) as { databases: object[] };
  return databases[0] ?? {};
}

/** Prepares it on a connection of its own; resolves once that has begun. */
async function prepare(): Promise<{ answer: Promise<Message> }> {
  const other = await ground.wire();
  const answer = other.request({ type: 'PrepareForMaintenance', db });
  answer.catch(() => undefined);
  await until('it is being prepared', async () => (await status()).state === 'preparing');
  return { answer };
}

async function stopSpare(): Promise<number> {
  await until('there is a spare worker', async () => ground.spares().length === 1);
  const spare = Number(ground.spares()[0]);
  process.kill(spare, 'SIGSTOP');
  return spare;
}

async function killWorker(): Promise<void> {
  const worker = Number((await status()).worker_pid);
  process.kill(worker, 'SIGKILL');
  await until('the daemon has noticed', async () => (await status()).worker_pid !== worker);
}

test('while a reader keeps the database from being prepared', async () => {
  const reader = await Fixture.start(ground, 'hold-read-transaction', db);
  expect(await wire.request({ type: 'Ping', db })).toMatchObject({ rev: 6, state: 'open' });
  const { answer } = await prepare();
  expect(await wire.request({ type: 'Ping', db })).toMatchObject({ rev: 6, epoch: 1, state: 'preparing' });
  await reader.end();
  await answer;
});

test('when the worker is killed meanwhile', async () => {
  const reader = await Fixture.start(ground, 'hold-read-transaction', db);
  const { answer } = await prepare();
  const worker = Number((await status()).worker_pid);
  process.kill(worker, 'SIGSTOP');
  const asked = wire.request({ type: 'Ping', db, id: 'asked' });
  // Answered by the router, after it has passed on the one before.
  await wire.request({ type: 'Ping' });
  process.kill(worker, 'SIGKILL');
  expect(await asked).toMatchObject({ rev: 6, state: 'open' });
  expect(await answer).toMatchObject({ code: 'WORKER_CRASHED' });
  await reader.end();
});

test('when the next worker has not opened the file yet', async () => {
  const spare = await stopSpare();
  await killWorker();
  const written = (await ground.wire()).exec(db, ['INSERT INTO t VALUES (2)']);
  await until('the next one has been asked', async () => (await status()).worker_pid === spare);
  const asked = wire.request({ type: 'Ping', db, id: 'asked' });
  // Answered by the router, after it has passed on the one before.
  await wire.request({ type: 'Ping' });
  process.kill(spare, 'SIGCONT');
  expect(await asked).toMatchObject({ rev: 7, state: 'open' });
  expect(await written).toMatchObject({ rev: 7 });
});

test('when the next worker prepares the database, and has not opened the file yet', async () => {
  const spare = await stopSpare();
  await killWorker();
  const { answer } = await prepare();
  const asked = wire.request({ type: 'Ping', db, id: 'asked' });
  await wire.request({ type: 'Ping' });
  process.kill(spare, 'SIGCONT');
  expect(await asked).toMatchObject({ rev: 6, state: 'preparing' });
  expect(await answer).toMatchObject({ status: 'ok' });
});

test('when the worker is killed after it has prepared the database', async () => {
  const { answer } = await prepare();
  expect(await answer).toMatchObject({ status: 'ok' });
  await killWorker();
  expect(await wire.request({ type: 'Ping', db })).toMatchObject({ rev: 6, state: 'preparing' });
});
