import type { BatchOptions, BatchResult, ExecResult } from '../../client/batch.js';
import { SkylineError } from '../../protocol/errors.js';
import { integerToJson } from '../../protocol/values.js';
import { usageError } from '../errors.js';
import { count } from '../format.js';
import { stoppable } from '../interruption.js';
import {
  collect,
  commonOptions,
  type DatabaseOptions,
  databaseOption,
  optionsOf,
  whole,
  wordOption,
} from '../options.js';
import { details, done, type Output, type Report, type Screen } from '../output.js';
import { parseParams } from '../params.js';
import type { Define } from '../program.js';
import { type FoundStatement, readStatements } from '../read-sql.js';
import { type RowSet, rowsJson, writeRows } from '../rows.js';
import { withClient } from '../session.js';

interface ExecOptions extends DatabaseOptions {
  readonly param?: readonly string[];
  readonly file?: readonly string[];
  readonly tx?: 'atomic' | 'none';
  readonly durable?: boolean;
  readonly expectRev?: number;
  readonly expectEpoch?: number;
}

const HELP = `
All statements of one call are one transaction: all of them or none. An SQL argument or a script may hold several
statements; - as SQL is standard input. The database file is made by its first write.

Parameters (--param) go to the only statement, in order, or by name as :name=value. A value is JSON if it is JSON, else
text: 12 is an INTEGER, 1.5 and 2.0 are REAL, null is NULL, {"$blob":"AP8="} is a BLOB in base64, Sirius is text, "12"
with its quotes is the text 12. JSON arrays and objects are text.

When statements return rows, stdout has the rows alone and the message goes to stderr. Rows are a table on a terminal;
otherwise a header and tab-separated values, in which NULL is \\N, and a backslash, tab or line end is \\\\, \\t, \\n, \\r.

Examples:
  skylinedb-cli exec --db stars.db "CREATE TABLE stars (id INTEGER PRIMARY KEY, name TEXT, mag REAL)"
  skylinedb-cli exec --db stars.db "INSERT INTO stars (name, mag) VALUES (?, ?)" --param Vega --param 0.03
  skylinedb-cli exec --db stars.db "UPDATE stars SET mag = :mag WHERE name = :name" --param :mag=1.0 --param :name=Vega
  skylinedb-cli exec --db stars.db "DELETE FROM stars" "INSERT INTO stars (name) VALUES ('Deneb') RETURNING id"
  skylinedb-cli exec --db stars.db --file schema.sql
  skylinedb-cli exec --db stars.db --tx none VACUUM
  generate-inserts | skylinedb-cli exec --db stars.db -
  skylinedb-cli exec --db stars.db -- "-- SQL that begins with a dash goes behind two dashes" "SELECT 1"`;

export const define: Define = (command) => {
  commonOptions(
    databaseOption(command).argument('[SQL...]', 'statements; - for standard input'),
    'the time for the batch: after it, nothing of it is applied (default: no limit)',
  )
    .description('Runs SQL statements as one transaction, through the daemon, which is started if none runs.')
    .option('--param <VALUE>', 'a parameter, as JSON or text, or :name=value (repeatable)', collect)
    .option('--file <SCRIPT>', 'read the statements from a file (repeatable); - for standard input', collect)
    .addOption(
      wordOption('--tx <MODE>', 'none: each statement on its own (default: atomic)', ['atomic', 'none']),
    )
    .option('--durable', 'on disk before the answer, whatever the daemon was started with')
    .option('--expect-rev <N>', 'do it only if the database is at this rev', whole)
    .option('--expect-epoch <N>', 'do it only if the database is at this epoch', whole)
    .addHelpText('after', HELP);
  return () => exec(command.args, optionsOf<ExecOptions>(command));
};

