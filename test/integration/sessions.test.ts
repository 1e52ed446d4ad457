import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

let ground: Playground;
let wire: Wire;
beforeEach(async () => {
  ground = new Playground();
  await ground.daemon();
  wire = await ground.wire();
});
afterEach(async () => {
  await ground.dispose();
});

const INSERT = { sql: 'INSERT INTO t (n) VALUES (?) RETURNING id, 2.0', params: [7] };
const place = (seq: number, more: Message = {}) => ({ session: 's', seq, ...more });
const exec = (stmts: readonly unknown[], more: Message, on = wire) => on.exec('x.db', stmts, more);
const count = async (db = 'x.db') => (await wire.rows(db, 'SELECT count(*) FROM t'))[0]?.[0];

async function setUp(): Promise<void> {
  const first = await exec(['CREATE TABLE t (id INTEGER PRIMARY KEY, n)'], place(1));
  expect(first).toMatchObject({ status: 'ok', rev: 1 });
  expect(first).not.toHaveProperty('replayed');
}

test('a batch that is sent again is answered as the first time, and not applied again', async () => {
  await setUp();
  const { id: _id, ...first } = await exec([INSERT], place(2));
  const text = wire.lastText;
  expect(first).toMatchObject({ status: 'ok', rev: 2, results: [{ rows: [[1, 2]] }] });
  const other = await ground.wire();
  for (const on of [wire, other, wire]) {
    const { id, ...again } = await exec([INSERT], place(2), on);
    expect(id).toMatch(/^w/);
    expect(again).toEqual({ ...first, replayed: true });
  }
  // Byte by byte: a REAL stays one.
  expect(text).toContain('[[1,2.0]]');
  expect(other.lastText).toContain('[[1,2.0]]');
  expect(await count()).toBe(1);
  // The batch that made the file is one of them.
  expect(await exec(['CREATE TABLE t (id INTEGER PRIMARY KEY, n)'], place(1))).toMatchObject({
    rev: 1,
    replayed: true,
  });
  expect(await wire.request({ type: 'Ping', db: 'x.db' })).toMatchObject({ rev: 2 });
});

test('copies of a batch that are pipelined, also on several connections, are applied once', async () => {
  await setUp();
  const wires = await Promise.all(Array.from({ length: 6 }, () => ground.wire()));
  const sent = [];
  for (let seq = 2; seq < 40; seq += 1)
    for (const on of wires) sent.push(exec([INSERT], place(seq), on).then((reply) => ({ seq, reply })));
  const revs = new Map<number, Set<unknown>>();
  for (const { seq, reply } of await Promise.all(sent)) {
    expect(reply).toMatchObject({ status: 'ok' });
    revs.set(seq, (revs.get(seq) ?? new Set()).add(reply.rev));
  }
  for (const answers of revs.values()) expect(answers.size).toBe(1);
  expect(await count()).toBe(38);
});

test('a failure is recorded: the batch fails again, also where it could succeed by then', async () => {
  await setUp();
  const broken = ['INSERT INTO later VALUES (1)'];
  const { id: _id, ...first } = await exec(broken, place(2));
  expect(first).toMatchObject({ code: 'SQL_ERROR', outcome: 'not_applied', statement_index: 0 });
  await exec(['CREATE TABLE later (a)'], place(3));
  const { id: _other, ...again } = await exec(broken, place(2));
  expect(again).toEqual({ ...first, replayed: true });
  expect(await exec([INSERT], place(4, { expect_rev: 1 }))).toMatchObject({ code: 'EXPECTATION_FAILED' });
  expect(await exec([INSERT], place(4, { expect_rev: 1 }))).toMatchObject({ replayed: true, expected: 1 });
  // A failure is no write.
  expect(await exec([INSERT], place(5))).toMatchObject({ rev: 3 });
});

test('what only reads is neither recorded nor checked, and leaves gaps', async () => {
  await setUp();
  for (const seq of [2, 3, 2]) {
    const reply = await exec(['SELECT count(*) FROM t'], place(seq));
    expect(reply).toMatchObject({ status: 'ok' });
    expect(reply).not.toHaveProperty('replayed');
  }
  expect(await exec([INSERT], place(9))).toMatchObject({ rev: 2 });
  expect(await exec(['SELECT 1'], place(3))).toMatchObject({ status: 'ok' });
  expect(await exec(['SELECT 1'], place(3, { only_replay: true }))).toMatchObject({
    code: 'TIMEOUT',
    outcome: 'not_applied',
  });
});

