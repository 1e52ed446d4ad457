import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Guard } from '../../../daemon/worker/batch.js';
import { isGroupable, type Outcome } from '../../../daemon/worker/execute.js';
import { Executor, type Work } from '../../../daemon/worker/executor.js';
import type { WorkerOptions } from '../../../daemon/worker/link.js';
import { ServedDatabase } from '../../../daemon/worker/served-database.js';
import { MAX_OUTCOMES, MAX_SESSION_SIZE } from '../../../daemon/worker/sessions.js';
import { decodeExecBatch } from '../../../protocol/decode-exec-batch.js';
import { toErrorReply } from '../../../protocol/errors.js';
import { parseObject } from '../../../protocol/frame.js';
import type { Limits } from '../../../protocol/messages.js';
import { FrameText } from '../../../protocol/values.js';
import { rarely } from '../../support/rarely.js';
import { workerOptions } from '../../support/worker-options.js';

const LIMITS: Limits = {
  max_frame: 4 * 1024 * 1024,
  max_statements: 100,
  max_parameters: 100,
  max_sql_bytes: 100_000,
  max_result_bytes: 2_000_000,
  max_in_flight: 100,
  max_session_result_bytes: 64 * 1024,
  max_sessions: 3_000,
  max_connections: 10,
  max_subscriptions: 100,
  max_daemon_subscriptions: 1000,
};

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sky-sessions-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

function database(name: string, more: Partial<WorkerOptions> = {}): ServedDatabase {
  return new ServedDatabase(workerOptions(join(dir, name), LIMITS, more), () => undefined);
}

const guard = new Guard();
function toWork(request: object): Work {
  const text = JSON.stringify({ type: 'ExecBatch', ...request });
  return { batch: guard.check(decodeExecBatch(parseObject(text), LIMITS), new FrameText(text)), deadline: 0 };
}

/** As the worker does it: what waits shares a transaction where that is possible. */
async function run(target: ServedDatabase, requests: readonly object[], size = 1): Promise<unknown[]> {
  const executor = new Executor(target);
  const outcomes: Outcome[] = [];
  let rest = requests.map(toWork);
  while (rest.length > 0) {
    const alone = rest.findIndex((one) => !isGroupable(one.batch));
    const part = rest.slice(0, alone === 0 ? 1 : Math.min(size, alone < 0 ? rest.length : alone));
    const together = part.length > 1 ? executor.executeTogether(part, () => undefined) : null;
    const done = together ?? [await executor.execute(part[0] as Work, () => undefined)];
    outcomes.push(...done);
    rest = rest.slice(done.length);
  }
  return outcomes.map((outcome) =>
    'reply' in outcome ? JSON.parse(outcome.reply) : toErrorReply(outcome.error),
  );
}

const SCHEMA = {
  stmts: [
    { sql: 'CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER UNIQUE)' },
    { sql: 'CREATE TABLE log (id INTEGER PRIMARY KEY, what TEXT)' },
    {
      sql: "CREATE TRIGGER stop BEFORE INSERT ON t WHEN NEW.n = 13 BEGIN SELECT RAISE(ROLLBACK, 'thirteen'); END",
    },
  ],
};
const small = fc.integer({ min: 0, max: 20 });
const statement = fc.oneof(
  { weight: 4, arbitrary: small.map((n) => `INSERT INTO t (n) VALUES (${n}) RETURNING id, n * 1.0`) },
  { weight: 4, arbitrary: small.map((n) => `INSERT INTO log (what) VALUES ('${n}')`) },
  { weight: 2, arbitrary: small.map((n) => `UPDATE t SET n = n + 100 WHERE n < ${n}`) },
  { weight: 1, arbitrary: small.map((n) => `DELETE FROM t WHERE n = ${n}`) },
  { weight: 1, arbitrary: fc.constant('SELECT count(*) FROM t') },
  { weight: 1, arbitrary: small.map((n) => `CREATE TABLE extra${n % 3} (x)`) },
);
const body = fc.record({
  stmts: fc.array(fc.record({ sql: statement }), { minLength: 1, maxLength: 3 }),
  tx: rarely(fc.constant('none' as const), 8),
});
/** What the model's clients do: a new batch, one sent again, one sent again out of turn, or a crash. */
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('new' as const), session: fc.nat(2), body }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('again' as const), which: fc.nat(1000) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('crash' as const) }) },
);
type Sent = {
  request: { session: string; seq: number; stmts: { sql: string }[]; tx?: 'none' | undefined };
  first?: unknown;
};

