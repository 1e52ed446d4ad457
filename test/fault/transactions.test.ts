import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type DaemonProcess, Playground, until } from '../support/playground.js';
import { Program } from '../support/program.js';
import type { Message, Wire } from '../support/wire.js';

let ground: Playground;
let db: string;
let daemon: DaemonProcess;

beforeEach(async () => {
  ground = new Playground();
  db = ground.file('x.db');
  daemon = await ground.daemon();
  await (await ground.wire()).exec(db, ['CREATE TABLE t (who, n)']);
});
afterEach(async () => {
  await ground.dispose();
});

async function attached(): Promise<Wire> {
  const { endpoint } = await (await ground.wire()).request({ type: 'Attach', db });
  return await ground.wire(String(endpoint));
}

function exec(tx: unknown, sql: string): Message {
  return { type: 'Exec', db, tx, stmts: [{ sql }] };
}

const COUNT = 'SELECT count(*) FROM t';
/** Longer than any test waits: what goes on here does not go on because a lease is over. */
const LONG = { lease_ms: 60_000 };

async function queueDepth(): Promise<unknown> {
  const { databases } = (await (await ground.wire()).request({ type: 'Status' })) as { databases: Message[] };
  return databases[0]?.queue_depth;
}

test('a client that is killed in the middle of its transaction leaves nothing, and the others go on at once', async () => {
  const holder = Program.fixture(ground, 'holds-a-transaction', [db]);
  expect(await holder.line()).toBe('holds it');
  const others = await ground.wire();
  const { databases } = (await others.request({ type: 'Status' })) as { databases: Message[] };
  expect(databases[0]?.transactions).toMatchObject([{ read: false, client: { pid: holder.pid } }]);
  const waiting = others.exec(db, ['INSERT INTO t VALUES (1, 1)']);
  process.kill(holder.pid, 'SIGKILL');
  expect(await waiting).toMatchObject({ status: 'ok', rev: 2 });
  expect(await others.rows(db, COUNT)).toEqual([[1]]);
});

describe.each(['the router', 'the worker'])('a client of %s', (way) => {
  test('whose worker is killed has lost its transaction, and hears so from the next one', async () => {
    const mine = way === 'the router' ? await ground.wire() : await attached();
    const others = await ground.wire();
    const { tx } = await mine.request({ type: 'BeginTx', db });
    await mine.request(exec(tx, 'INSERT INTO t VALUES (1, 1)'));
    const waiting = others.exec(db, ['INSERT INTO t VALUES (2, 2)']);
    await until('it waits', async () => {
      const { databases } = (await (await ground.wire()).request({ type: 'Status' })) as {
        databases: Message[];
      };
      return databases[0]?.queue_depth === 1;
    });
    for (const pid of ground.workers()) process.kill(pid, 'SIGKILL');
    expect(await waiting).toMatchObject({ status: 'ok', rev: 2 });
    const again = way === 'the router' ? mine : await ground.wire();
    for (const request of [exec(tx, COUNT), { type: 'Commit', db, tx }, { type: 'Rollback', db, tx }])
      expect(await again.request(request)).toMatchObject({ code: 'TX_EXPIRED', outcome: 'not_applied' });
    expect(await others.rows(db, 'SELECT n FROM t')).toEqual([[2]]);
  });
});

test('a transaction that waited when its worker was killed begins in the next one; that of a client that has gone holds up nobody', async () => {
  const [mine, waits, gone] = [await ground.wire(), await ground.wire(), await ground.wire()];
  const { tx } = await mine.request({ type: 'BeginTx', db });
  await mine.request(exec(tx, 'INSERT INTO t VALUES (1, 1)'));
  gone.send({ type: 'BeginTx', id: 1, db, ...LONG });
  const begun = waits.request({ type: 'BeginTx', db });
  await until('both wait', async () => (await queueDepth()) === 2);
  gone.destroy();
  for (const pid of ground.workers()) process.kill(pid, 'SIGKILL');
  const reply = await begun;
  expect(reply).toMatchObject({ status: 'ok', rev: 1 });
  expect(await waits.request(exec(reply.tx, 'INSERT INTO t VALUES (2, 2)'))).toMatchObject({ status: 'ok' });
  expect(await waits.request({ type: 'Commit', db, tx: reply.tx })).toMatchObject({ rev: 2 });
  expect(await waits.exec(db, ['INSERT INTO t VALUES (3, 3)'])).toMatchObject({ rev: 3 });
});

test.each(['the router', 'the worker'])(
  'a client of %s that is gone, with a batch that waits for its own transaction, does not hold it until the lease is over',
  async (way) => {
    const mine = way === 'the router' ? await ground.wire() : await attached();
    const others = await ground.wire();
    const { tx } = await mine.request({ type: 'BeginTx', db, ...LONG });
    await mine.request(exec(tx, 'INSERT INTO t VALUES (1, 1)'));
    mine.send({ type: 'ExecBatch', id: 1, db, stmts: [{ sql: 'INSERT INTO t VALUES (2, 2)' }] });
    await until('it waits', async () => (await queueDepth()) === 1);
    mine.destroy();
    // What it had sent whole is done, behind the transaction that has ended.
    await until('the batch is done', async () => (await others.rows(db, 'SELECT n FROM t')).length === 1);
    expect(await others.rows(db, 'SELECT n FROM t')).toEqual([[2]]);
  },
);

/** SQLite is locked for moments while somebody recovers the file. */
async function inFile(sql: string): Promise<string> {
  let found: string | null = null;
  await until('the file can be read', async () => {
    found = await ground.sqlite3(db, sql).catch(() => null);
    return found !== null;
  });
  return String(found);
}

async function rows(): Promise<number> {
  return Number(await inFile(COUNT));
}

/** What each program says of its transactions is what is in the file. */
async function underFire(kill: () => Promise<void>, rounds: number): Promise<void> {
  const names = ['one', 'two', 'three'];
  const programs = names.map((name) => Program.fixture(ground, 'commits-all-the-time', [db, name]));
  for (const program of programs) expect(await program.line()).toBe('begun');
  for (let round = 0; round < rounds; round += 1) {
    const before = await rows();
    await until('transactions are committed', async () => (await rows()) > before + 10);
    await kill();
  }
  for (const program of programs) program.child.stdin?.write('\n');
  for (const program of programs) {
    const told = JSON.parse(await program.line()) as {
      name: string;
      committed: number[];
      not_applied: number[];
      unknown: number[];
      codes: string[];
    };
    const lines = await inFile(
      `SELECT n || ' ' || count(*) FROM t WHERE who = '${told.name}' GROUP BY n ORDER BY n`,
    );
    const found = lines === '' ? [] : lines.split('\n');
    expect(told.unknown).toEqual([]);
    // Both of its rows, once, or none.
    expect(found).toEqual(told.committed.map((n) => `${n} 2`));
    expect(told.committed.length).toBeGreaterThan(0);
  }
}

test('workers are killed all the time: each transaction is applied whole and once, or not, and its program knows which', async () => {
  await underFire(async () => {
    for (const pid of ground.workers()) process.kill(pid, 'SIGKILL');
  }, 6);
});

test('the daemon is killed all the time: the same', async () => {
  await underFire(async () => {
    for (const pid of ground.daemons()) process.kill(pid, 'SIGKILL');
    await daemon.exited;
  }, 4);
});
