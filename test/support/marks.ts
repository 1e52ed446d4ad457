import type { Playground } from './playground.js';
import { Program } from './program.js';
import type { Wire } from './wire.js';

/** What test/fixtures/storm-writer.mjs says in the end. */
export interface WriterReport {
  readonly name: string;
  /** n, rev, epoch, the mark's id, whether it counted. */
  readonly done: readonly (readonly [number, number, number, number, boolean])[];
  /** n, code, outcome, message. */
  readonly failed: readonly (readonly [number, string, string, string])[];
  readonly violations: readonly string[];
}

/** What test/fixtures/storm-reader.mjs says in the end. */
export interface ReaderReport {
  readonly looks: number;
  readonly lastId: number;
  readonly violations: readonly string[];
}

/** What test/fixtures/storm-subscriber.mjs says in the end. */
export interface SubscriberReport {
  readonly changes: number;
  readonly resets: number;
  readonly violations: readonly string[];
}

/** The tables of the storms: made in one batch, so that from then on rev and ids count together. */
export const MARK_TABLES = [
  'CREATE TABLE marks (id INTEGER PRIMARY KEY, who TEXT NOT NULL, n INTEGER NOT NULL, counted INTEGER NOT NULL, ballast BLOB)',
  'CREATE TABLE counter (one INTEGER PRIMARY KEY, n INTEGER NOT NULL)',
  'CREATE TABLE never (v INTEGER CHECK (v = 0))',
  'INSERT INTO counter VALUES (1, 0)',
];

export async function makeMarks(wire: Wire, db: string): Promise<void> {
  const reply = await wire.exec(db, MARK_TABLES);
  if (reply.status !== 'ok') throw new Error(JSON.stringify(reply));
}

/** Starts a writer, and waits until it writes. */
export async function startWriter(
  ground: Playground,
  args: { db: string; name: string; inFlight: number; seed: number; options?: object },
  env: NodeJS.ProcessEnv = {},
): Promise<Program> {
  const { db, name, inFlight, seed, options = {} } = args;
  const list = [db, name, `${inFlight}`, `${seed}`, JSON.stringify(options)];
  const program = Program.fixture(ground, 'storm-writer', list, { env });
  await expectLine(program, 'begun');
  return program;
}

/** Starts a reader that looks all along. */
export async function startReader(ground: Playground, db: string): Promise<Program> {
  const program = Program.fixture(ground, 'storm-reader', [db]);
  await expectLine(program, 'begun');
  return program;
}

/** Starts one that hears of every change from now on. */
export async function startSubscriber(ground: Playground, db: string, rev: number): Promise<Program> {
  const program = Program.fixture(ground, 'storm-subscriber', [db, `${rev}`]);
  await expectLine(program, 'begun');
  return program;
}

/** Starts one that watches where the database stands, whatever file is in its place. */
export async function startWatcher(ground: Playground, db: string): Promise<Program> {
  const program = Program.fixture(ground, 'storm-watcher', [db]);
  await expectLine(program, 'begun');
  return program;
}

/** Lets a writer or reader come to its end. */
export async function endOf<Report>(program: Program): Promise<Report> {
  program.say('stop');
  const report = await program.json<Report>();
  await program.exited;
  return report;
}

async function expectLine(program: Program, wanted: string): Promise<void> {
  const line = await program.line();
  if (line !== wanted) throw new Error(`expected "${wanted}", but the program said: ${line}`);
}

/** A mark as the file holds it. */
interface Mark {
  readonly id: number;
  readonly counted: boolean;
}

/** What one file of a storm holds, as plain SQLite reads it. */
export interface MarkFile {
  readonly file: string;
  readonly integrity: string;
  readonly rev: number;
  readonly epoch: number;
  readonly counter: number;
  /** By writer and n, in the order of their ids. */
  readonly marks: ReadonlyMap<string, readonly Mark[]>;
}

