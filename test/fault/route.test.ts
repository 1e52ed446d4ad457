import { copyFileSync, existsSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Client, connect, SkylineError } from '../../dist/client/index.js';
import { untilDirect } from '../support/direct.js';
import { Playground, until } from '../support/playground.js';
import { Program } from '../support/program.js';

/** Programs that write through the library while processes die and databases close: they notice nothing. */
interface Report {
  readonly name: string;
  readonly applied: readonly number[];
  readonly refused: readonly { n: number; code: string; outcome: string; message: string }[];
}

let ground: Playground;
let db: string;
beforeEach(() => {
  ground = new Playground();
  db = ground.file('x.db');
});
afterEach(async () => {
  await ground.dispose();
});

async function begin(count: number, inFlight: number, options: object = {}): Promise<Program[]> {
  const programs = Array.from({ length: count }, (_, at) =>
    Program.fixture(ground, 'counts-through-all', [db, `p${at}`, `${inFlight}`, JSON.stringify(options)]),
  );
  for (const program of programs) expect(await program.line()).toBe('begun');
  return programs;
}

async function end(programs: readonly Program[]): Promise<Report[]> {
  for (const program of programs) program.say('stop');
  return await Promise.all(programs.map(async (program) => JSON.parse(await program.line()) as Report));
}

/** What was answered is in the file once, what was refused is not, and each program's numbers are in its own order. */
async function expectExact(reports: readonly Report[]): Promise<void> {
  expect(await ground.sqlite3(db, 'PRAGMA integrity_check')).toBe('ok');
  for (const { name, applied, refused } of reports) {
    const text = await ground.sqlite3(db, `SELECT n FROM counts WHERE who = '${name}' ORDER BY rowid`);
    const inside = text === '' ? [] : text.split('\n').map(Number);
    expect(inside).toEqual([...applied].sort((a, b) => a - b));
    expect(refused.filter(({ outcome }) => outcome !== 'not_applied')).toEqual([]);
  }
}

/** How far they are; -1 in the moments when SQLite locks the file, because a connection is its first or its last. */
async function written(): Promise<number> {
  if (!existsSync(db)) return 0;
  const count = await ground.sqlite3(db, 'SELECT coalesce(max(rowid), 0) FROM counts').catch(() => '-1');
  return Number(count);
}

/** Lets the programs get on before the next blow. */
async function progress(rows: number): Promise<void> {
  let before = -1;
  await until('the file can be read', async () => {
    before = await written();
    return before >= 0;
  });
  await until(`${rows} more rows are written`, async () => (await written()) >= before + rows, 60_000);
}

test.each([
  ['straight to the worker', {}],
  ['through the router', { direct: false }],
])(
  'killed workers, %s: every batch is answered and applied once',
  async (_, options) => {
    await ground.daemon();
    const programs = await begin(3, 16, options);
    for (let round = 0; round < 12; round += 1) {
      await progress(100 + Math.round(Math.random() * 200));
      for (const pid of ground.workers()) process.kill(pid, 'SIGKILL');
    }
    await progress(50);
    const reports = await end(programs);
    expect(reports.flatMap(({ refused }) => refused)).toEqual([]);
    await expectExact(reports);
  },
  120_000,
);

test('killed daemons: every batch is answered and applied once', async () => {
  const programs = await begin(3, 16);
  for (let round = 0; round < 6; round += 1) {
    await progress(Math.round(Math.random() * 200));
    const daemon = ground.daemons();
    // In turn: the router alone, whose workers leave by themselves, and all of it.
    const victims = round % 2 === 0 ? daemon : [...daemon, ...ground.workers()];
    for (const pid of victims) process.kill(pid, 'SIGKILL');
  }
  await progress(50);
  const reports = await end(programs);
  expect(reports.flatMap(({ refused }) => refused)).toEqual([]);
  await expectExact(reports);
}, 120_000);

