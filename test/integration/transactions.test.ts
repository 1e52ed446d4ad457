import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Playground, until } from '../support/playground.js';
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

type Ask = (message: Message) => Promise<Message>;

/** For a connection with many requests that have no answer yet. */
function pipelined(wire: Wire): Ask {
  const waiting = new Map<unknown, (reply: Message) => void>();
  void (async () => {
    for (let reply = await wire.next(); reply !== null; reply = await wire.next())
      waiting.get(reply.id)?.(reply);
  })();
  return (message) =>
    new Promise((resolve) => {
      const id = waiting.size;
      waiting.set(id, resolve);
      wire.send({ ...message, id });
    });
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
const ENDLESS = 'WITH RECURSIVE c(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c';

async function attachedTo(): Promise<[Wire]> {
  const { endpoint } = await (await ground.wire()).request({ type: 'Attach', db });
  return [await ground.wire(String(endpoint))];
}

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

  test('an Exec that fails leaves the transaction as it was; SQLite’s own ROLLBACK ends it, and the error says so', async () => {
    const [mine, others] = (await clients(way, 2)) as [Wire, Wire];
    let tx = await begin(mine);
    await step(mine, tx, 'INSERT INTO t VALUES (1, 1)');
    const twice = await step(mine, tx, 'INSERT INTO t VALUES (2, 2)', 'INSERT INTO t VALUES (1, 2)');
    expect(twice).toMatchObject({ code: 'SQL_ERROR', outcome: 'not_applied', statement_index: 1 });
    expect(twice).not.toHaveProperty('tx_ended');
    expect(await step(mine, tx, { sql: 'DELETE FROM t', expect: { rows_affected: 7 } })).toMatchObject({
      code: 'EXPECTATION_FAILED',
      actual: 1,
    });
    expect(
      await step(mine, tx, { sql: 'INSERT INTO t VALUES (?, 3)', param_sets: [[3], [1]] }),
    ).toMatchObject({
      parameter_set: 1,
    });
    expect(rowsOf(await step(mine, tx, 'SELECT * FROM t'))).toEqual([[1, 1]]);
    for (const sql of [
      'COMMIT',
      'ROLLBACK',
      'BEGIN',
      "ATTACH 'y.db' AS y",
      'VACUUM',
      'DELETE FROM _skylinedb_database',
    ])
      expect(await step(mine, tx, sql)).toMatchObject({ code: 'STATEMENT_NOT_ALLOWED' });
    expect(await mine.request({ type: 'Exec', db, tx, stmts: [] })).toMatchObject({
      code: 'INVALID_REQUEST',
    });
    expect(await step(mine, tx, 'INSERT OR ROLLBACK INTO t VALUES (1, 4)')).toMatchObject({
      code: 'SQL_ERROR',
      tx_ended: true,
      retryable: false,
      outcome: 'not_applied',
    });
    expect(await step(mine, tx, 'INSERT INTO t VALUES (9, 9)')).toMatchObject({ code: 'TX_EXPIRED' });
    expect(await mine.request({ type: 'Commit', db, tx })).toMatchObject({ code: 'TX_EXPIRED' });
    expect(await others.rows(db, COUNT)).toEqual([[0]]);
    tx = await begin(mine);
    expect(await mine.request({ type: 'Rollback', db, tx })).toMatchObject({ status: 'ok', rev: 1 });
    expect(await mine.request({ type: 'Rollback', db, tx })).toMatchObject({ code: 'TX_EXPIRED' });
  });

  test('savepoints work inside, each alone, and a failed statement does not disturb them', async () => {
    const [mine] = (await clients(way, 1)) as [Wire];
    const tx = await begin(mine);
    for (const sql of [
      'SAVEPOINT a',
      'INSERT INTO t VALUES (1, 1)',
      ' savepoint "b"; ',
      'INSERT INTO t VALUES (2, 2)',
    ])
      expect(await step(mine, tx, sql)).toMatchObject({ status: 'ok' });
    expect(await step(mine, tx, 'INSERT INTO t VALUES (1, 3)')).toMatchObject({ code: 'SQL_ERROR' });
    expect(await step(mine, tx, 'ROLLBACK TO nothing')).toMatchObject({ code: 'SQL_ERROR' });
    expect(await step(mine, tx, 'RELEASE b', 'DELETE FROM t')).toMatchObject({
      code: 'STATEMENT_NOT_ALLOWED',
      statement_index: 0,
    });
    expect(await step(mine, tx, 'RELEASE b; DELETE FROM t')).toMatchObject({ code: 'STATEMENT_NOT_ALLOWED' });
    expect(await step(mine, tx, 'rollback /* */ transaction to b')).toMatchObject({ status: 'ok' });
    expect(rowsOf(await step(mine, tx, 'SELECT a FROM t'))).toEqual([[1]]);
    for (const sql of ['RELEASE b', 'RELEASE SAVEPOINT a', 'INSERT INTO t VALUES (5, 5)'])
      expect(await step(mine, tx, sql)).toMatchObject({ status: 'ok' });
    expect(await mine.request({ type: 'Commit', db, tx })).toMatchObject({ status: 'ok', rev: 2 });
    expect(await mine.rows(db, 'SELECT a FROM t')).toEqual([[1], [5]]);
    expect(await mine.exec(db, ['SAVEPOINT a'])).toMatchObject({ code: 'STATEMENT_NOT_ALLOWED' });
  });

  test('others wait in their order meanwhile, and each connection’s own batches too; steps pass them', async () => {
    const wires = await clients(way, 4);
    const asks = wires.map(pipelined);
    const [mine, other] = asks as [Ask, Ask];
    const tx = (await mine({ type: 'BeginTx', db })).tx;
    const exec = (sql: string, more: Message = { type: 'Exec', tx }) => ({ ...more, db, stmts: [{ sql }] });
    const batch = (what: string) => exec(`INSERT INTO t (b) VALUES ('${what}')`, { type: 'ExecBatch' });
    const waiting = asks.map((ask, at) => ask(batch(`batch ${at}`)));
    const second = other({ type: 'BeginTx', db });
    const third = asks.map((ask) => ask(batch('last')));
    await mine(exec("INSERT INTO t (b) VALUES ('transaction')"));
    const watcher = await ground.wire();
    await until('all of them wait', async () => {
      const { databases } = (await watcher.request({ type: 'Status' })) as { databases: Message[] };
      return databases[0]?.queue_depth === 9;
    });
    expect(rowsOf(await mine(exec(COUNT)))).toEqual([[1]]);
    expect(await mine({ type: 'Commit', db, tx })).toMatchObject({ rev: 2 });
    for (const reply of await Promise.all(waiting)) expect(reply).toMatchObject({ status: 'ok' });
    const begun = await second;
    expect(begun).toMatchObject({ status: 'ok' });
    // Everybody's turn comes before anybody's second one, and a transaction takes one.
    const seen = rowsOf(await other(exec(COUNT, { type: 'Exec', tx: begun.tx })));
    expect(seen[0]?.[0]).toBeGreaterThanOrEqual(5);
    await other({ type: 'Rollback', db, tx: begun.tx });
    for (const reply of await Promise.all(third)) expect(reply).toMatchObject({ status: 'ok' });
    const order = (await watcher.rows(db, 'SELECT b FROM t ORDER BY a')).map(([b]) => b);
    expect(order[0]).toBe('transaction');
    expect(order.slice(1, 5).sort()).toEqual(['batch 0', 'batch 1', 'batch 2', 'batch 3']);
    expect(order.slice(5)).toEqual(['last', 'last', 'last', 'last']);
  });

  test('the time of those who wait goes on: they are told in time', async () => {
    const [mine, others] = (await clients(way, 2)) as [Wire, Wire];
    const tx = await begin(mine);
    expect(await others.exec(db, ['INSERT INTO t (b) VALUES (1)'], { timeout_ms: 60 })).toMatchObject({
      code: 'TIMEOUT',
      outcome: 'not_applied',
      retryable: true,
    });
    expect(await others.request({ type: 'BeginTx', db, timeout_ms: 60 })).toMatchObject({ code: 'TIMEOUT' });
    expect(await step(mine, tx, COUNT)).toMatchObject({ status: 'ok' });
    await mine.request({ type: 'Commit', db, tx });
    expect(await others.rows(db, COUNT)).toEqual([[0]]);
  });

  test('a lease that is over ends it, and what waited goes on', async () => {
    const [mine, others] = (await clients(way, 2)) as [Wire, Wire];
    const unused = await begin(mine, { lease_ms: 150 });
    await step(mine, unused, 'INSERT INTO t (b) VALUES (1)');
    expect(await others.exec(db, ['INSERT INTO t (b) VALUES (2)'])).toMatchObject({ status: 'ok', rev: 2 });
    const late = await step(mine, unused, 'INSERT INTO t (b) VALUES (3)');
    expect(late).toMatchObject({ code: 'TX_EXPIRED', message: expect.stringContaining('lease') });
    expect(await mine.request({ type: 'Commit', db, tx: unused })).toMatchObject({ code: 'TX_EXPIRED' });
    const long = await begin(mine, { max_ms: 300, lease_ms: 200 });
    let reply: Message = {};
    await until('it has been open for too long, although it is used all the time', async () => {
      reply = await step(mine, long, COUNT);
      return reply.status !== 'ok';
    });
    expect(reply).toMatchObject({ code: 'TX_EXPIRED', message: expect.stringContaining('max_ms') });
    expect(await others.rows(db, 'SELECT b FROM t')).toEqual([[2]]);
  });

  test('the end of its connection rolls it back, behind what was sent before', async () => {
    const [mine, other, others] = (await clients(way, 3)) as [Wire, Wire, Wire];
    const lost = await begin(mine);
    await step(mine, lost, 'INSERT INTO t (b) VALUES (1)');
    mine.destroy();
    const kept = await begin(other);
    expect(rowsOf(await step(other, kept, COUNT))).toEqual([[0]]);
    expect(await step(others, kept, COUNT)).toMatchObject({ code: 'TX_EXPIRED' });
    other.send({ type: 'Exec', id: 1, db, tx: kept, stmts: [{ sql: 'INSERT INTO t (b) VALUES (2)' }] });
    other.send({ type: 'Commit', id: 2, db, tx: kept });
    other.socket.end();
    await until('the commit that was sent is done', async () => (await others.rows(db, COUNT))[0]?.[0] === 1);
    const [waiting] = way === 'the worker' ? await attachedTo() : [await ground.wire()];
    const held = await begin(others);
    waiting.send({ type: 'BeginTx', id: 1, db });
    waiting.destroy();
    await step(others, held, COUNT);
    await others.request({ type: 'Commit', db, tx: held });
    expect(await others.exec(db, ['INSERT INTO t (b) VALUES (3)'])).toMatchObject({ status: 'ok', rev: 3 });
  });

  test('a statement that runs past its time is stopped, and nothing of its transaction is applied', async () => {
    const [mine] = (await clients(way, 1)) as [Wire];
    const others = await ground.wire();
    const tx = await begin(mine);
    await step(mine, tx, 'INSERT INTO t (b) VALUES (1)');
    const stopped = mine
      .request({ type: 'Exec', db, tx, stmts: [{ sql: ENDLESS }], timeout_ms: 100 })
      .catch(() => null);
    expect(await others.rows(db, COUNT)).toEqual([[0]]);
    const reply = await stopped;
    // On its own socket the worker's connection ends with it.
    if (way === 'the router') expect(reply).toMatchObject({ code: 'TIMEOUT', outcome: 'not_applied' });
    else expect(reply).toBeNull();
    expect(await step(others, tx, COUNT)).toMatchObject({ code: 'TX_EXPIRED' });
  });

  test('one that does not end is stopped when the transaction may not last longer', async () => {
    const [mine] = (await clients(way, 1)) as [Wire];
    const others = await ground.wire();
    const tx = await begin(mine, { max_ms: 100 });
    const stopped = step(mine, tx, ENDLESS).catch(() => null);
    expect(await others.exec(db, ['INSERT INTO t (b) VALUES (1)'])).toMatchObject({ status: 'ok', rev: 2 });
    const reply = await stopped;
    if (way === 'the router') expect(reply).toMatchObject({ code: 'TX_EXPIRED', outcome: 'not_applied' });
    else expect(reply).toBeNull();
  });

  test('what became of a commit can be asked, and is told once and for all', async () => {
    const [mine, other] = (await clients(way, 2)) as [Wire, Wire];
    const session = { session: 'commits', seq: 1 };
    const tx = await begin(mine);
    await step(mine, tx, 'INSERT INTO t (b) VALUES (1)');
    expect(await mine.request({ type: 'Commit', db, tx, ...session })).toMatchObject({
      rev: 2,
      rows_affected: 1,
    });
    const asked = { ...session, only_replay: true };
    for (const wire of [mine, other, await ground.wire()]) {
      expect(await wire.request({ type: 'Commit', db, tx, ...asked })).toMatchObject({
        status: 'ok',
        replayed: true,
        rev: 2,
        rows_affected: 1,
      });
    }
    expect(await other.request({ type: 'Commit', db, tx: 'other', ...asked })).toMatchObject({
      code: 'SESSION_CONFLICT',
    });
    const lost = await begin(mine);
    await step(mine, lost, 'INSERT INTO t (b) VALUES (2)');
    const answer = other.request({
      type: 'Commit',
      db,
      tx: lost,
      session: 'commits',
      seq: 2,
      only_replay: true,
    });
    mine.send({ type: 'Rollback', db, tx: lost });
    expect(await answer).toMatchObject({ code: 'TX_EXPIRED', outcome: 'not_applied' });
    // The commit that was asked about is not done any more, whenever it comes.
    const late = await begin(other);
    await step(other, late, 'INSERT INTO t (b) VALUES (3)');
    expect(await other.request({ type: 'Commit', db, tx: late, session: 'commits', seq: 2 })).toMatchObject({
      status: 'error',
      outcome: 'not_applied',
    });
    expect(await mine.request({ type: 'Commit', db, tx: lost })).toMatchObject({ code: 'TX_EXPIRED' });
    expect(await mine.rows(db, COUNT)).toEqual([[1]]);
  });
});

