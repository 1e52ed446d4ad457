import { randomBytes } from 'node:crypto';
import type { SqlParams } from '../client/batch.js';
import type { Database } from '../client/database.js';
import { bytesOf, insertInto, quoteName } from '../client/insert-rows.js';
import type { LoadOptions } from '../client/load.js';
import { codeOf, SkylineError } from '../protocol/errors.js';
import type { SqlInput } from '../protocol/values.js';

/** Where rows go: a table, and the columns that each row has values for. */
export interface Destination {
  readonly table: string;
  readonly columns: readonly string[];
}

export type ImportOptions = Pick<LoadOptions, 'signal' | 'onProgress'>;

/** Rows up to this size go in one batch. Their JSON is six times as large at worst: still less than a frame may be. */
const ONE_BATCH_BYTES = 2 * 1024 * 1024;
const STAGING = /^skylinedb_import_(\d+)_[0-9a-f]{12}$/;

/**
 * The table's columns that take values.
 * @param named undefined for all of them
 * @throws SkylineError `SQL_ERROR` when the table or a column does not exist
 */
export async function destination(
  database: Database,
  table: string,
  named: readonly string[] | undefined,
): Promise<Destination> {
  const found = await database.all<{ name: string }>(
    'SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0',
    [table],
  );
  if (found.length === 0)
    throw new SkylineError(
      'SQL_ERROR',
      `${database.path} has no table ${JSON.stringify(table)}. Create it first: skylinedb-cli exec "CREATE TABLE …".`,
    );
  const all = found.map(({ name }) => name);
  const columns = named ?? all;
  const unknown = columns.filter((name) => !all.some((known) => sameName(known, name)));
  if (unknown.length > 0)
    throw new SkylineError(
      'SQL_ERROR',
      `The table ${JSON.stringify(table)} has no column ${unknown.map((name) => JSON.stringify(name)).join(', ')}. It has ${all.join(', ')}. Name the file's columns with --columns.`,
    );
  const twice = columns.find((name, at) => columns.slice(0, at).some((before) => sameName(before, name)));
  if (twice !== undefined)
    throw new SkylineError('SQL_ERROR', `The column ${JSON.stringify(twice)} is named twice.`);
  return { table, columns };
}

/**
 * Imports all rows or none, however many there are. What is too large for one batch is gathered in a table of its own, while
 * others go on writing, and then moved in one transaction.
 * @returns the number of rows
 * @throws SkylineError with nothing imported, unless its outcome is `unknown`
 */
export async function importAtomically(
  database: Database,
  to: Destination,
  rows: AsyncGenerator<readonly SqlInput[]>,
  options: ImportOptions,
): Promise<number> {
  await removeLeftovers(database);
  const first: SqlParams[] = [];
  let bytes = 0;
  try {
    let step = await rows.next();
    while (step.done !== true) {
      bytes += bytesOf(step.value);
      if (bytes > ONE_BATCH_BYTES) break;
      first.push(step.value);
      step = await rows.next();
    }
    options.signal?.throwIfAborted();
    if (step.done !== true) return await importStaged(database, to, joined(first, step.value, rows), options);
    if (first.length === 0) return 0;
    const sql = insertInto(to.table, to.columns, to.columns.length);
    await database
      .batch([{ sql, paramSets: first }], { results: false, ...stopping(options) })
      .catch((error: unknown) => {
        throw atRow(error, 0);
      });
    options.onProgress?.({ rows: first.length, bytes });
    return first.length;
  } catch (error) {
    throw nothingImported(isUnknown(error) ? error : causeOf(error, options.signal), to.table);
  }
}

function stopping({ signal }: ImportOptions): Pick<ImportOptions, 'signal'> {
  return signal === undefined ? {} : { signal };
}

function isUnknown(error: unknown): boolean {
  return error instanceof SkylineError && error.outcome === 'unknown';
}

