import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  copyFile,
  fill,
  integrity,
  makeFile,
  recordFiles,
  standing,
  walBytes,
} from '../support/database-files.js';
import { Fixture } from '../support/fixture.js';
import { Playground } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

/** What a sync service does by hand: close, exchange the file, reopen. */
const DB = 'stars.db';
const MARKS = 'SELECT DISTINCT mark FROM stars ORDER BY mark';
let ground: Playground;
let wire: Wire;
let file: string;
let fresh: string;

beforeEach(async () => {
  ground = new Playground();
  file = ground.file(DB);
  fresh = ground.file('fresh.db');
  await ground.daemon();
  wire = await ground.wire();
  await fill(wire, DB, 100, 'old');
  await makeFile(ground, fresh, 30, 'new');
});
afterEach(async ({ task }) => {
  try {
    if (task.result?.state === 'fail') return;
    await ground.expectCleanEnd();
    expect(await integrity(ground, file)).toBe('ok');
    expect(recordFiles(ground)).toEqual([]);
  } finally {
    await ground.dispose();
  }
});

async function close(): Promise<void> {
  expect(await wire.request({ type: 'CloseDatabase', db: DB })).toMatchObject({ closed: true });
}

function reopen(more: Message = {}): Promise<Message> {
  return wire.request({ type: 'ReopenDatabase', db: DB, ...more });
}

/** Refused, still closed, and nobody is told of an epoch that never was. */
async function expectStaysClosed(code: string): Promise<void> {
  const before = await standing(wire, DB);
  expect(await reopen()).toMatchObject({ status: 'error', code, message: expect.stringContaining(file) });
  expect(await standing(wire, DB)).toMatchObject({ state: 'closed', epoch: before.epoch, rev: before.rev });
  expect(await wire.exec(DB, [MARKS])).toMatchObject({ code: 'DATABASE_CLOSED' });
  expect(recordFiles(ground)).toHaveLength(1);
  expect(ground.workers()).toEqual([]);
  expect(walBytes(file)).toBe(0);
}

test('a file that was renamed over the closed one is served at the next epoch', async () => {
  await close();
  renameSync(fresh, file);
  expect(await reopen()).toMatchObject({ reopened: true, epoch: 2, rev: 0 });
  expect(await wire.rows(DB, MARKS)).toEqual([['new']]);
  expect(await fill(wire, DB, 1, 'later')).toMatchObject({ epoch: 2, rev: 1 });
});

test('a file that was overwritten in place is served at the next epoch', async () => {
  await close();
  await copyFile(fresh, file);
  expect(await reopen()).toMatchObject({ reopened: true, epoch: 2, rev: 0 });
  expect(await wire.rows(DB, MARKS)).toEqual([['new']]);
});

test('a file that nobody touched keeps its epoch, however often it is closed', async () => {
  for (let round = 0; round < 3; round += 1) {
    await close();
    expect(await reopen()).toMatchObject({ reopened: true, epoch: 1, rev: 1 });
  }
  expect(await wire.rows(DB, MARKS)).toEqual([['old']]);
});

test('a file that was changed with sqlite3 while it was closed is served at the next epoch, with the change', async () => {
  await close();
  await ground.sqlite3(file, "INSERT INTO stars (mark) VALUES ('by hand')");
  expect(await reopen()).toMatchObject({ reopened: true, epoch: 2, rev: 1 });
  expect(await wire.rows(DB, MARKS)).toEqual([['by hand'], ['old']]);
});

test('an older backup that is copied back never leads to a place in time that was there before', async () => {
  const copy = ground.file('monday.db');
  expect(await wire.request({ type: 'Backup', db: DB, to: copy })).toMatchObject({ status: 'ok' });
  for (let round = 0; round < 5; round += 1) await fill(wire, DB, 1, 'tuesday');
  await close();
  await copyFile(copy, file);
  expect(await reopen()).toMatchObject({ reopened: true, epoch: 2, rev: 1 });
  expect(await wire.rows(DB, MARKS)).toEqual([['old']]);
  expect(await fill(wire, DB, 1, 'wednesday')).toMatchObject({ epoch: 2, rev: 2 });
  await close();
  await copyFile(copy, file);
  expect(await reopen()).toMatchObject({ epoch: 3, rev: 1 });
});

test('the epoch of an exchanged file outlives the daemon', async () => {
  await close();
  renameSync(fresh, file);
  expect(await reopen()).toMatchObject({ epoch: 2, rev: 0 });
  await wire.request({ type: 'Shutdown' });
  await ground.daemon();
  wire = await ground.wire();
  expect(await standing(wire, DB)).toEqual({ state: 'open', exists: true, epoch: 2, rev: 0 });
});

test('a text file, an empty file, a damaged file and no file are refused, and the right file still opens', async () => {
  const own = ground.file('own.db');
  expect(await wire.request({ type: 'Backup', db: DB, to: own })).toMatchObject({ status: 'ok' });
  await close();
  writeFileSync(file, 'this is no database\n'.repeat(500));
  await expectStaysClosed('NOT_A_DATABASE');
  writeFileSync(file, '');
  await expectStaysClosed('NOT_A_DATABASE');
  await copyFile(own, file);
  await ground.run('dd', ['if=/dev/urandom', `of=${file}`, 'bs=4096', 'seek=9', 'count=2', 'conv=notrunc']);
  await expectStaysClosed('DATABASE_CORRUPT');
  await copyFile(own, file);
  await ground.run('truncate', ['-s', '100000', file]);
  await expectStaysClosed('DATABASE_CORRUPT');
  rmSync(file);
  await expectStaysClosed('DATABASE_NOT_FOUND');
  await copyFile(fresh, file);
  expect(await reopen()).toMatchObject({ reopened: true, epoch: 2 });
  expect(await wire.rows(DB, MARKS)).toEqual([['new']]);
});

