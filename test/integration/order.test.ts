import { symlinkSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

let ground: Playground;
beforeEach(async () => {
  ground = new Playground();
  await ground.daemon();
});
afterEach(async () => {
  await ground.dispose();
});

/** Counts far enough to take some hundred milliseconds. */
const SLOW =
  'WITH RECURSIVE c(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM c WHERE n < 300000) SELECT max(n), ? FROM c';
const FAST = 'SELECT 0, ?';

function batch(db: string, sql: string, params: unknown[] = []): Message {
  return { type: 'ExecBatch', db, stmts: [{ sql, params }] };
}

/** The last cell of the reply's only row. */
function markOf(reply: Message | null): unknown {
  expect(reply).toMatchObject({ status: 'ok' });
  return (reply as { results: { rows: unknown[][] }[] }).results[0]?.rows[0]?.[1];
}

async function withTwoDatabases(): Promise<Wire> {
  const wire = await ground.wire();
  for (const db of ['slow.db', 'fast.db'])
    await wire.exec(db, ['CREATE TABLE t (n INTEGER PRIMARY KEY, mark)']);
  return wire;
}

test('replies without an id come in the order of the requests, though one database is slow', async () => {
  const wire = await withTwoDatabases();
  for (let mark = 0; mark < 40; mark += 1) {
    if (mark % 10 === 0) wire.send(batch('slow.db', SLOW, [mark]));
    else wire.send(batch('fast.db', FAST, [mark]));
  }
  for (let mark = 0; mark < 40; mark += 1) expect(markOf(await wire.next())).toBe(mark);
});

test('errors, pings and refusals without an id keep their place in that order', async () => {
  const wire = await withTwoDatabases();
  wire.send(batch('slow.db', SLOW, [1]));
  wire.send({ type: 'Ping' });
  wire.send({ type: 'Nothing' });
  wire.send(batch('fast.db', 'SELECT nonsense'));
  wire.send({ type: 'ExecBatch', db: 'no/such/folder/x.db', stmts: [{ sql: 'SELECT 1' }] });
  wire.send({ type: 'Ping', db: 'fast.db' });
  expect(markOf(await wire.next())).toBe(1);
  expect(await wire.next()).toHaveProperty('uptime_ms');
  expect(await wire.next()).toMatchObject({ code: 'INVALID_REQUEST' });
  expect(await wire.next()).toMatchObject({ code: 'SQL_ERROR' });
  expect(await wire.next()).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
  expect(await wire.next()).toMatchObject({ status: 'ok', rev: 1 });
});

test('a reply with an id does not wait for a slow database', async () => {
  const wire = await withTwoDatabases();
  wire.send({ ...batch('slow.db', SLOW, ['slow']), id: 'slow' });
  wire.send({ ...batch('fast.db', FAST, ['fast']), id: 'fast' });
  expect(markOf(await wire.next())).toBe('fast');
  expect(markOf(await wire.next())).toBe('slow');
});

test('replies with an id overtake those without, which keep their order among themselves', async () => {
  const wire = await withTwoDatabases();
  wire.send(batch('slow.db', SLOW, ['first']));
  wire.send(batch('fast.db', FAST, ['second']));
  wire.send({ ...batch('fast.db', FAST, ['named']), id: 0 });
  expect(markOf(await wire.next())).toBe('named');
  expect(markOf(await wire.next())).toBe('first');
  expect(markOf(await wire.next())).toBe('second');
});

test('requests of one connection for one database are executed as sent, whatever its spelling', async () => {
  const wire = await withTwoDatabases();
  symlinkSync(ground.file('fast.db'), ground.file('link.db'));
  symlinkSync(ground.dataDir, ground.file('folder'));
  const spellings = [
    'fast.db',
    './fast.db',
    ground.file('fast.db'),
    'link.db',
    'folder/../fast.db',
    'folder/link.db',
  ];
  const count = 300;
  for (let mark = 0; mark < count; mark += 1) {
    wire.send({
      ...batch(spellings[mark % spellings.length] ?? '', 'INSERT INTO t (mark) VALUES (?)', [mark]),
      id: mark,
    });
  }
  for (let mark = 0; mark < count; mark += 1)
    expect(await wire.next()).toMatchObject({ status: 'ok', id: mark, rev: mark + 2 });
  expect(await wire.rows('fast.db', 'SELECT count(*) FROM t WHERE n = mark + 1')).toEqual([[count]]);
  const status = await wire.request({ type: 'Status' });
  expect(status.workers).toBe(2);
});

test('the first requests for a database that does not exist yet are executed as sent', async () => {
  const wire = await ground.wire();
  wire.send({ ...batch('new.db', 'CREATE TABLE t (n INTEGER PRIMARY KEY, mark)'), id: 'create' });
  for (let mark = 0; mark < 100; mark += 1)
    wire.send({ ...batch('./new.db', 'INSERT INTO t (mark) VALUES (?)', [mark]), id: mark });
  for (let rev = 1; rev <= 101; rev += 1) expect(await wire.next()).toMatchObject({ status: 'ok', rev });
  expect(await wire.rows('new.db', 'SELECT count(*) FROM t WHERE n = mark + 1')).toEqual([[100]]);
});

test('requests behind the batch that makes the file find it there', async () => {
  const wire = await ground.wire();
  wire.send({ ...batch('new.db', 'CREATE TABLE t (n)'), id: 'create' });
  wire.send({ type: 'Ping', db: 'new.db', id: 'ping' });
  wire.send({ type: 'Checkpoint', db: 'new.db', id: 'checkpoint' });
  wire.send({ type: 'Backup', db: 'new.db', to: 'copy.db', id: 'backup' });
  const replies = new Map<unknown, Message | null>();
  while (replies.size < 4) {
    const reply = await wire.next();
    if (reply === null || 'status' in reply) replies.set(reply?.id, reply);
  }
  expect(replies.get('ping')).toMatchObject({ exists: true, rev: 1 });
  expect(replies.get('checkpoint')).toMatchObject({ status: 'ok', busy: false });
  expect(replies.get('backup')).toMatchObject({ status: 'ok' });
  expect(await wire.rows('copy.db', 'SELECT count(*) FROM t')).toEqual([[0]]);
});

test('requests of all kinds for one database on one connection take effect as sent', async () => {
  const wire = await withTwoDatabases();
  const insert = (mark: number) => ({
    ...batch('fast.db', 'INSERT INTO t (mark) VALUES (?)', [mark]),
    id: `insert ${mark}`,
  });
  wire.send(insert(1));
  wire.send({ type: 'Ping', db: 'fast.db', id: 'ping' });
  wire.send({ type: 'Checkpoint', db: 'fast.db', mode: 'full', id: 'checkpoint' });
  wire.send(insert(2));
  wire.send({ type: 'Backup', db: 'fast.db', to: 'copy.db', id: 'backup' });
  wire.send({ type: 'PrepareForMaintenance', db: 'fast.db', id: 'prepare' });
  wire.send(insert(3));
  wire.send({ type: 'ReopenDatabase', db: 'fast.db', id: 'open' });
  wire.send(insert(4));
  wire.send({ type: 'CloseDatabase', db: 'fast.db', id: 'close' });
  wire.send(insert(5));
  wire.send({ type: 'ReopenDatabase', db: 'fast.db', id: 'again' });
  wire.send(insert(6));
  const replies = new Map<unknown, Message>();
  while (replies.size < 13) {
    const reply = await wire.next();
    if (reply === null) throw new Error('the connection ended');
    if ('status' in reply) replies.set(reply.id, reply);
  }
  expect(replies.get('ping')).toMatchObject({ rev: 2 });
  expect(replies.get('prepare')).toMatchObject({ checkpointed: true });
  expect(replies.get('insert 3')).toMatchObject({ code: 'DATABASE_PREPARING', outcome: 'not_applied' });
  expect(replies.get('insert 5')).toMatchObject({ code: 'DATABASE_CLOSED', outcome: 'not_applied' });
  expect(replies.get('again')).toMatchObject({ status: 'ok', reopened: true });
  expect(await wire.rows('fast.db', 'SELECT mark FROM t ORDER BY n')).toEqual([[1], [2], [4], [6]]);
  // A backup holds what was sent before it.
  const kept = await wire.rows('copy.db', 'SELECT mark FROM t WHERE mark <= 2 ORDER BY n');
  expect(kept).toEqual([[1], [2]]);
  await ground.expectCleanEnd();
});