test('daemons that are told to shut down: nobody notices', async () => {
  const programs = await begin(3, 8);
  for (let round = 0; round < 5; round += 1) {
    await progress(100);
    const wire = await ground.wire();
    expect(await wire.request({ type: 'Shutdown' })).toMatchObject({ status: 'ok' });
    wire.destroy();
  }
  const reports = await end(programs);
  expect(reports.flatMap(({ refused }) => refused)).toEqual([]);
  await expectExact(reports);
}, 120_000);

test('while the database is closed batches are refused, and nothing of them is applied', async () => {
  await ground.daemon();
  const programs = await begin(2, 8);
  const wire = await ground.wire();
  for (let round = 0; round < 10; round += 1) {
    await progress(100);
    expect(await wire.request({ type: 'CloseDatabase', db })).toMatchObject({ closed: true });
    expect(ground.workers()).toEqual([]);
    expect(await wire.request({ type: 'ReopenDatabase', db })).toMatchObject({ reopened: true });
  }
  await progress(10);
  const reports = await end(programs);
  const codes = new Set(reports.flatMap(({ refused }) => refused.map(({ code }) => code)));
  expect([...codes].filter((code) => code !== 'DATABASE_CLOSED' && code !== 'DATABASE_PREPARING')).toEqual(
    [],
  );
  await expectExact(reports);
}, 120_000);

test('workers that leave because they are idle, or to make room, are not missed', async () => {
  const daemon = await ground.daemon(['--worker-idle-timeout', '20ms', '--max-workers', '2']);
  const client = await connected();
  const files = Array.from({ length: 6 }, (_, at) => client.database(ground.file(`${at}.db`)));
  await Promise.all(files.map((file) => file.exec('CREATE TABLE t (n)')));
  for (let n = 0; n < 12; n += 1) {
    const some = files.filter(() => Math.random() < 0.5);
    await Promise.all(
      some.flatMap((file) => [file.run('INSERT INTO t VALUES (1)'), file.run('INSERT INTO t VALUES (2)')]),
    );
    if (n % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 30));
  }
  for (const file of files) {
    const [row] = await file.all<{ n: number }>('SELECT count(*) AS n FROM t');
    expect((await file.ping()).rev).toBe((row?.n ?? 0) + 1);
  }
  expect(daemon.child.exitCode).toBeNull();
}, 60_000);

test('an older copy in the place of the database is not given what was on its way to the newer one', async () => {
  await ground.daemon();
  const client = await connected({ autoStart: true });
  const file = client.database(db);
  await file.exec('CREATE TABLE t (n)');
  await file.backup(ground.file('copy.db'));
  for (let n = 0; n < 10; n += 1) await file.run('INSERT INTO t VALUES (?)', [n]);
  await untilDirect(client, file);
  const pids = [...ground.daemons(), ...ground.workers()];
  for (const pid of ground.workers()) process.kill(pid, 'SIGSTOP');
  const open = failure(file.run('INSERT INTO t VALUES (99)'));
  await new Promise((resolve) => setImmediate(resolve));
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  rmSync(`${db}-wal`, { force: true });
  rmSync(`${db}-shm`, { force: true });
  copyFileSync(ground.file('copy.db'), db);
  expect(await open).toMatchObject({ code: 'SESSION_CONFLICT', outcome: 'unknown', retryable: false });
  expect(await ground.sqlite3(db, 'SELECT count(*) FROM t')).toBe('0');
  expect(await file.run('INSERT INTO t VALUES (1)')).toMatchObject({ rowsAffected: 1 });
});

test('another database in the place of this one, at the same epoch and a later rev, is not given what was on its way', async () => {
  await ground.daemon();
  const client = await connected({ autoStart: true });
  const other = client.database(ground.file('other.db'));
  await other.exec('CREATE TABLE t (n)');
  for (let n = 0; n < 10; n += 1) await other.run('INSERT INTO t VALUES (?)', [n]);
  await other.checkpoint('truncate');
  const file = client.database(db);
  await file.exec('CREATE TABLE t (n)');
  const pids = [...ground.daemons(), ...ground.workers()];
  for (const pid of ground.workers()) process.kill(pid, 'SIGSTOP');
  const open = failure(file.run('INSERT INTO t VALUES (99)'));
  await new Promise((resolve) => setImmediate(resolve));
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  rmSync(`${db}-wal`, { force: true });
  rmSync(`${db}-shm`, { force: true });
  copyFileSync(ground.file('other.db'), db);
  expect(await open).toMatchObject({ code: 'SESSION_CONFLICT', outcome: 'unknown', retryable: false });
  expect(await file.run('INSERT INTO t VALUES (1)')).toMatchObject({ rowsAffected: 1, epoch: 1, rev: 12 });
  expect(await ground.sqlite3(db, 'SELECT count(*), max(n) FROM t')).toBe('11|9');
});