test('what was refused before a restart is refused after it, and its epoch was never seen', async () => {
  await close();
  writeFileSync(file, 'this is no database\n'.repeat(500));
  await expectStaysClosed('NOT_A_DATABASE');
  await wire.request({ type: 'Shutdown' });
  await ground.daemon();
  wire = await ground.wire();
  expect(await standing(wire, DB)).toMatchObject({ state: 'closed', epoch: 1, rev: 1 });
  await expectStaysClosed('NOT_A_DATABASE');
  renameSync(fresh, file);
  expect(await reopen()).toMatchObject({ epoch: 2, rev: 0 });
});

test('allow_missing gives up a file that is gone: the next write makes a new one at a later epoch', async () => {
  await close();
  rmSync(file);
  const reply = await reopen({ allow_missing: true });
  expect(reply).toMatchObject({ status: 'ok', reopened: true });
  expect(await standing(wire, DB)).toMatchObject({ state: 'open', exists: false });
  expect(await wire.rows(DB, 'SELECT 1')).toEqual([[1]]);
  expect(await fill(wire, DB, 3, 'anew')).toMatchObject({ epoch: 2 });
  expect(await wire.rows(DB, MARKS)).toEqual([['anew']]);
});

test('allow_missing changes nothing for a file that is there', async () => {
  await close();
  expect(await reopen({ allow_missing: true })).toMatchObject({ reopened: true, epoch: 1, rev: 1 });
  expect(await wire.rows(DB, MARKS)).toEqual([['old']]);
});

test('an empty database stays one: zero bytes are no damage to a file that had none', async () => {
  writeFileSync(ground.file('empty.db'), '');
  const empty = { db: 'empty.db' };
  expect(await wire.request({ type: 'CloseDatabase', ...empty })).toMatchObject({ closed: true });
  expect(await wire.request({ type: 'ReopenDatabase', ...empty })).toMatchObject({
    reopened: true,
    epoch: 1,
  });
  expect(await fill(wire, 'empty.db', 1)).toMatchObject({ rev: 1, epoch: 1 });
});

for (const [way, exchange] of [
  ['renamed over', () => renameSync(fresh, file)],
  ['overwritten in place', () => copyFile(fresh, file)],
] as const) {
  test(`a file that was ${way} while an idle reader had it open is no damaged one`, async () => {
    await ground.sqlite3(fresh, 'PRAGMA journal_mode = WAL');
    const reader = await Fixture.start(ground, 'idle-reader', file);
    await close();
    await exchange();
    expect(await reopen()).toMatchObject({ reopened: true, epoch: 2, rev: 0 });
    await fill(wire, DB, 50, 'later');
    expect(await wire.rows(DB, MARKS)).toEqual([['later'], ['new']]);
    expect(await wire.rows(DB, 'PRAGMA integrity_check')).toEqual([['ok']]);
    // Renamed over, it keeps the old file for ever; overwritten, it has no other than the new one.
    const seen = way === 'renamed over' ? '[["old"]]' : '[["later"],["new"]]';
    expect(await reader.say(MARKS)).toBe(seen);
    await reader.end();
    await fill(wire, DB, 1, 'later');
  });

  test(`a file that was ${way} is not spoiled by a program that had it open and writes on`, async () => {
    await ground.sqlite3(fresh, 'PRAGMA journal_mode = WAL');
    const shell = await Fixture.start(ground, 'idle-reader', file, 'rw');
    await close();
    await exchange();
    expect(await reopen()).toMatchObject({ reopened: true, epoch: 2 });
    await shell.say("INSERT INTO stars (mark) VALUES ('shell')");
    await fill(wire, DB, 50, 'later');
    await wire.request({ type: 'Checkpoint', db: DB, mode: 'truncate' });
    const expected = way === 'renamed over' ? [['later'], ['new']] : [['later'], ['new'], ['shell']];
    expect(await wire.rows(DB, MARKS)).toEqual(expected);
    await shell.end();
    await fill(wire, DB, 1, 'later');
    expect(await wire.rows(DB, 'PRAGMA integrity_check')).toEqual([['ok']]);
  });
}

test('overwritten by a file that is not in WAL mode, it waits for the programs that have it open', async () => {
  const reader = await Fixture.start(ground, 'idle-reader', file);
  await close();
  await copyFile(fresh, file);
  expect(await reopen()).toMatchObject({ status: 'error', code: 'BUSY', retryable: true });
  expect(await standing(wire, DB)).toMatchObject({ state: 'closed', epoch: 1 });
  await reader.end();
  expect(await reopen()).toMatchObject({ reopened: true, epoch: 2 });
  expect(await wire.rows(DB, MARKS)).toEqual([['new']]);
});
