import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Playground, until } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

/** What maintenance, shutdown and transactions that are open make of each other. */

let ground: Playground;
let db: string;
let admin: Wire;
let mine: Wire;
let tx: unknown;

async function open(way: string): Promise<void> {
  await ground.daemon();
  admin = await ground.wire();
  await admin.exec(db, ['CREATE TABLE t (a)']);
  const { endpoint } = await admin.request({ type: 'Attach', db });
  mine = await ground.wire(way === 'the worker' ? String(endpoint) : ground.socket);
  tx = (await mine.request({ type: 'BeginTx', db })).tx;
  expect(await step('INSERT INTO t VALUES (1)')).toMatchObject({ status: 'ok' });
}

function step(sql: string): Promise<Message> {
  return mine.request({ type: 'Exec', db, tx, stmts: [{ sql }] });
}

async function preparing(): Promise<void> {
  const other = await ground.wire();
  await until('it is being prepared', async () => {
    const { databases } = (await other.request({ type: 'Status' })) as { databases: Message[] };
    return databases[0]?.state === 'preparing';
  });
}

beforeEach(() => {
  ground = new Playground();
  db = ground.file('x.db');
});
afterEach(async () => {
  await ground.dispose();
});

describe.each(['the router', 'the worker'])('a transaction through %s', (way) => {
  test.each(['PrepareForMaintenance', 'CloseDatabase'])(
    '%s waits for its end, and refuses new ones',
    async (type) => {
      await open(way);
      const done = admin.request({ type, db, timeout_ms: 15_000 });
      await preparing();
      const late = await ground.wire();
      expect(await late.request({ type: 'BeginTx', db })).toMatchObject({
        code: 'DATABASE_PREPARING',
        retryable: true,
      });
      expect(await step('INSERT INTO t VALUES (2)')).toMatchObject({ status: 'ok' });
      expect(await mine.request({ type: 'Commit', db, tx })).toMatchObject({ status: 'ok', rev: 2 });
      expect(await done).toMatchObject({ status: 'ok' });
      if (way === 'the worker') expect(await mine.next()).toEqual({ event: 'detached' });
      // Neither a step nor what is asked about a commit opens what is closed, or writes to what is prepared.
      const code = type === 'CloseDatabase' ? 'DATABASE_CLOSED' : 'DATABASE_PREPARING';
      const asked = { session: 's', seq: 1, only_replay: true };
      expect(await late.request({ type: 'Commit', db, tx, ...asked })).toMatchObject({ code });
      expect(await late.request({ type: 'Rollback', db, tx })).toMatchObject({ code: 'TX_EXPIRED' });
      expect(existsSync(`${db}-wal`) && type === 'CloseDatabase').toBe(false);
      await late.request({ type: 'ReopenDatabase', db });
      expect(await late.rows(db, 'SELECT count(*) FROM t')).toEqual([[2]]);
    },
  );

  test('maintenance that does not want to wait so long gives up, and all goes on', async () => {
    await open(way);
    expect(await admin.request({ type: 'CloseDatabase', db, timeout_ms: 100 })).toMatchObject({
      code: 'TIMEOUT',
      outcome: 'not_applied',
    });
    expect(await step('INSERT INTO t VALUES (2)')).toMatchObject({ status: 'ok' });
    expect(await mine.request({ type: 'Commit', db, tx })).toMatchObject({ status: 'ok', rev: 2 });
    expect(await admin.exec(db, ['INSERT INTO t VALUES (3)'])).toMatchObject({ status: 'ok', rev: 3 });
    expect(await admin.request({ type: 'CloseDatabase', db })).toMatchObject({ closed: true });
  });

  test('a snapshot is waited for, too', async () => {
    await open(way);
    await mine.request({ type: 'Rollback', db, tx });
    tx = (await mine.request({ type: 'BeginTx', db, read: true })).tx;
    const done = admin.request({ type: 'CloseDatabase', db, timeout_ms: 15_000 });
    await preparing();
    expect(await step('SELECT count(*) FROM t')).toMatchObject({ status: 'ok' });
    await mine.request({ type: 'Commit', db, tx });
    expect(await done).toMatchObject({ closed: true });
  });

  test('a daemon that is told to leave lets it come to its end', async () => {
    await open(way);
    const gone = admin.request({ type: 'Shutdown' });
    const other = await ground.wire();
    await until('it takes no new transactions', async () => {
      const reply = await other.request({ type: 'BeginTx', db, read: true });
      if (reply.status === 'ok') await other.request({ type: 'Rollback', db, tx: reply.tx });
      return reply.code === 'SHUTTING_DOWN';
    });
    expect(await step('INSERT INTO t VALUES (2)')).toMatchObject({ status: 'ok' });
    expect(await mine.request({ type: 'Commit', db, tx })).toMatchObject({ status: 'ok', rev: 2 });
    expect(await gone).toMatchObject({ status: 'ok' });
    await until('no process is left', () => ground.processes().length === 0);
    expect(await ground.sqlite3(db, 'SELECT count(*) FROM t')).toBe('2');
  });
});

test('a transaction that does not end is rolled back some seconds after the daemon was told to leave', async () => {
  await open('the router');
  expect(await admin.request({ type: 'Shutdown' })).toMatchObject({ status: 'ok' });
  await until('no process is left', () => ground.processes().length === 0);
  expect(await ground.sqlite3(db, 'SELECT count(*) FROM t')).toBe('0');
});

test('maintenance that the same connection asks for waits for its transaction, whose steps pass it', async () => {
  await open('the router');
  mine.send({ type: 'PrepareForMaintenance', id: 'prepare', db, timeout_ms: 15_000 });
  mine.send({ type: 'Exec', id: 'exec', db, tx, stmts: [{ sql: 'INSERT INTO t VALUES (2)' }] });
  mine.send({ type: 'Commit', id: 'commit', db, tx });
  expect(await mine.next()).toMatchObject({ id: 'exec', status: 'ok' });
  expect(await mine.next()).toMatchObject({ id: 'commit', rev: 2 });
  expect(await mine.next()).toMatchObject({ id: 'prepare', checkpointed: true });
});
