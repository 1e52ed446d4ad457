import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { walBytes } from '../../../daemon/worker/checkpoint.js';
import { Checkpointer } from '../../../daemon/worker/checkpointer.js';
import type { FarCheckpoint } from '../../../daemon/worker/far-checkpoint.js';
import type { Notice } from '../../../daemon/worker/link.js';
import { until } from '../../support/playground.js';

const LIMIT = 1024 * 1024;
const READER = { pid: 4711, command: 'node report.mjs' };
let dir: string;
let path: string;
let db: Database.Database;
let reader: Database.Database;
let notices: Notice[];
let insert: Database.Statement;
/** What stands for the thread: the same checkpoint, here. */
let far: FarCheckpoint & { runs: number };
let checkpointer: Checkpointer;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sky-checkpointer-'));
  path = join(dir, 'x.db');
  db = new Database(path, { timeout: 0 });
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = normal');
  db.pragma('wal_autocheckpoint = 0');
  db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB)');
  insert = db.prepare('INSERT INTO t (b) VALUES (randomblob(3000))');
  reader = new Database(path, { readonly: true });
  notices = [];
  far = {
    runs: 0,
    running: false,
    async run() {
      far.runs += 1;
      const [row] = db.pragma('wal_checkpoint(passive)') as { log: number; checkpointed: number }[];
      return { busy: false, log: row?.log ?? 0, checkpointed: row?.checkpointed ?? 0 };
    },
    end: () => Promise.resolve(),
  };
  checkpointer = new Checkpointer({
    path,
    walLimit: LIMIT,
    notice: (notice) => notices.push(notice),
    far,
    holders: () => [READER],
  });
  checkpointer.opened(db);
});
afterEach(() => {
  checkpointer.closing();
  reader.close();
  db.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Commits of some frames each, with turns of the event loop between them, as a worker has. */
async function write(commits: number, rows = 1): Promise<number> {
  let most = 0;
  for (let commit = 0; commit < commits; commit += 1) {
    db.transaction(() => {
      for (let row = 0; row < rows; row += 1) insert.run();
    })();
    checkpointer.committed();
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    most = Math.max(most, walBytes(path));
  }
  return most;
}

function stay(): void {
  reader.exec('BEGIN');
  reader.prepare('SELECT count(*) FROM t').get();
}

test.each([
  [600, 1],
  [60, 10],
  [20, 40],
])('%i commits of %i rows never make the WAL longer than its limit', async (commits, rows) => {
  expect(await write(commits, rows)).toBeLessThanOrEqual(LIMIT);
  expect(checkpointer.status).toMatchObject({ limit: LIMIT, blocked: null });
  expect(checkpointer.status?.checkpoint_us?.longest).toBeGreaterThan(0);
  expect(notices).toEqual([]);
});

test('a reader that stays is named, once; when it has gone, the WAL is short again without a further commit', async () => {
  await write(1);
  stay();
  await write(500);
  expect(walBytes(path)).toBeGreaterThan(LIMIT);
  await until('somebody is told', () => notices.length > 0);
  expect(notices).toMatchObject([{ event: 'wal', blocked: true, limit: LIMIT, holders: [READER] }]);
  expect(checkpointer.status?.blocked).toMatchObject({ holders: [READER] });
  expect(far.runs).toBeGreaterThan(0);
  await write(50);
  expect(notices).toHaveLength(1);
  reader.exec('COMMIT');
  await until('it is short', () => walBytes(path) <= LIMIT && notices.length === 2);
  expect(notices[1]).toMatchObject({ event: 'wal', blocked: false, limit: LIMIT });
  expect(checkpointer.status?.blocked).toBeNull();
});

test('a checkpoint that fails fails no commit; it is said, and tried again later', async () => {
  await write(1);
  db.close();
  for (let commit = 0; commit < 200; commit += 1) expect(() => checkpointer.committed()).not.toThrow();
  checkpointer.quiet();
  checkpointer.settled();
  expect(checkpointer.status).toBeNull();
  expect(notices[0]).toMatchObject({
    event: 'log',
    level: 'warn',
    message: expect.stringContaining('checkpoint'),
  });
});

test('nothing happens to a file that is closed', async () => {
  await write(1);
  stay();
  await write(500);
  checkpointer.closing();
  const runs = far.runs;
  reader.exec('COMMIT');
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(far.runs).toBe(runs);
  expect(walBytes(path)).toBeGreaterThan(LIMIT);
  expect(checkpointer.status).toBeNull();
  expect(checkpointer.run('truncate')).toEqual({ busy: false, log: 0, checkpointed: 0 });
});
