import { readFileSync, renameSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  fill,
  inMainFileAlone,
  integrity,
  makeFile,
  openers,
  standing,
  walBytes,
} from '../support/database-files.js';
import { Fixture } from '../support/fixture.js';
import { Playground, until } from '../support/playground.js';
import type { Wire } from '../support/wire.js';

/** Prepare and close while other programs have the file open. */
const DB = 'stars.db';
/** https://sqlite.org/walformat.html#the_wal_index_header */
const WAL_INDEX_VERSION = 3_007_000;
const COUNT = 'SELECT count(*) FROM stars';
let ground: Playground;
let wire: Wire;
let file: string;
let guests: Fixture[];

beforeEach(async () => {
  ground = new Playground();
  file = ground.file(DB);
  guests = [];
  await ground.daemon();
  wire = await ground.wire();
  await fill(wire, DB, 400);
});
afterEach(async ({ task }) => {
  try {
    if (task.result?.state === 'fail') return;
    for (const guest of guests) await guest.end();
    // A reader that leaves last cannot remove -wal and -shm; whoever writes last does.
    await wire.request({ type: 'ReopenDatabase', db: DB });
    await fill(wire, DB, 1);
    await ground.expectCleanEnd();
    expect(await integrity(ground, file)).toBe('ok');
  } finally {
    await ground.dispose();
  }
});

async function guest(name: string, ...args: string[]): Promise<Fixture> {
  const fixture = await Fixture.start(ground, name, file, ...args);
  guests.push(fixture);
  return fixture;
}

/** A request that a guest keeps from succeeding. */
async function expectBlocked(type: string, by: Fixture, name: string, timeoutMs = 300): Promise<void> {
  const start = performance.now();
  const reply = await wire.request({ type, db: DB, timeout_ms: timeoutMs });
  expect(reply).toMatchObject({
    status: 'error',
    code: 'CHECKPOINT_BUSY',
    retryable: true,
    outcome: 'not_applied',
  });
  expect(reply.holders).toEqual([{ pid: by.pid, command: expect.stringContaining(name) }]);
  expect(reply.message).toContain(`pid ${by.pid}`);
  expect(reply.message).toContain(name);
  expect(performance.now() - start).toBeGreaterThan(timeoutMs - 5);
  expect(await standing(wire, DB)).toMatchObject({ state: 'open' });
}

/** The daemon's promise after `closed: true`. */
function expectClosed(): void {
  const ours = ground.processes().filter((pid) => !guests.some((one) => one.pid === pid));
  expect(openers(ours, file)).toEqual([]);
  expect(walBytes(file)).toBe(0);
}

for (const type of ['PrepareForMaintenance', 'CloseDatabase']) {
  test(`${type} is refused while a reader is on an older snapshot, and the database is open again`, async () => {
    const reader = await guest('hold-read-transaction');
    await fill(wire, DB, 300, 'later');
    await expectBlocked(type, reader, 'hold-read-transaction.mjs');
    await fill(wire, DB, 1, 'after');
    expect(await wire.rows(DB, COUNT)).toEqual([[701]]);
    expect(await reader.say()).toBe('left');
    expect(await wire.request({ type, db: DB, timeout_ms: 20_000 })).toMatchObject({ status: 'ok' });
    expect(await inMainFileAlone(ground, file, COUNT)).toBe('701');
  });

  test(`${type} is refused while a reader on the newest snapshot keeps the WAL from being emptied`, async () => {
    const reader = await guest('idle-reader');
    await fill(wire, DB, 1);
    expect(await reader.say('BEGIN')).toBe('0');
    expect(await reader.say(COUNT)).toBe('[[401]]');
    await expectBlocked(type, reader, 'idle-reader.mjs');
    expect(await fill(wire, DB, 1)).toMatchObject({ rev: 3 });
  });

  test(`${type} succeeds as soon as the reader leaves during the wait`, async () => {
    const reader = await guest('hold-read-transaction');
    await fill(wire, DB, 300, 'later');
    const reply = wire.request({ type, db: DB, timeout_ms: 60_000 });
    const other = await ground.wire();
    await until('the request has begun', async () => (await standing(other, DB)).state === 'preparing');
    expect(await reader.say()).toBe('left');
    expect(await reply).toMatchObject({ status: 'ok' });
    expect(await inMainFileAlone(ground, file, COUNT)).toBe('700');
  });

  test(`${type} is refused while a foreign writer holds the write lock, which is named once`, async () => {
    const writer = await guest('foreign-writer', "INSERT INTO stars (mark) VALUES ('foreign')");
    await expectBlocked(type, writer, 'foreign-writer.mjs');
    expect(await writer.say()).toBe('committed');
    expect(await wire.request({ type, db: DB, timeout_ms: 20_000 })).toMatchObject({ status: 'ok' });
    expect(await inMainFileAlone(ground, file, COUNT)).toBe('401');
  });
}

