import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Playground, until } from '../support/playground.js';
import { Watcher } from '../support/watcher.js';
import type { Message, Wire } from '../support/wire.js';

let playground: Playground;
let db: string;
beforeEach(async () => {
  playground = new Playground();
  db = playground.file('x.db');
});
afterEach(() => playground.dispose());

const PLANETS = [
  'CREATE TABLE stars (id INTEGER PRIMARY KEY, name TEXT)',
  'CREATE TABLE planets (id INTEGER PRIMARY KEY, star REFERENCES stars ON DELETE CASCADE, name TEXT)',
  'CREATE TABLE log (text TEXT)',
  "CREATE TRIGGER heard AFTER INSERT ON planets BEGIN INSERT INTO log VALUES ('planet'); END",
];

const change = (rev: number, tables: readonly string[], more: Message = {}) => ({
  event: 'change',
  subscription: 1,
  db,
  epoch: 1,
  rev,
  tables,
  ...more,
});

describe('a subscription', () => {
  beforeEach(() => playground.daemon());

  test('is told of each commit in order, with its tables, and can read it by then', async () => {
    const writer = await playground.wire();
    const watcher = await Watcher.open(playground, db);
    expect(watcher.reply).toMatchObject({ subscription: 1, db_path: db, rev: 0, epoch: 1 });
    await writer.exec(db, PLANETS);
    await writer.exec(db, ["INSERT INTO stars (name) VALUES ('Sol')"]);
    await writer.exec(db, [{ sql: 'INSERT INTO planets (star, name) VALUES (?, ?)', params: [1, 'Earth'] }]);
    await writer.exec(db, ['DELETE FROM stars']);
    await writer.exec(db, ['SELECT * FROM stars']);
    await writer.exec(db, ['DROP TABLE log']);
    expect(await watcher.take(5)).toEqual([
      change(1, ['log', 'planets', 'stars']),
      change(2, ['stars']),
      change(3, ['log', 'planets']),
      change(4, ['planets', 'stars']),
      change(5, ['log', 'planets'].slice(0, 1)),
    ]);
  });

  test('is told of every batch of a group, and of each statement of tx none', async () => {
    const writer = await playground.wire();
    await writer.exec(db, ['CREATE TABLE a (x)', 'CREATE TABLE b (x)']);
    const watcher = await Watcher.open(playground, db);
    const stmts = ['INSERT INTO a VALUES (1)', 'SELECT 1', 'DELETE FROM b', 'VACUUM'];
    for (let n = 0; n < 300; n += 1)
      writer.send({
        type: 'ExecBatch',
        db,
        stmts: [{ sql: `INSERT INTO ${n % 2 === 0 ? 'a' : 'b'} VALUES (?)`, params: [n] }],
      });
    await writer.exec(db, stmts, { tx: 'none' });
    const events = await watcher.take(303);
    expect(events.map(({ rev }) => rev)).toEqual(Array.from({ length: 303 }, (_, at) => at + 2));
    expect(events.slice(0, 2).map(({ tables }) => tables)).toEqual([['a'], ['b']]);
    expect(events.slice(-3).map(({ tables }) => tables)).toEqual([['a'], ['b'], []]);
  });

  test('hears of what attached clients commit', async () => {
    const writer = await playground.wire();
    await writer.exec(db, ['CREATE TABLE a (x)']);
    const watcher = await Watcher.open(playground, db);
    const { endpoint } = await writer.request({ type: 'Attach', db });
    const attached = await playground.wire(endpoint as string);
    expect(await attached.exec(undefined, ['INSERT INTO a VALUES (1)'])).toMatchObject({ rev: 2 });
    expect(await watcher.next()).toEqual(change(2, ['a']));
    expect(await attached.request({ type: 'Subscribe' })).toMatchObject({ code: 'INVALID_REQUEST' });
  });

  test("is told of a client's own transaction as of one batch, when it is committed", async () => {
    const writer = await playground.wire();
    await writer.exec(db, ['CREATE TABLE a (x)', 'CREATE TABLE b (x)', 'CREATE TABLE c (x)']);
    const watcher = await Watcher.open(playground, db);
    const { tx } = await writer.request({ type: 'BeginTx', db });
    const step = (sql: string) => writer.request({ type: 'Exec', db, tx, stmts: [{ sql }] });
    await step('INSERT INTO a VALUES (1)');
    // Another subscription does not wait for it.
    expect(await watcher.wire.request({ type: 'Subscribe', db, tables: ['c'] })).toMatchObject({ rev: 1 });
    await step('DELETE FROM b');
    expect(await writer.request({ type: 'Commit', db, tx })).toMatchObject({ status: 'ok', rev: 2 });
    expect(await watcher.next()).toEqual(change(2, ['a', 'b']));
    const { tx: other } = await writer.request({ type: 'BeginTx', db });
    await writer.request({ type: 'Exec', db, tx: other, stmts: [{ sql: 'DELETE FROM a' }] });
    await writer.request({ type: 'Rollback', db, tx: other });
    await writer.exec(db, ['INSERT INTO c VALUES (1)']);
    expect(await watcher.take(2)).toEqual([change(3, ['c']), { ...change(3, ['c']), subscription: 2 }]);
  });

  test('counts from behind what its own connection has sent before', async () => {
    const wire = await playground.wire();
    wire.send({ type: 'ExecBatch', db, stmts: [{ sql: 'CREATE TABLE a (x)' }] });
    wire.send({ type: 'Subscribe', db });
    wire.send({ type: 'ExecBatch', db, stmts: [{ sql: 'INSERT INTO a VALUES (1)' }] });
    const messages = [await wire.next(), await wire.next(), await wire.next(), await wire.next()];
    expect(messages[0]).toMatchObject({ status: 'ok', rev: 1 });
    expect(messages[1]).toMatchObject({ status: 'ok', subscription: 1, rev: 1 });
    // The event may come before or after the answer to the batch, and nothing before the answer to Subscribe.
    const [third, fourth] = messages.slice(2);
    expect([third, fourth].filter((one) => one?.event === 'change')).toEqual([change(2, ['a'])]);
  });

  test('can be for some tables only', async () => {
    const writer = await playground.wire();
    await writer.exec(db, PLANETS);
    const watcher = await Watcher.open(playground, db, { tables: ['LOG'] });
    await writer.exec(db, ["INSERT INTO stars (name) VALUES ('Sol')"]);
    await writer.exec(db, ["INSERT INTO planets (name) VALUES ('Earth')"]);
    expect(await watcher.next()).toEqual(change(3, ['log', 'planets']));
  });

  test('ends with Unsubscribe, which names only its own', async () => {
    const writer = await playground.wire();
    await writer.exec(db, ['CREATE TABLE a (x)']);
    const { wire } = await Watcher.open(playground, db);
    expect(await wire.request({ type: 'Subscribe', db })).toMatchObject({ subscription: 2 });
    expect(await wire.request({ type: 'Unsubscribe', subscription: 1 })).toMatchObject({ status: 'ok' });
    await writer.exec(db, ['INSERT INTO a VALUES (1)']);
    expect(await wire.next()).toMatchObject({ event: 'change', subscription: 2, rev: 2 });
    for (const subscription of [1, 3])
      expect(await wire.request({ type: 'Unsubscribe', subscription })).toMatchObject({
        code: 'INVALID_REQUEST',
      });
    expect(await wire.request({ type: 'Unsubscribe', subscription: 2 })).toMatchObject({ status: 'ok' });
    await writer.exec(db, ['INSERT INTO a VALUES (1)']);
    wire.send({ type: 'Ping', id: 'last' });
    expect(await wire.next()).toMatchObject({ id: 'last' });
  });

  test.each([
    { since: 4 },
    { since: { epoch: 1 } },
    { since: { epoch: 1, rev: -1 } },
    { tables: [] },
    { tables: 'stars' },
    { tables: [''] },
    { tables: [1] },
    { db: ':memory:' },
  ])('refuses %j', async (fields) => {
    const wire = await playground.wire();
    expect(await wire.request({ type: 'Subscribe', db, ...fields })).toMatchObject({
      status: 'error',
      outcome: 'not_applied',
    });
  });

  test('is refused beyond the limit, which is named', async () => {
    const wire = await playground.wire();
    const { limits } = await wire.request({ type: 'Hello', protocol: 1 });
    const { max_subscriptions: most } = limits as { max_subscriptions: number };
    for (let n = 0; n < most; n += 1)
      expect(await wire.request({ type: 'Subscribe', db })).toMatchObject({ status: 'ok' });
    expect(await wire.request({ type: 'Subscribe', db })).toMatchObject({
      code: 'INVALID_REQUEST',
      limit: 'max_subscriptions',
      limit_value: most,
    });
    await wire.request({ type: 'Unsubscribe', subscription: 1 });
    expect(await wire.request({ type: 'Subscribe', db })).toMatchObject({ status: 'ok' });
    expect(await wire.request({ type: 'Status' })).toMatchObject({ subscriptions: most });
    wire.destroy();
    const other = await playground.wire();
    await until('its subscriptions are gone', async () => {
      return (await other.request({ type: 'Status' })).subscriptions === 0;
    });
  });

  test('creates no file', async () => {
    const watcher = await Watcher.open(playground, db);
    expect(await watcher.wire.request({ type: 'Ping', db })).toMatchObject({ exists: false });
  });
});