test('a commit that fails has rolled back, and says so', async () => {
  const [mine] = (await clients('the router', 1)) as [Wire];
  await mine.exec(db, ['CREATE TABLE c (t INTEGER REFERENCES t (a) DEFERRABLE INITIALLY DEFERRED)']);
  const tx = await begin(mine);
  expect(await step(mine, tx, 'INSERT INTO c VALUES (7)')).toMatchObject({ status: 'ok' });
  expect(await mine.request({ type: 'Commit', db, tx })).toMatchObject({
    code: 'SQL_ERROR',
    sqlite_code: 'SQLITE_CONSTRAINT_FOREIGNKEY',
    tx_ended: true,
    outcome: 'not_applied',
  });
  expect(await mine.request({ type: 'Commit', db, tx })).toMatchObject({ code: 'TX_EXPIRED' });
  expect(await mine.exec(db, ['INSERT INTO t VALUES (1, 1)'])).toMatchObject({ rev: 3 });
});

test('a database that does not exist is made by a transaction that writes, and goes again without a commit', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  const read = await begin(wire, { read: true });
  expect(rowsOf(await step(wire, read, 'SELECT 1'))).toEqual([[1]]);
  expect(await step(wire, read, COUNT)).toMatchObject({ code: 'SQL_ERROR' });
  await wire.request({ type: 'Commit', db, tx: read });
  expect(existsSync(db)).toBe(false);
  const none = await begin(wire);
  await step(wire, none, 'CREATE TABLE t (a)');
  await wire.request({ type: 'Rollback', db, tx: none });
  expect(existsSync(db)).toBe(false);
  const tx = await begin(wire);
  await step(wire, tx, 'CREATE TABLE t (a)');
  expect(await wire.request({ type: 'Commit', db, tx })).toMatchObject({ rev: 1 });
  expect(await ground.sqlite3(db, COUNT)).toBe('0');
  await ground.expectCleanEnd();
});