test('a seq that cannot be right is a conflict that says why, and nothing is applied', async () => {
  await setUp();
  await exec([INSERT], place(5, { acked: 1 }));
  const conflicts: [Message, string, string][] = [
    [place(5), 'not_applied', 'another batch'],
    [place(4), 'not_applied', 'too late'],
    [place(1), 'unknown', 'acknowledged'],
    [place(6, { session_epoch: 2 }), 'not_applied', 'epoch 2'],
  ];
  for (const [more, outcome, words] of conflicts) {
    expect(await exec(['DELETE FROM t'], more)).toMatchObject({
      code: 'SESSION_CONFLICT',
      outcome,
      retryable: false,
      message: expect.stringContaining(words),
    });
  }
  expect(await count()).toBe(1);
  // How it is sent is no part of what it does.
  expect(await exec([INSERT], place(5, { acked: 4, timeout_ms: 9_000, session_epoch: 9 }))).toMatchObject({
    replayed: true,
  });
  expect(await exec([INSERT], place(6, { session_epoch: 1 }))).toMatchObject({ rev: 3 });
});

test('sessions know nothing of each other', async () => {
  await setUp();
  for (const session of ['a', 'b', 'ä'.repeat(128)])
    expect(await exec([INSERT], { session, seq: 1 })).not.toHaveProperty('replayed');
  expect(await count()).toBe(3);
});

test('only_replay answers with the record, or gives the batch up for good', async () => {
  await setUp();
  expect(
    await exec(['CREATE TABLE t (id INTEGER PRIMARY KEY, n)'], place(1, { only_replay: true })),
  ).toMatchObject({
    status: 'ok',
    replayed: true,
  });
  expect(await exec([INSERT], place(2, { only_replay: true }))).toMatchObject({
    code: 'TIMEOUT',
    outcome: 'not_applied',
  });
  // A copy of it that was on its way all the time.
  expect(await exec([INSERT], place(2))).toMatchObject({
    code: 'TIMEOUT',
    outcome: 'not_applied',
    replayed: true,
  });
  expect(await count()).toBe(0);
  expect(await exec([INSERT], place(3))).toMatchObject({ rev: 2 });
});

test('only_replay makes no file', async () => {
  expect(await wire.exec('y.db', ['CREATE TABLE t (a)'], place(1, { only_replay: true }))).toMatchObject({
    code: 'TIMEOUT',
    outcome: 'not_applied',
  });
  expect(await wire.request({ type: 'Ping', db: 'y.db' })).toMatchObject({ exists: false });
});

test('results that are too large to be kept are left out of the replay, which says so', async () => {
  await setUp();
  const large = [{ sql: 'INSERT INTO t (n) VALUES (?) RETURNING n', params: ['x'.repeat(70_000)] }];
  expect(await exec(large, place(2))).toMatchObject({ results: [{ rows: [[expect.any(String)]] }] });
  const again = await exec(large, place(2));
  expect(again).toMatchObject({
    status: 'ok',
    rev: 2,
    rows_affected: 1,
    replayed: true,
    results_omitted: true,
  });
  expect(again).not.toHaveProperty('results');
  const bare = { sql: INSERT.sql, params: [1] };
  const { id: _id, ...none } = await exec([bare], place(3, { results: false }));
  const { id: _other, ...noneAgain } = await exec([bare], place(3, { results: false }));
  expect(noneAgain).toEqual({ ...none, replayed: true });
});

test('with "tx": "none" the whole outcome is recorded, reading and VACUUM included', async () => {
  await setUp();
  const stmts = [INSERT, 'VACUUM', INSERT, 'SELECT count(*) FROM t'];
  const more = { tx: 'none' };
  const { id: _id, ...first } = await exec(stmts, place(2, more));
  expect(first).toMatchObject({ rev: 4, rows_affected: 2 });
  const { id: _other, ...again } = await exec(stmts, place(2, more));
  expect(again).toEqual({ ...first, replayed: true });
  const stopped = [INSERT, 'INSERT INTO nowhere VALUES (1)', INSERT];
  const { id: _one, ...partial } = await exec(stopped, place(3, more));
  expect(partial).toMatchObject({ code: 'SQL_ERROR', outcome: 'partial', applied: 1 });
  const { id: _two, ...partialAgain } = await exec(stopped, place(3, more));
  expect(partialAgain).toEqual({ ...partial, replayed: true });
  expect(await count()).toBe(3);
});

