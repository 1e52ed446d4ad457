import { existsSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  dataFiles,
  fill,
  inMainFileAlone,
  openers,
  recordFiles,
  standing,
  walBytes,
} from '../support/database-files.js';
import { Fixture } from '../support/fixture.js';
import { Playground, until } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

/** The maintenance requests and their states, with nobody in the way. */
const DB = 'stars.db';
const COUNT = 'SELECT count(*) FROM stars';
let ground: Playground;
let wire: Wire;
let file: string;

beforeEach(async () => {
  ground = new Playground();
  file = ground.file(DB);
  await ground.daemon();
  wire = await ground.wire();
  await fill(wire, DB, 100);
});
afterEach(async ({ task }) => {
  try {
    if (task.result?.state !== 'fail') await ground.expectCleanEnd();
  } finally {
    await ground.dispose();
  }
});

test('a prepared database refuses batches as DATABASE_PREPARING, has all rows in its main file, and reopens', async () => {
  expect(await wire.request({ type: 'PrepareForMaintenance', db: DB })).toEqual({
    id: expect.anything(),
    status: 'ok',
    checkpointed: true,
  });
  expect(walBytes(file)).toBe(0);
  expect(await inMainFileAlone(ground, file, COUNT)).toBe('100');
  const refused = { status: 'error', code: 'DATABASE_PREPARING', retryable: true, outcome: 'not_applied' };
  expect(await wire.exec(DB, ['DELETE FROM stars'])).toMatchObject(refused);
  expect(await wire.exec(DB, [COUNT])).toMatchObject(refused);
  expect(await wire.request({ type: 'Checkpoint', db: DB })).toMatchObject(refused);
  expect(await wire.request({ type: 'Backup', db: DB, to: 'copy.db' })).toMatchObject(refused);
  expect(await wire.request({ type: 'PrepareForMaintenance', db: DB })).toMatchObject({ checkpointed: true });
  expect(await standing(wire, DB)).toEqual({ state: 'preparing', epoch: 1, rev: 1, exists: true });
  expect(await wire.request({ type: 'ReopenDatabase', db: DB })).toMatchObject({
    reopened: true,
    rev: 1,
    epoch: 1,
  });
  expect(await fill(wire, DB, 1)).toMatchObject({ rev: 2, epoch: 1 });
});

test('a closed database says "Database is closed for maintenance", and nothing of the daemon has it open', async () => {
  expect(await wire.request({ type: 'CloseDatabase', db: DB })).toEqual({
    id: expect.anything(),
    status: 'ok',
    closed: true,
  });
  expect(openers(ground.processes(), file)).toEqual([]);
  expect([existsSync(`${file}-wal`), existsSync(`${file}-shm`), existsSync(`${file}-owner`)]).toEqual([
    false,
    false,
    false,
  ]);
  const refused = {
    status: 'error',
    code: 'DATABASE_CLOSED',
    message: expect.stringMatching(/^Database is closed for maintenance/),
    retryable: true,
    outcome: 'not_applied',
  };
  for (const request of [
    { type: 'ExecBatch', db: DB, stmts: [{ sql: 'DELETE FROM stars' }] },
    { type: 'ExecBatch', db: DB, stmts: [{ sql: COUNT }] },
    { type: 'Backup', db: DB, to: 'copy.db' },
    { type: 'Checkpoint', db: DB },
    { type: 'PrepareForMaintenance', db: DB },
    { type: 'ReplaceDatabase', db: DB, from: 'other.db' },
  ]) {
    expect(await wire.request(request), request.type).toMatchObject(refused);
  }
  expect(await wire.request({ type: 'CloseDatabase', db: DB })).toMatchObject({ closed: true });
  expect(await standing(wire, DB)).toEqual({ state: 'closed', epoch: 1, rev: 1, exists: true });
  expect(await wire.request({ type: 'Status', db: DB })).toMatchObject({
    databases: [{ state: 'closed', worker_pid: null, rev: 1, epoch: 1 }],
  });
  expect(ground.workers()).toEqual([]);
  expect(dataFiles(ground)).toEqual([DB]);
  expect(await wire.request({ type: 'ReopenDatabase', db: DB })).toMatchObject({
    reopened: true,
    rev: 1,
    epoch: 1,
  });
  expect(recordFiles(ground)).toEqual([]);
  expect(await wire.rows(DB, COUNT)).toEqual([[100]]);
});

test('a prepared database can be closed, and one that is closed is closed under each of its names', async () => {
  expect(await wire.request({ type: 'PrepareForMaintenance', db: DB })).toMatchObject({ status: 'ok' });
  expect(await wire.request({ type: 'CloseDatabase', db: file })).toMatchObject({ closed: true });
  expect(await wire.exec(`./x/../${DB}`, [COUNT])).toMatchObject({ code: 'DATABASE_CLOSED' });
  expect(await wire.request({ type: 'ReopenDatabase', db: `./${DB}` })).toMatchObject({ reopened: true });
  expect(await wire.rows(file, COUNT)).toEqual([[100]]);
});

test('reopening a database that is open says reopened: false and where it stands', async () => {
  expect(await wire.request({ type: 'ReopenDatabase', db: DB })).toEqual({
    id: expect.anything(),
    status: 'ok',
    reopened: false,
    rev: 1,
    epoch: 1,
  });
});

