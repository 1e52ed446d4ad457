import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Client, connect, type Database, SkylineError } from '../../dist/client/index.js';
import { inMainFileAlone, makeFile } from '../support/database-files.js';
import { Fixture } from '../support/fixture.js';
import { Playground } from '../support/playground.js';

/** Maintenance through the client library, and its reader beside it. */
const MARKS = 'SELECT DISTINCT mark FROM stars ORDER BY mark';
let ground: Playground;
let client: Client;
let db: Database;
let file: string;
let fresh: string;

beforeEach(async () => {
  ground = new Playground();
  file = ground.file('stars.db');
  fresh = ground.file('fresh.db');
  await ground.daemon();
  client = await connect({ socket: ground.socket, autoStart: false });
  db = client.database(file);
  await db.batch([
    'CREATE TABLE stars (id INTEGER PRIMARY KEY, mark TEXT, light BLOB)',
    { sql: 'INSERT INTO stars (mark) VALUES (?)', paramSets: [['old'], ['old']] },
  ]);
  await makeFile(ground, fresh, 30, 'new', 'wal');
});
afterEach(async ({ task }) => {
  client.close();
  try {
    if (task.result?.state !== 'fail') await ground.expectCleanEnd();
  } finally {
    await ground.dispose();
  }
});

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => null,
    (failure: unknown) => failure,
  );
  return error instanceof SkylineError ? error.code : String(error);
}

test('maintenance() hands over a closed file, passes the result on, and opens it again', async () => {
  const result = await db.maintenance(async (path) => {
    expect(path).toBe(file);
    expect(existsSync(`${file}-wal`)).toBe(false);
    expect(await inMainFileAlone(ground, file, 'SELECT count(*) FROM stars')).toBe('2');
    expect(await codeOf(db.run("INSERT INTO stars (mark) VALUES ('no')"))).toBe('DATABASE_CLOSED');
    renameSync(fresh, path);
    return 42;
  });
  expect(result).toBe(42);
  expect(await db.all(MARKS)).toEqual([{ mark: 'new' }]);
  expect(await db.ping()).toMatchObject({ state: 'open', epoch: 2 });
});

test('maintenance() opens the database again when the callback throws, and passes the error on', async () => {
  const mistake = new Error('the disk with the new file is not there');
  await expect(
    db.maintenance(() => {
      throw mistake;
    }),
  ).rejects.toBe(mistake);
  await expect(db.maintenance(() => Promise.reject(mistake))).rejects.toBe(mistake);
  expect(await db.run("INSERT INTO stars (mark) VALUES ('yes')")).toMatchObject({ rev: 2, epoch: 1 });
});

test('maintenance() that leaves no database behind says so: with both errors when the callback threw, too', async () => {
  const mistake = new Error('half way');
  const spoil = (path: string) => writeFileSync(path, 'no database at all\n'.repeat(100));
  expect(await codeOf(db.maintenance(spoil))).toBe('NOT_A_DATABASE');
  expect(await db.ping()).toMatchObject({ state: 'closed', epoch: 1 });
  renameSync(fresh, file);
  expect(await db.reopen()).toMatchObject({ reopened: true, epoch: 2 });
  const failure: unknown = await db
    .maintenance((path) => {
      spoil(path);
      throw mistake;
    })
    .catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(AggregateError);
  expect((failure as AggregateError).errors).toEqual([
    mistake,
    expect.objectContaining({ code: 'NOT_A_DATABASE' }),
  ]);
});

test('maintenance() calls nothing when a reader does not leave', async () => {
  const reader = await Fixture.start(ground, 'hold-read-transaction', file);
  await db.run("INSERT INTO stars (mark) VALUES ('later')");
  let called = false;
  const failure: unknown = await db
    .maintenance(
      () => {
        called = true;
      },
      { timeoutMs: 100 },
    )
    .catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'CHECKPOINT_BUSY', details: { holders: [{ pid: reader.pid }] } });
  expect(called).toBe(false);
  await reader.end();
  await db.run("INSERT INTO stars (mark) VALUES ('last')");
});

