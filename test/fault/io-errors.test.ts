import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Bystander } from '../support/bystander.js';
import { integrity, walBytes } from '../support/database-files.js';
import { DiskFaults } from '../support/disk-faults.js';
import { type DaemonProcess, Playground, until } from '../support/playground.js';
import { Preload } from '../support/preload.js';
import type { Message, Wire } from '../support/wire.js';

/** A disk that fails at the worst of times: skipped where no C compiler makes the library for it. */
const preload = new Preload('disk-faults');
let ground: Playground;
let daemon: DaemonProcess;
let faults: DiskFaults;
let wire: Wire;
let db: string;
beforeEach(async () => {
  ground = new Playground();
  db = ground.file('x.db');
  faults = new DiskFaults(preload, ground.dir, db);
  daemon = await ground.daemon([], faults.env);
  wire = await ground.wire();
  expect(await wire.exec(db, ['CREATE TABLE t (a, b)'])).toMatchObject({ status: 'ok', rev: 1 });
});
afterEach(async () => {
  faults.none();
  await ground.dispose();
});
afterAll(() => preload.dispose());

const insert = (a: string, more: Message = {}) =>
  wire.exec(db, [{ sql: 'INSERT INTO t VALUES (?, zeroblob(3000))', params: [a] }], more);

async function all(): Promise<string[]> {
  return (await wire.rows(db, 'SELECT a FROM t ORDER BY rowid')).map(([a]) => String(a));
}

/** The daemon lives, the database is whole, and it can be written and left as ever. */
async function expectWellAgain(wanted: readonly string[]): Promise<void> {
  faults.none();
  expect(await insert('afterwards')).toMatchObject({ status: 'ok' });
  expect(await all()).toEqual([...wanted, 'afterwards']);
  expect(daemon.child.exitCode).toBeNull();
  await ground.expectCleanEnd();
  expect(await integrity(ground, db)).toBe('ok');
  expect(await ground.sqlite3(db, 'SELECT a FROM t ORDER BY rowid')).toBe(
    [...wanted, 'afterwards'].join('\n'),
  );
}

