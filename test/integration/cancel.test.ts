import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Playground, until } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

/** `Cancel` on the wire: what waits, what runs, what is another's. */

const ENDLESS =
  'INSERT INTO t WITH RECURSIVE c(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c';

let ground: Playground;
let db: string;

beforeEach(() => {
  ground = new Playground();
  db = ground.file('x.db');
});
afterEach(async () => {
  await ground.dispose();
});

async function begun(args: readonly string[] = []): Promise<Wire> {
  await ground.daemon(args);
  const wire = await ground.wire();
  expect(await wire.exec(db, ['CREATE TABLE t (a)'])).toMatchObject({ rev: 1 });
  return wire;
}

function batch(id: string | number, sql: string, more: Message = {}): Message {
  return { type: 'ExecBatch', id, db, stmts: [{ sql }], ...more };
}

/** The replies to these ids, in whatever order they come. */
async function replies(wire: Wire, ...ids: (string | number)[]): Promise<Message[]> {
  const found = new Map<unknown, Message>();
  while (!ids.every((id) => found.has(id))) {
    const reply = await wire.next();
    if (reply === null) throw new Error(`the connection ended: ${JSON.stringify([...found.values()])}`);
    expect(found.has(reply.id), `a second answer to ${String(reply.id)}`).toBe(false);
    found.set(reply.id, reply);
  }
  return ids.map((id) => found.get(id) ?? {});
}

/** The worker of now has used the processor for a while: the statement runs. */
async function runs(asker: Wire): Promise<void> {
  await until('the worker is too busy to tell its figures', async () => {
    const { databases } = (await asker.request({ type: 'Status', db })) as { databases: Message[] };
    return databases[0]?.stale === true;
  });
}

async function rows(wire: Wire): Promise<unknown[]> {
  return (await wire.rows(db, 'SELECT a FROM t ORDER BY a')).flat();
}

test('a batch that runs is stopped at once, is not applied, and is answered once; the connection goes on', async () => {
  const wire = await begun();
  const asker = await ground.wire();
  const [worker] = ground.workers();
  for (const more of [{ cancellable: true }, { timeout_ms: 60_000 }]) {
    wire.send(batch(1, ENDLESS, more));
    await runs(asker);
    wire.send({ type: 'Cancel', id: 2, target: 1 });
    const [target, cancel] = await replies(wire, 1, 2);
    expect(cancel).toEqual({ status: 'ok', id: 2, in_flight: true });
    expect(target).toMatchObject({ code: 'CANCELLED', outcome: 'not_applied', retryable: false });
  }
  expect(await wire.exec(db, ['INSERT INTO t VALUES (7)'])).toMatchObject({ rev: 2 });
  expect(await rows(wire)).toEqual([7]);
  expect(ground.workers()).not.toEqual([worker]);
  await ground.expectCleanEnd();
});

test('the Cancel is answered at once, also where it stops nothing; a batch that did not ask for it runs on', async () => {
  const wire = await begun();
  const asker = await ground.wire();
  const slow = `INSERT INTO t WITH RECURSIVE c(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM c LIMIT 3000000) SELECT count(*) FROM c`;
  wire.send(batch(1, slow));
  await runs(asker);
  wire.send({ type: 'Cancel', id: 2, target: 1 });
  expect(await wire.next()).toEqual({ status: 'ok', id: 2, in_flight: true });
  expect(await wire.next()).toMatchObject({ status: 'ok', id: 1, rev: 2 });
  // It has its answer by now; and nothing ever had the others' ids, or has them on this connection.
  for (const target of [1, '1', 2, 99, 'w1'])
    expect(await wire.request({ type: 'Cancel', target })).toMatchObject({ status: 'ok', in_flight: false });
});

