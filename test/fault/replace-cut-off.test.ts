import { linkSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type MaintenanceRecord, MaintenanceRecords } from '../../daemon/maintenance-records.js';
import { factsOf, sameFacts } from '../../daemon/worker/file-facts.js';
import { copyFile, dataFiles, fill, makeFile, recordFiles, standing } from '../support/database-files.js';
import { Playground, until } from '../support/playground.js';
import type { Wire } from '../support/wire.js';

/**
 * What a daemon finds when its predecessor and the predecessor's workers were killed at one certain step of a
 * replacement. The steps are too short to be hit by chance, so their traces are laid by hand.
 */
const DB = 'stars.db';
const MARKS = 'SELECT DISTINCT mark FROM stars';
let ground: Playground;
let wire: Wire;
let file: string;
let staged: string;
let backup: string;

beforeEach(async () => {
  ground = new Playground();
  file = ground.file(DB);
  staged = `${file}.incoming-1`;
  backup = `${file}.before-epoch-2`;
  await ground.daemon();
  wire = await ground.wire();
  await fill(wire, DB, 100, 'old');
  await wire.request({ type: 'Shutdown' });
  await until('the daemon is gone', () => ground.processes().length === 0);
  await makeFile(ground, staged, 30, 'new');
});
afterEach(async ({ task }) => {
  try {
    if (task.result?.state !== 'fail') await ground.expectCleanEnd();
  } finally {
    await ground.dispose();
  }
});

function leaveRecord(state: MaintenanceRecord['state']): void {
  const known = { id: null, epoch: 1, rev: 1 };
  const since = new Date().toISOString();
  new MaintenanceRecords(ground.stateDir).write({
    db: file,
    state,
    since,
    known,
    file: factsOf(file),
    ...(state === 'reopening' ? {} : { staged }),
    ...(state === 'replacing' ? { backup } : {}),
  });
}

async function expectRecovered(mark: string, position: { epoch: number; rev: number }): Promise<void> {
  await ground.daemon();
  wire = await ground.wire();
  await until('it is open', async () => (await standing(wire, DB)).state === 'open');
  expect(await wire.rows(DB, MARKS)).toEqual([[mark]]);
  expect(await standing(wire, DB)).toMatchObject(position);
  expect(statSync(file).nlink).toBe(1);
  expect(recordFiles(ground)).toEqual([]);
  expect(await wire.rows(DB, 'PRAGMA integrity_check')).toEqual([['ok']]);
}

test('killed while the copy was made: the database was open all the time, and the copy is removed', async () => {
  leaveRecord('staging');
  await copyFile(staged, `${staged}-journal`);
  await expectRecovered('old', { epoch: 1, rev: 1 });
  expect(dataFiles(ground)).toEqual([DB]);
});

test('killed before the swap: the old file is open at its epoch, and the copy is removed', async () => {
  leaveRecord('replacing');
  await expectRecovered('old', { epoch: 1, rev: 1 });
  expect(dataFiles(ground)).toEqual([DB]);
});

test('killed when the old file had two names: it has one again, and is open at its epoch', async () => {
  leaveRecord('replacing');
  linkSync(file, backup);
  await expectRecovered('old', { epoch: 1, rev: 1 });
  expect(dataFiles(ground)).toEqual([DB]);
});

test('killed when the old file had only its new name: it has its own again, and is open at its epoch', async () => {
  leaveRecord('replacing');
  const before = factsOf(file);
  renameSync(file, backup);
  await expectRecovered('old', { epoch: 1, rev: 1 });
  expect(sameFacts(before, factsOf(file))).toBe(true);
  expect(dataFiles(ground)).toEqual([DB]);
});

test('killed while an exchanged file was reopened: the reopening is finished', async () => {
  leaveRecord('reopening');
  renameSync(staged, file);
  await expectRecovered('new', { epoch: 2, rev: 0 });
  expect(dataFiles(ground)).toEqual([DB]);
});

test('killed while a damaged file was reopened: the database stays closed', async () => {
  leaveRecord('reopening');
  writeFileSync(file, 'no database at all\n'.repeat(100));
  await ground.daemon();
  wire = await ground.wire();
  await until('it was looked at', async () => {
    const reply = await wire.request({ type: 'ReopenDatabase', db: DB });
    return reply.code === 'NOT_A_DATABASE';
  });
  expect(await standing(wire, DB)).toMatchObject({ state: 'closed', epoch: 1 });
  renameSync(staged, file);
  expect(await wire.request({ type: 'ReopenDatabase', db: DB })).toMatchObject({ epoch: 2 });
});

test('killed after the swap: the new file is open at the next epoch, and the old one is kept', async () => {
  leaveRecord('replacing');
  linkSync(file, backup);
  renameSync(staged, file);
  await expectRecovered('new', { epoch: 2, rev: 0 });
  expect(dataFiles(ground)).toEqual([DB, `${DB}.before-epoch-2`]);
  expect(await ground.sqlite3(backup, MARKS)).toBe('old');
});