test('a database has sixteen snapshots at once, which end with their leases', async () => {
  const [wire] = (await clients('the router', 1)) as [Wire];
  for (let n = 0; n < 15; n += 1) await begin(wire, { read: true });
  const short = await begin(wire, { read: true, lease_ms: 50 });
  const refused = { code: 'QUEUE_FULL', retryable: true, limit: 'max_read_transactions', limit_value: 16 };
  expect(await wire.request({ type: 'BeginTx', db, read: true })).toMatchObject(refused);
  await until(
    'a place is free',
    async () => (await wire.request({ type: 'BeginTx', db, read: true })).status === 'ok',
  );
  expect(await step(wire, short, COUNT)).toMatchObject({ code: 'TX_EXPIRED' });
});

test('Status says whose transactions are open, and since when; the command line too', async () => {
  const [mine, attached] = [...(await clients('the router', 1)), ...(await attachedTo())] as [Wire, Wire];
  const hello = (name: string, pid: number) => ({
    type: 'Hello',
    protocol: 1,
    client: { name, pid, version: '1' },
  });
  await mine.request(hello('writes', 11));
  await attached.request(hello('reads', 12));
  await begin(attached, { read: true });
  await begin(mine);
  const { databases } = (await (await ground.wire()).request({ type: 'Status' })) as { databases: Message[] };
  const [writes, reads] = (databases[0]?.transactions ?? []) as Message[];
  expect(writes).toEqual({
    read: false,
    since_ms: expect.any(Number),
    idle_ms: expect.any(Number),
    client: { name: 'writes', pid: 11, version: '1' },
  });
  expect(reads).toMatchObject({ read: true, client: { name: 'reads', pid: 12 } });
  const { stdout } = await ground.cli(['status']);
  expect(stdout).toMatch(/A transaction of writes \(pid 11\) on .*x\.db writes, and 0 wait for it: open for/);
  expect(stdout).toMatch(/A transaction of reads \(pid 12\) on .*x\.db reads: open for/);
});