describe('since', () => {
  beforeEach(() => playground.daemon());

  test('tells what was missed while the connection was away', async () => {
    const writer = await playground.wire();
    await writer.exec(db, ['CREATE TABLE a (x)']);
    const first = await Watcher.open(playground, db);
    first.wire.destroy();
    for (let n = 0; n < 3; n += 1) await writer.exec(db, ['INSERT INTO a VALUES (1)']);
    const second = await Watcher.open(playground, db, { since: { epoch: 1, rev: 2 } });
    expect(second.reply).toMatchObject({ rev: 4 });
    expect(await second.take(2)).toEqual([change(3, ['a']), change(4, ['a'])]);
    await writer.exec(db, ['INSERT INTO a VALUES (1)']);
    expect(await second.next()).toEqual(change(5, ['a']));
  });

  test.each([
    ['is from before anybody watched', { epoch: 1, rev: 1 }],
    ['is of another epoch', { epoch: 7, rev: 3 }],
    ['was never reached', { epoch: 1, rev: 30 }],
  ])('is answered with a reset if it %s', async (_why, since) => {
    const writer = await playground.wire();
    for (const sql of ['CREATE TABLE a (x)', 'INSERT INTO a VALUES (1)', 'INSERT INTO a VALUES (2)'])
      await writer.exec(db, [sql]);
    const watcher = await Watcher.open(playground, db, { since });
    expect(await watcher.next()).toEqual({ event: 'reset', subscription: 1, db, epoch: 1, rev: 3 });
    await writer.exec(db, ['INSERT INTO a VALUES (3)']);
    expect(await watcher.next()).toEqual(change(4, ['a']));
  });

  test('says nothing to whoever has missed nothing', async () => {
    const writer = await playground.wire();
    await writer.exec(db, ['CREATE TABLE a (x)']);
    const watcher = await Watcher.open(playground, db, { since: { epoch: 1, rev: 1 } });
    await writer.exec(db, ['INSERT INTO a VALUES (3)']);
    expect(await watcher.next()).toEqual(change(2, ['a']));
  });
});

