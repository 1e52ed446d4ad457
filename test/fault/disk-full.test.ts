import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { Bystander } from '../support/bystander.js';
import { Playground } from '../support/playground.js';
import type { Wire } from '../support/wire.js';

/** A disk of 4 MiB. Only root may mount one: elsewhere these tests are skipped. */
const DISK_BYTES = 4 * 1024 * 1024;
const disk = mkdtempSync(join(tmpdir(), 'sky-disk-'));
let mounted = false;
try {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', disk], { stdio: 'ignore' });
  mounted = true;
} catch {
  // No root here, or no tmpfs.
}

let ground: Playground;
beforeAll(() => {
  mkdirSync(join(disk, 'data'));
});
afterAll(() => {
  if (mounted) execFileSync('umount', [disk]);
  rmSync(disk, { recursive: true });
});
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
  for (const name of readdirSync(join(disk, 'data'))) rmSync(join(disk, 'data', name), { recursive: true });
});

const db = join(disk, 'data', 'x.db');
const ballast = join(disk, 'data', 'ballast');

function fill(): void {
  // What is free, to the last block.
  const { bavail, bsize } = statfsSync(disk);
  writeFileSync(ballast, Buffer.alloc(bavail * bsize, 1));
}

/** Writes until something fails; how many were answered well. */
async function writeUntilFull(wire: Wire): Promise<{ written: number; failure: unknown }> {
  const params = ['x'.repeat(20_000)];
  for (let written = 0; written < 1_000; written += 1) {
    const failure = await wire.exec(db, [{ sql: 'INSERT INTO t (b) VALUES (?)', params }]);
    if (failure.status !== 'ok') return { written, failure };
  }
  throw new Error('the disk never became full');
}

test.skipIf(!mounted)(
  'a full disk: DISK_FULL and nothing applied; with space again all works, and nothing answered is missing (needs mount)',
  async () => {
    const daemon = await ground.daemon();
    const bystander = await Bystander.start(ground);
    const wire = await ground.wire();
    await wire.exec(db, ['CREATE TABLE t (id INTEGER PRIMARY KEY, b)']);
    writeFileSync(ballast, Buffer.alloc(2_700_000, 1));
    const { written, failure } = await writeUntilFull(wire);
    expect(failure).toMatchObject({
      code: 'DISK_FULL',
      outcome: 'not_applied',
      retryable: true,
      message: expect.stringContaining('space'),
    });
    // Reading goes on, and what failed has left nothing.
    expect(await wire.rows(db, 'SELECT count(*) FROM t')).toEqual([[written]]);
    expect(
      await wire.exec(db, [{ sql: 'INSERT INTO t (b) VALUES (zeroblob(?))', params: [100_000] }]),
    ).toMatchObject({
      code: 'DISK_FULL',
    });
    rmSync(ballast);
    expect(await wire.exec(db, ["INSERT INTO t (b) VALUES ('again')"])).toMatchObject({
      status: 'ok',
      rev: written + 2,
    });
    expect(await wire.rows(db, 'SELECT count(*), max(id) FROM t')).toEqual([[written + 1, written + 1]]);
    expect(await wire.rows(db, 'PRAGMA integrity_check')).toEqual([['ok']]);
    await bystander.stop();
    expect(daemon.child.exitCode).toBeNull();
    await ground.expectCleanEnd();
    expect(await ground.sqlite3(db, 'SELECT count(*) FROM t; PRAGMA integrity_check')).toBe(
      `${written + 1}\nok`,
    );
    expect(readdirSync(join(disk, 'data'))).toEqual(['x.db']);
  },
);

test.skipIf(!mounted)('a first batch on a full disk leaves no file behind (needs mount)', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  fill();
  const stmts = ['CREATE TABLE t (id INTEGER PRIMARY KEY, b)', 'INSERT INTO t (b) VALUES (zeroblob(100000))'];
  expect(await wire.exec(db, stmts)).toMatchObject({ code: 'DISK_FULL', outcome: 'not_applied' });
  expect(existsSync(db)).toBe(false);
  expect(readdirSync(join(disk, 'data')).filter((name) => !name.endsWith('-owner'))).toEqual(['ballast']);
  rmSync(ballast);
  expect(await wire.exec(db, stmts)).toMatchObject({ status: 'ok', rev: 1 });
  await ground.expectCleanEnd();
});

test.skipIf(!mounted)(
  'a disk that becomes full in the middle of a first batch leaves no file (needs mount)',
  async () => {
    await ground.daemon();
    const wire = await ground.wire();
    const sql = 'INSERT INTO t VALUES (zeroblob(6000000))';
    expect(await wire.exec(db, ['CREATE TABLE t (b)', sql])).toMatchObject({
      code: 'DISK_FULL',
      outcome: 'not_applied',
    });
    expect(await wire.request({ type: 'Ping', db })).toMatchObject({ exists: false, rev: 0 });
    expect(await wire.exec(db, ['CREATE TABLE t (b)'])).toMatchObject({ status: 'ok', rev: 1 });
    await ground.expectCleanEnd();
  },
);

test.skipIf(!mounted)('a full disk does not cost a closed database its place (needs mount)', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  await wire.exec(db, ['CREATE TABLE t (b)', 'INSERT INTO t VALUES (zeroblob(400000))']);
  fill();
  // The WAL goes into the main file, which may have to grow for it.
  const closing = await wire.request({ type: 'CloseDatabase', db, timeout_ms: 500 });
  if (closing.status !== 'ok') {
    expect(closing).toMatchObject({ status: 'error', outcome: 'not_applied' });
    expect(await wire.request({ type: 'Ping', db })).toMatchObject({ state: 'open' });
    expect(await wire.rows(db, 'SELECT length(b) FROM t')).toEqual([[400_000]]);
  }
  rmSync(ballast);
  if (closing.status === 'ok') await wire.request({ type: 'ReopenDatabase', db });
  expect(await wire.rows(db, 'SELECT length(b) FROM t')).toEqual([[400_000]]);
  expect(await wire.exec(db, ['DELETE FROM t'])).toMatchObject({ status: 'ok', rows_affected: 1 });
  await ground.expectCleanEnd();
});

test.skipIf(!existsSync('/usr/bin/prlimit'))(
  'a limit on the size of files fails the batch and not the daemon (needs prlimit)',
  async () => {
    await ground.daemon([], {}, { via: ['prlimit', '--fsize=300000'] });
    const wire = await ground.wire();
    await wire.exec('x.db', ['CREATE TABLE t (a)']);
    const reply = await wire.exec('x.db', ['INSERT INTO t VALUES (zeroblob(1000000))']);
    expect(reply).toMatchObject({ status: 'error' });
    expect(['DISK_FULL', 'IO_ERROR']).toContain(reply.code);
    expect(await wire.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[0]]);
    expect(await wire.exec('x.db', ['INSERT INTO t VALUES (1)'])).toMatchObject({ status: 'ok', rev: 2 });
    await ground.expectCleanEnd();
  },
);