test('a batch past its timeout is stopped; what becomes of it and of its neighbours is known', async () => {
  await ground.daemon();
  const client = await connected();
  const file = client.database(db);
  await file.exec('CREATE TABLE t (n)');
  await file.run('INSERT INTO t VALUES (0)');
  await untilDirect(client, file);
  const endless =
    'WITH RECURSIVE c(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM c) INSERT INTO t SELECT n FROM c';
  const before = Array.from({ length: 5 }, (_, n) => file.run('INSERT INTO t VALUES (?)', [n + 1]));
  const stopped = failure(file.run(endless, [], { timeoutMs: 300 }));
  const after = Array.from({ length: 5 }, (_, n) => file.run('INSERT INTO t VALUES (?)', [n + 6]));
  expect(await stopped).toMatchObject({ code: 'TIMEOUT', outcome: 'not_applied' });
  await Promise.all([...before, ...after]);
  expect(await ground.sqlite3(db, 'SELECT group_concat(n) FROM t')).toBe('0,1,2,3,4,5,6,7,8,9,10');
});

test('a batch that kills every worker is given up, and those around it are applied once', async () => {
  await ground.daemon();
  const client = await connected();
  const file = client.database(db);
  await file.exec('CREATE TABLE t (n)');
  await file.run('INSERT INTO t VALUES (0)');
  await untilDirect(client, file);
  const endless =
    'WITH RECURSIVE c(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM c) INSERT INTO t SELECT n FROM c';
  const poison = failure(file.run(endless));
  let over = false;
  void poison.then(() => {
    over = true;
  });
  while (!over) {
    for (const pid of ground.workers()) process.kill(pid, 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  expect(await poison).toMatchObject({ code: 'WORKER_CRASHED' });
  expect(await file.run('INSERT INTO t VALUES (1)')).toMatchObject({ rowsAffected: 1 });
  expect(await ground.sqlite3(db, 'SELECT group_concat(n) FROM t')).toBe('0,1');
}, 60_000);

test('an aborted batch says what is known of it, and is not sent again', async () => {
  await ground.daemon();
  const client = await connected();
  const file = client.database(db);
  await file.exec('CREATE TABLE t (n)');
  await file.run('INSERT INTO t VALUES (0)');
  await untilDirect(client, file);
  for (const pid of ground.workers()) process.kill(pid, 'SIGSTOP');
  const controller = new AbortController();
  const sent = failure(file.run('INSERT INTO t VALUES (1)', [], { signal: controller.signal }));
  await new Promise((resolve) => setImmediate(resolve));
  controller.abort();
  expect(await sent).toMatchObject({ code: 'ABORTED', outcome: 'unknown' });
  for (const pid of ground.workers()) process.kill(pid, 'SIGKILL');
  expect(await file.run('INSERT INTO t VALUES (2)')).toMatchObject({ rowsAffected: 1 });
  expect(await ground.sqlite3(db, 'SELECT group_concat(n) FROM t')).toBe('0,2');
});

async function connected(options: object = {}): Promise<Client> {
  Object.assign(process.env, ground.env);
  return await connect({ socket: ground.socket, autoStart: false, ...options });
}

async function failure(work: Promise<unknown>): Promise<SkylineError> {
  try {
    await work;
  } catch (error) {
    expect(error).toBeInstanceOf(SkylineError);
    return error as SkylineError;
  }
  throw new Error('it did not fail');
}
