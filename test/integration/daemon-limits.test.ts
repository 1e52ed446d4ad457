import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground, until } from '../support/playground.js';
import { Program } from '../support/program.js';
import type { Message } from '../support/wire.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  try {
    await ground.expectCleanEnd();
  } finally {
    await ground.dispose();
  }
});

const ENDLESS = 'WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c';

test('one connection too many is told the limit and ended; when one leaves, the next is served', async () => {
  await ground.daemon(['--max-connections', '2']);
  const [first, second] = [await ground.wire(), await ground.wire()];
  await first.request({ type: 'Ping' });
  const third = await ground.wire();
  expect(await third.next()).toMatchObject({
    status: 'error',
    code: 'QUEUE_FULL',
    retryable: true,
    outcome: 'not_applied',
    limit: 'max_connections',
    limit_value: 2,
  });
  expect(await third.next()).toBeNull();
  expect(await first.request({ type: 'Status' })).toMatchObject({ connections: 2 });
  second.destroy();
  await until('there is room', async () => (await first.request({ type: 'Status' })).connections === 1);
  const fourth = await ground.wire();
  expect(await fourth.request({ type: 'Hello', protocol: 1 })).toMatchObject({
    status: 'ok',
    limits: { max_connections: 2 },
  });
  await first.request({ type: 'Shutdown' });
});

test('the library waits for room, and says what is full when there is none', async () => {
  await ground.daemon(['--max-connections', '1']);
  const only = await ground.wire();
  await only.request({ type: 'Ping' });
  const impatient = Program.fixture(ground, 'connects-once', ['{"startTimeoutMs":200}']);
  expect(await impatient.json()).toMatchObject({
    code: 'QUEUE_FULL',
    message: expect.stringContaining('max_connections'),
  });
  const patient = Program.fixture(ground, 'connects-once', ['{"startTimeoutMs":60000}']);
  const answer = patient.json();
  await impatient.exited;
  only.destroy();
  expect(await answer).toMatchObject({ daemon: expect.any(Number) });
  await patient.exited;
  await until('there is room', async () => (await ground.cli(['shutdown'])).code === 0);
});

test("one connection too many at a worker's own endpoint is sent to the daemon's", async () => {
  await ground.daemon(['--max-connections', '2']);
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  const { endpoint } = (await wire.request({ type: 'Attach', db: 'x.db' })) as { endpoint: string };
  const attached = [await ground.wire(endpoint), await ground.wire(endpoint)];
  for (const one of attached) expect(await one.exec(undefined, ['SELECT 1'])).toMatchObject({ status: 'ok' });
  const third = await ground.wire(endpoint);
  third.send({ type: 'ExecBatch', id: 1, stmts: [{ sql: 'INSERT INTO t VALUES (1)' }] });
  expect(await third.next()).toEqual({ event: 'detached' });
  expect(await third.next()).toBeNull();
  expect(await wire.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[0]]);
});

test('a batch that names no time has that of the daemon, on either way; one that does has its own', async () => {
  await ground.daemon(['--batch-timeout', '300ms']);
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)'], { timeout_ms: 60_000 });
  expect(await wire.exec('x.db', [ENDLESS])).toMatchObject({ code: 'TIMEOUT', outcome: expect.any(String) });
  const { endpoint } = (await wire.request({ type: 'Attach', db: 'x.db' })) as { endpoint: string };
  const attached = await ground.wire(endpoint);
  let reply: Message | null;
  do {
    attached.send({ type: 'ExecBatch', id: 1, stmts: [{ sql: ENDLESS }] });
    reply = await attached.next();
    // Not even begun in its time, on a very busy machine: it has another.
  } while (reply?.code === 'TIMEOUT' && reply.outcome === 'not_applied');
  // Its worker is ended: that is how a statement is stopped.
  expect(reply).toBeNull();
  const slow =
    'WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < 6000000) SELECT count(*) FROM c';
  const began = performance.now();
  expect(await wire.exec('x.db', [slow], { timeout_ms: 60_000 })).toMatchObject({ status: 'ok' });
  expect(performance.now() - began).toBeGreaterThan(300);
});

test('limits that were set are reported, hold, and are named', async () => {
  await ground.daemon([
    ...['--max-statements', '2', '--max-sql-bytes', '100B', '--max-result-bytes', '2KB'],
    ...['--max-in-flight', '3', '--max-sessions', '200', '--max-session-result-bytes', '50'],
  ]);
  const wire = await ground.wire();
  const { limits } = await wire.request({ type: 'Hello', protocol: 1 });
  expect(limits).toMatchObject({
    max_statements: 2,
    max_sql_bytes: 100,
    max_result_bytes: 2048,
    max_in_flight: 3,
    max_sessions: 200,
    max_session_result_bytes: 50,
  });
  const over = (limit: string, value: number) => ({ status: 'error', limit, limit_value: value });
  await wire.exec('x.db', ['CREATE TABLE t (a)', 'SELECT 1']);
  expect(await wire.exec('x.db', ['SELECT 1', 'SELECT 1', 'SELECT 1'])).toMatchObject(
    over('max_statements', 2),
  );
  expect(await wire.exec('x.db', [`SELECT '${'x'.repeat(100)}'`])).toMatchObject(over('max_sql_bytes', 100));
  expect(await wire.exec('x.db', ['SELECT hex(zeroblob(2000))'])).toMatchObject(
    over('max_result_bytes', 2048),
  );
  const session = { session: 's', seq: 1 };
  const stmts = [{ sql: 'INSERT INTO t VALUES (?) RETURNING a', params: ['y'.repeat(60)] }];
  expect(await wire.exec('x.db', stmts, session)).toMatchObject({ status: 'ok', results: [{}] });
  expect(await wire.exec('x.db', stmts, session)).toMatchObject({ replayed: true, results_omitted: true });
});