describe('a subscriber that does not read', () => {
  beforeEach(() => playground.daemon());

  test('keeps no writer waiting, and is told to read afresh', async () => {
    const writer = await playground.wire();
    const table = `t${'_'.repeat(900)}`;
    await writer.exec(db, [`CREATE TABLE ${table} (x)`]);
    const watcher = await Watcher.open(playground, db);
    watcher.wire.socket.pause();
    const batches = 4_000;
    for (let n = 0; n < batches; n += 1)
      writer.send({
        type: 'ExecBatch',
        db,
        stmts: [{ sql: `INSERT INTO ${table} VALUES (1)` }],
        results: false,
      });
    for (let n = 0; n < batches; n += 1) expect(await writer.next()).toMatchObject({ status: 'ok' });
    watcher.wire.socket.resume();
    const events = await watcher.until(({ event }) => event === 'reset');
    expect(events.at(-1)).toMatchObject({ epoch: 1, rev: batches + 1 });
    expect(events.slice(0, -1).map(({ rev }) => rev)).toEqual(events.slice(0, -1).map((_, at) => at + 2));
    await writer.exec(db, [`DELETE FROM ${table}`]);
    expect(await watcher.next()).toMatchObject({ event: 'change', rev: batches + 2 });
  });
});

describe('writes that bypass the daemon', () => {
  test('are told of while a worker serves the database, in their place', async () => {
    await playground.daemon();
    const writer = await playground.wire();
    await writer.exec(db, ['CREATE TABLE a (x)']);
    const watcher = await Watcher.open(playground, db);
    await playground.sqlite3(db, 'INSERT INTO a VALUES (1)');
    const foreign = { event: 'change', subscription: 1, db, epoch: 1, foreign: true };
    expect(await watcher.next()).toEqual({ ...foreign, rev: 1 });
    await writer.exec(db, ['INSERT INTO a VALUES (2)']);
    await playground.sqlite3(db, 'INSERT INTO a VALUES (3)');
    await writer.exec(db, ['INSERT INTO a VALUES (4)']);
    expect(await watcher.take(3)).toEqual([change(2, ['a']), { ...foreign, rev: 2 }, change(3, ['a'])]);
  });

  test('are told of while there is no worker, whom watching does not keep', async () => {
    await playground.daemon(['--worker-idle-timeout', '100ms']);
    const writer = await playground.wire();
    await writer.exec(db, ['CREATE TABLE a (x)']);
    const watcher = await Watcher.open(playground, db);
    await until('the worker has left', () => playground.workers().length === 0);
    await playground.sqlite3(db, 'INSERT INTO a VALUES (1)');
    expect(await watcher.next()).toMatchObject({ event: 'change', foreign: true, epoch: 1, rev: 1 });
    await writer.exec(db, ['INSERT INTO a VALUES (2)']);
    expect(await watcher.next()).toEqual(change(2, ['a']));
  });

  /** Held up as on a busy machine: what is written meanwhile must be told all the same. */
  describe('while a worker', () => {
    const FOREIGN = { event: 'change', subscription: 1, epoch: 1, foreign: true };
    let writer: Wire;
    let watcher: Watcher;
    beforeEach(async () => {
      await playground.daemon(['--max-workers', '1', '--spare-workers', '1']);
      writer = await playground.wire();
      await writer.exec(db, ['CREATE TABLE a (x)']);
      watcher = await Watcher.open(playground, db);
      await until('there is a spare', () => playground.spares().length === 1);
    });

    test('has let go of the file, and the router has not heard so', async () => {
      const [worker = 0] = playground.workers();
      const [router = 0] = playground.daemons();
      process.kill(worker, 'SIGSTOP');
      // The only place: the other one is told to close its file.
      const other = writer.exec(playground.file('y.db'), ['CREATE TABLE b (x)']);
      await watcher.wire.request({ type: 'Ping' });
      await watcher.wire.request({ type: 'Ping' });
      process.kill(router, 'SIGSTOP');
      process.kill(worker, 'SIGCONT');
      await until('the worker serves nothing', () => playground.workers().length === 0);
      await playground.sqlite3(db, 'INSERT INTO a VALUES (1)');
      process.kill(router, 'SIGCONT');
      expect(await other).toMatchObject({ status: 'ok' });
      expect(await watcher.next()).toEqual({ ...FOREIGN, db, rev: 1 });
    });

    test('is told to open the file, and has not yet', async () => {
      await writer.exec(playground.file('y.db'), ['CREATE TABLE b (x)']);
      await until('there is a spare again', () => playground.spares().length === 1);
      const [spare = 0] = playground.spares();
      process.kill(spare, 'SIGSTOP');
      const next = writer.exec(db, ['INSERT INTO a VALUES (2)']);
      await until('the last worker serves nothing', () => playground.workers().length === 0);
      await watcher.wire.request({ type: 'Ping' });
      await watcher.wire.request({ type: 'Ping' });
      await playground.sqlite3(db, 'INSERT INTO a VALUES (1)');
      process.kill(spare, 'SIGCONT');
      expect(await next).toMatchObject({ status: 'ok', rev: 2 });
      expect(await watcher.take(2)).toEqual([{ ...FOREIGN, db, rev: 1 }, change(2, ['a'])]);
    });
  });
});

