import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  copyFile,
  dataFiles,
  fill,
  integrity,
  sha256,
  standing,
  walBytes,
} from '../support/database-files.js';
import { Fixture } from '../support/fixture.js';
import { Playground } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

const DB = 'stars.db';
const COUNT = 'SELECT count(*) FROM stars';
let ground: Playground;
let wire: Wire;
let file: string;
let copy: string;

beforeEach(async () => {
  ground = new Playground();
  file = ground.file(DB);
  copy = ground.file('copy.db');
  await ground.daemon(['--root', ground.dataDir]);
  wire = await ground.wire();
  await fill(wire, DB, 2_000);
});
afterEach(async ({ task }) => {
  try {
    if (task.result?.state !== 'fail') await ground.expectCleanEnd();
  } finally {
    await ground.dispose();
  }
});

function backup(more: Message = {}): Promise<Message> {
  return wire.request({ type: 'Backup', db: DB, to: 'copy.db', ...more });
}

test('a backup is one whole file, with everything that was answered before', async () => {
  const reply = await backup();
  expect(reply).toMatchObject({ status: 'ok', pages: expect.any(Number), bytes: Number(reply.pages) * 4096 });
  expect(dataFiles(ground)).toEqual(['copy.db', DB]);
  expect(walBytes(copy)).toBe(0);
  expect(await integrity(ground, copy)).toBe('ok');
  expect(await ground.sqlite3(copy, COUNT)).toBe('2000');
  expect(await standing(wire, 'copy.db')).toMatchObject({ rev: 1, epoch: 1 });
});

test('progress comes in order, carries the id, and ends at the total before the reply', async () => {
  wire.send({ type: 'Backup', id: 77, db: DB, to: 'copy.db' });
  const events: Message[] = [];
  let reply = await wire.next();
  for (; reply !== null && 'event' in reply; reply = await wire.next()) events.push(reply);
  expect(reply).toMatchObject({ status: 'ok', id: 77 });
  expect(events.length).toBeGreaterThan(0);
  for (const event of events) expect(event).toMatchObject({ event: 'progress', id: 77 });
  const done = events.map((event) => Number(event.pages_done));
  expect(done).toEqual([...done].sort((a, b) => a - b));
  expect(done.at(-1)).toBe(reply?.pages);
  expect(events.at(-1)?.pages_total).toBe(reply?.pages);
});

test('a backup while clients of the daemon write has all that was answered before, and cuts no batch in two', async () => {
  const writers = await Promise.all(Array.from({ length: 3 }, () => ground.wire()));
  const pair = ["INSERT INTO stars (mark) VALUES ('one')", "INSERT INTO stars (mark) VALUES ('two')"];
  let done = false;
  let answered = 0;
  const writing = writers.map(async (one) => {
    while (!done) {
      expect(await one.exec(DB, pair)).toMatchObject({ status: 'ok' });
      answered += 1;
    }
  });
  for (let round = 0; round < 5; round += 1) {
    const before = answered;
    expect(await backup({ overwrite: true })).toMatchObject({ status: 'ok' });
    const [one, two] = (
      await ground.sqlite3(copy, "SELECT count(*) FROM stars WHERE mark IN ('one', 'two') GROUP BY mark")
    )
      .split('\n')
      .map(Number);
    expect(one ?? 0).toBe(two ?? 0);
    expect(one ?? 0).toBeGreaterThanOrEqual(before);
    expect(await integrity(ground, copy)).toBe('ok');
  }
  done = true;
  await Promise.all(writing);
  expect(answered).toBeGreaterThan(0);
});

