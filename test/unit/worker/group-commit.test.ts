import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Guard } from '../../../daemon/worker/batch.js';
import { isGroupable, type Outcome } from '../../../daemon/worker/execute.js';
import { Executor, type Work } from '../../../daemon/worker/executor.js';
import { ServedDatabase } from '../../../daemon/worker/served-database.js';
import { decodeExecBatch } from '../../../protocol/decode-exec-batch.js';
import { toErrorReply } from '../../../protocol/errors.js';
import { parseObject } from '../../../protocol/frame.js';
import type { Limits } from '../../../protocol/messages.js';
import { FrameText } from '../../../protocol/values.js';
import { rarely } from '../../support/rarely.js';
import { workerOptions } from '../../support/worker-options.js';

/**
 * Grouping cannot be observed, and sessions and watchers neither: the same batches, in groups with or without sessions and
 * watchers, and one at a time without, give the same answers and the same database.
 */

const LIMITS: Limits = {
  max_frame: 1024 * 1024,
  max_statements: 100,
  max_parameters: 100,
  max_sql_bytes: 100_000,
  max_result_bytes: 2_000,
  max_in_flight: 100,
  max_session_result_bytes: 500,
  max_sessions: 10_000,
  max_connections: 10,
  max_subscriptions: 100,
  max_daemon_subscriptions: 1000,
};

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sky-group-'));
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(dir, { recursive: true, force: true });
});

function database(name: string, watched = false): ServedDatabase {
  const options = workerOptions(join(dir, name), LIMITS, { busyTimeoutMs: 100, watched });
  return new ServedDatabase(options, () => undefined);
}

const SCHEMA = [
  'CREATE TABLE a (id INTEGER PRIMARY KEY, n INTEGER UNIQUE, t TEXT NOT NULL DEFAULT x, CHECK (n < 900))'.replace(
    'DEFAULT x',
    "DEFAULT 'x'",
  ),
  'CREATE TABLE b (k TEXT PRIMARY KEY, v INTEGER) WITHOUT ROWID',
  'CREATE TABLE c (id INTEGER PRIMARY KEY AUTOINCREMENT, a INTEGER REFERENCES a(id) ON DELETE CASCADE)',
  'CREATE TABLE log (id INTEGER PRIMARY KEY, what TEXT, rid INTEGER, ch INTEGER)',
  "CREATE TRIGGER watch AFTER INSERT ON c BEGIN INSERT INTO log (what, rid, ch) VALUES ('c', last_insert_rowid(), changes()); END",
  "CREATE TRIGGER stop BEFORE INSERT ON a WHEN NEW.n = 13 BEGIN SELECT RAISE(ROLLBACK, 'thirteen'); END",
  'CREATE TRIGGER skip BEFORE INSERT ON a WHEN NEW.n = 14 BEGIN SELECT RAISE(IGNORE); END',
  "CREATE TRIGGER fail BEFORE UPDATE ON a WHEN NEW.n = 15 BEGIN SELECT RAISE(FAIL, 'fifteen'); END",
];
/** Rows to conflict with, so that most statements do something. */
const ROWS = [
  'INSERT INTO a (id, n) WITH RECURSIVE i(x) AS (SELECT 0 UNION ALL SELECT x + 2 FROM i WHERE x < 20) SELECT x, x + 40 FROM i',
  'INSERT INTO c (a) VALUES (2), (4)',
];
const DEFERRED =
  'CREATE TABLE d (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a(id) DEFERRABLE INITIALLY DEFERRED)';

