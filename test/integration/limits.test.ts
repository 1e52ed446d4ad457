import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

let ground: Playground;
let wire: Wire;
let limits: { [name: string]: number };
beforeAll(async () => {
  ground = new Playground();
  await ground.daemon(['--max-frame', '1MB']);
  wire = await ground.wire();
  limits = (await wire.request({ type: 'Hello', protocol: 1 })).limits as { [name: string]: number };
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
});
beforeEach(async () => {
  await wire.exec('x.db', ['DELETE FROM t']);
});
afterAll(async () => {
  try {
    await ground.expectCleanEnd();
  } finally {
    await ground.dispose();
  }
});

/** Asserts that the answer names the limit, and that nothing was applied. */
async function expectOver(reply: Message, code: string, limit: string): Promise<void> {
  expect(reply).toMatchObject({
    status: 'error',
    code,
    limit,
    limit_value: limits[limit],
    message: expect.stringContaining(limit),
    outcome: 'not_applied',
  });
  expect(await wire.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[0]]);
}

test('as many statements as the limit says are carried out, one more is refused', async () => {
  const count = limits.max_statements ?? 0;
  const stmts = Array.from({ length: count }, () => ({ sql: 'INSERT INTO t VALUES (1)' }));
  const reply = await wire.exec('x.db', stmts, { results: false });
  expect(reply).toMatchObject({ status: 'ok', rows_affected: count });
  await wire.exec('x.db', ['DELETE FROM t']);
  await expectOver(
    await wire.exec('x.db', [...stmts, ...stmts.slice(0, 1)]),
    'INVALID_REQUEST',
    'max_statements',
  );
});

test('as many parameters as the limit says are bound, one more is refused', async () => {
  const params = Array.from({ length: limits.max_parameters ?? 0 }, (_, at) => at);
  const sql = (marks: number) =>
    `SELECT ${Array.from({ length: 10 }, (_, at) => `?${marks - at}`).join(', ')}`;
  const reply = await wire.exec('x.db', [{ sql: sql(params.length), params }]);
  expect(reply).toMatchObject({ status: 'ok' });
  const over = await wire.exec('x.db', [
    'INSERT INTO t VALUES (1)',
    { sql: 'SELECT 1', params: [...params, 0] },
  ]);
  await expectOver(over, 'INVALID_REQUEST', 'max_parameters');
  expect(over).toMatchObject({ statement_index: 1 });
});

test('SQL of as many bytes as the limit says is carried out, one more is refused', async () => {
  const length = limits.max_sql_bytes ?? 0;
  const sql = (bytes: number) =>
    `INSERT INTO t VALUES (1) --${'ä'.repeat((bytes - 27) / 2)}${bytes % 2 === 0 ? 'x' : ''}`;
  expect(Buffer.byteLength(sql(length))).toBe(length);
  expect(await wire.exec('x.db', [sql(length)])).toMatchObject({ status: 'ok', rows_affected: 1 });
  await wire.exec('x.db', ['DELETE FROM t']);
  await expectOver(await wire.exec('x.db', [sql(length + 1)]), 'INVALID_REQUEST', 'max_sql_bytes');
});

test('rows of more bytes than the limit says are refused, and what the batch wrote is undone', async () => {
  const rows = (count: number) =>
    `WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < ${count}) SELECT hex(zeroblob(500)) FROM c`;
  expect(await wire.exec('x.db', [rows(900)])).toMatchObject({ status: 'ok' });
  await expectOver(
    await wire.exec('x.db', ['INSERT INTO t VALUES (1)', rows(2000)]),
    'RESULT_TOO_LARGE',
    'max_result_bytes',
  );
  // All statements of the batch count together.
  await expectOver(
    await wire.exec('x.db', ['INSERT INTO t VALUES (1)', rows(600), rows(600)]),
    'RESULT_TOO_LARGE',
    'max_result_bytes',
  );
});

test('a query without end is stopped by the limit of its result', async () => {
  const reply = await wire.exec('x.db', [
    'INSERT INTO t VALUES (1)',
    'WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c) SELECT n FROM c',
  ]);
  await expectOver(reply, 'RESULT_TOO_LARGE', 'max_result_bytes');
});

test('a reply that is too large for a frame is refused before anything is applied', async () => {
  const names = Array.from({ length: 50 }, (_, at) => `1 AS "${'n'.repeat(990)}${at}"`);
  const wide = `SELECT ${names.join(', ')}`;
  const reply = await wire.exec('x.db', [
    'INSERT INTO t VALUES (1)',
    ...Array.from({ length: 18 }, () => `WITH x AS (SELECT 1) ${wide}`),
    { sql: 'SELECT hex(zeroblob(?))', params: [200_000] },
  ]);
  await expectOver(reply, 'RESULT_TOO_LARGE', 'max_frame');
});

test("a text of SQLite's own limit is refused by SQLite, named, and the daemon lives", async () => {
  const reply = await wire.exec('x.db', ['INSERT INTO t VALUES (zeroblob(2000000000))']);
  expect(reply).toMatchObject({ status: 'error', statement_index: 0, outcome: 'not_applied' });
  expect(await wire.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[0]]);
});