/** The plain model: the database's contents, without anything of ours. */
function contents(path: string): unknown {
  const db = new Database(path, { readonly: true });
  try {
    const tables = db
      .prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_skylinedb%' ESCAPE '\\' ORDER BY 1",
      )
      .pluck()
      .all() as string[];
    return [
      db.pragma('integrity_check', { simple: true }),
      db.prepare('SELECT epoch, rev FROM _skylinedb_database').get(),
      ...tables.map((table) => [table, db.prepare(`SELECT * FROM "${table}" ORDER BY 1`).all()]),
    ];
  } finally {
    db.close();
  }
}

let round = 0;
test('whatever is sent again, in whatever groups, over however many crashes: each batch is applied once', async () => {
  let replays = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 40 }),
      fc.integer({ min: 1, max: 12 }),
      async (steps, size) => {
        round += 1;
        const path = join(dir, `x${round}.db`);
        let target = database(`x${round}.db`);
        const once = database(`once${round}.db`);
        const seqs = [0, 0, 0];
        const sent: Sent[] = [];
        let waiting: Sent[] = [];
        const flush = async () => {
          const outcomes = await run(
            target,
            waiting.map(({ request }) => request),
            size,
          );
          for (const [index, one] of waiting.entries()) {
            const { replayed, ...answer } = outcomes[index] as { replayed?: true };
            const writes = toWork(one.request).batch.mayWrite;
            if (one.first === undefined) expect(replayed).toBeUndefined();
            else if (writes) {
              expect(replayed).toBe(true);
              expect(answer).toEqual(one.first);
              replays += 1;
            }
            one.first ??= answer;
          }
          waiting = [];
        };
        try {
          await run(target, [SCHEMA]);
          await run(once, [SCHEMA]);
          for (const one of steps) {
            if (one.do === 'new') {
              const seq = (seqs[one.session] ?? 0) + 1;
              seqs[one.session] = seq;
              const fresh: Sent = { request: { session: `s${one.session}`, seq, ...one.body } };
              sent.push(fresh);
              waiting.push(fresh);
            } else if (one.do === 'again') {
              const again = sent[one.which % Math.max(1, sent.length)];
              if (again !== undefined) waiting.push(again);
            } else {
              await flush();
              target.close();
              target = database(`x${round}.db`);
            }
          }
          await flush();
          // The same batches, each once, in the order of their first sending, and without sessions.
          const plain = await run(
            once,
            sent.map(({ request: { stmts, tx } }) => ({ stmts, ...(tx === undefined ? {} : { tx }) })),
          );
          expect(sent.map(({ first }) => first)).toEqual(plain);
          target.close();
          once.close();
          expect(contents(path)).toEqual(contents(join(dir, `once${round}.db`)));
        } finally {
          target.close();
          once.close();
        }
      },
    ),
    { numRuns: 200 },
  );
  // Otherwise nothing was tested.
  expect(replays).toBeGreaterThan(200);
}, 60_000);

const insert = (n: number | string) => [
  { sql: 'INSERT INTO log (what) VALUES (?) RETURNING what', params: [n] },
];

/** A database as a killed worker leaves it, or as it is seen from a second process. */
function look<T>(name: string, use: (db: Database.Database) => T): T {
  const db = new Database(join(dir, name));
  try {
    return use(db);
  } finally {
    db.close();
  }
}