describe.skipIf(preload.missing !== null)(
  `a disk that fails (${preload.missing ?? 'with LD_PRELOAD'})`,
  () => {
    test.each([
      ['EIO', 'IO_ERROR', false],
      ['ENOSPC', 'DISK_FULL', true],
    ] as const)(
      'writing to the WAL fails with %s: %s, nothing applied, others notice nothing',
      async (error, code, retryable) => {
        const bystander = await Bystander.start(ground);
        await insert('before');
        faults.set({ on: 'write', file: 'wal', with: error });
        for (const attempt of ['one', 'two'])
          expect(await insert(attempt)).toMatchObject({ status: 'error', code, retryable });
        expect(faults.hits).toBeGreaterThan(0);
        expect(await all()).toEqual(['before']);
        faults.none();
        expect(await insert('between')).toMatchObject({ status: 'ok', rev: 3 });
        await bystander.stop();
        await expectWellAgain(['before', 'between']);
      },
    );

    test('a failure in the middle of many batches: each answer is true, and rev has no gap', async () => {
      faults.set({ on: 'write', file: 'wal', with: 'EIO', skip: 25, times: 1 });
      const answers = await Promise.all(Array.from({ length: 60 }, (_, at) => insert(`b${at}`)));
      expect(faults.hits).toBe(1);
      faults.none();
      const there = await all();
      for (const [at, answer] of answers.entries()) {
        const count = there.filter((a) => a === `b${at}`).length;
        if (answer.status === 'ok') expect(count).toBe(1);
        else {
          expect(answer).toMatchObject({ code: 'IO_ERROR', retryable: false });
          expect(count).toBeLessThanOrEqual(answer.outcome === 'unknown' ? 1 : 0);
        }
      }
      expect(await wire.request({ type: 'Ping', db })).toMatchObject({ rev: 1 + there.length });
      await expectWellAgain(there);
    });

    test('the sync of a durable batch fails: it says so, and "not_applied" is said only of what never comes back', async () => {
      await insert('before');
      faults.set({ on: 'sync', file: 'wal', with: 'EIO' });
      const answer = await insert('unsynced', { durable: true });
      expect(answer).toMatchObject({ status: 'error', code: 'IO_ERROR' });
      expect(faults.hits).toBeGreaterThan(0);
      faults.none();
      // What was written to the WAL before the sync is found there by whoever opens it after a crash.
      for (const pid of ground.workers()) process.kill(pid, 'SIGKILL');
      await until('the worker is gone', () => ground.workers().length === 0);
      const there = await all();
      if (answer.outcome === 'not_applied') expect(there).toEqual(['before']);
      else expect(['before', 'before,unsynced']).toContain(there.join());
      await expectWellAgain(there);
    });

    test('a check-point that fails costs no batch; when the disk is well again it comes about', async () => {
      await insert('one');
      faults.set({ on: 'write', file: 'main', with: 'EIO' });
      expect(await wire.request({ type: 'Checkpoint', db, mode: 'truncate' })).toMatchObject({
        code: 'IO_ERROR',
      });
      expect(faults.hits).toBeGreaterThan(0);
      expect(await insert('two')).toMatchObject({ status: 'ok' });
      const closing = await wire.request({ type: 'CloseDatabase', db, timeout_ms: 500 });
      expect(closing).toMatchObject({ status: 'error', outcome: 'not_applied' });
      expect(await insert('three')).toMatchObject({ status: 'ok' });
      faults.none();
      expect(await wire.request({ type: 'Checkpoint', db, mode: 'truncate' })).toMatchObject({ busy: false });
      expect(walBytes(db)).toBe(0);
      expect(await wire.request({ type: 'CloseDatabase', db })).toMatchObject({ closed: true });
      expect(await wire.request({ type: 'ReopenDatabase', db })).toMatchObject({ reopened: true });
      await expectWellAgain(['one', 'two', 'three']);
    });

    test('a check-point that fails in a quiet moment is tried again, and the worker lives', async () => {
      faults.set({ on: 'write', file: 'main', with: 'EIO' });
      await insert('one');
      const [worker] = ground.workers();
      await until('the check-point was tried', () => faults.hits > 0);
      expect(await insert('two')).toMatchObject({ status: 'ok' });
      expect(ground.workers()).toEqual([worker]);
      await expectWellAgain(['one', 'two']);
    });

    test.each(['main', 'wal', 'shm'] as const)(
      'opening the %s file fails: the request says so, and the next one is served',
      async (file) => {
        await insert('one');
        for (const pid of ground.workers()) process.kill(pid, 'SIGKILL');
        await until('the worker is gone', () => ground.workers().length === 0);
        faults.set({ on: 'open', file, with: 'EIO' });
        const answer = await insert('two');
        expect(answer).toMatchObject({ status: 'error', code: 'IO_ERROR', outcome: 'not_applied' });
        expect(faults.hits).toBeGreaterThan(0);
        await expectWellAgain(['one']);
      },
    );

    test.each(['main', 'wal', 'shm'] as const)(
      'opening the %s file fails once: SQLite may take it for one that is only read, but not for long',
      async (file) => {
        await insert('one');
        for (const pid of ground.workers()) process.kill(pid, 'SIGKILL');
        await until('the worker is gone', () => ground.workers().length === 0);
        faults.set({ on: 'open', file, with: 'EIO', times: 1 });
        const answer = await insert('two');
        const wanted = answer.status === 'ok' ? ['one', 'two'] : ['one'];
        if (answer.status !== 'ok') expect(answer).toMatchObject({ outcome: 'not_applied' });
        expect(faults.hits).toBe(1);
        await expectWellAgain(wanted);
      },
    );

    test('replacing the file fails where the disk does: the old file is served as before', async () => {
      await insert('one');
      await ground.sqlite3(ground.file('new.db'), "CREATE TABLE t (a, b); INSERT INTO t VALUES ('new', 0)");
      faults.set({ on: 'write', file: 'main', with: 'EIO' });
      const answer = await wire.request({
        type: 'ReplaceDatabase',
        db,
        from: ground.file('new.db'),
        timeout_ms: 500,
      });
      expect(answer).toMatchObject({ status: 'error', outcome: 'not_applied' });
      expect(await wire.request({ type: 'Ping', db })).toMatchObject({ state: 'open', epoch: 1 });
      await expectWellAgain(['one']);
    });
  },
);