test('what waits behind it in the worker is cancelled without harm to it, and what is not cancelled is done', async () => {
  const wire = await begun();
  const asker = await ground.wire();
  const other = await ground.wire();
  // Both come while the first batch runs; the worker hears of the Cancel when it has been stopped for the other one.
  wire.send(batch('runs', ENDLESS, { cancellable: true }));
  await runs(asker);
  wire.send(batch('unwanted', 'INSERT INTO t VALUES (1)'));
  wire.send(batch('wanted', 'INSERT INTO t VALUES (2)'));
  const others = other.exec(db, ['INSERT INTO t VALUES (3)']);
  await until('all have arrived', async () => {
    const { databases } = (await asker.request({ type: 'Status', db })) as { databases: Message[] };
    return databases[0]?.queue_depth === 4;
  });
  wire.send({ type: 'Cancel', id: 'c1', target: 'unwanted' });
  wire.send({ type: 'Cancel', id: 'c2', target: 'runs' });
  const [stopped, unwanted, wanted] = await replies(wire, 'runs', 'unwanted', 'wanted', 'c1', 'c2');
  expect(stopped).toMatchObject({ code: 'CANCELLED', outcome: 'not_applied' });
  expect(unwanted).toMatchObject({ code: 'CANCELLED', outcome: 'not_applied' });
  expect(wanted).toMatchObject({ status: 'ok' });
  expect(await others).toMatchObject({ status: 'ok' });
  expect(await rows(wire)).toEqual([2, 3]);
});

test('the batches that share a group with one that is stopped are applied, once', async () => {
  const wire = await begun();
  const others = await Promise.all(Array.from({ length: 5 }, () => ground.wire()));
  // Held up, the worker finds all of them at once when it goes on.
  for (const pid of ground.workers()) process.kill(pid, 'SIGSTOP');
  const answers = others.map((other, n) => other.exec(db, [`INSERT INTO t VALUES (${n})`]));
  wire.send(batch(1, ENDLESS, { cancellable: true }));
  const asker = await ground.wire();
  await until('all have arrived', async () => {
    const { databases } = (await asker.request({ type: 'Status', db })) as { databases: Message[] };
    return databases[0]?.queue_depth === 6;
  });
  for (const pid of ground.workers()) process.kill(pid, 'SIGCONT');
  await until('it runs', async () => {
    const { databases } = (await asker.request({ type: 'Status', db })) as { databases: Message[] };
    return databases[0]?.stale === true;
  });
  wire.send({ type: 'Cancel', id: 2, target: 1 });
  const [stopped] = await replies(wire, 1, 2);
  expect(stopped).toMatchObject({ code: 'CANCELLED' });
  for (const answer of await Promise.all(answers)) expect(answer).toMatchObject({ status: 'ok' });
  expect(await rows(wire)).toEqual([0, 1, 2, 3, 4]);
  expect(await wire.request({ type: 'Ping', db })).toMatchObject({ rev: 6 });
});

test('a batch of several transactions that is stopped half way: only its session can tell how far it came', async () => {
  const wire = await begun();
  const asker = await ground.wire();
  const stmts = [{ sql: 'INSERT INTO t VALUES (1)' }, { sql: ENDLESS }];
  const half = { type: 'ExecBatch', db, stmts, tx: 'none', cancellable: true };
  for (const [id, more] of [
    [1, {}],
    [2, { session: 's', seq: 1 }],
  ] as const) {
    wire.send({ ...half, ...more, id });
    await runs(asker);
    wire.send({ type: 'Cancel', id: `c${id}`, target: id });
    const [stopped] = await replies(wire, id, `c${id}`);
    if (id === 1) expect(stopped).toMatchObject({ code: 'CANCELLED', outcome: 'unknown', retryable: false });
    else expect(stopped).toMatchObject({ outcome: 'partial', applied: 1 });
  }
  expect(await rows(wire)).toEqual([1, 1]);
  // It was answered: the session goes on.
  expect(await wire.exec(db, ['INSERT INTO t VALUES (2)'], { session: 's', seq: 2, acked: 1 })).toMatchObject(
    {
      status: 'ok',
    },
  );
});

