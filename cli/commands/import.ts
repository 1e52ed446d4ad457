import { extname } from 'node:path';
import type { Client } from '../../client/client.js';
import { SkylineError } from '../../protocol/errors.js';
import { EXIT, usageError } from '../errors.js';
import { count } from '../format.js';
import { type CsvOptions, csvRows } from '../import-csv.js';
import { causeOf, destination, importAtomically } from '../import-into.js';
import { ndjsonRows } from '../import-ndjson.js';
import { forget, importInPieces, refuseUnfinished } from '../import-pieces.js';
import { withImportProgress } from '../import-progress.js';
import type { ImportedRows } from '../import-rows.js';
import { ImportText } from '../import-text.js';
import {
  commonOptions,
  type DatabaseOptions,
  databaseOption,
  optionsOf,
  whole,
  wordOption,
} from '../options.js';
import { details, done, type Report, replyReport } from '../output.js';
import type { Define } from '../program.js';
import { withClient } from '../session.js';

type Format = 'csv' | 'ndjson';

interface ImportOptions extends DatabaseOptions {
  readonly table: string;
  readonly format?: Format;
  readonly columns?: string;
  readonly header: boolean;
  readonly delimiter?: string;
  readonly null?: string;
  readonly batchRows?: number;
  readonly restart?: boolean;
}

const HELP = `
All rows are imported or none, however large FILE is; others go on writing meanwhile. With --batch-rows each piece is
committed by itself, and after a failure the same command goes on where the last piece ended.

CSV: the first row names the columns. Values are text, which the columns' types convert: 12 becomes an INTEGER in an INTEGER
column. NDJSON: one object on each line; the keys of the first line are the columns, and what a later line leaves out is
NULL. 64-bit integers are exact, {"$blob":"AP8="} is a BLOB, other nested objects and arrays are stored as JSON text.

Examples:
  skylinedb-cli import --db stars.db --table stars stars.csv
  skylinedb-cli import --db stars.db --table stars --null '' --delimiter ';' stars.csv
  skylinedb-cli import --db stars.db --table stars --no-header --columns name,mag stars.csv
  skylinedb-cli import --db stars.db --table stars --batch-rows 50000 huge.ndjson
  zcat stars.csv.gz | skylinedb-cli import --db stars.db --table stars --format csv -`;

export const define: Define = (command) => {
  commonOptions(
    databaseOption(command).argument('<FILE>', 'what to read; - for standard input'),
    'how long it may take (default: for ever)',
  )
    .description('Loads the rows of a CSV or NDJSON file into a table.')
    .requiredOption('--table <NAME>', 'the table, which must exist')
    .addOption(wordOption('--format <FORMAT>', "default: by FILE's extension", ['csv', 'ndjson']))
    .option('--columns <NAMES>', "the columns, separated by commas (default: the file's own names)")
    .option('--no-header', 'CSV: the first row is a row like the others')
    .option('--delimiter <CHAR>', 'CSV: what separates values (default: a comma); \\t for a tab')
    .option(
      '--null <TEXT>',
      'CSV: the value that stands for NULL (default: none; an empty value is an empty text)',
    )
    .option('--batch-rows <N>', 'commit pieces of at most N rows, and go on after a failure', whole)
    .option('--restart', 'forget how far an earlier import in pieces has come; its rows stay')
    .addHelpText('after', HELP);
  return () => importFile(command.args[0] ?? '', optionsOf<ImportOptions>(command));
};

async function importFile(file: string, options: ImportOptions): Promise<Report> {
  const { db, table, batchRows, timeout } = options;
  const format = formatOf(file, options);
  const csv = csvOptions(format, options);
  if (batchRows === 0) throw usageError('--batch-rows takes a number from 1.');
  const text = await ImportText.open(file);
  const stop = new Stop(text, timeout);
  try {
    const read = () => (format === 'csv' ? csvRows(text, csv) : ndjsonRows(text, csv.columns));
    const reading = JSON.stringify([format, csv]);
    const result = await withClient(options, { start: true }, (client) =>
      withImportProgress(text, options.json === true, (listening) =>
        run(client, options, text, read, reading, { signal: stop.signal, ...listening }),
      ),
    );
    return replyReport({ status: 'ok', ...result }, async ({ out }) => {
      await out.line(done(out, `Imported ${count(result.rows, 'row')} into ${table} of database: ${db}`));
      if (result.skipped > 0) await out.write(details(out, [['before', count(result.skipped, 'row')]]));
    });
  } finally {
    stop.end();
    text.close();
  }
}

async function run(
  client: Client,
  { db, table, batchRows, restart }: ImportOptions,
  text: ImportText,
  read: () => Promise<ImportedRows>,
  reading: string,
  options: Parameters<typeof importAtomically>[3],
): Promise<{ rows: number; skipped: number }> {
  const database = client.database(db);
  const { columns, rows } = await read().catch((error: unknown) => {
    throw causeOf(error, options.signal);
  });
  const to = await destination(database, table, columns);
  if (restart === true) await forget(database, text, table);
  if (batchRows !== undefined)
    return await importInPieces(database, to, text, rows, { ...options, batchRows, reading });
  await refuseUnfinished(database, text, table);
  return { rows: await importAtomically(database, to, rows, options), skipped: 0 };
}

function formatOf(file: string, { format }: ImportOptions): Format {
  if (format !== undefined) return format;
  switch (extname(file).toLowerCase()) {
    case '.csv':
      return 'csv';
    case '.ndjson':
    case '.jsonl':
      return 'ndjson';
    default:
      throw usageError(
        `${file === '-' ? 'Standard input has no extension' : `The extension of ${file} does not tell its format`}: add --format csv or --format ndjson.`,
      );
  }
}

function csvOptions(format: Format, options: ImportOptions): CsvOptions {
  const { header, delimiter, null: nullText } = options;
  if (format !== 'csv' && (!header || delimiter !== undefined || nullText !== undefined))
    throw usageError('--no-header, --delimiter and --null are for CSV.');
  const separator = delimiter === '\\t' ? '\t' : (delimiter ?? ',');
  if ([...separator].length !== 1 || /["\r\n]/.test(separator))
    throw usageError('--delimiter takes one character, which is no quote and no line end.');
  const columns = options.columns?.split(',').map((name) => name.trim());
  if (columns?.includes('') === true) throw usageError('--columns takes names separated by commas.');
  return { columns, header, delimiter: separator, nullText };
}

/** Ends the import early, for Ctrl-C, for SIGTERM and for --timeout. A second Ctrl-C ends the process at once. */
class Stop {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #onSignal = () => {
    if (this.signal.aborted) process.exit(EXIT.refused);
    this.#stop(new SkylineError('ABORTED', 'The import was interrupted.'));
  };

  constructor(text: ImportText, timeoutMs: number | undefined) {
    // A source that has nothing to say now would be waited for.
    this.signal.addEventListener('abort', () => text.close(), { once: true });
    // Not once(): proper-lockfile's own listener ends the process when it finds itself alone (signal-exit).
    process.on('SIGINT', this.#onSignal);
    process.on('SIGTERM', this.#onSignal);
    if (timeoutMs !== undefined)
      this.#timer = setTimeout(
        () =>
          this.#stop(new SkylineError('TIMEOUT', `The import took longer than ${timeoutMs} ms (--timeout).`)),
        timeoutMs,
      );
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  end(): void {
    clearTimeout(this.#timer);
    process.off('SIGINT', this.#onSignal);
    process.off('SIGTERM', this.#onSignal);
  }

  #stop(reason: SkylineError): void {
    this.#controller.abort(reason);
  }
}
