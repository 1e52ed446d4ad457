import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Client, connect, type Database, SkylineError } from '../../dist/client/index.js';
import { Playground } from '../support/playground.js';

let ground: Playground;
let client: Client;
let db: Database;
beforeEach(async () => {
  ground = new Playground();
  await ground.daemon();
  client = await connect({ socket: ground.socket, autoStart: false });
  db = client.database(ground.file('x.db'));
  await db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
});
afterEach(async () => {
  client.close();
  await ground.dispose();
});

async function* numbers(from: number, to: number): AsyncGenerator<(number | string)[]> {
  for (let id = from; id < to; id += 1) yield [id, `row ${id}`];
}

async function failureOf(work: Promise<unknown>): Promise<SkylineError> {
  const error = await work.catch((thrown: unknown) => thrown);
  if (!(error instanceof SkylineError)) throw new Error(`no SkylineError: ${String(error)}`);
  return error;
}

const count = async () => (await db.all('SELECT count(*) AS n FROM t'))[0]?.n;

test('loads every row once, with each storage class, a transaction for each batch', async () => {
  const { rev } = await db.exec('SELECT 1');
  const done = await db.load('t', numbers(0, 12_345), { batchRows: 1_000 });
  expect(done).toMatchObject({ rows: 12_345, batches: 13 });
  expect((await db.exec('SELECT 1')).rev).toBe(rev + 13);
  await db.load('t', [
    { id: 2n ** 62n, v: Uint8Array.of(1) },
    { v: null, id: -1 },
  ]);
  await db.load({ sql: 'INSERT INTO t VALUES (:id, :v)' }, [{ id: -2, v: 1.5 }]);
  const types = await db.all('SELECT typeof(v) AS type FROM t WHERE id < 1 OR id > 12344 ORDER BY id');
  expect(types.map(({ type }) => type)).toEqual(['real', 'null', 'text', 'blob']);
  expect(await count()).toBe(12_348);
});

test('a row that the table refuses ends it: what is committed is what the error says', async () => {
  const rows = [...Array.from({ length: 4_500 }, (_, id) => [id, 'x']), [7, 'twice'], [9_999, 'x']];
  const options = { batchRows: 1_000, inFlight: 1 };
  const error = await failureOf(db.load('t', rows, options));
  expect(error).toMatchObject({
    code: 'SQL_ERROR',
    outcome: 'partial',
    retryable: false,
    details: {
      sqlite_code: 'SQLITE_CONSTRAINT_PRIMARYKEY',
      parameter_set: 500,
      rows_committed: 4_000,
      failed_rows: [4_000, 4_502],
    },
  });
  expect(await count()).toBe(4_000);
  await db.exec('DELETE FROM t');
  const faster = await failureOf(db.load('t', [[7, 'x'], ...rows.slice(0, 4_500)], { batchRows: 100 }));
  expect(await count()).toBe(faster.details.rows_committed);
});

test('statements alongside are in the same transaction', async () => {
  await db.exec('CREATE TABLE progress (rows)');
  await db.exec('INSERT INTO progress VALUES (0)');
  const rows = [[1], [2], [3], [4], [4]];
  const options = {
    columns: ['id'],
    batchRows: 2,
    alongside: (from: number, to: number) => [
      { sql: 'UPDATE progress SET rows = ? WHERE rows = ?', params: [to, from], expect: { rowsAffected: 1 } },
    ],
  };
  expect((await failureOf(db.load('t', rows, options))).details.rows_committed).toBe(4);
  expect(await db.all('SELECT rows, (SELECT count(*) FROM t) AS n FROM progress')).toEqual([
    { rows: 4, n: 4 },
  ]);
});

test('rows of any size: batches stay below the frame', async () => {
  const text = '\u0001'.repeat(900_000);
  const rows = Array.from({ length: 12 }, (_, id) => [id, text]);
  expect(await db.load('t', rows)).toMatchObject({ rows: 12 });
  const huge = await failureOf(db.load('t', [[100, 'x'.repeat(17 * 1024 * 1024)]]));
  expect(huge).toMatchObject({
    code: 'FRAME_TOO_LARGE',
    outcome: 'not_applied',
    details: { rows_committed: 0 },
  });
  expect(await count()).toBe(12);
});
