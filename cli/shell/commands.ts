import { createReadStream } from 'node:fs';
import { extname } from 'node:path';
import { createInterface } from 'node:readline';
import { messageOf, SkylineError } from '../../protocol/errors.js';
import { usageError } from '../errors.js';
import { bytes, count, micros } from '../format.js';
import { details, visible } from '../output.js';
import { type DotCommand, helpText } from './dot-command.js';
import { Input } from './input.js';
import { listed, placeOf } from './place.js';
import { MODES, RowPrinter } from './printer.js';
import type { Shell } from './shell.js';

/** Files that read each other, at most: two that read themselves would go on for ever. */
const DEEPEST = 16;
/** What belongs to SQLite and to the daemon. */
const OWN = "name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND tbl_name NOT LIKE '\\_skylinedb\\_%' ESCAPE '\\'";

/**
 * Carries out a command of the shell.
 * @throws SkylineError
 */
export async function dotCommand(
  shell: Shell,
  { name, args }: DotCommand,
  signal: AbortSignal,
  depth = 0,
): Promise<void> {
  const { out } = shell.screen;
  const [first, second] = args;
  switch (name) {
    case 'help':
      await out.write(helpText());
      return;
    case 'quit':
      shell.over = true;
      return;
    case 'mode': {
      const mode = MODES.find((one) => one === first);
      if (first === undefined) await out.line(shell.mode);
      else if (mode === undefined) throw usageError(`There are the modes ${MODES.join(', ')}.`);
      else shell.mode = mode;
      return;
    }
    case 'timer':
      if (first !== undefined && first !== 'on' && first !== 'off')
        throw usageError('It is written .timer on or .timer off.');
      shell.timer = first === undefined ? !shell.timer : first === 'on';
      await shell.say(`The time is ${shell.timer ? 'shown' : 'not shown'}`);
      return;
    case 'use':
      shell.outsideTransaction('Another database');
      await shell.use(await placeOf(first ?? '', () => shell.client()));
      return;
    case 'databases':
      await databases(shell);
      return;
    case 'tables':
      await tables(shell, first, signal);
      return;
    case 'schema':
      await schema(shell, first, signal);
      return;
    case 'columns':
      await (first === undefined ? tables(shell, first, signal) : columns(shell, first, signal));
      return;
    case 'dump':
      shell.outsideTransaction('A dump');
      await shell.read({ op: 'dump', table: first ?? null }, signal, async (answer) => {
        if (answer.kind === 'text') await out.write(answer.text);
      });
      return;
    case 'read':
      await readFile(shell, first ?? '', signal, depth);
      return;
    case 'import':
      shell.outsideTransaction('An import');
      await importFile(shell, first ?? '', second ?? '', signal);
      return;
    case 'status':
      await status(shell);
      return;
    default:
      name satisfies never;
  }
}

async function databases(shell: Shell): Promise<void> {
  const all = await listed(await shell.client());
  const printer = new RowPrinter(shell.screen.out, shell.mode);
  await printer.piece({
    columns: ['name', 'state', 'bytes', 'file'],
    rows: all.map(({ name, state, size, path }) => [name, state, size, path]),
  });
  await printer.end();
}

async function tables(shell: Shell, pattern: string | undefined, signal: AbortSignal): Promise<void> {
  const like = pattern === undefined ? '' : ` AND name LIKE ${text(pattern)}`;
  const rows = await shell.rows(
    `SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND ${OWN}${like} ORDER BY name`,
    signal,
  );
  for (const [name] of rows) await shell.screen.out.line(visible(String(name)));
}

async function schema(shell: Shell, table: string | undefined, signal: AbortSignal): Promise<void> {
  const rows = await shell.rows(
    `SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND ${OWN}${of(table)} ORDER BY rowid`,
    signal,
  );
  if (table !== undefined && rows.length === 0) throw noTable(table);
  for (const [sql] of rows) await shell.screen.out.line(`${String(sql)};`);
}