const small = fc.integer({ min: 0, max: 20 });
const conflict = fc.constantFrom('', 'OR ROLLBACK', 'OR ABORT', 'OR FAIL', 'OR IGNORE', 'OR REPLACE');
const statement = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(conflict, small, fc.integer({ min: 0, max: 1000 }))
      .map(([or, id, n]) => `INSERT ${or} INTO a (id, n) VALUES (${id}, ${n % 23 === 0 ? n : n % 30})`),
  },
  { weight: 3, arbitrary: small.map((n) => `INSERT INTO a (n) VALUES (${n}) RETURNING id, n`) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(small, small)
      .map(
        ([id, n]) =>
          `INSERT INTO a (id, n) VALUES (${id}, ${n + 30}) ON CONFLICT (id) DO UPDATE SET n = excluded.n + 100`,
      ),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(conflict, small).map(([or, n]) => `INSERT ${or} INTO b VALUES ('k${n}', ${n})`),
  },
  { weight: 3, arbitrary: small.map((n) => `INSERT INTO c (a) VALUES (${n})`) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(conflict, small, small)
      .map(([or, n, m]) => `UPDATE ${or} a SET n = ${n} WHERE id > ${m}`),
  },
  { weight: 2, arbitrary: small.map((n) => `DELETE FROM a WHERE id = ${n}`) },
  { weight: 5, arbitrary: fc.constant('SELECT last_insert_rowid(), changes()') },
  { weight: 2, arbitrary: fc.constant('SELECT count(*), sum(n), max(id) FROM a') },
  { weight: 1, arbitrary: fc.constant('SELECT rev FROM _skylinedb_database') },
  { weight: 1, arbitrary: small.map((n) => `SELECT printf('%.*c', ${n * 150}, 'x')`) },
  { weight: 3, arbitrary: fc.constant('SELECT * FROM nowhere') },
  { weight: 1, arbitrary: small.map((n) => `PRAGMA user_version = ${n}`) },
  { weight: 1, arbitrary: small.map((n) => `CREATE TABLE IF NOT EXISTS extra${n % 3} (x)`) },
  { weight: 5, arbitrary: small.map((n) => `INSERT INTO d (a) VALUES (${n})`) },
);
const batch = fc.record({
  stmts: fc.array(
    fc.record({
      sql: statement,
      expect: rarely(fc.record({ rows_affected: fc.integer({ min: 0, max: 2 }) }), 8),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  tx: rarely(fc.constant('none'), 20),
  expect_rev: rarely(fc.integer({ min: 1, max: 12 }), 10),
  durable: rarely(fc.constant(true), 10),
});

/** Groups of more than one that were executed as such. */
let groups = 0;

/** Groups as the worker makes them: what may not share a transaction is by itself. */
async function inGroups(target: ServedDatabase, work: readonly Work[], size: number): Promise<Outcome[]> {
  const executor = new Executor(target);
  const outcomes: Outcome[] = [];
  let rest = [...work];
  while (rest.length > 0) {
    const alone = rest.findIndex((one) => !isGroupable(one.batch));
    const take = alone === 0 ? 1 : Math.min(size, alone < 0 ? rest.length : alone);
    const part = rest.slice(0, take);
    const together = take > 1 ? executor.executeTogether(part, () => undefined) : null;
    if (together !== null && together.length > 1) groups += 1;
    const done = together ?? [await executor.execute(part[0] as Work, () => undefined)];
    outcomes.push(...done);
    rest = rest.slice(done.length);
  }
  return outcomes;
}

async function dump(target: ServedDatabase): Promise<unknown> {
  const { handle } = (await target.file()).connection;
  const tables = handle
    .prepare(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_skylinedb\\_%' ESCAPE '\\' ORDER BY name",
    )
    .pluck()
    .all() as string[];
  return [
    handle.pragma('integrity_check', { simple: true }),
    handle.pragma('user_version', { simple: true }),
    handle.prepare('SELECT epoch, rev FROM _skylinedb_database').get(),
    ...tables.map((table) => [table, handle.prepare(`SELECT * FROM "${table}" ORDER BY 1`).all()]),
  ];
}

function plain(outcomes: readonly Outcome[]): unknown[] {
  return outcomes.map((outcome) =>
    'reply' in outcome ? JSON.parse(outcome.reply) : toErrorReply(outcome.error),
  );
}

test('watching cannot be observed in what changes() says', async () => {
  const rows = ['INSERT INTO a (id, n) VALUES (1, 1), (2, 2)', 'INSERT INTO log (ch) SELECT changes()'];
  const schema = ['CREATE TABLE e AS SELECT changes() AS n', 'SELECT n, changes() FROM e', 'DROP TABLE e'];
  const first = 'INSERT INTO log (ch) VALUES (changes())';
  const [watched, unwatched] = [database('watched.db', true), database('unwatched.db')];
  for (const batch of [SCHEMA, [...rows, 'SELECT ch FROM log'], [first], ['DELETE FROM a', ...schema]])
    expect(await group(watched, [sql(...batch)])).toEqual(await group(unwatched, [sql(...batch)]));
  expect(await dump(watched)).toEqual(await dump(unwatched));
  watched.close();
  unwatched.close();
});

let run = 0;
test.each([
  ['plain', SCHEMA],
  ['unobserved', SCHEMA.filter((sql) => !sql.includes('last_insert_rowid'))],
  ['with deferred foreign keys', [...SCHEMA, DEFERRED]],
])(
  'grouping cannot be observed (%s schema)',
  async (_name, schema) => {
    groups = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(batch, { minLength: 2, maxLength: 14 }),
        fc.integer({ min: 2, max: 14 }),
        fc.boolean(),
        fc.boolean(),
        async (requests, size, sessions, watched) => {
          run += 1;
          const guard = new Guard();
          const toWork = (sessions: boolean) =>
            [{ stmts: [...schema, ...ROWS].map((sql) => ({ sql })) }, ...requests].map((request, id) => {
              const place = sessions ? { session: `s${id % 3}`, seq: id + 1 } : {};
              const text = JSON.stringify({ type: 'ExecBatch', id, ...place, ...request });
              return {
                batch: guard.check(decodeExecBatch(parseObject(text), LIMITS), new FrameText(text)),
                deadline: 0,
              };
            });
          const together = database(`together-${run}.db`, watched);
          const single = database(`single-${run}.db`);
          try {
            const ours = await inGroups(together, toWork(sessions), size);
            const theirs = await inGroups(single, toWork(false), 1);
            expect(plain(ours)).toEqual(plain(theirs));
            expect(await dump(together)).toEqual(await dump(single));
          } finally {
            together.close();
            single.close();
          }
        },
      ),
      { numRuns: 300 },
    );
    // Otherwise nothing was tested; deferred foreign keys are what groups are not made with.
    if (schema.includes(DEFERRED)) expect(groups).toBe(0);
    else expect(groups).toBeGreaterThan(200);
  },
  120_000,
);

/** Executes batches in one group and returns what came of each. */
async function group(target: ServedDatabase, requests: readonly object[]): Promise<unknown[]> {
  const guard = new Guard();
  const work = requests.map((request) => {
    const text = JSON.stringify({ type: 'ExecBatch', ...request });
    return {
      batch: guard.check(decodeExecBatch(parseObject(text), LIMITS), new FrameText(text)),
      deadline: 0,
    };
  });
  return plain(await inGroups(target, work, work.length));
}
const sql = (...list: string[]) => ({ stmts: list.map((one) => ({ sql: one })) });

test.each([1, 3])('no batch sees what a failed one had inserted (in groups of %i)', async (size) => {
  const target = database('counters.db');
  await group(target, [sql(...SCHEMA)]);
  const failed = sql('INSERT INTO a (id, n) VALUES (77, 1)', 'SELECT * FROM nowhere');
  const look = sql('SELECT last_insert_rowid(), changes()');
  const requests = [failed, look, failed].slice(0, size === 1 ? 1 : 3);
  const outcomes = [...(await group(target, requests)), ...(await group(target, [look]))];
  for (const outcome of outcomes.filter((one) => (one as { status: string }).status === 'ok')) {
    expect(outcome).toMatchObject({ results: [{ rows: [[0, 1]] }] });
  }
  expect(outcomes.at(-1)).toMatchObject({ status: 'ok' });
  target.close();
});

test('a trigger does not see what another batch had inserted', async () => {
  const target = database('trigger.db');
  await group(target, [
    sql(
      'CREATE TABLE t (id INTEGER PRIMARY KEY)',
      'CREATE TABLE log (rid, ch)',
      'CREATE TRIGGER sight BEFORE INSERT ON t BEGIN INSERT INTO log VALUES (last_insert_rowid(), changes()); END',
    ),
  ]);
  await group(target, [sql('INSERT INTO t VALUES (77)'), sql('INSERT INTO t VALUES (78)')]);
  expect((await dump(target)) as unknown[]).toContainEqual([
    'log',
    [
      { rid: 0, ch: 1 },
      { rid: 0, ch: 1 },
    ],
  ]);
  target.close();
});

test('a later batch cannot make good the deferred violation of an earlier one', async () => {
  const target = database('deferred.db');
  await group(target, [sql(...SCHEMA, DEFERRED)]);
  const outcomes = await group(target, [
    sql('INSERT INTO d (a) VALUES (5)'),
    sql('INSERT INTO a (id, n) VALUES (5, 5)'),
  ]);
  expect(outcomes).toMatchObject([
    { code: 'SQL_ERROR', sqlite_code: 'SQLITE_CONSTRAINT_FOREIGNKEY' },
    { status: 'ok', rev: 2 },
  ]);
  target.close();
});

test('a batch that ends the transaction for all of its group hurts no other', async () => {
  const target = database('hurt.db');
  const guard = new Guard();
  const work = [
    { stmts: SCHEMA.map((sql) => ({ sql })) },
    { stmts: [{ sql: 'INSERT INTO a (n) VALUES (1)' }] },
    { stmts: [{ sql: 'INSERT INTO a (n) VALUES (13)' }] },
    { stmts: [{ sql: 'INSERT INTO a (n) VALUES (2)' }] },
  ].map((request) => {
    const text = JSON.stringify({ type: 'ExecBatch', ...request });
    return {
      batch: guard.check(decodeExecBatch(parseObject(text), LIMITS), new FrameText(text)),
      deadline: 0,
    };
  });
  const outcomes = plain(await inGroups(target, work, 10));
  expect(outcomes).toMatchObject([
    { rev: 1 },
    { rev: 2 },
    { code: 'SQL_ERROR', sqlite_code: 'SQLITE_CONSTRAINT_TRIGGER' },
    { rev: 3 },
  ]);
  target.close();
});

test("a view of the daemon's own tables sees each batch's rev", async () => {
  const target = database('view.db');
  await group(target, [sql('CREATE TABLE t (a)')]);
  // No client of the daemon can make one.
  (await target.file()).connection.handle.exec('CREATE VIEW place AS SELECT rev FROM _skylinedb_database');
  const write = sql('INSERT INTO t VALUES (1)');
  const look = sql('SELECT rev FROM place');
  expect(await group(target, [write, look, write, look])).toMatchObject([
    { rev: 2 },
    { results: [{ rows: [[2]] }] },
    { rev: 3 },
    { results: [{ rows: [[3]] }] },
  ]);
  target.close();
});

test('one commit serves the whole group', async () => {
  const target = database('one.db');
  const guard = new Guard();
  const works = (sqls: string[]) =>
    sqls.map((sql) => {
      const text = JSON.stringify({ type: 'ExecBatch', stmts: [{ sql }] });
      return {
        batch: guard.check(decodeExecBatch(parseObject(text), LIMITS), new FrameText(text)),
        deadline: 0,
      };
    });
  await inGroups(target, works(['CREATE TABLE t (a)']), 1);
  const before = target.counts.commits;
  // A group ends after some milliseconds, on a busy machine before its end: no time passes here.
  vi.useFakeTimers({ toFake: ['performance'] });
  await inGroups(target, works(Array.from({ length: 20 }, (_, n) => `INSERT INTO t VALUES (${n})`)), 20);
  expect(target.counts.commits - before).toBe(1);
  expect(target.position.rev).toBe(21);
  target.close();
});