test('prepare, close and reopen do what they say', async () => {
  await db.prepare();
  expect(await codeOf(db.run('DELETE FROM stars'))).toBe('DATABASE_PREPARING');
  await db.close();
  expect(await codeOf(db.run('DELETE FROM stars'))).toBe('DATABASE_CLOSED');
  expect(await db.reopen()).toMatchObject({ reopened: true, rev: 1, epoch: 1 });
  expect(await db.reopen()).toMatchObject({ reopened: false });
});

test('a reader of this process sees the new file after replace(), and every write after that', async () => {
  using reader = db.reader();
  expect(reader.all(MARKS)).toEqual([{ mark: 'old' }]);
  const progress: number[] = [];
  const reply = await db.replace(fresh, { onProgress: (event) => progress.push(event.pages_done) });
  expect(reply).toMatchObject({ replaced: true, epoch: 2, backup: `${file}.before-epoch-2` });
  expect(progress.length).toBeGreaterThan(0);
  expect(reader.all(MARKS)).toEqual([{ mark: 'new' }]);
  await db.run("INSERT INTO stars (mark) VALUES ('later')");
  expect(reader.all(MARKS)).toEqual([{ mark: 'later' }, { mark: 'new' }]);
  expect(await db.replace(reply.backup)).toMatchObject({ epoch: 3 });
  expect(reader.all(MARKS)).toEqual([{ mark: 'old' }]);
});

test('a reader of this process sees a file that maintenance() has put in place', async () => {
  using reader = db.reader();
  expect(reader.all(MARKS)).toEqual([{ mark: 'old' }]);
  await db.maintenance((path) => renameSync(fresh, path));
  expect(reader.all(MARKS)).toEqual([{ mark: 'new' }]);
  await db.run("INSERT INTO stars (mark) VALUES ('later')");
  expect(reader.all(MARKS)).toEqual([{ mark: 'later' }, { mark: 'new' }]);
});

test('a reader that opened the new file before it was reopened sees every write after that', async () => {
  using reader = db.reader();
  await db.maintenance((path) => {
    renameSync(fresh, path);
    expect(reader.all(MARKS)).toEqual([{ mark: 'new' }]);
  });
  await db.run("INSERT INTO stars (mark) VALUES ('later')");
  expect(reader.all(MARKS)).toEqual([{ mark: 'later' }, { mark: 'new' }]);
});

test('replace() refuses what is no database, with the reason', async () => {
  writeFileSync(fresh, 'no database at all\n'.repeat(100));
  expect(await codeOf(db.replace(fresh))).toBe('NOT_A_DATABASE');
  expect(await codeOf(db.replace(ground.file('none.db')))).toBe('DATABASE_NOT_FOUND');
  expect(await db.all(MARKS)).toEqual([{ mark: 'old' }]);
});

test('backup() copies while the database is open, tells progress, and keeps what is there', async () => {
  const to = ground.file('copy.db');
  const progress: [number, number][] = [];
  const reply = await db.backup(to, {
    onProgress: ({ pages_done, pages_total }) => progress.push([pages_done, pages_total]),
  });
  expect(reply.bytes).toBe(reply.pages * 4096);
  expect(progress.at(-1)).toEqual([reply.pages, reply.pages]);
  expect(await ground.sqlite3(to, 'SELECT count(*) FROM stars; PRAGMA integrity_check')).toBe('2\nok');
  expect(await codeOf(db.backup(to))).toBe('INVALID_REQUEST');
  expect(await db.backup(to, { overwrite: true })).toMatchObject({ pages: reply.pages });
});

test('checkpoint() tells what it did', async () => {
  expect(await db.checkpoint('truncate')).toMatchObject({ log: 0, checkpointed: 0, busy: false });
});