describe('another file in its place', () => {
  beforeEach(() => playground.daemon());

  test('is told by a reset with the new epoch when it was replaced', async () => {
    const writer = await playground.wire();
    const other = playground.file('other.db');
    await writer.exec(db, ['CREATE TABLE a (x)']);
    await writer.exec(other, ['CREATE TABLE b (x)']);
    const watcher = await Watcher.open(playground, db);
    expect(await writer.request({ type: 'ReplaceDatabase', db, from: other })).toMatchObject({ epoch: 2 });
    expect(await watcher.next()).toEqual({ event: 'reset', subscription: 1, db, epoch: 2, rev: 1 });
    await writer.exec(db, ['INSERT INTO b VALUES (1)']);
    expect(await watcher.next()).toEqual(change(2, ['b'], { epoch: 2 }));
  });

  test('is told when it was deleted, without a request that would notice', async () => {
    const writer = await playground.wire();
    await writer.exec(db, ['CREATE TABLE a (x)']);
    const watcher = await Watcher.open(playground, db);
    await playground.run('rm', [db]);
    expect(await watcher.next()).toMatchObject({ event: 'reset', epoch: 2, rev: 0 });
    await writer.exec(db, ['CREATE TABLE c (x)']);
    expect(await watcher.next()).toEqual(change(1, ['c'], { epoch: 2 }));
  });

  test('is not there after a close and reopen of the same one', async () => {
    const writer = await playground.wire();
    await writer.exec(db, ['CREATE TABLE a (x)']);
    const watcher = await Watcher.open(playground, db);
    await writer.request({ type: 'CloseDatabase', db });
    const late = await Watcher.open(playground, db);
    await writer.request({ type: 'ReopenDatabase', db });
    await writer.exec(db, ['INSERT INTO a VALUES (1)']);
    expect(await watcher.next()).toEqual(change(2, ['a']));
    expect(await late.next()).toEqual(change(2, ['a']));
  });
});