test('what waits for an earlier request of its connection is cancelled there', async () => {
  const wire = await begun();
  const asker = await ground.wire();
  const holder = await ground.wire();
  const { tx } = await holder.request({ type: 'BeginTx', db });
  // Waits for the transaction; and what comes behind it waits for it.
  wire.send({ type: 'CloseDatabase', id: 'close', db });
  wire.send(batch('behind', 'INSERT INTO t VALUES (1)'));
  wire.send({ type: 'Cancel', id: 'c', target: 'behind' });
  const [behind, cancel] = await replies(wire, 'behind', 'c');
  expect(cancel).toMatchObject({ status: 'ok', in_flight: true });
  expect(behind).toMatchObject({ code: 'CANCELLED', outcome: 'not_applied' });
  await holder.request({ type: 'Rollback', db, tx });
  expect(await wire.next()).toMatchObject({ status: 'ok', id: 'close' });
  expect(await wire.request({ type: 'ReopenDatabase', db })).toMatchObject({ status: 'ok' });
  expect(await rows(asker)).toEqual([]);
});

test('two Cancels of one batch, one without an id, and one that names itself', async () => {
  const wire = await begun();
  const asker = await ground.wire();
  wire.send(batch(1, ENDLESS, { cancellable: true }));
  await runs(asker);
  wire.send({ type: 'Cancel', id: 2, target: 1 });
  wire.send({ type: 'Cancel', target: 1 });
  wire.send({ type: 'Cancel', id: 4, target: 4 });
  const [stopped, first, without, itself] = await replies(wire, 1, 2, undefined as never, 4);
  expect(stopped).toMatchObject({ code: 'CANCELLED' });
  expect(first).toMatchObject({ in_flight: true });
  expect(without).toEqual({ status: 'ok', in_flight: true });
  expect(itself).toMatchObject({ in_flight: false });
});

test('a target that is no id is refused, on both ways', async () => {
  const router = await begun();
  const { endpoint } = await router.request({ type: 'Attach', db });
  for (const wire of [router, await ground.wire(String(endpoint))])
    for (const target of [undefined, null, 1.5, {}, 'x'.repeat(257)])
      expect(await wire.request({ type: 'Cancel', target })).toMatchObject({ code: 'INVALID_REQUEST' });
});

test('one connection’s Cancel never reaches another’s request', async () => {
  const wire = await begun();
  const stranger = await ground.wire();
  wire.send(batch(1, ENDLESS, { cancellable: true }));
  await runs(stranger);
  expect(await stranger.request({ type: 'Cancel', target: 1 })).toMatchObject({ in_flight: false });
  await runs(stranger);
  wire.send({ type: 'Cancel', id: 2, target: 1 });
  expect((await replies(wire, 1, 2))[0]).toMatchObject({ code: 'CANCELLED' });
});

test('while the daemon leaves, what it waits for can still be cancelled', async () => {
  const wire = await begun();
  const asker = await ground.wire();
  wire.send(batch(1, ENDLESS, { cancellable: true }));
  await runs(asker);
  const leaving = asker.request({ type: 'Shutdown' });
  await until('it takes nothing more', async () => {
    return (await wire.request({ type: 'Ping' })).code === 'SHUTTING_DOWN';
  });
  wire.send({ type: 'Cancel', id: 2, target: 1 });
  const [stopped] = await replies(wire, 1, 2);
  expect(stopped).toMatchObject({ code: 'CANCELLED' });
  expect(await leaving).toMatchObject({ status: 'ok' });
});