test('a missing database can be neither prepared, closed nor replaced, and is not created', async () => {
  for (const type of ['PrepareForMaintenance', 'CloseDatabase', 'ReplaceDatabase'])
    expect(await wire.request({ type, db: 'none.db', from: DB })).toMatchObject({
      code: 'DATABASE_NOT_FOUND',
    });
  expect(await wire.request({ type: 'ReopenDatabase', db: 'none.db' })).toMatchObject({ reopened: false });
  expect(dataFiles(ground)).toEqual([DB]);
  expect(recordFiles(ground)).toEqual([]);
});

test('what was sent before a Close is in the file, what was sent after it is refused', async () => {
  const replies: Promise<Message>[] = [];
  const writer = await Promise.all(Array.from({ length: 50 }, () => ground.wire()));
  for (const one of writer) replies.push(one.exec(DB, ["INSERT INTO stars (mark) VALUES ('b')"]));
  for (const reply of await Promise.all(replies)) expect(reply).toMatchObject({ status: 'ok' });
  for (let row = 0; row < 50; row += 1)
    wire.send({ type: 'ExecBatch', db: DB, stmts: [{ sql: "INSERT INTO stars (mark) VALUES ('c')" }] });
  wire.send({ type: 'CloseDatabase', db: DB });
  wire.send({ type: 'ExecBatch', db: DB, stmts: [{ sql: "INSERT INTO stars (mark) VALUES ('late')" }] });
  for (let row = 0; row < 50; row += 1) expect(await wire.next()).toMatchObject({ status: 'ok' });
  expect(await wire.next()).toMatchObject({ closed: true });
  expect(await wire.next()).toMatchObject({ code: 'DATABASE_CLOSED' });
  expect(await inMainFileAlone(ground, file, COUNT)).toBe('200');
});

test('batch, close, reopen and batch sent at once on one connection happen in that order', async () => {
  const insert = { type: 'ExecBatch', db: DB, stmts: [{ sql: "INSERT INTO stars (mark) VALUES ('p')" }] };
  const cycle = [insert, { type: 'CloseDatabase', db: DB }, { type: 'ReopenDatabase', db: DB }, insert];
  for (let round = 0; round < 5; round += 1) for (const request of cycle) wire.send(request);
  for (let round = 0; round < 5; round += 1) {
    expect(await wire.next()).toMatchObject({ status: 'ok', rev: 2 + 2 * round });
    expect(await wire.next()).toMatchObject({ closed: true });
    expect(await wire.next()).toMatchObject({ reopened: true, rev: 2 + 2 * round, epoch: 1 });
    expect(await wire.next()).toMatchObject({ status: 'ok', rev: 3 + 2 * round });
  }
  expect(await wire.rows(DB, COUNT)).toEqual([[110]]);
});

test('maintenance requests from several connections at once leave one clear state behind', async () => {
  const wires = await Promise.all(Array.from({ length: 6 }, () => ground.wire()));
  const types = ['PrepareForMaintenance', 'CloseDatabase', 'ReopenDatabase'];
  const allowed = ['DATABASE_PREPARING', 'DATABASE_CLOSED', undefined];
  const other = await ground.wire();
  let done = false;
  const writing = (async () => {
    while (!done) await fill(other, 'other.db', 1);
  })();
  await Promise.all(
    wires.map(async (one, at) => {
      for (let round = 0; round < 15; round += 1) {
        const reply = await one.request({ type: types[(at + round) % 3] ?? '', db: DB, timeout_ms: 10_000 });
        expect(allowed).toContain(reply.code);
        expect(allowed).toContain((await one.exec(DB, ["INSERT INTO stars (mark) VALUES ('c')"])).code);
      }
    }),
  );
  done = true;
  await writing;
  expect(await wire.request({ type: 'ReopenDatabase', db: DB })).toMatchObject({ status: 'ok', epoch: 1 });
  expect(recordFiles(ground)).toEqual([]);
  const { rev } = await fill(wire, DB, 1);
  expect(await wire.rows(DB, COUNT)).toEqual([[99 + Number(rev)]]);
});

test('a Close that has given up on its worker leaves a database that can be written', async () => {
  await wire.exec(DB, [
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
     INSERT INTO stars (light) SELECT zeroblob(1000000) FROM n`,
  ]);
  const [worker = 0] = ground.workers();
  const writer = await Fixture.start(ground, 'idle-reader', file, 'rw');
  const saver = await ground.wire();
  saver.send({ type: 'Backup', db: DB, to: 'copy.db' });
  expect(await saver.next()).toMatchObject({ event: 'progress' });
  const closing = wire.request({ type: 'CloseDatabase', db: DB, timeout_ms: 0 });
  await until('the worker has prepared, and closes when the backup is done', () => walBytes(file) === 0);
  expect(await writer.say('BEGIN IMMEDIATE')).toBe('0');
  process.kill(worker, 'SIGSTOP');
  expect(await closing).toMatchObject({ code: 'TIMEOUT', retryable: true });
  const batch = fill(wire, DB, 1);
  process.kill(worker, 'SIGCONT');
  let saved = await saver.next();
  while (saved?.event === 'progress') saved = await saver.next();
  expect(saved).toMatchObject({ status: 'ok' });
  expect(await writer.say('COMMIT')).toBe('0');
  await writer.end();
  expect(await batch).toMatchObject({ status: 'ok' });
  expect(await wire.request({ type: 'CloseDatabase', db: DB })).toMatchObject({ closed: true });
  expect(await inMainFileAlone(ground, file, 'PRAGMA integrity_check')).toBe('ok');
});
