import { readdirSync } from 'node:fs';
import { until } from '../support/playground.js';
import { disguised, mangled } from '../support/random-sql.js';
import type { Message, Wire } from '../support/wire.js';
import { blowsOn, type StormResult, type StormSetting } from './storm.js';

const DB = 'sql.db';
/** Batches between two thorough looks. */
const LOOK_EVERY = 50;
/** For the batch whose statement came out without an end. */
const TIMEOUT_MS = 5_000;
/** What only a fault of ours can bring: nobody else is there, and nothing is killed. A busy machine brings TIMEOUT alone. */
const FAULTS = new Set(['INTERNAL', 'WORKER_CRASHED', 'DATABASE_CORRUPT', 'BUSY', 'IO_ERROR']);

/**
 * Random SQL, in batches that put a row into a table of their own before it: whatever the statement is, the row is there if
 * the batch was done, and not if it failed; what is forbidden is refused; connection, schema and files of others stay.
 */
export async function sqlStorm({ ground, random, seconds, least }: StormSetting): Promise<StormResult> {
  await ground.daemon(['--log-level', 'error']);
  const wire = await ground.wire();
  let [worker] = await begin(wire, () => ground.workers());
  const figures = {
    'statements done': 0,
    'statements failed': 0,
    'statements refused': 0,
    'statements out of time': 0,
  };
  const violations: string[] = [];
  const end = performance.now() + seconds * 1000;
  for (let n = 1; blowsOn(end, figures, least) && violations.length < 20; n += 1) {
    const mustFail = random.chance(0.5);
    const sql = mustFail ? disguised(random) : mangled(random);
    const { reply, wrong } = await run(wire, n, sql, mustFail, random.chance(0.3)).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${JSON.stringify(sql)}`, { cause: error });
    });
    violations.push(...wrong.map((text) => `${text}: ${JSON.stringify(sql)}`));
    if (reply.status === 'ok') figures['statements done'] += 1;
    else if (reply.code === 'STATEMENT_NOT_ALLOWED') figures['statements refused'] += 1;
    else if (reply.code === 'TIMEOUT') {
      // If it was stopped, so was its worker, as was promised.
      figures['statements out of time'] += 1;
      [worker] = ground.workers();
    } else figures['statements failed'] += 1;
    if (n % LOOK_EVERY === 0) violations.push(...(await look(wire, readdirSync(ground.dataDir))));
  }
  if (ground.workers()[0] !== worker) violations.push('the worker is another one');
  await wire.request({ type: 'Shutdown' });
  await until('no process is left', () => ground.processes().length === 0);
  const found = await ground.sqlite3(ground.file(DB), 'PRAGMA integrity_check');
  if (found !== 'ok') violations.push(found);
  return { figures, violations };
}

async function begin(wire: Wire, workers: () => number[]): Promise<number[]> {
  const made = await wire.exec(DB, [
    'CREATE TABLE canary (n INTEGER PRIMARY KEY)',
    'CREATE TABLE fuzz (a, b)',
    'CREATE TABLE parent (id INTEGER PRIMARY KEY)',
    'CREATE TABLE child (id INTEGER REFERENCES parent (id), c INTEGER CHECK (c > 0))',
  ]);
  if (made.status !== 'ok') throw new Error(JSON.stringify(made));
  return workers();
}

/** One statement in its batch, and what is wrong with what came of it. */
async function run(
  wire: Wire,
  n: number,
  sql: string,
  mustFail: boolean,
  failsBehind: boolean,
): Promise<{ reply: Message; wrong: string[] }> {
  const before = await standing(wire);
  const reply = await wire.exec(
    DB,
    [
      { sql: 'INSERT INTO canary VALUES (?)', params: [n] },
      { sql },
      ...(failsBehind ? ['SELECT * FROM missing'] : []),
    ],
    { tx: 'atomic', timeout_ms: TIMEOUT_MS },
  );
  return { reply, wrong: judge(reply, before, await standing(wire), n, mustFail) };
}

interface Standing {
  readonly rev: number;
  readonly stored: number;
  readonly last: number;
}

/** As the daemon tells it, and as the file holds it. */
async function standing(wire: Wire): Promise<Standing> {
  const reply = await wire.exec(DB, [
    'SELECT (SELECT rev FROM _skylinedb_database), (SELECT max(n) FROM canary)',
  ]);
  if (reply.status !== 'ok') throw new Error(`a look was answered with ${JSON.stringify(reply)}`);
  const [row] = (reply.results as { rows: number[][] }[])[0]?.rows ?? [];
  return { rev: Number(reply.rev), stored: row?.[0] ?? -1, last: row?.[1] ?? 0 };
}

function judge(reply: Message, before: Standing, after: Standing, n: number, mustFail: boolean): string[] {
  const wrong: string[] = [];
  // Stopped at its end, nobody may know; then it is all of it or nothing.
  const done = reply.outcome === 'unknown' ? after.last === n : reply.status === 'ok';
  if (done && mustFail) wrong.push('what is forbidden was done');
  if (FAULTS.has(String(reply.code))) wrong.push(`answered with ${JSON.stringify(reply)}`);
  if (after.rev !== after.stored) wrong.push(`the daemon says rev ${after.rev}, the file ${after.stored}`);
  if (after.rev !== before.rev + (done ? 1 : 0)) wrong.push(`rev went from ${before.rev} to ${after.rev}`);
  if (done ? after.last !== n : after.last !== before.last)
    wrong.push(`${reply.status}, and the last row is ${after.last}`);
  return wrong;
}

/** What somebody's statement could have changed for others. */
async function look(wire: Wire, files: readonly string[]): Promise<string[]> {
  const wrong: string[] = [];
  const orphan = await wire.exec(DB, ['INSERT INTO child VALUES (77, 1)']);
  if (orphan.sqlite_code !== 'SQLITE_CONSTRAINT_FOREIGNKEY')
    wrong.push(`foreign keys: ${JSON.stringify(orphan)}`);
  const checked = await wire.exec(DB, ['INSERT INTO child VALUES (NULL, -1)']);
  if (checked.sqlite_code !== 'SQLITE_CONSTRAINT_CHECK') wrong.push(`checks: ${JSON.stringify(checked)}`);
  const [like] = await wire.rows(DB, "SELECT 'a' LIKE 'A', last_insert_rowid(), changes()");
  if (JSON.stringify(like) !== '[1,0,0]' && JSON.stringify(like) !== '[1,0,1]')
    wrong.push(`LIKE and counters: ${JSON.stringify(like)}`);
  const databases = await wire.rows(DB, 'SELECT name FROM pragma_database_list');
  if (databases.some(([name]) => name !== 'main' && name !== 'temp'))
    wrong.push(`databases: ${JSON.stringify(databases)}`);
  const temporary = await wire.rows(
    DB,
    "SELECT name FROM pragma_table_list WHERE schema = 'temp' AND name NOT LIKE 'sqlite_%'",
  );
  if (temporary.length > 0) wrong.push(`temporary: ${JSON.stringify(temporary)}`);
  const strange = files.filter((name) => !name.startsWith(DB));
  if (strange.length > 0) wrong.push(`files: ${strange.join(', ')}`);
  const shm = files.includes(`${DB}-wal`);
  if (!shm) wrong.push('it is not in WAL mode any more');
  return wrong;
}
