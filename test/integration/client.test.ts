import { symlinkSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, connect, real, SkylineError } from '../../dist/client/index.js';
import { untilDirect } from '../support/direct.js';
import { Playground, until } from '../support/playground.js';

/** Runs until it is ended. */
const ENDLESS = 'WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c';

let ground: Playground;
let clients: Client[];
beforeEach(() => {
  ground = new Playground();
  clients = [];
});
afterEach(async () => {
  for (const client of clients) client.close();
  await ground.dispose();
});

async function connected(): Promise<Client> {
  const client = await connect({ socket: ground.socket, autoStart: false });
  clients.push(client);
  return client;
}

/** What a promise was rejected with; fails the test when it was not, or with something else. */
async function failure(work: Promise<unknown>): Promise<SkylineError> {
  try {
    await work;
  } catch (error) {
    expect(error).toBeInstanceOf(SkylineError);
    return error as SkylineError;
  }
  throw new Error('it did not fail');
}

describe('values', () => {
  test('go both ways as JavaScript has them, and into the right storage class', async () => {
    await ground.daemon();
    const db = (await connected()).database(ground.file('x.db'));
    await db.exec('CREATE TABLE t (v)');
    const bytes = Uint8Array.from({ length: 256 }, (_, at) => at);
    const cases = [
      [null, 'null', null],
      [1, 'integer', 1],
      [Number.MAX_SAFE_INTEGER, 'integer', Number.MAX_SAFE_INTEGER],
      [1.5, 'real', 1.5],
      [1e300, 'real', 1e300],
      [-0, 'real', -0],
      [real(2), 'real', 2],
      [Number.POSITIVE_INFINITY, 'real', Number.POSITIVE_INFINITY],
      [7n, 'integer', 7],
      [2n ** 53n, 'integer', 2n ** 53n],
      [2n ** 63n - 1n, 'integer', 2n ** 63n - 1n],
      [-(2n ** 63n), 'integer', -(2n ** 63n)],
      [true, 'integer', 1],
      ['a\0b 😀', 'text', 'a\0b 😀'],
      [bytes, 'blob', bytes],
      [Buffer.from([1, 2]), 'blob', Uint8Array.of(1, 2)],
      [bytes.subarray(10, 12), 'blob', Uint8Array.of(10, 11)],
      [new Uint8Array(0), 'blob', new Uint8Array(0)],
    ] as const;
    const reader = db.reader();
    for (const [given, type, expected] of cases) {
      await db.run('DELETE FROM t');
      await db.run('INSERT INTO t VALUES (?)', [given]);
      const [[stored] = []] = (await db.exec('SELECT v FROM t')).rows ?? [];
      expect(stored, String(given)).toStrictEqual(expected);
      expect(await db.all('SELECT typeof(v) AS type FROM t')).toEqual([{ type }]);
      // What is read directly is the same value as what the daemon sends.
      const read = reader.get<{ v: unknown }>('SELECT v FROM t')?.v;
      expect(read instanceof Uint8Array ? Uint8Array.from(read) : read, String(given)).toStrictEqual(
        expected,
      );
    }
    reader.close();
  });

  test.each([
    ['NaN', Number.NaN],
    ['a lone surrogate', '\ud800'],
    ['65 bits', 2n ** 63n],
    ['an object', { a: 1 }],
    ['undefined', undefined],
    ['a function', () => 1],
    ['a date', new Date()],
  ])('that cannot be stored are refused before anything is sent: %s', async (_what, value) => {
    await ground.daemon();
    const db = (await connected()).database(ground.file('x.db'));
    const error = await failure(
      db.batch([{ sql: 'SELECT 1' }, { sql: 'SELECT ?', params: [value as never] }]),
    );
    expect(error).toMatchObject({
      code: 'INVALID_REQUEST',
      outcome: 'not_applied',
      details: { statement_index: 1 },
    });
  });
});

