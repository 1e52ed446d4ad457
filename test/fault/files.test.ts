import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Bystander } from '../support/bystander.js';
import { Playground } from '../support/playground.js';

const isRoot = process.getuid?.() === 0;
/** Nobody's id: for whom permissions count. */
const NOBODY = 65534;

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

/** A database with some hundred pages, made by others than the daemon. */
function make(path: string, ...pragmas: string[]): void {
  const db = new Database(path);
  try {
    for (const pragma of pragmas) db.pragma(pragma);
    db.exec('CREATE TABLE t (a, b); CREATE INDEX i ON t (b)');
    const insert = db.prepare('INSERT INTO t VALUES (?, ?)');
    db.transaction(() => {
      for (let row = 0; row < 2_000; row += 1) insert.run(row, 'x'.repeat(200));
    })();
  } finally {
    db.close();
  }
}

/** Everything of the playground belongs to another user, and its daemon runs as that. */
async function daemonAsNobody(): Promise<void> {
  for (const path of [ground.dir, dirname(ground.socket), ground.dataDir]) chownSync(path, NOBODY, NOBODY);
  mkdirSync(ground.stateDir, { mode: 0o700 });
  chownSync(ground.stateDir, NOBODY, NOBODY);
  await ground.daemon([], {}, { uid: NOBODY });
}

test('a zero-byte file is an empty database', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  writeFileSync(ground.file('x.db'), '');
  expect(await wire.request({ type: 'Ping', db: 'x.db' })).toMatchObject({ exists: true, rev: 0, epoch: 1 });
  expect(await wire.rows('x.db', 'SELECT count(*) FROM sqlite_schema')).toEqual([[0]]);
  expect(await wire.exec('x.db', ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok', rev: 1, epoch: 1 });
  await ground.expectCleanEnd();
});

test.each([
  ['of one line', 'hello\n'],
  ['of a page', 'no database at all\n'.repeat(300)],
  ['of a megabyte', 'no database at all\n'.repeat(60_000)],
])('a text file %s is no database, and stays as it is', async (_size, text) => {
  await ground.daemon();
  const bystander = await Bystander.start(ground);
  const wire = await ground.wire();
  writeFileSync(ground.file('x.db'), text);
  for (const sql of ['SELECT * FROM sqlite_schema', 'CREATE TABLE t (a)', 'SELECT 1 FROM t'])
    expect(await wire.exec('x.db', [sql])).toMatchObject({ code: 'NOT_A_DATABASE', outcome: 'not_applied' });
  expect(await wire.request({ type: 'Checkpoint', db: 'x.db' })).toMatchObject({ code: 'NOT_A_DATABASE' });
  expect(readFileSync(ground.file('x.db'), 'utf8')).toBe(text);
  await bystander.stop();
  await ground.expectCleanEnd();
});

test('a corrupt file: what meets the damage fails and says so, the daemon lives', async () => {
  await ground.daemon();
  const bystander = await Bystander.start(ground);
  const wire = await ground.wire();
  make(ground.file('x.db'), 'page_size = 4096');
  const bytes = readFileSync(ground.file('x.db'));
  bytes.fill(0xab, 4096 * 2, 4096 * 60);
  writeFileSync(ground.file('x.db'), bytes);
  expect(await wire.exec('x.db', ['SELECT sum(length(b)) FROM t'])).toMatchObject({
    code: 'DATABASE_CORRUPT',
    outcome: 'not_applied',
    message: expect.stringContaining('backup'),
  });
  expect(await wire.exec('x.db', ["UPDATE t SET b = 'y'"])).toMatchObject({ code: 'DATABASE_CORRUPT' });
  const [[verdict] = []] = await wire.rows('x.db', 'PRAGMA integrity_check(1)');
  expect(verdict).not.toBe('ok');
  await bystander.stop();
  await ground.expectCleanEnd();
});

test('a missing folder is named, and not made', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  for (const type of ['ExecBatch', 'Ping', 'CloseDatabase', 'Checkpoint']) {
    const reply = await wire.request({ type, db: 'no/such/x.db', stmts: [{ sql: 'CREATE TABLE t (a)' }] });
    expect(reply).toMatchObject({ code: 'DATABASE_NOT_FOUND', message: expect.stringContaining('folder') });
  }
  expect(readdirSync(ground.dataDir)).toEqual([]);
});