async function exec(sql: readonly string[], options: ExecOptions): Promise<Report> {
  const statements = await readStatements(sql, options.file ?? []);
  const batch = withParams(statements, options.param ?? []);
  const result = await withClient(options, { start: true }, (client) =>
    stoppable((signal) =>
      client.database(options.db).batch(batch, { ...batchOptions(options), signal }),
    ).catch((error: unknown) => {
      throw locate(error, statements);
    }),
  );
  return {
    json: () => resultJson(result),
    human: (screen) => show(screen, options.db, result),
  };
}

function withParams(statements: readonly FoundStatement[], texts: readonly string[]) {
  const [first] = statements;
  if (texts.length === 0 || first === undefined) return statements.map(({ sql }) => sql);
  if (statements.length > 1)
    throw usageError(
      `--param goes with one statement, and there are ${statements.length}. Run them one by one, or write the values into the SQL.`,
    );
  return [{ sql: first.sql, params: parseParams(texts) }];
}

function batchOptions({ tx, durable, expectRev, expectEpoch, timeout }: ExecOptions): BatchOptions {
  return {
    ...(tx === undefined ? {} : { tx }),
    ...(durable === undefined ? {} : { durable }),
    ...(expectRev === undefined ? {} : { expectRev }),
    ...(expectEpoch === undefined ? {} : { expectEpoch }),
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
  };
}

/** "Statement 41" alone helps nobody who has a script in front of them. */
function locate(error: unknown, statements: readonly FoundStatement[]): unknown {
  if (!(error instanceof SkylineError) || statements.length < 2) return error;
  const { code, message, outcome, retryable, details: more } = error;
  const found = statements[more.statement_index ?? -1];
  if (found === undefined) return error;
  const begins = found.sql.replace(/\s+/g, ' ').slice(0, 60);
  const where = found.place === undefined ? begins : `${found.place}: ${begins}`;
  const named = /^Statement \d+/.exec(message)?.[0] ?? 'Statement';
  const rest = message.startsWith(named) ? message.slice(named.length) : `: ${message}`;
  const stop = message.endsWith('.') ? '' : '.';
  const stay =
    outcome === 'partial'
      ? `${stop} What was applied before it stays: ${count(more.applied ?? 0, 'statement')}.`
      : '';
  return new SkylineError(code, `${named} (${where})${rest}${stay}`, {
    outcome,
    retryable,
    details: more,
    cause: error,
  });
}

async function show({ out, err }: Screen, db: string, result: BatchResult): Promise<void> {
  const sets = result.results.filter(hasRows);
  for (const [at, set] of sets.entries()) {
    if (at > 0) await out.line('');
    await writeRows(out, set);
  }
  const side = sets.length > 0 ? err : out;
  await side.line(done(side, `Executed successfully on database: ${db}`));
  // For whoever looks on; programs find it in --json, and the line above stays the only one.
  if (side.isTerminal) await side.write(effects(side, result));
}

function hasRows(result: ExecResult): result is ExecResult & RowSet {
  return result.columns !== undefined && result.rows !== undefined;
}

function effects(output: Output, { rowsAffected, rev, results }: BatchResult): string {
  const rowid = results.at(-1)?.lastInsertRowid;
  return details(output, [
    ['changed', count(rowsAffected, 'row')],
    ...(rowid === undefined ? [] : [['last rowid', String(rowid)] as const]),
    ['rev', String(rev)],
  ]);
}

/** The reply of ExecBatch, with the protocol's names and values. */
function* resultJson({ rev, epoch, rowsAffected, results }: BatchResult): Generator<string> {
  yield `{"status":"ok","rev":${rev},"epoch":${epoch},"rows_affected":${rowsAffected},"results":[`;
  for (const [at, result] of results.entries()) {
    yield `${at === 0 ? '' : ','}{"rows_affected":${result.rowsAffected}`;
    if (result.lastInsertRowid !== undefined)
      yield `,"last_insert_rowid":${integerToJson(BigInt(result.lastInsertRowid))}`;
    if (hasRows(result)) {
      yield ',';
      yield* rowsJson(result);
    }
    yield '}';
  }
  yield ']}';
}
