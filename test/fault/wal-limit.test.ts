import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseProcLocks } from '../../daemon/worker/lock-holders.js';
import { integrity, openers, walBytes } from '../support/database-files.js';
import { Fixture } from '../support/fixture.js';
import { Playground, until } from '../support/playground.js';
import { Watcher } from '../support/watcher.js';
import type { Message, Wire } from '../support/wire.js';

/** What the WAL may have, and what happens when others do not let it. */
const DB = 'stars.db';
const MIB = 1024 * 1024;
const LIMIT = 4 * MIB;
let ground: Playground;
let wire: Wire;
let file: string;
let written: number;

beforeEach(async () => {
  ground = new Playground();
  file = ground.file(DB);
  written = 0;
  await ground.daemon(['--wal-limit', '4MB']);
  wire = await ground.wire();
  await wire.exec(DB, ['CREATE TABLE stars (id INTEGER PRIMARY KEY, light BLOB)']);
});
afterEach(async () => {
  await ground.dispose();
});

/** Writes that many rows of 16 KiB, a few in flight; returns the longest that the WAL was meanwhile. */
async function write(rows: number): Promise<number> {
  let longest = 0;
  for (let left = rows; left > 0; left -= 8) {
    const batch = () =>
      wire.exec(DB, ['INSERT INTO stars (light) VALUES (randomblob(16384))'], { results: false });
    const replies = await Promise.all(Array.from({ length: Math.min(8, left) }, batch));
    expect(replies.filter(({ status }) => status !== 'ok')).toEqual([]);
    written += replies.length;
    longest = Math.max(longest, walBytes(file));
  }
  return longest;
}

interface Wal {
  readonly limit: number;
  readonly pending: number;
  readonly checkpoint_us: { readonly longest: number } | null;
  readonly blocked: { readonly since_ms: number; readonly holders: readonly Message[] } | null;
}

async function wal(): Promise<Wal | undefined> {
  const { databases } = await wire.request({ type: 'Status', db: DB });
  return (databases as { wal?: Wal }[])[0]?.wal;
}

/** Lines of the log about the WAL's limit. */
function logged(): Message[] {
  return readFileSync(join(ground.stateDir, 'daemon.log'), 'utf8')
    .split('\n')
    .filter((line) => line.includes('limit'))
    .map((line) => JSON.parse(line) as Message);
}

async function expectWhole(): Promise<void> {
  expect(await integrity(ground, file)).toBe('ok');
  expect(await ground.sqlite3(file, 'SELECT count(*) FROM stars')).toBe(String(written));
}

test('without readers the WAL never exceeds its limit, however much is written', async () => {
  expect(await write(2_000)).toBeLessThanOrEqual(LIMIT);
  expect(await wal()).toMatchObject({ limit: LIMIT, blocked: null });
  expect((await wal())?.checkpoint_us?.longest).toBeGreaterThan(0);
  expect(logged()).toEqual([]);
  await expectWhole();
});

test('a reader that stays is named while writes go on; when it has left, the WAL is within its limit again', async () => {
  const watcher = await Watcher.open(ground, DB, { tables: ['none'] });
  const reader = await Fixture.start(ground, 'hold-read-transaction', file);
  const holder = { pid: reader.pid, command: expect.stringContaining('hold-read-transaction.mjs') };
  await write(1_000);
  expect(walBytes(file)).toBeGreaterThan(2 * LIMIT);
  await until('the log names it', () => logged().length > 0);
  expect(logged()).toMatchObject([{ level: 40, wal_limit: LIMIT, holders: [holder] }]);
  expect(logged()[0]?.msg).toContain(`pid ${reader.pid} (`);
  expect((await wal())?.blocked).toEqual({ since_ms: expect.any(Number), holders: [holder] });
  const told = { event: 'wal', subscription: 1, db: file, limit: LIMIT, wal_bytes: expect.any(Number) };
  expect(await watcher.next()).toEqual({ ...told, blocked: true, holders: [holder] });
  const cli = await ground.cli(['status', '--db', file]);
  expect(cli.stdout).toContain(`pid ${reader.pid} (`);
  await write(200);
  expect(logged()).toHaveLength(1);

  expect(await reader.say()).toBe('left');
  // Nobody writes: it has to be short by itself.
  await until('it is short', () => walBytes(file) <= LIMIT);
  await until('that is logged', () => logged().length === 2);
  expect(logged()[1]).toMatchObject({ level: 30, wal_limit: LIMIT });
  expect(await wal()).toMatchObject({ pending: 0, blocked: null });
  expect(await watcher.next()).toEqual({ ...told, blocked: false, lasted_ms: expect.any(Number) });
  expect(await write(500)).toBeLessThanOrEqual(LIMIT);
  await reader.end();
  await expectWhole();
});