describe('requests', () => {
  test('can be sent without waiting, and are carried out in their order', async () => {
    await ground.daemon();
    const db = (await connected()).database(ground.file('x.db'));
    const create = db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, a)');
    const inserts = Array.from({ length: 2_000 }, (_, a) => db.run('INSERT INTO t (a) VALUES (?)', [a]));
    expect((await create).rev).toBe(1);
    for (const [at, done] of (await Promise.all(inserts)).entries())
      expect(done).toEqual({ rowsAffected: 1, lastInsertRowid: at + 1, rev: at + 2, epoch: 1 });
  });

  test('fail with a typed error that names code, outcome and details', async () => {
    await ground.daemon();
    const db = (await connected()).database(ground.file('x.db'));
    await db.exec('CREATE TABLE t (a UNIQUE)');
    await db.run('INSERT INTO t VALUES (1)');
    expect(await failure(db.batch(['SELECT 1', 'INSERT INTO t VALUES (1)']))).toMatchObject({
      name: 'SkylineError',
      code: 'SQL_ERROR',
      outcome: 'not_applied',
      retryable: false,
      details: { sqlite_code: 'SQLITE_CONSTRAINT_UNIQUE', statement_index: 1 },
    });
    expect(await failure(db.exec('COMMIT'))).toMatchObject({ code: 'STATEMENT_NOT_ALLOWED' });
    expect(await failure(db.batch([{ sql: 'DELETE FROM t', expect: { rowsAffected: 9 } }]))).toMatchObject({
      code: 'EXPECTATION_FAILED',
      details: { expected: 9, actual: 1 },
    });
    expect(await failure(db.run('DELETE FROM t', [], { expectRev: 1 }))).toMatchObject({
      code: 'EXPECTATION_FAILED',
    });
    expect(
      await failure((await connected()).database(ground.file('no/such/x.db')).exec('SELECT 1')),
    ).toMatchObject({
      code: 'DATABASE_NOT_FOUND',
    });
    expect(await db.all('SELECT a FROM t')).toEqual([{ a: 1 }]);
  });

  test('can be given up before they are sent, and then nothing is applied', async () => {
    await ground.daemon();
    const db = (await connected()).database(ground.file('x.db'));
    const signal = AbortSignal.abort(new Error('never mind'));
    const error = await failure(db.run('CREATE TABLE t (a)', [], { signal }));
    expect(error).toMatchObject({ code: 'ABORTED', outcome: 'not_applied', cause: signal.reason });
    expect(await db.ping()).toMatchObject({ exists: false });
  });

  test('can be given up after they were sent; the connection goes on', async () => {
    await ground.daemon();
    const client = await connected();
    const db = client.database(ground.file('x.db'));
    await db.exec('CREATE TABLE t (a)');
    await db.exec('SELECT 1');
    const controller = new AbortController();
    const running = failure(db.exec(ENDLESS, [], { signal: controller.signal }));
    controller.abort();
    expect(await running).toMatchObject({ code: 'ABORTED', outcome: 'not_applied' });
    expect(await client.ping()).toHaveProperty('version');
    // Its late answer belongs to nobody, and the next one to its own request.
    expect((await db.run('INSERT INTO t VALUES (1)')).rev).toBe(2);
  });

  test('go straight to the worker also where the database has another name here', async () => {
    await ground.daemon();
    const client = await connected();
    const db = client.database(ground.file('x.db'));
    await db.exec('CREATE TABLE t (a)');
    symlinkSync(db.path, ground.file('alias.db'));
    const alias = client.database(ground.file('alias.db'));
    await untilDirect(client, alias);
    expect(await alias.run('INSERT INTO t VALUES (1)')).toMatchObject({ rowsAffected: 1 });
    expect(await db.all('SELECT a FROM t')).toEqual([{ a: 1 }]);
  });

  test('end at their timeout', async () => {
    await ground.daemon();
    const db = (await connected()).database(ground.file('x.db'));
    await db.exec('CREATE TABLE t (a)');
    const endless = failure(db.exec(ENDLESS, [], { timeoutMs: 300 }));
    expect(await endless).toMatchObject({ code: 'TIMEOUT', outcome: 'not_applied' });
    const running = failure(db.exec(ENDLESS, [], { timeoutMs: 1_000 }));
    expect(await failure(db.ping({ timeoutMs: 50 }))).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' });
    await running;
    expect((await db.run('INSERT INTO t VALUES (1)')).rev).toBe(2);
  });

  test('that are larger than a frame are refused without harm to the connection', async () => {
    await ground.daemon(['--max-frame', '64KB']);
    const db = (await connected()).database(ground.file('x.db'));
    expect(await failure(db.exec('SELECT ?', ['x'.repeat(70_000)]))).toMatchObject({
      code: 'FRAME_TOO_LARGE',
    });
    expect((await db.exec('SELECT ?', ['x'])).rows).toEqual([['x']]);
  });
});