async function columns(shell: Shell, table: string, signal: AbortSignal): Promise<void> {
  const rows = await shell.rows(
    `SELECT name, type, CASE WHEN "notnull" THEN 'NOT NULL' ELSE '' END, dflt_value, pk FROM pragma_table_xinfo(${text(table)})
     WHERE hidden <> 1`,
    signal,
  );
  if (rows.length === 0) throw noTable(table);
  const printer = new RowPrinter(shell.screen.out, shell.mode);
  await printer.piece({ columns: ['column', 'type', 'null', 'default', 'key'], rows });
  await printer.end();
  const more = await shell.rows(
    `SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND type IN ('index', 'trigger')${of(table)} ORDER BY rowid`,
    signal,
  );
  for (const [sql] of more) await shell.screen.out.line(`${String(sql)};`);
}

/** Statements and commands of a file, up to the first error, which says where it is. */
async function readFile(shell: Shell, file: string, signal: AbortSignal, depth: number): Promise<void> {
  if (depth >= DEEPEST) throw usageError(`${file}: files read each other more than ${DEEPEST} deep.`);
  const input = new Input();
  const stream = createReadStream(file, { encoding: 'utf8' });
  const lines = createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY });
  // It tells the stream's errors again.
  lines.on('error', () => undefined);
  const units = async function* () {
    for await (const line of lines) yield* input.add(line);
    yield* input.end();
  };
  const opened = new Promise<void>((resolve, reject) => {
    stream.once('open', () => resolve());
    stream.once('error', (error) => reject(usageError(`${file} cannot be read: ${messageOf(error)}.`)));
  });
  try {
    await opened;
    for await (const unit of units()) {
      if (shell.over) return;
      try {
        await shell.runInside(unit, signal, depth + 1);
      } catch (error) {
        throw at(error, `${file}, line ${unit.line}`);
      }
    }
  } finally {
    lines.close();
    stream.destroy();
  }
}

async function importFile(shell: Shell, file: string, table: string, signal: AbortSignal): Promise<void> {
  const [{ ImportText }, { destination, importAtomically }, { csvRows }, { ndjsonRows }] = await Promise.all([
    import('../import-text.js'),
    import('../import-into.js'),
    import('../import-csv.js'),
    import('../import-ndjson.js'),
  ]);
  const csv = extname(file).toLowerCase() === '.csv';
  if (!csv && !/\.(ndjson|jsonl)$/i.test(file))
    throw usageError(
      `The extension of ${file} does not tell its format: it is .csv, .ndjson or .jsonl. "skylinedb-cli import" takes others.`,
    );
  const input = await ImportText.open(file);
  try {
    const options = { columns: undefined, header: true, delimiter: ',', nullText: undefined };
    const { columns: names, rows } = csv ? await csvRows(input, options) : await ndjsonRows(input, undefined);
    const database = (await shell.client()).database(shell.place.db);
    const imported = await importAtomically(database, await destination(database, table, names), rows, {
      signal,
    });
    await shell.say(`Imported ${count(imported, 'row')} into ${table}`);
  } finally {
    input.close();
  }
}

async function status(shell: Shell): Promise<void> {
  const { version, pid, databases } = await (await shell.client()).status(shell.place.db);
  const [database] = databases;
  if (database === undefined) return;
  const {
    state,
    rev,
    epoch,
    worker_pid: worker,
    queue_depth: queue,
    wal_bytes: wal,
    counters,
    latency_us: us,
  } = database;
  await shell.screen.out.write(
    details(shell.screen.out, [
      ['daemon', `${version}, pid ${pid}`],
      ['file', database.db_path],
      ['state', state],
      ['rev', `${rev}, epoch ${epoch}`],
      ['worker', worker === null ? 'none' : `pid ${worker}`],
      ['queue', String(queue)],
      ['WAL', bytes(wal)],
      ['batches', `${counters.batches}, ${counters.failed} failed`],
      ['latency', us === null ? '-' : `p50 ${micros(us.p50)}, p99 ${micros(us.p99)}`],
    ]),
  );
}

function of(table: string | undefined): string {
  return table === undefined ? '' : ` AND tbl_name = ${text(table)} COLLATE NOCASE`;
}

function text(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}

function noTable(table: string): SkylineError {
  return new SkylineError(
    'SQL_ERROR',
    `There is no table ${JSON.stringify(table)}. Type .tables for all of them.`,
  );
}

/** The same error, with the place where it was found. */
export function at(error: unknown, place: string): unknown {
  if (!(error instanceof SkylineError)) return error;
  const { code, message, outcome, retryable, details } = error;
  return new SkylineError(code, `${place}: ${message}`, { outcome, retryable, details, cause: error });
}