test('a file in the place of a folder, and a folder in the place of a file, are refused', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  writeFileSync(ground.file('file'), '');
  mkdirSync(ground.file('folder.db'));
  expect(await wire.exec('file/x.db', ['SELECT 1'])).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
  expect(await wire.exec('folder.db', ['SELECT 1'])).toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
  expect(await wire.exec(`${'n'.repeat(300)}.db`, ['CREATE TABLE t (a)'])).toMatchObject({
    code: 'DATABASE_NOT_ALLOWED',
  });
  expect(await wire.exec('Größe 星 😀.db', ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok' });
  expect(existsSync(ground.file('Größe 星 😀.db'))).toBe(true);
});

test('a database in rollback mode can be read as it is, and is in WAL mode after the first write', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  make(ground.file('x.db'), 'journal_mode = DELETE');
  expect(await wire.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[2000]]);
  expect(await ground.sqlite3(ground.file('x.db'), 'PRAGMA journal_mode')).toBe('delete');
  expect(await wire.exec('x.db', ['DELETE FROM t WHERE a < 1000'])).toMatchObject({
    rows_affected: 1000,
    rev: 1,
  });
  expect(await ground.sqlite3(ground.file('x.db'), 'PRAGMA journal_mode; PRAGMA integrity_check')).toBe(
    'wal\nok',
  );
  await ground.expectCleanEnd();
});

test('a database with pages of 64 KiB keeps them', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  make(ground.file('x.db'), 'page_size = 65536', 'journal_mode = WAL');
  const stmts = [
    "UPDATE t SET b = 'y'",
    { sql: 'INSERT INTO t VALUES (?, zeroblob(500000))', param_sets: [[1], [2]] },
  ];
  expect(await wire.exec('x.db', stmts)).toMatchObject({ status: 'ok', rows_affected: 2002 });
  expect(await wire.rows('x.db', 'PRAGMA page_size')).toEqual([[65536]]);
  expect(await wire.request({ type: 'Checkpoint', db: 'x.db', mode: 'truncate' })).toMatchObject({
    busy: false,
  });
  expect(await ground.sqlite3(ground.file('x.db'), 'PRAGMA integrity_check')).toBe('ok');
  await ground.expectCleanEnd();
});

test.skipIf(!isRoot)(
  'a folder without write permission: no database can be made there (needs root)',
  async () => {
    await daemonAsNobody();
    const wire = await ground.wire();
    mkdirSync(ground.file('closed'), { mode: 0o555 });
    expect(await wire.exec('closed/x.db', ['CREATE TABLE t (a)'])).toMatchObject({
      code: 'DATABASE_READONLY',
      outcome: 'not_applied',
      message: expect.stringContaining('folder'),
    });
    expect(readdirSync(ground.file('closed'))).toEqual([]);
    await ground.expectCleanEnd();
  },
);

test.skipIf(!isRoot)('a file without write permission can be read and not written (needs root)', async () => {
  await daemonAsNobody();
  const wire = await ground.wire();
  make(ground.file('x.db'));
  chmodSync(ground.file('x.db'), 0o444);
  const before = readFileSync(ground.file('x.db'));
  expect(await wire.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[2000]]);
  expect(await wire.exec('x.db', ['DELETE FROM t'])).toMatchObject({
    code: 'DATABASE_READONLY',
    outcome: 'not_applied',
    retryable: false,
  });
  expect(await wire.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[2000]]);
  expect(readFileSync(ground.file('x.db')).equals(before)).toBe(true);
  // As the message says.
  chmodSync(ground.file('x.db'), 0o666);
  expect(await wire.exec('x.db', ['DELETE FROM t'])).toMatchObject({ status: 'ok', rows_affected: 2000 });
});

test.skipIf(!isRoot)(
  'a folder that became read-only under a database with a WAL: reads go on (needs root)',
  async () => {
    await daemonAsNobody();
    const wire = await ground.wire();
    const folder = ground.file('folder');
    mkdirSync(folder);
    make(join(folder, 'x.db'), 'journal_mode = WAL');
    // Another program keeps it open: -wal and -shm stay beside it.
    const foreign = new Database(join(folder, 'x.db'));
    try {
      foreign.exec('INSERT INTO t VALUES (-1, 0)');
      expect(statSync(join(folder, 'x.db-wal')).size).toBeGreaterThan(0);
      for (const name of readdirSync(folder)) chmodSync(join(folder, name), 0o444);
      chmodSync(folder, 0o555);
      const reading = await wire.exec('folder/x.db', ['SELECT count(*) FROM t']);
      expect(reading).toMatchObject({ status: 'ok', results: [{ rows: [[2001]] }] });
      expect(await wire.exec('folder/x.db', ['DELETE FROM t'])).toMatchObject({
        code: 'DATABASE_READONLY',
        outcome: 'not_applied',
      });
      expect(readdirSync(folder).sort()).toEqual(['x.db', 'x.db-shm', 'x.db-wal']);
    } finally {
      foreign.close();
    }
  },
);

test.skipIf(!isRoot)('a file that may not even be read is refused with a reason (needs root)', async () => {
  await daemonAsNobody();
  const wire = await ground.wire();
  make(ground.file('x.db'));
  chmodSync(ground.file('x.db'), 0o000);
  const reply = await wire.exec('x.db', ['SELECT 1 FROM t']);
  expect(reply).toMatchObject({ status: 'error', outcome: 'not_applied' });
  expect(['DATABASE_READONLY', 'IO_ERROR', 'DATABASE_NOT_ALLOWED']).toContain(reply.code);
  expect(await wire.request({ type: 'Ping' })).toMatchObject({ status: 'ok' });
});