describe('when the daemon dies', () => {
  test('what was in flight fails with outcome unknown, and the next call finds the next daemon', async () => {
    const first = await ground.daemon();
    const client = await connected();
    const db = client.database(ground.file('x.db'));
    await db.exec('CREATE TABLE t (a)');
    await db.exec('SELECT 1');
    const lost = [failure(db.exec(ENDLESS)), failure(db.run('INSERT INTO t VALUES (1)'))];
    process.kill(first.pid, 'SIGKILL');
    for (const error of await Promise.all(lost))
      expect(error).toMatchObject({ code: 'CONNECTION_LOST', outcome: 'unknown', retryable: false });
    await first.exited;
    const second = await ground.daemon();
    expect(await client.ping()).toMatchObject({ pid: second.pid });
    const [row] = await db.all<{ n: number }>('SELECT count(*) AS n FROM t');
    expect(row?.n).toBeLessThanOrEqual(1);
    await db.run('INSERT INTO t VALUES (2)');
    expect(client.daemon?.pid).toBe(second.pid);
  });

  test('a client that may not start one says so', async () => {
    expect(await failure(connect({ socket: ground.socket, autoStart: false }))).toMatchObject({
      code: 'NO_DAEMON',
      outcome: 'not_applied',
      message: expect.stringContaining(ground.socket),
    });
  });

  test('a closed client takes nothing more, and closing settles what waits', async () => {
    await ground.daemon();
    const client = await connected();
    const db = client.database(ground.file('x.db'));
    await db.exec('CREATE TABLE t (a)');
    await db.exec('SELECT 1');
    const waiting = failure(db.exec(ENDLESS, [], { timeoutMs: 500 }));
    const unsent = failure(client.database(ground.file('y.db')).exec('CREATE TABLE t (a)'));
    client.close();
    client.close();
    expect(await unsent).toMatchObject({ code: 'ABORTED', outcome: 'not_applied' });
    expect(await waiting).toMatchObject({ code: 'CONNECTION_LOST', outcome: 'unknown' });
    expect(await failure(db.exec('SELECT 1'))).toMatchObject({
      code: 'ABORTED',
      outcome: 'not_applied',
    });
    const other = await connected();
    await until('the daemon has noticed', async () => (await other.status()).connections === 1);
  });
});

test.each([
  ['socket', { socket: '' }],
  ['socket', { socket: 7 }],
  ['socket', { socket: `/tmp/${'long'.repeat(40)}.sock` }],
  ['autoStart', { autoStart: 'yes' }],
  ['startTimeoutMs', { startTimeoutMs: -1 }],
  ['startTimeoutMs', { startTimeoutMs: Number.NaN }],
  ['daemonArgs', { daemonArgs: '--root' }],
  ['daemonArgs', { daemonArgs: [1] }],
  ['name', { name: 1 }],
])('a wrong option is refused by name: %s', async (name, options) => {
  const error = await failure(connect(options as object));
  expect(error).toMatchObject({ code: 'INVALID_REQUEST', outcome: 'not_applied' });
  expect(error.message.toLowerCase()).toContain(name.toLowerCase());
});