async function importStaged(
  database: Database,
  { table, columns }: Destination,
  rows: AsyncIterable<SqlParams>,
  options: ImportOptions,
): Promise<number> {
  const staging = `skylinedb_import_${process.pid}_${randomBytes(6).toString('hex')}`;
  const list = columns.map(quoteName).join(', ');
  // Without types: values stay as they are, and the table's own affinities meet them as they would without this step.
  const places = columns.map((_, at) => `c${at}`).join(', ');
  const move = `INSERT INTO ${quoteName(table)} (${list}) SELECT ${places} FROM ${staging} ORDER BY rowid`;
  let moving = false;
  let loaded = 0;
  try {
    await database.exec(`CREATE TABLE ${staging} (${places})`);
    loaded = (await database.load(staging, rows, options)).rows;
    options.signal?.throwIfAborted();
    moving = true;
    await database.batch([move, `DROP TABLE ${staging}`], stopping(options));
  } catch (error) {
    const unknown = moving && isUnknown(error);
    // It is dropped in the transaction that moves the rows: if it is gone, they are there.
    const left = !unknown || (await exists(database, staging).catch(() => undefined));
    if (left === false) return loaded;
    if (left === undefined) throw error;
    await database.exec(`DROP TABLE IF EXISTS ${staging}`).catch(() => undefined);
    throw settled(causeOf(error, options.signal));
  }
  return loaded;
}

/** Removes what imports left behind whose process was killed. */
async function removeLeftovers(database: Database): Promise<void> {
  const tables = await database.all<{ name: string }>(
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'skylinedb_import_*'",
  );
  for (const { name } of tables) {
    const pid = Number(STAGING.exec(name)?.[1] ?? Number.NaN);
    if (!Number.isNaN(pid) && !isAlive(pid)) await database.exec(`DROP TABLE IF EXISTS ${name}`);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is somebody else's.
    return codeOf(error) !== 'ESRCH';
  }
}

/** Whether a table exists. */
export async function exists(database: Database, table: string): Promise<boolean> {
  const found = await database.all("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", [table]);
  return found.length > 0;
}

async function* joined(
  first: readonly SqlParams[],
  next: SqlParams,
  rest: AsyncIterable<SqlParams>,
): AsyncGenerator<SqlParams> {
  yield* first;
  yield next;
  yield* rest;
}

/** What really happened: the load's account is not the import's, and a source that was closed because of a signal says nothing. */
export function causeOf(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted === true) return signal.reason;
  const wrapped = error instanceof SkylineError && error.details.rows_committed !== undefined;
  return wrapped ? error.cause : error;
}

/** Whatever became of the request that failed, the table has nothing of it. */
function settled(error: unknown): unknown {
  if (!(error instanceof SkylineError) || error.outcome !== 'unknown') return error;
  const { code, message, details } = error;
  return new SkylineError(code, message.replace(/ Whether the request .*$/, ''), { details, cause: error });
}

function nothingImported(error: unknown, table: string): unknown {
  if (!(error instanceof SkylineError)) return error;
  // The one batch of a small import may have been applied when its answer was lost.
  if (error.outcome === 'unknown') return error;
  return new SkylineError(error.code, sentences(error.message, `Nothing was imported into ${table}.`), {
    retryable: error.retryable,
    details: error.details,
    cause: error,
  });
}

/** The same error, saying which row of the file it is about, if the daemon has told. */
export function atRow(error: unknown, before: number): unknown {
  if (!(error instanceof SkylineError) || error.details.parameter_set === undefined) return error;
  const { code, message, outcome, retryable, details } = error;
  const row = `It is row ${before + error.details.parameter_set + 1} of the file.`;
  return new SkylineError(code, sentences(message, row), { outcome, retryable, details, cause: error });
}

/** Two sentences, of which the first may have no full stop. */
export function sentences(first: string, second: string): string {
  return `${first}${/[.!?]$/.test(first) ? '' : '.'} ${second}`;
}

/** ASCII letters of both cases are one to SQLite. */
function sameName(one: string, other: string): boolean {
  return foldCase(one) === foldCase(other);
}

/** A name as SQLite compares it. */
export function foldCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
