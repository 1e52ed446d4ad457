import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

let ground: Playground;
let db: string;

beforeEach(() => {
  ground = new Playground();
  db = ground.file('x.db');
});
afterEach(async () => {
  await ground.dispose();
});

/** A daemon with a table, and clients that speak to it in one of the two ways. */
async function clients(way: string, count: number, args: readonly string[] = []): Promise<Wire[]> {
  await ground.daemon(args);
  const first = await ground.wire();
  expect(await first.exec(db, ['CREATE TABLE t (a INTEGER PRIMARY KEY, b)'])).toMatchObject({ rev: 1 });
  let socket = ground.socket;
  if (way === 'the worker') socket = String((await first.request({ type: 'Attach', db })).endpoint);
  const all: Wire[] = [];
  for (let n = 0; n < count; n += 1) all.push(await ground.wire(socket));
  return all;
}

async function begin(wire: Wire, more: Message = {}): Promise<string> {
  const reply = await wire.request({ type: 'BeginTx', db, ...more });
  expect(reply).toMatchObject({ status: 'ok', rev: expect.any(Number), epoch: 1 });
  return String(reply.tx);
}

function step(wire: Wire, tx: string, ...stmts: (string | object)[]): Promise<Message> {
  const list = stmts.map((stmt) => (typeof stmt === 'string' ? { sql: stmt } : stmt));
  return wire.request({ type: 'Exec', db, tx, stmts: list });
}

function rowsOf(reply: Message): unknown[][] {
  expect(reply).toMatchObject({ status: 'ok' });
  return (reply.results as { rows: unknown[][] }[]).at(-1)?.rows ?? [];
}

const COUNT = 'SELECT count(*) FROM t';

describe.each(['the router', 'the worker'])('through %s', (way) => {
  test('a transaction sees what it writes, others see it when it is committed, and it counts as one rev', async () => {
    const [mine, others] = (await clients(way, 2)) as [Wire, Wire];
    const reader = await begin(others, { read: true });
    const tx = await begin(mine);
    expect(
      await step(mine, tx, 'INSERT INTO t (b) VALUES (1)', 'INSERT INTO t (b) VALUES (2)'),
    ).toMatchObject({
      rev: 1,
      rows_affected: 2,
      results: [{ last_insert_rowid: 1 }, { last_insert_rowid: 2 }],
    });
    expect(rowsOf(await step(mine, tx, COUNT))).toEqual([[2]]);
    expect(rowsOf(await step(mine, tx, 'SELECT last_insert_rowid()'))).toEqual([[2]]);
    expect(rowsOf(await step(others, reader, COUNT))).toEqual([[0]]);
    const before = await begin(others, { read: true });
    expect(await ground.sqlite3(db, COUNT)).toBe('0');
    expect(await mine.request({ type: 'Commit', db, tx })).toMatchObject({
      rev: 2,
      epoch: 1,
      rows_affected: 2,
    });
    expect(await ground.sqlite3(db, COUNT)).toBe('2');
    for (const snapshot of [reader, before])
      expect(rowsOf(await step(others, snapshot, COUNT))).toEqual([[0]]);
    const after = await begin(others, { read: true });
    expect(rowsOf(await step(others, after, COUNT))).toEqual([[2]]);
    expect(await step(others, after, 'DELETE FROM t')).toMatchObject({ code: 'STATEMENT_NOT_ALLOWED' });
    expect(await others.request({ type: 'Commit', db, tx: after })).toMatchObject({
      rev: 2,
      rows_affected: 0,
    });
    expect(await others.rows(db, 'SELECT last_insert_rowid(), changes() > 1')).toEqual([[0, 0]]);
    for (const late of [tx, after, 'nobody’s']) {
      expect(await step(mine, late, COUNT)).toMatchObject({
        code: 'TX_EXPIRED',
        outcome: 'not_applied',
        retryable: false,
      });
    }
  });
});