test('a batch that was cut off says how far it came, and does not go on', async () => {
  const target = database('cut.db');
  await run(target, [SCHEMA]);
  const request = { session: 's', seq: 1, tx: 'none', stmts: [...insert(1), ...insert(2), ...insert(3)] };
  await run(target, [request]);
  const line = look('cut.db', (db) =>
    db.prepare('SELECT outcomes FROM _skylinedb_sessions').pluck().get(),
  ) as string;
  target.close();
  // As its row was after the second statement.
  const [, fingerprint] = line.split(' ');
  look('cut.db', (db) =>
    db.prepare('UPDATE _skylinedb_sessions SET outcomes = ?').run(`1 ${fingerprint} begun 2`),
  );
  const next = database('cut.db');
  const [again] = await run(next, [request]);
  expect(again).toMatchObject({
    code: 'WORKER_CRASHED',
    outcome: 'partial',
    applied: 2,
    replayed: true,
    retryable: false,
  });
  expect(next.position.rev).toBe(4);
  next.close();
});

test('how far a batch of single statements has come commits with each of them', async () => {
  const target = database('each.db');
  await run(target, [SCHEMA]);
  const file = await target.file();
  const seen: unknown[] = [];
  const { write } = file;
  file.write = (durability, work) => {
    const done = write.call(file, durability, work);
    seen.push(look('each.db', (db) => db.prepare('SELECT outcomes FROM _skylinedb_sessions').pluck().get()));
    return done;
  };
  await run(target, [
    { session: 's', seq: 1, tx: 'none', stmts: [...insert(1), ...insert(2), { sql: 'SELECT 1' }] },
  ]);
  expect(seen.map((line) => String(line).split(' ').slice(2).join(' '))).toEqual([
    'begun 1',
    'begun 2',
    expect.stringMatching(/^ok "rev":3,"epoch":1,"rows_affected":2,"results"/),
  ]);
  target.close();
});

test('a group that is taken apart leaves no record of what it did not do', async () => {
  const target = database('apart.db');
  await run(target, [SCHEMA]);
  const requests = [1, 2, 13, 4].map((n, index) => ({
    session: 's',
    seq: index + 1,
    stmts: [{ sql: `INSERT INTO t (n) VALUES (${n})` }],
  }));
  const first = await run(target, [...requests, ...requests], 10);
  expect(first.slice(0, 4)).toMatchObject([{ rev: 2 }, { rev: 3 }, { code: 'SQL_ERROR' }, { rev: 4 }]);
  expect(first.slice(4)).toMatchObject([
    { rev: 2, replayed: true },
    { rev: 3, replayed: true },
    { code: 'SQL_ERROR', replayed: true },
    { rev: 4, replayed: true },
  ]);
  target.close();
});

test('a commit that fails leaves no record in memory', async () => {
  const target = database('commit.db');
  await run(target, [SCHEMA]);
  await run(target, [{ session: 's', seq: 1, stmts: insert(1) }]);
  const { connection } = await target.file();
  const { commit } = connection;
  connection.commit = () => {
    throw Object.assign(new Database.SqliteError('no space', 'SQLITE_FULL'));
  };
  const batch = { session: 's', seq: 2, stmts: insert(2) };
  expect(await run(target, [batch])).toMatchObject([{ code: 'DISK_FULL', outcome: 'not_applied' }]);
  expect(await run(target, [batch, batch], 2)).toMatchObject([{ code: 'DISK_FULL' }, { code: 'DISK_FULL' }]);
  connection.commit = commit;
  const [done, again] = await run(target, [batch, batch], 2);
  expect(done).toMatchObject({ rev: 3 });
  expect(done).not.toHaveProperty('replayed');
  expect(again).toMatchObject({ rev: 3, replayed: true });
  target.close();
});

test('what passes by itself is not recorded: the same batch may be done later', async () => {
  const target = database('busy.db');
  await run(target, [SCHEMA]);
  const foreign = new Database(join(dir, 'busy.db'));
  foreign.exec('BEGIN IMMEDIATE');
  const batch = { session: 's', seq: 1, stmts: insert(1) };
  expect(await run(target, [batch])).toMatchObject([{ code: 'BUSY', outcome: 'not_applied' }]);
  // To give it up needs the lock, too: until then nobody can say that it will not be applied.
  expect(await run(target, [{ ...batch, only_replay: true }])).toMatchObject([
    { code: 'BUSY', outcome: 'unknown', retryable: false },
  ]);
  foreign.exec('ROLLBACK');
  foreign.close();
  expect(await run(target, [batch])).toMatchObject([{ rev: 2 }]);
  target.close();
});