describe.each(['the router', 'the worker'])('by way of %s', (way) => {
  async function ways(): Promise<{ wire: Wire; holder: Wire; asker: Wire }> {
    const asker = await begun();
    const { endpoint } = await asker.request({ type: 'Attach', db });
    const socket = way === 'the worker' ? String(endpoint) : ground.socket;
    return { wire: await ground.wire(socket), holder: await ground.wire(socket), asker };
  }

  test('a batch, and a BeginTx, that wait for a transaction are cancelled; the transaction notices nothing', async () => {
    const { wire, holder } = await ways();
    const { tx } = await holder.request({ type: 'BeginTx', db });
    wire.send(batch(1, 'INSERT INTO t VALUES (1)'));
    wire.send({ type: 'BeginTx', id: 2, db });
    wire.send(batch(3, 'INSERT INTO t VALUES (3)'));
    // What became of a batch must be known: that question is answered.
    wire.send(batch(4, 'INSERT INTO t VALUES (4)', { session: 's', seq: 1, only_replay: true }));
    for (const target of [4, 1, 2]) wire.send({ type: 'Cancel', id: `c${target}`, target });
    const [first, second] = await replies(wire, 1, 2, 'c4', 'c1', 'c2');
    expect(first).toMatchObject({ code: 'CANCELLED', outcome: 'not_applied' });
    expect(second).toMatchObject({ code: 'CANCELLED', outcome: 'not_applied' });
    const stmts = [{ sql: 'INSERT INTO t VALUES (0)' }];
    expect(await holder.request({ type: 'Exec', db, tx, stmts })).toMatchObject({ status: 'ok' });
    expect(await holder.request({ type: 'Commit', db, tx })).toMatchObject({ status: 'ok', rev: 2 });
    const [third, asked] = await replies(wire, 3, 4);
    expect(third).toMatchObject({ status: 'ok', rev: 3 });
    expect(asked).toMatchObject({ code: 'TIMEOUT', outcome: 'not_applied' });
    expect(await rows(holder)).toEqual([0, 3]);
  });

  test('a step that waits is left out; a Commit is never cancelled', async () => {
    const { wire } = await ways();
    const { tx } = await wire.request({ type: 'BeginTx', db });
    const slow =
      'WITH RECURSIVE c(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM c LIMIT 300000) SELECT count(*) FROM c';
    const exec = (id: number, sql: string) => wire.send({ type: 'Exec', id, db, tx, stmts: [{ sql }] });
    wire.socket.cork();
    exec(1, slow);
    exec(2, 'INSERT INTO t VALUES (2)');
    exec(3, 'INSERT INTO t VALUES (3)');
    wire.send({ type: 'Cancel', id: 4, target: 2 });
    wire.send({ type: 'Commit', id: 5, db, tx });
    wire.send({ type: 'Cancel', id: 6, target: 5 });
    wire.socket.uncork();
    const [first, second, third, , commit] = await replies(wire, 1, 2, 3, 4, 5, 6);
    expect(first).toMatchObject({ status: 'ok' });
    expect(second).toMatchObject({ code: 'CANCELLED', outcome: 'not_applied' });
    expect(second).not.toHaveProperty('tx_ended');
    expect(third).toMatchObject({ status: 'ok' });
    expect(commit).toMatchObject({ status: 'ok', rev: 2, rows_affected: 1 });
    expect(await rows(wire)).toEqual([3]);
  });
});

test('a step that runs is stopped, and its transaction with it: every later step says so', async () => {
  const wire = await begun();
  const asker = await ground.wire();
  const { tx } = await wire.request({ type: 'BeginTx', db });
  const stmts = [{ sql: 'INSERT INTO t VALUES (1)' }];
  expect(await wire.request({ type: 'Exec', db, tx, stmts })).toMatchObject({ status: 'ok' });
  wire.send({ type: 'Exec', id: 1, db, tx, stmts: [{ sql: ENDLESS }], cancellable: true });
  await runs(asker);
  wire.send({ type: 'Cancel', id: 2, target: 1 });
  const [stopped] = await replies(wire, 1, 2);
  expect(stopped).toMatchObject({ code: 'CANCELLED', outcome: 'not_applied', tx_ended: true });
  for (const type of ['Exec', 'Commit'])
    expect(await wire.request({ type, db, tx, stmts })).toMatchObject({ code: 'TX_EXPIRED' });
  expect(await rows(wire)).toEqual([]);
});

test('on a worker’s own socket what runs is not stopped: its thread hears nothing', async () => {
  const router = await begun();
  const { endpoint } = await router.request({ type: 'Attach', db });
  const wire = await ground.wire(String(endpoint));
  const slow = `INSERT INTO t WITH RECURSIVE c(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM c LIMIT 3000000) SELECT count(*) FROM c`;
  wire.send(batch(1, slow, { cancellable: true }));
  await runs(router);
  wire.send({ type: 'Cancel', id: 2, target: 1 });
  expect(await wire.next()).toMatchObject({ status: 'ok', id: 1, rev: 2 });
  expect(await wire.next()).toMatchObject({ status: 'ok', id: 2, in_flight: false });
});
