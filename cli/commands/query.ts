import { resolve } from 'node:path';
import type { SqlParams } from '../../client/batch.js';
import type { Reader } from '../../client/reader.js';
import { isBareName } from '../../protocol/database-name.js';
import { userDataFolder } from '../../protocol/endpoint.js';
import { SkylineError } from '../../protocol/errors.js';
import { surroundings } from '../../protocol/transport/this-package.js';
import { usageError } from '../errors.js';
import { collect, commonOptions, type DatabaseOptions, databaseOption, optionsOf } from '../options.js';
import type { Report } from '../output.js';
import { parseParams } from '../params.js';
import type { Define } from '../program.js';
import { readStatements } from '../read-sql.js';
import { rowsJson, writeRows } from '../rows.js';
import { withClient } from '../session.js';

interface QueryOptions extends DatabaseOptions {
  readonly param?: readonly string[];
}

export const define: Define = (command) => {
  commonOptions(
    databaseOption(command).argument('<SQL>', 'one statement that reads; - for standard input'),
    'how long to wait while the file is locked (default: 5s)',
  )
    .description('Reads a database file directly and read-only. Needs no daemon and starts none.')
    .option(
      '--param <VALUE>',
      'a parameter, as JSON or text, or :name=value (repeatable); see exec --help',
      collect,
    )
    .addHelpText(
      'after',
      `
Rows are a table on a terminal; otherwise a header and tab-separated values, in which NULL is \\N, and a backslash, tab or
line end is \\\\, \\t, \\n, \\r. --json keeps everything as it is.

Examples:
  skylinedb-cli query --db stars.db "SELECT * FROM stars"
  skylinedb-cli query --db stars.db "SELECT * FROM stars WHERE name = ?" --param Vega
  skylinedb-cli query --db stars.db "SELECT name FROM stars" | tail -n +2 | sort
  skylinedb-cli query --db stars.db "SELECT name, mag FROM stars" --json | jq '.rows[][0]'`,
    );
  return () => query(command.args, optionsOf<QueryOptions>(command));
};

async function query(sql: readonly string[], options: QueryOptions): Promise<Report> {
  const statements = await readStatements(sql, []);
  const [only] = statements;
  if (only === undefined || statements.length > 1)
    throw usageError(`query takes one statement, and there are ${statements.length}. Run them one by one.`);
  const params = options.param === undefined ? undefined : parseParams(options.param);
  // Not through a client: that would connect.
  const { Reader } = await import('../../client/reader.js');
  using reader = new Reader(
    isBareName(options.db) ? await fileOf(options) : resolve(options.db),
    options.timeout === undefined ? {} : { busyTimeoutMs: options.timeout },
  );
  const set = rowsOf(reader, only.sql, params);
  return {
    *json() {
      yield '{"status":"ok",';
      yield* rowsJson(set);
      yield '}';
    },
    human: ({ out }) => writeRows(out, set),
  };
}

/** The reader's own advice is for programs. */
function rowsOf(reader: Reader, sql: string, params: SqlParams | undefined): ReturnType<Reader['rows']> {
  try {
    return reader.rows(sql, params);
  } catch (error) {
    if (!(error instanceof SkylineError) || error.code !== 'STATEMENT_NOT_ALLOWED') throw error;
    throw new SkylineError(error.code, 'query only reads. Run what writes with skylinedb-cli exec.', {
      cause: error,
    });
  }
}

/** A daemon that runs knows where its databases are; without one, it is the catalog that one would have. */
async function fileOf(options: QueryOptions): Promise<string> {
  const { db } = options;
  const { fileOfName } = await import('../../client/catalog-file.js');
  let dataDir: string | undefined;
  try {
    dataDir = await withClient(
      options,
      { start: false, waitMs: options.timeout },
      async (client) => client.dataDir,
    );
  } catch (error) {
    if (!(error instanceof SkylineError) || error.code !== 'NO_DAEMON') throw error;
  }
  return fileOfName(dataDir ?? userDataFolder(surroundings()), db);
}