/** Reads it with `sqlite3`, once nobody has it open. */
export async function readMarks(ground: Playground, file: string): Promise<MarkFile> {
  const ask = (sql: string) => ground.sqlite3(file, sql);
  const marks = new Map<string, Mark[]>();
  for (const line of (await ask("SELECT who || '/' || n, id, counted FROM marks ORDER BY id")).split('\n')) {
    if (line === '') continue;
    const [key = '', id, counted] = line.split('|');
    const list = marks.get(key) ?? [];
    marks.set(key, list);
    list.push({ id: Number(id), counted: counted === '1' });
  }
  const hasPosition =
    (await ask("SELECT count(*) FROM sqlite_schema WHERE name = '_skylinedb_database'")) === '1';
  const [epoch, rev] = hasPosition
    ? (await ask('SELECT epoch, rev FROM _skylinedb_database')).split('|').map(Number)
    : [];
  return {
    file,
    integrity: await ask('PRAGMA integrity_check'),
    epoch: epoch ?? 0,
    rev: rev ?? 0,
    counter: Number(await ask('SELECT n FROM counter')),
    marks,
  };
}

/** How a storm has gone, in numbers, and what was wrong. */
export interface Verdict {
  readonly done: number;
  readonly failed: number;
  readonly unknown: number;
  /** How often each failure was met, by code and outcome. */
  readonly codes: { readonly [code: string]: number };
  readonly violations: readonly string[];
}

/**
 * Compares what the writers were told with what one file holds that nobody has replaced: done is there once, failed is not
 * there, rev and ids have no gap, the counter has counted each success.
 */
export function judge(reports: readonly WriterReport[], file: MarkFile): Verdict {
  const violations = reports.flatMap((report) => report.violations);
  if (file.integrity !== 'ok') violations.push(`integrity_check of ${file.file}: ${file.integrity}`);
  const codes: Record<string, number> = {};
  let [done, failed, unknown] = [0, 0, 0];
  for (const report of reports) {
    done += report.done.length;
    for (const [n, rev, epoch, id, counted] of report.done) {
      const key = `${report.name}/${n}`;
      const found = file.marks.get(key) ?? [];
      if (found.length !== 1) violations.push(`${key} was done and is there ${found.length} times`);
      else if (found[0]?.id !== id || found[0]?.counted !== counted)
        violations.push(`${key} was answered with id ${id}, and is ${JSON.stringify(found[0])}`);
      if (rev !== id + 1) violations.push(`${key} is mark ${id}, but its answer has rev ${rev}`);
      if (epoch !== file.epoch) violations.push(`${key} was answered with epoch ${epoch}`);
    }
    for (const [n, code, outcome, message] of report.failed) {
      codes[`${code} ${outcome}`] = (codes[`${code} ${outcome}`] ?? 0) + 1;
      if (outcome === 'not_applied') failed += 1;
      else unknown += 1;
      const count = file.marks.get(`${report.name}/${n}`)?.length ?? 0;
      if (outcome === 'not_applied' ? count > 0 : count > 1)
        violations.push(
          `${report.name}/${n} failed (${code}, ${outcome}) and is there ${count} times: ${message}`,
        );
    }
  }
  const all = [...file.marks.values()].flat();
  if (all.some(({ id }, at) => id !== at + 1)) violations.push('the ids have a gap');
  if (file.rev !== all.length + 1) violations.push(`rev ${file.rev} with ${all.length} marks`);
  const counted = all.filter((mark) => mark.counted).length;
  if (file.counter !== counted)
    violations.push(`the counter is ${file.counter} with ${counted} counted marks`);
  violations.push(...outOfOrder(file));
  // Whatever is there was asked for, and is done or unknown.
  const extra = all.length - done;
  if (extra < 0 || extra > unknown)
    violations.push(`${all.length} marks with ${done} done and ${unknown} unknown`);
  return { done, failed, unknown, codes, violations };
}

/** Each writer's marks are in the order in which it wrote them. */
export function outOfOrder({ marks }: MarkFile): string[] {
  const last = new Map<string, number>();
  const wrong: string[] = [];
  const inOrder = [...marks].flatMap(([key, list]) => list.map(({ id }) => ({ key, id })));
  for (const { key } of inOrder.sort((a, b) => a.id - b.id)) {
    const [who = '', n] = key.split('/');
    if (Number(n) <= (last.get(who) ?? 0)) wrong.push(`${key} follows ${who}/${last.get(who)}`);
    last.set(who, Number(n));
  }
  return wrong;
}