test('a copy is whole, although a transaction is open when it begins or while it is made', async () => {
  const [mine, others, more] = (await clients('the router', 3)) as [Wire, Wire, Wire];
  await others.exec(db, [
    'WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 20000) INSERT INTO t SELECT n, hex(zeroblob(200)) FROM i',
  ]);
  const tx = await begin(mine);
  await step(mine, tx, 'DELETE FROM t');
  const first = others.request({ type: 'Backup', db, to: ground.file('1.db') });
  await step(mine, tx, COUNT);
  await mine.request({ type: 'Rollback', db, tx });
  const second = more.request({ type: 'Backup', db, to: ground.file('2.db') });
  const other = await begin(mine);
  await step(mine, other, "UPDATE t SET b = 'x'");
  await mine.request({ type: 'Rollback', db, tx: other });
  for (const [name, copy] of [
    ['1.db', first],
    ['2.db', second],
  ] as const) {
    expect(await copy).toMatchObject({ status: 'ok' });
    expect(await ground.sqlite3(ground.file(name), "SELECT count(*) FROM t WHERE b <> 'x'")).toBe('20000');
  }
});

test('a worker with an open transaction is not closed for idleness, nor to make room', async () => {
  const [mine] = (await clients('the router', 1, [
    '--worker-idle-timeout',
    '30ms',
    '--max-workers',
    '1',
  ])) as [Wire];
  const tx = await begin(mine);
  await step(mine, tx, 'INSERT INTO t (b) VALUES (1)');
  const other = await ground.wire();
  const waiting = other.exec(ground.file('y.db'), ['CREATE TABLE t (a)']);
  // A worker that is told to leave gives transactions five seconds.
  const until = performance.now() + 5_500;
  while (performance.now() < until) {
    expect(rowsOf(await step(mine, tx, COUNT))).toEqual([[1]]);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(await mine.request({ type: 'Commit', db, tx })).toMatchObject({ rev: 2 });
  expect(await waiting).toMatchObject({ status: 'ok' });
});
