import type { Row, SqlParams } from './batch.js';
import type { Database } from './database.js';
import { type ReadTables, readTables } from './read-tables.js';
import type { Reader } from './reader.js';
import type { Change, Watch } from './watch.js';

export interface LiveOptions {
  /** Ends the iteration, without an error. */
  readonly signal?: AbortSignal | undefined;
}

/** The rows of a query, and again whenever a table that it reads has been written to. */
export async function* live<T = Row>(
  db: Database,
  sql: string,
  params: SqlParams | undefined,
  { signal }: LiveOptions,
): AsyncGenerator<T[], void, undefined> {
  const watch: Watch = db.watch({ signal });
  try {
    // Whatever is written from here on is told: nothing can fall between the first rows and the first change.
    await watch.ready;
    if (signal?.aborted === true) return;
    using reader = db.reader();
    const query = new LiveQuery<T>(reader, sql, params);
    yield query.rows();
    for await (const change of watch) {
      // What has come meanwhile is in the same rows.
      const changes = [change, ...watch.takeAll()];
      if (query.isConcernedBy(changes)) yield query.rows();
    }
  } finally {
    await watch.return();
  }
}

/** A query, and the tables that it reads. */
class LiveQuery<T> {
  readonly #reader: Reader;
  readonly #sql: string;
  readonly #params: SqlParams | undefined;
  #tables: ReadTables | null = null;

  constructor(reader: Reader, sql: string, params: SqlParams | undefined) {
    this.#reader = reader;
    this.#sql = sql;
    this.#params = params;
  }

  /** @throws SkylineError */
  rows(): T[] {
    // Before the rows: a schema that is another one by then is told by the change that made it.
    this.#tables = readTables(this.#reader, this.#sql, this.#params);
    return this.#reader.all<T>(this.#sql, this.#params);
  }

  isConcernedBy(changes: readonly Change[]): boolean {
    const known = this.#tables;
    if (known === null || known.names === null) return true;
    const { names } = known;
    const touched = changes.some(
      ({ tables, reset }) =>
        reset === true || tables === undefined || tables.some((table) => names.has(table)),
    );
    // A view or a table may mean something else now.
    return touched || known.schemaVersion !== schemaVersionOf(this.#reader);
  }
}

function schemaVersionOf(reader: Reader): number {
  return Number(reader.rows('PRAGMA schema_version').rows[0]?.[0]);
}
