import { chmodSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  copyFile,
  dataFiles,
  fill,
  integrity,
  makeFile,
  recordFiles,
  sha256,
  standing,
} from '../support/database-files.js';
import { Fixture } from '../support/fixture.js';
import { Playground } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

/** ReplaceDatabase when it fails: the old file is in its place, open, at the same epoch, and nothing is left lying about. */
const DB = 'stars.db';
let ground: Playground;
let wire: Wire;
let file: string;
let fresh: string;

beforeEach(async () => {
  ground = new Playground();
  file = ground.file(DB);
  fresh = ground.file('fresh.db');
  await ground.daemon(['--root', ground.dataDir]);
  wire = await ground.wire();
  await fill(wire, DB, 100, 'old');
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

/** The request fails with this code, and everything is as it was. */
async function expectRefused(code: string, more: Message = {}): Promise<Message> {
  const before = dataFiles(ground);
  const { rev } = await standing(wire, DB);
  const reply = await wire.request({ type: 'ReplaceDatabase', db: DB, from: 'fresh.db', ...more });
  expect(reply).toMatchObject({ status: 'error', code, outcome: 'not_applied' });
  expect(dataFiles(ground)).toEqual(before);
  expect(recordFiles(ground)).toEqual([]);
  expect(await standing(wire, DB)).toMatchObject({ state: 'open', epoch: 1, rev });
  expect(await wire.rows(DB, 'SELECT DISTINCT mark FROM stars')).toEqual([['old']]);
  expect(await fill(wire, DB, 1, 'old')).toMatchObject({ epoch: 1, rev: rev + 1 });
  return reply;
}

test('a source with a damaged page is DATABASE_CORRUPT', async () => {
  await makeFile(ground, fresh, 300, 'new');
  await ground.run('dd', ['if=/dev/urandom', `of=${fresh}`, 'bs=4096', 'seek=3', 'count=2', 'conv=notrunc']);
  const before = sha256(fresh);
  const reply = await expectRefused('DATABASE_CORRUPT');
  expect(reply.message).toContain(fresh);
  expect(sha256(fresh)).toBe(before);
});

test('a source that was cut off is DATABASE_CORRUPT', async () => {
  await makeFile(ground, fresh, 300, 'new');
  await ground.run('truncate', ['-s', '100000', fresh]);
  await expectRefused('DATABASE_CORRUPT');
});

test('a text file and a file of zero bytes are NOT_A_DATABASE', async () => {
  writeFileSync(
    fresh,
    'not a database at all, but long enough to have a header of one hundred bytes\n'.repeat(99),
  );
  await expectRefused('NOT_A_DATABASE');
  writeFileSync(fresh, '');
  await expectRefused('NOT_A_DATABASE');
});

test('a missing source and a missing folder are DATABASE_NOT_FOUND, a folder is DATABASE_NOT_ALLOWED', async () => {
  expect((await expectRefused('DATABASE_NOT_FOUND')).message).toContain(fresh);
  await expectRefused('DATABASE_NOT_FOUND', { from: 'nowhere/fresh.db' });
  mkdirSync(ground.file('folder'));
  await expectRefused('DATABASE_NOT_ALLOWED', { from: 'folder' });
});

test('the database itself cannot be the source, by whatever name', async () => {
  await expectRefused('INVALID_REQUEST', { from: DB });
  await expectRefused('INVALID_REQUEST', { from: `./x/../${DB}` });
  symlinkSync(file, ground.file('link.db'));
  await expectRefused('INVALID_REQUEST', { from: 'link.db' });
});

test('a source outside of --root is DATABASE_NOT_ALLOWED, through a link too', async () => {
  const outside = join(ground.dir, 'outside.db');
  await makeFile(ground, outside, 3, 'new');
  await expectRefused('DATABASE_NOT_ALLOWED', { from: outside });
  symlinkSync(outside, ground.file('link.db'));
  await expectRefused('DATABASE_NOT_ALLOWED', { from: 'link.db' });
});

test('names that are no files are refused', async () => {
  await expectRefused('INVALID_REQUEST', { from: '' });
  await expectRefused('INVALID_REQUEST', { from: 7 });
  await expectRefused('DATABASE_NOT_ALLOWED', { from: ':memory:' });
  await expectRefused('DATABASE_NOT_ALLOWED', { from: `file:${fresh}` });
});

test('a reader inside a transaction makes it CHECKPOINT_BUSY, and is named', async () => {
  await makeFile(ground, fresh, 3, 'new');
  const reader = await Fixture.start(ground, 'hold-read-transaction', file);
  await fill(wire, DB, 1, 'old');
  const reply = await expectRefused('CHECKPOINT_BUSY', { timeout_ms: 200 });
  expect(reply).toMatchObject({ retryable: true, holders: [{ pid: reader.pid }] });
  await reader.end();
  await fill(wire, DB, 1, 'old');
});

test('a foreign writer inside a transaction makes it CHECKPOINT_BUSY, and its write is kept', async () => {
  await makeFile(ground, fresh, 3, 'new');
  const writer = await Fixture.start(
    ground,
    'foreign-writer',
    file,
    "INSERT INTO stars (mark) VALUES ('foreign')",
  );
  const reply = await wire.request({ type: 'ReplaceDatabase', db: DB, from: 'fresh.db', timeout_ms: 200 });
  expect(reply).toMatchObject({ code: 'CHECKPOINT_BUSY', holders: [{ pid: writer.pid }] });
  expect(await writer.say()).toBe('committed');
  await writer.end();
  expect(await wire.rows(DB, "SELECT count(*) FROM stars WHERE mark = 'foreign'")).toEqual([[1]]);
  expect(dataFiles(ground)).toEqual(['fresh.db', DB]);
});

test('a disk without space for the copy makes it DISK_FULL', async (context) => {
  const small = ground.file('small');
  mkdirSync(small);
  const mounted = await ground.run('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'none', small]);
  if (mounted.code !== 0) context.skip(`no small disk can be mounted here: ${mounted.stderr.trim()}`);
  try {
    await fill(wire, 'small/stars.db', 100, 'old');
    await makeFile(ground, fresh, 4_000, 'new');
    const request = { type: 'ReplaceDatabase', db: 'small/stars.db', from: 'fresh.db' };
    expect(await wire.request(request)).toMatchObject({ code: 'DISK_FULL', outcome: 'not_applied' });
    const keeper = await Fixture.start(ground, 'idle-reader', fresh, 'rw');
    await keeper.say('PRAGMA journal_mode = WAL');
    await keeper.say("INSERT INTO stars (mark) VALUES ('wal')");
    expect(await wire.request(request)).toMatchObject({ code: 'DISK_FULL', outcome: 'not_applied' });
    await keeper.end();
    expect(await fill(wire, 'small/stars.db', 1, 'old')).toMatchObject({ rev: 2, epoch: 1 });
    expect(
      (await ground.run('ls', [small])).stdout.split('\n').filter((name) => /incoming|before/.test(name)),
    ).toEqual([]);
    expect(await wire.request({ type: 'CloseDatabase', db: 'small/stars.db' })).toMatchObject({
      closed: true,
    });
    expect(await wire.request({ type: 'ReopenDatabase', db: 'small/stars.db' })).toMatchObject({ epoch: 1 });
    await wire.request({ type: 'Shutdown' });
  } finally {
    await ground.run('umount', ['-l', small]);
  }
});

test('a database with a second hard link is refused before anything happens', async () => {
  await makeFile(ground, fresh, 3, 'new');
  linkSync(file, ground.file('second-name.db'));
  expect(await wire.request({ type: 'ReplaceDatabase', db: DB, from: 'fresh.db' })).toMatchObject({
    code: 'DATABASE_NOT_ALLOWED',
  });
  await ground.run('rm', [ground.file('second-name.db')]);
  expect(await fill(wire, DB, 1, 'old')).toMatchObject({ epoch: 1 });
});

test('a source that may not be read says so', async (context) => {
  if (process.getuid?.() === 0) context.skip('root may read everything');
  await makeFile(ground, fresh, 3, 'new');
  chmodSync(fresh, 0o000);
  await expectRefused('DATABASE_READONLY');
});

test('after a refusal the same request succeeds once the source is right', async () => {
  writeFileSync(fresh, 'no database');
  await expectRefused('NOT_A_DATABASE');
  await makeFile(ground, ground.file('good.db'), 3, 'new');
  await copyFile(ground.file('good.db'), fresh);
  expect(await wire.request({ type: 'ReplaceDatabase', db: DB, from: 'fresh.db' })).toMatchObject({
    epoch: 2,
  });
});