test('a backup ends although another program never stops writing', async () => {
  await wire.exec(DB, [
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
     INSERT INTO stars (light) SELECT zeroblob(1000000) FROM n`,
  ]);
  const writer = await Fixture.start(
    ground,
    'keep-writing',
    file,
    "INSERT INTO stars (mark) VALUES ('one'), ('two')",
  );
  for (let round = 0; round < 3; round += 1) {
    expect(await backup({ overwrite: true })).toMatchObject({ status: 'ok' });
    expect(await integrity(ground, copy)).toBe('ok');
    expect(await ground.sqlite3(copy, "SELECT count(*) % 2 FROM stars WHERE mark IN ('one', 'two')")).toBe(
      '0',
    );
  }
  const { stdout, stderr } = await writer.end();
  expect(stderr).toBe('');
  expect(Number(stdout.trim().split('\n').at(-1))).toBeGreaterThan(0);
  await fill(wire, DB, 1);
});

test('an existing file is kept unless the request says overwrite', async () => {
  writeFileSync(copy, 'precious');
  const before = sha256(copy);
  expect(await backup()).toMatchObject({
    code: 'INVALID_REQUEST',
    message: expect.stringContaining('overwrite'),
  });
  expect(sha256(copy)).toBe(before);
  expect(await backup({ overwrite: true })).toMatchObject({ status: 'ok' });
  expect(await ground.sqlite3(copy, COUNT)).toBe('2000');
  expect(dataFiles(ground)).toEqual(['copy.db', DB]);
});

test('an open database is no target, by whatever name', async () => {
  await fill(wire, 'other.db', 1);
  symlinkSync(ground.file('other.db'), ground.file('link.db'));
  for (const to of [DB, `./${DB}`, 'other.db', 'link.db'])
    expect(await backup({ to, overwrite: true }), to).toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
  expect(await wire.rows('other.db', COUNT)).toEqual([[1]]);
  expect(await wire.rows(DB, COUNT)).toEqual([[2_000]]);
});

test('a target with a WAL of its own is refused: the new file would not go with it', async () => {
  await ground.sqlite3(copy, 'PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)');
  const shell = await Fixture.start(ground, 'foreign-writer', copy, 'INSERT INTO t VALUES (2)');
  expect(await shell.say()).toBe('committed');
  expect(await backup({ overwrite: true })).toMatchObject({ status: 'error', code: 'DATABASE_NOT_ALLOWED' });
  await shell.end();
  expect(await ground.sqlite3(copy, 'SELECT count(*) FROM t; PRAGMA integrity_check')).toBe('2\nok');
  expect(await backup({ overwrite: true })).toMatchObject({ status: 'ok' });
  expect(await ground.sqlite3(copy, `${COUNT}; PRAGMA integrity_check`)).toBe('2000\nok');
});

test('targets that cannot be are refused by name, and leave nothing', async () => {
  mkdirSync(ground.file('folder'));
  const cases: [string, string][] = [
    ['nowhere/copy.db', 'DATABASE_NOT_FOUND'],
    ['folder', 'DATABASE_NOT_ALLOWED'],
    ['', 'INVALID_REQUEST'],
    [':memory:', 'DATABASE_NOT_ALLOWED'],
    [join(ground.dir, 'outside.db'), 'DATABASE_NOT_ALLOWED'],
    ['x'.repeat(300), 'DATABASE_NOT_ALLOWED'],
  ];
  for (const [to, code] of cases) expect(await backup({ to }), to).toMatchObject({ status: 'error', code });
  expect(dataFiles(ground)).toEqual(['folder', DB]);
  expect(readdirSync(ground.file('folder'))).toEqual([]);
  expect(await wire.request({ type: 'Backup', db: 'none.db', to: 'copy.db' })).toMatchObject({
    code: 'DATABASE_NOT_FOUND',
  });
});

test('a worker that is killed during a backup leaves no part of it behind', async () => {
  await wire.exec(DB, [
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
     INSERT INTO stars (light) SELECT zeroblob(1000000) FROM n`,
  ]);
  wire.send({ type: 'Backup', db: DB, to: 'copy.db' });
  expect(await wire.next()).toMatchObject({ event: 'progress' });
  for (const pid of ground.workers()) process.kill(pid, 'SIGKILL');
  let reply = await wire.next();
  while (reply?.event === 'progress') reply = await wire.next();
  expect(reply).toMatchObject({ status: 'error', code: 'WORKER_CRASHED' });
  expect(dataFiles(ground)).toEqual([DB]);
  expect(await backup()).toMatchObject({ status: 'ok' });
});

test('a checkpoint tells what it did, in each mode', async () => {
  const count = walBytes(file);
  expect(count).toBeGreaterThan(0);
  const passive = await wire.request({ type: 'Checkpoint', db: DB });
  expect(passive).toMatchObject({ status: 'ok', busy: false });
  expect(passive.log).toBe(passive.checkpointed);
  expect(Number(passive.log)).toBeGreaterThan(400);
  for (const mode of ['full', 'restart'])
    expect(await wire.request({ type: 'Checkpoint', db: DB, mode })).toMatchObject({
      status: 'ok',
      busy: false,
    });
  expect(await wire.request({ type: 'Checkpoint', db: DB, mode: 'truncate' })).toMatchObject({
    log: 0,
    checkpointed: 0,
    busy: false,
  });
  expect(walBytes(file)).toBe(0);
  await copyFile(file, copy);
  expect(await ground.sqlite3(copy, COUNT)).toBe('2000');
  expect(await wire.request({ type: 'Checkpoint', db: DB, mode: 'total' })).toMatchObject({
    code: 'INVALID_REQUEST',
  });
  expect(await wire.request({ type: 'Checkpoint', db: 'none.db' })).toMatchObject({
    code: 'DATABASE_NOT_FOUND',
  });
});

test('a checkpoint with a reader in the way says busy, which is no error', async () => {
  const reader = await Fixture.start(ground, 'hold-read-transaction', file);
  await fill(wire, DB, 10);
  const reply = await wire.request({ type: 'Checkpoint', db: DB, mode: 'truncate' });
  expect(reply).toMatchObject({ status: 'ok', busy: true });
  expect(Number(reply.checkpointed)).toBeLessThan(Number(reply.log));
  await reader.end();
  await fill(wire, DB, 1);
});