test('an idle reader does not keep a database from being closed, and sees the writes after it', async () => {
  const reader = await guest('idle-reader');
  expect(await wire.request({ type: 'PrepareForMaintenance', db: DB })).toMatchObject({ checkpointed: true });
  expect(await inMainFileAlone(ground, file, COUNT)).toBe('400');
  expect(await wire.request({ type: 'CloseDatabase', db: DB })).toMatchObject({ closed: true });
  expectClosed();
  expect(await reader.say(COUNT)).toBe('[[400]]');
  expect(await wire.request({ type: 'ReopenDatabase', db: DB })).toMatchObject({
    reopened: true,
    rev: 1,
    epoch: 1,
  });
  await fill(wire, DB, 5);
  expect(await reader.say(COUNT)).toBe('[[405]]');
});

test.each(['wal', 'delete'] as const)(
  'beside an idle reader of the old file, a new one (%s) can be read as soon as it is in its place',
  async (journal) => {
    const old = await guest('idle-reader');
    expect(await wire.request({ type: 'CloseDatabase', db: DB })).toMatchObject({ closed: true });
    // The WAL index is there for readers that may not write it.
    expect(readFileSync(`${file}-shm`).readUInt32LE(0)).toBe(WAL_INDEX_VERSION);
    const next = ground.file('next.db');
    // It has more pages than the old one's WAL index tells of.
    await makeFile(ground, next, 2_000, 'next', journal);
    renameSync(file, ground.file('before.db'));
    renameSync(next, file);
    const reader = await guest('idle-reader');
    expect(await reader.say(COUNT)).toBe('[[2000]]');
    expect(await reader.say('PRAGMA quick_check')).toBe('[["ok"]]');
    expect(await old.say(COUNT)).toBe('[[400]]');
  },
);

test('an idle foreign writer does not keep a database from being closed, and can write after it', async () => {
  const writer = await guest('idle-reader', 'rw');
  expect(await wire.request({ type: 'CloseDatabase', db: DB })).toMatchObject({ closed: true });
  expectClosed();
  expect(await wire.request({ type: 'ReopenDatabase', db: DB })).toMatchObject({ reopened: true });
  expect(await writer.say("INSERT INTO stars (mark) VALUES ('foreign')")).toBe('1');
  await fill(wire, DB, 5);
  expect(await wire.rows(DB, COUNT)).toEqual([[406]]);
});

test('after each checkpointed: true the main file alone has every row, however readers come and go', async () => {
  const readers = [await guest('restless-reader'), await guest('restless-reader')];
  let rows = 400;
  let prepared = 0;
  for (let round = 0; round < 40; round += 1) {
    await fill(wire, DB, 7, `round ${round}`);
    rows += 7;
    const reply = await wire.request({ type: 'PrepareForMaintenance', db: DB, timeout_ms: 40 });
    if (reply.status === 'ok') {
      prepared += 1;
      expect(await inMainFileAlone(ground, file, `${COUNT}; PRAGMA integrity_check`)).toBe(`${rows}\nok`);
      expect(await wire.request({ type: 'ReopenDatabase', db: DB })).toMatchObject({ reopened: true });
    } else expect(reply.code).toBe('CHECKPOINT_BUSY');
  }
  expect(prepared).toBeGreaterThan(0);
  for (const reader of readers) expect((await reader.end()).stderr).toBe('');
});

test('after each closed: true the main file alone has every row, however readers come and go', async () => {
  const readers = [await guest('restless-reader'), await guest('restless-reader')];
  let rows = 400;
  let closed = 0;
  for (let round = 0; round < 20; round += 1) {
    await fill(wire, DB, 7, `round ${round}`);
    rows += 7;
    const reply = await wire.request({ type: 'CloseDatabase', db: DB, timeout_ms: 100 });
    if (reply.status === 'ok') {
      closed += 1;
      expectClosed();
      expect(await inMainFileAlone(ground, file, `${COUNT}; PRAGMA integrity_check`)).toBe(`${rows}\nok`);
      expect(await wire.request({ type: 'ReopenDatabase', db: DB })).toMatchObject({ epoch: 1 });
    } else expect(reply.code).toBe('CHECKPOINT_BUSY');
  }
  expect(closed).toBeGreaterThan(0);
  for (const reader of readers) expect((await reader.end()).stderr).toBe('');
});

test('while a reader keeps one database from closing, another one is written all the time', async () => {
  const reader = await guest('hold-read-transaction');
  const other = await ground.wire();
  await fill(other, 'other.db', 1);
  let ended = false;
  const closing = wire.request({ type: 'CloseDatabase', db: DB, timeout_ms: 1_500 }).finally(() => {
    ended = true;
  });
  let slowest = 0;
  let writes = 0;
  for (; !ended; writes += 1) {
    const start = performance.now();
    await fill(other, 'other.db', 1);
    slowest = Math.max(slowest, performance.now() - start);
  }
  expect(await closing).toMatchObject({ code: 'CHECKPOINT_BUSY', holders: [{ pid: reader.pid }] });
  expect(writes).toBeGreaterThan(10);
  expect(slowest).toBeLessThan(1_000);
});