test('a session keeps so many outcomes and no more; the results of the oldest go first', async () => {
  const target = database('many.db');
  await run(target, [SCHEMA]);
  const large = Array.from({ length: 40 }, (_, index) => ({
    session: 'large',
    seq: index + 1,
    stmts: insert(`${index}${'x'.repeat(40_000)}`),
  }));
  await run(target, large, 40);
  const outcomes = await run(target, large, 40);
  expect(outcomes[0]).toMatchObject({ status: 'ok', replayed: true, results_omitted: true });
  expect(outcomes.at(-1)).toMatchObject({
    status: 'ok',
    replayed: true,
    results: [{ rows: [[/^39x/]] }],
  } as object);
  const size = look('many.db', (db) =>
    db.prepare('SELECT length(outcomes) FROM _skylinedb_sessions').pluck().get(),
  );
  expect(size).toBeLessThanOrEqual(MAX_SESSION_SIZE);
  const many = Array.from({ length: MAX_OUTCOMES + 5 }, (_, index) => ({
    session: 'many',
    seq: index + 1,
    results: false,
    stmts: insert(index),
  }));
  await run(target, many, 512);
  const [gone, kept] = await run(target, [many[4] as object, many[5] as object]);
  expect(gone).toMatchObject({ code: 'SESSION_CONFLICT', outcome: 'unknown' });
  expect(kept).toMatchObject({ status: 'ok', replayed: true });
  target.close();
}, 30_000);

test('sessions that nobody uses any more are forgotten in a quiet moment, others are not', async () => {
  const target = database('old.db');
  const batch = (session: string) => ({ session, seq: 1, stmts: insert(1) });
  await run(target, [SCHEMA, batch('old'), batch('new')]);
  target.close();
  const week = 7 * 24 * 60 * 60;
  look('old.db', (db) =>
    db.prepare("UPDATE _skylinedb_sessions SET used = used - ? WHERE session = 'old'").run(week + 5),
  );
  const names = () =>
    look('old.db', (db) => db.prepare('SELECT session FROM _skylinedb_sessions ORDER BY 1').pluck().all());
  for (const [sessionTtlMs, left] of [
    [0, ['again', 'new', 'old']],
    [week * 1000, ['again', 'new']],
  ] as const) {
    const next = database('old.db', { sessionTtlMs });
    // It reads only so far: nothing is written for the sake of that.
    await run(next, [{ stmts: [{ sql: 'SELECT 1' }] }]);
    next.quiet(true);
    expect(names()).toContain('old');
    await run(next, [{ ...batch('again'), seq: sessionTtlMs + 1 }, { stmts: insert(5) }]);
    const { rev } = next.position;
    next.quiet(true);
    expect(names()).toEqual(left);
    // Housekeeping is no write of anybody's.
    expect(next.position.rev).toBe(rev);
    expect(await run(next, [{ stmts: [{ sql: 'SELECT last_insert_rowid(), changes()' }] }])).toMatchObject([
      { results: [{ rows: [[0, 1]] }] },
    ]);
    next.close();
  }
});

test('there are never many more sessions than the limit, also without a quiet moment', async () => {
  const target = database('crowd.db');
  await run(target, [SCHEMA, { session: 'first', seq: 1, stmts: insert(1) }]);
  const { handle } = (await target.file()).connection;
  handle.exec(
    `INSERT INTO _skylinedb_sessions WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < ${LIMITS.max_sessions}) SELECT 's' || x, x, 1, 0, '' FROM i`,
  );
  const fresh = Array.from({ length: 1_500 }, (_, n) => ({ session: `n${n}`, seq: 1, stmts: insert(n) }));
  await run(target, fresh, 512);
  const names = handle.prepare('SELECT session FROM _skylinedb_sessions').pluck().all() as string[];
  expect(names.length).toBeLessThanOrEqual(LIMITS.max_sessions + 1_000);
  expect(names).toContain('first');
  expect(names).toContain(`s${LIMITS.max_sessions}`);
  expect(names).not.toContain('s1');
  const again = await run(target, fresh.slice(-3), 3);
  for (const one of again) expect(one).toMatchObject({ replayed: true });
  target.close();
});