test('when the reader leaves under load, the WAL is within its limit again, and no batch is lost or refused', async () => {
  const reader = await Fixture.start(ground, 'hold-read-transaction', file);
  await write(1_500);
  await until('it is named', async () => (await wal())?.blocked?.holders[0]?.pid === reader.pid);
  await reader.end();
  await until('it is short while others write', async () => {
    await write(16);
    return walBytes(file) <= LIMIT;
  });
  expect(await write(300)).toBeLessThanOrEqual(LIMIT);
  await expectWhole();
});

test('readers without a gap between them do not make it grow for ever', async () => {
  const readers = await Fixture.start(ground, 'readers-without-a-gap', file);
  let longest = 0;
  await until('it has begun anew under load', async () => {
    longest = Math.max(longest, await write(16));
    return walBytes(file) < longest / 2;
  });
  longest = Math.max(longest, await write(4_000));
  // Of 62 MiB or more: on a busy machine even a short reader may stay for a while.
  expect(longest).toBeLessThan(8 * LIMIT);
  await readers.end();
  await until('it is short', () => walBytes(file) <= LIMIT);
  await expectWhole();
});

test('a worker killed while it brings home what a reader had left behind loses nothing', async () => {
  const reader = await Fixture.start(ground, 'hold-read-transaction', file);
  await write(3_000);
  await reader.end();
  await new Promise((resolve) => setTimeout(resolve, 120));
  for (const pid of ground.workers()) process.kill(pid, 'SIGKILL');
  await write(100);
  await until('it is short', () => walBytes(file) <= LIMIT);
  await expectWhole();
});

test('a router killed meanwhile: its worker leaves, and the next daemon goes on', async () => {
  const reader = await Fixture.start(ground, 'hold-read-transaction', file);
  await write(3_000);
  await reader.end();
  await new Promise((resolve) => setTimeout(resolve, 120));
  const workers = ground.workers();
  for (const pid of ground.daemons()) process.kill(pid, 'SIGKILL');
  await until('its worker has left', () => !ground.workers().some((pid) => workers.includes(pid)));
  await ground.daemon(['--wal-limit', '4MB']);
  wire = await ground.wire();
  await write(100);
  await until('it is short', () => walBytes(file) <= LIMIT);
  await expectWhole();
});

test('the thread that brings it home takes none of the worker’s locks with it when it leaves', async () => {
  const reader = await Fixture.start(ground, 'hold-read-transaction', file);
  await write(1_000);
  await until('it is named', async () => (await wal())?.blocked?.holders[0]?.pid === reader.pid);
  await reader.end();
  await until('it is short', () => walBytes(file) <= LIMIT);
  // Waits until the thread has closed the file.
  await wire.request({ type: 'Checkpoint', db: DB });
  const [worker] = ground.workers();
  const { ino } = statSync(file);
  const locks = parseProcLocks(readFileSync('/proc/locks', 'utf8')).filter(
    ({ pid, inode }) => pid === worker && inode === String(ino),
  );
  expect(locks).toMatchObject([{ write: false }]);
});

test('closing while a thread brings it home waits for that: nothing of the daemon has the file open', async () => {
  const reader = await Fixture.start(ground, 'hold-read-transaction', file);
  await write(3_000);
  await reader.end();
  await until('it begins', async () => {
    const now = await wal();
    return now !== undefined && (now.blocked === null || now.blocked.holders.length === 0);
  });
  // The worker stays as a spare then, instead of taking everything that it has open with it.
  for (const pid of ground.spares()) process.kill(pid, 'SIGKILL');
  expect(await wire.request({ type: 'CloseDatabase', db: DB, timeout_ms: 30_000 })).toMatchObject({
    closed: true,
  });
  expect(openers(ground.processes(), file)).toEqual([]);
  expect(walBytes(file)).toBe(0);
  await expectWhole();
});
