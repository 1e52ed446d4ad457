import { renameSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fill, makeFile, recordFiles, standing, walBytes } from '../support/database-files.js';
import { Playground, until } from '../support/playground.js';
import type { Wire } from '../support/wire.js';

/** Closed is closed until somebody reopens it, whichever processes end. */
const DB = 'stars.db';
let ground: Playground;
let wire: Wire;
let file: string;

beforeEach(() => {
  ground = new Playground();
  file = ground.file(DB);
});
afterEach(async ({ task }) => {
  try {
    if (task.result?.state === 'fail') return;
    await ground.expectCleanEnd();
    expect(recordFiles(ground)).toEqual([]);
  } finally {
    await ground.dispose();
  }
});

async function start(...args: string[]): Promise<number> {
  const { pid } = await ground.daemon(args);
  wire = await ground.wire();
  return pid;
}

async function expectClosed(): Promise<void> {
  expect(await standing(wire, DB)).toMatchObject({ state: 'closed', epoch: 1, rev: 1 });
  expect(await wire.exec(DB, ["INSERT INTO stars (mark) VALUES ('no')"])).toMatchObject({
    code: 'DATABASE_CLOSED',
    message: expect.stringContaining('Database is closed for maintenance'),
  });
  expect(await wire.request({ type: 'Backup', db: DB, to: 'copy.db' })).toMatchObject({
    code: 'DATABASE_CLOSED',
  });
  expect(walBytes(file)).toBe(0);
  expect(recordFiles(ground)).toHaveLength(1);
}

async function expectReopens(): Promise<void> {
  expect(await wire.request({ type: 'ReopenDatabase', db: DB })).toMatchObject({
    reopened: true,
    epoch: 1,
    rev: 1,
  });
  expect(await fill(wire, DB, 1)).toMatchObject({ epoch: 1, rev: 2 });
  expect(await wire.rows(DB, 'SELECT count(*) FROM stars')).toEqual([[101]]);
}

test('closed outlives the idle time of workers', async () => {
  await start('--worker-idle-timeout', '50ms');
  await fill(wire, DB, 100);
  await fill(wire, 'other.db', 1);
  expect(await wire.request({ type: 'CloseDatabase', db: DB })).toMatchObject({ closed: true });
  await until('no worker is left', () => ground.workers().length === 0);
  await expectClosed();
  await expectReopens();
});

test('prepared outlives the idle time of its worker, and closes and reopens without it', async () => {
  await start('--worker-idle-timeout', '50ms');
  await fill(wire, DB, 100);
  expect(await wire.request({ type: 'PrepareForMaintenance', db: DB })).toMatchObject({ checkpointed: true });
  await until('no worker is left', () => ground.workers().length === 0);
  expect(await standing(wire, DB)).toMatchObject({ state: 'preparing' });
  expect(await wire.request({ type: 'CloseDatabase', db: DB })).toMatchObject({ closed: true });
  await expectClosed();
  await expectReopens();
});

test('prepared outlives its worker, and ends with the daemon', async () => {
  const pid = await start();
  await fill(wire, DB, 100);
  expect(await wire.request({ type: 'PrepareForMaintenance', db: DB })).toMatchObject({ checkpointed: true });
  for (const worker of ground.workers()) process.kill(worker, 'SIGKILL');
  await until('the worker is gone', () => ground.workers().length === 0);
  expect(await wire.exec(DB, ['SELECT 1'])).toMatchObject({ code: 'DATABASE_PREPARING' });
  process.kill(pid, 'SIGKILL');
  await until('nothing is left', () => ground.processes().length === 0);
  await start();
  expect(await fill(wire, DB, 1)).toMatchObject({ rev: 2, epoch: 1 });
});

test('closed outlives kill -9 of every other worker and of the daemon, twice', async () => {
  let pid = await start();
  await fill(wire, DB, 100);
  await fill(wire, 'other.db', 1);
  expect(await wire.request({ type: 'CloseDatabase', db: DB })).toMatchObject({ closed: true });
  for (const worker of ground.workers()) process.kill(worker, 'SIGKILL');
  await expectClosed();
  for (let round = 0; round < 2; round += 1) {
    process.kill(pid, 'SIGKILL');
    await until('nothing is left', () => ground.processes().length === 0);
    pid = await start();
    await expectClosed();
    expect(await fill(wire, 'other.db', 1)).toMatchObject({ status: 'ok' });
  }
  await expectReopens();
});

test('closed outlives Shutdown and SIGTERM', async () => {
  const pid = await start();
  await fill(wire, DB, 100);
  expect(await wire.request({ type: 'CloseDatabase', db: DB })).toMatchObject({ closed: true });
  await wire.request({ type: 'Shutdown' });
  await until('the daemon has gone', () => !ground.processes().includes(pid));
  const second = await start();
  await expectClosed();
  process.kill(second, 'SIGTERM');
  await until('the daemon has gone', () => !ground.processes().includes(second));
  await start();
  await expectClosed();
  await expectReopens();
});

test('a file that was exchanged while no daemon ran is served at the next epoch when it is reopened', async () => {
  const pid = await start();
  await fill(wire, DB, 100);
  expect(await wire.request({ type: 'CloseDatabase', db: DB })).toMatchObject({ closed: true });
  process.kill(pid, 'SIGKILL');
  await until('nothing is left', () => ground.processes().length === 0);
  await makeFile(ground, ground.file('fresh.db'), 30, 'new');
  renameSync(ground.file('fresh.db'), file);
  await start();
  await expectClosed();
  expect(await wire.request({ type: 'ReopenDatabase', db: DB })).toMatchObject({ epoch: 2, rev: 0 });
  expect(await wire.rows(DB, 'SELECT count(*) FROM stars')).toEqual([[30]]);
});