test('a file that took the place of the other one is not written by what was meant for that', async () => {
  await setUp();
  await exec([INSERT], place(2, { session_epoch: 1 }));
  expect(await wire.request({ type: 'Backup', db: 'x.db', to: 'copy.db' })).toMatchObject({ status: 'ok' });
  const later = await exec([INSERT], place(3, { session_epoch: 1 }));
  expect(later).toMatchObject({ rev: 3 });
  expect(await wire.request({ type: 'ReplaceDatabase', db: 'x.db', from: 'copy.db' })).toMatchObject({
    epoch: 2,
  });
  // Applied to the old file; the client never heard of it, and must not hear that it is in this one.
  expect(await exec([INSERT], place(3, { session_epoch: 1 }))).toMatchObject({
    code: 'SESSION_CONFLICT',
    outcome: 'not_applied',
    expected: 1,
    actual: 2,
  });
  // What came along with the copy is known.
  expect(await exec([INSERT], place(2, { session_epoch: 1 }))).toMatchObject({
    epoch: 1,
    rev: 2,
    replayed: true,
  });
  expect(await count()).toBe(1);
  expect(await exec([INSERT], place(4, { session_epoch: 2 }))).toMatchObject({ epoch: 2, rev: 3 });
});

test('another database is told by its id, also at the same epoch and rev', async () => {
  const asks = await exec(['CREATE TABLE t (a)'], place(1, { session_database: true }));
  expect(asks).toMatchObject({ rev: 1, database: expect.stringMatching(/^[0-9a-f-]{36}$/) });
  const stored = await ground.sqlite3(ground.file('x.db'), 'SELECT id FROM _skylinedb_database');
  expect(asks.database).toBe(stored);
  const knows = await exec(['INSERT INTO t VALUES (1)'], place(2, { session_database: stored }));
  expect(knows).toMatchObject({ rev: 2, epoch: 1 });
  expect(knows).not.toHaveProperty('database');
  expect(await exec(['INSERT INTO t VALUES (2)'], place(3, { session_database: 'another' }))).toMatchObject({
    code: 'SESSION_CONFLICT',
    outcome: 'unknown',
    message: expect.stringContaining(stored),
  });
  // What is recorded here is replayed here, whatever the client takes it for.
  expect(await exec(['INSERT INTO t VALUES (1)'], place(2, { session_database: 'another' }))).toMatchObject({
    rev: 2,
    replayed: true,
  });
  expect(await exec(['SELECT a FROM t'], place(4, { session_database: true }))).toMatchObject({
    database: stored,
    results: [{ rows: [[1]] }],
  });
});

test('a deleted file is another one, too', async () => {
  await setUp();
  await wire.request({ type: 'CloseDatabase', db: 'x.db' });
  await ground.run('rm', [ground.file('x.db')]);
  await wire.request({ type: 'ReopenDatabase', db: 'x.db', allow_missing: true });
  expect(await exec(['CREATE TABLE t (a)'], place(2, { session_epoch: 1 }))).toMatchObject({
    code: 'SESSION_CONFLICT',
    actual: 2,
  });
  expect(await wire.request({ type: 'Ping', db: 'x.db' })).toMatchObject({ exists: false });
});

test('a past deadline does not hide what was applied from the worker', async () => {
  await setUp();
  await exec([INSERT], place(2));
  // The router, where the worker does not say so in time, can only say that it was not begun.
  const { endpoint } = await wire.request({ type: 'Attach', db: 'x.db' });
  const attached = await ground.wire(String(endpoint));
  const again = place(2, { timeout_ms: 0 });
  expect(await attached.exec(undefined, [INSERT], again)).toMatchObject({ status: 'ok', replayed: true });
});

test('only_replay is answered when it was looked up, however late: no deadline makes it "not applied"', async () => {
  await setUp();
  await exec([INSERT], place(2));
  const [worker = 0] = ground.workers();
  process.kill(worker, 'SIGSTOP');
  const asked = exec([INSERT], place(2, { only_replay: true, timeout_ms: 0 }));
  // Behind it, and over in the router.
  expect(await exec([INSERT], { timeout_ms: 0 })).toMatchObject({ code: 'TIMEOUT', outcome: 'not_applied' });
  process.kill(worker, 'SIGCONT');
  expect(await asked).toMatchObject({ status: 'ok', replayed: true, rev: 2 });
  expect(await count()).toBe(1);
});

test('the row of a session holds only what is not acknowledged', async () => {
  await setUp();
  for (let seq = 2; seq <= 20; seq += 1) await exec([INSERT], place(seq, { acked: seq - 1 }));
  const [row] = await wire.rows('x.db', 'SELECT session, last, acked, outcomes FROM _skylinedb_sessions');
  expect(row?.slice(0, 3)).toEqual(['s', 20, 19]);
  expect(String(row?.[3]).split('\n')).toHaveLength(1);
  expect(await exec(['DELETE FROM _skylinedb_sessions'], place(21))).toMatchObject({
    code: 'STATEMENT_NOT_ALLOWED',
  });
});
