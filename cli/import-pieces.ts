import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import type { Database } from '../client/database.js';
import { SkylineError } from '../protocol/errors.js';
import type { SqlInput } from '../protocol/values.js';
import { usageError } from './errors.js';
import {
  atRow,
  causeOf,
  type Destination,
  exists,
  foldCase,
  type ImportOptions,
  sentences,
} from './import-into.js';
import type { ImportText } from './import-text.js';

export interface PieceOptions extends ImportOptions {
  /** Most rows of one transaction. */
  readonly batchRows: number;
  /** How the file is read: another way is another import. */
  readonly reading: string;
}

/** What was found of an earlier import of the same file into the same table. */
interface Progress {
  readonly version: string;
  readonly reading: string;
  readonly rows: number;
}

/** The table that says how far the import of one file into one table has come. It is there only until that is finished. */
export async function progressTable(path: string, table: string): Promise<string> {
  const identity = JSON.stringify([await realpath(path), foldCase(table)]);
  return `skylinedb_import_at_${createHash('sha256').update(identity).digest('hex').slice(0, 16)}`;
}

/**
 * Imports in pieces, each a transaction that also records how far it brings the import: no row is lost or comes twice, however
 * often it has to be run again. What an earlier call has committed is passed over.
 * @returns rows of this call, and rows that were there already
 * @throws SkylineError saying how many rows are committed
 */
export async function importInPieces(
  database: Database,
  { table, columns }: Destination,
  text: ImportText,
  rows: AsyncGenerator<readonly SqlInput[]>,
  options: PieceOptions,
): Promise<{ rows: number; skipped: number }> {
  const { batchRows, reading, signal, onProgress } = options;
  const listening = onProgress === undefined ? {} : { onProgress };
  if (text.path === undefined) {
    try {
      // Nothing behind a failed piece may be committed, since nothing records what was.
      const loading = { columns, batchRows, inFlight: 1, ...listening, ...(signal && { signal }) };
      return { rows: (await database.load(table, rows, loading)).rows, skipped: 0 };
    } catch (error) {
      const committed = error instanceof SkylineError ? (error.details.rows_committed ?? 0) : 0;
      throw stopped(
        error,
        signal,
        0,
        committed,
        `A pipe cannot be resumed: give ${text.name} only the rows behind these.`,
      );
    }
  }
  const place = await progressTable(text.path, table);
  const skipped = await begin(database, place, text, reading);
  let committed = 0;
  const halted = (error: unknown) => {
    const known = error instanceof SkylineError ? (error.details.rows_committed ?? committed) : committed;
    return stopped(
      error,
      signal,
      skipped,
      known,
      'The same command goes on where the last committed piece ended.',
    );
  };
  for (let at = 0; at < skipped; at += 1) {
    const step = await rows.next().catch((error: unknown) => {
      throw halted(error);
    });
    if (step.done === true) throw changed(text.name, skipped);
  }
  try {
    signal?.throwIfAborted();
    const loaded = await database.load(table, rows, {
      columns,
      batchRows,
      ...(signal && { signal }),
      ...listening,
      // Two imports of one file at once, or a piece that follows a failed one, do not fit to what is recorded.
      alongside: (from, to) => [
        {
          sql: `UPDATE ${place} SET rows = ? WHERE rows = ?`,
          params: [skipped + to, skipped + from],
          expect: { rowsAffected: 1 },
        },
      ],
    });
    committed = loaded.rows;
    await database.exec(`DROP TABLE IF EXISTS ${place}`);
    return { rows: loaded.rows, skipped };
  } catch (error) {
    throw halted(error);
  }
}

/** @throws ProtocolError `INVALID_REQUEST` when an import of the file in pieces is not finished */
export async function refuseUnfinished(database: Database, text: ImportText, table: string): Promise<void> {
  if (text.path === undefined) return;
  const found = await progressOf(database, await progressTable(text.path, table));
  if (found === undefined) return;
  throw usageError(
    `An import of ${text.name} in pieces is not finished: its first ${found.rows} rows are in ${table}. Add --batch-rows to go on with it, or --restart to forget it: its rows stay.`,
  );
}

/** Forgets what earlier imports of the file have recorded. */
export async function forget(database: Database, text: ImportText, table: string): Promise<void> {
  if (text.path !== undefined)
    await database.exec(`DROP TABLE IF EXISTS ${await progressTable(text.path, table)}`);
}

/** @returns the rows that earlier calls have committed */
async function begin(database: Database, place: string, text: ImportText, reading: string): Promise<number> {
  const found = await progressOf(database, place);
  if (found === undefined) {
    await database.batch([
      `CREATE TABLE ${place} (version, reading, rows)`,
      { sql: `INSERT INTO ${place} VALUES (?, ?, 0)`, params: [text.version, reading] },
    ]);
    return 0;
  }
  if (found.version !== text.version) throw changed(text.name, found.rows);
  if (found.reading !== reading)
    throw usageError(
      `An import of ${text.name} that read it with other options has committed ${found.rows} rows. Use the same options to go on, or --restart to begin again at its first row: those rows stay.`,
    );
  return found.rows;
}

/** What was recorded; undefined, and the record gone, when that is nothing. */
async function progressOf(database: Database, place: string): Promise<Progress | undefined> {
  if (!(await exists(database, place))) return undefined;
  const [found] = await database.all<Progress>(`SELECT version, reading, rows FROM ${place}`);
  if (found !== undefined && found.rows > 0) return found;
  await database.exec(`DROP TABLE IF EXISTS ${place}`);
  return undefined;
}

function changed(name: string, rows: number): SkylineError {
  return usageError(
    `${name} has changed since its first ${rows} rows were imported, so where to go on is unknown. Look at what is there; --restart begins again at the file's first row, and what is imported already stays.`,
  );
}

/**
 * @param before rows of the file that earlier calls have committed
 * @param known rows that this one has
 */
function stopped(
  error: unknown,
  signal: AbortSignal | undefined,
  before: number,
  known: number,
  next: string,
): unknown {
  const failed = error instanceof SkylineError ? error.details.failed_rows : undefined;
  const cause = atRow(causeOf(error, signal), before + (failed?.[0] ?? 0));
  if (!(cause instanceof SkylineError)) return cause;
  const committed = before + known;
  const unknown = error instanceof SkylineError && error.outcome === 'unknown';
  const account = unknown ? `At least ${committed} rows are committed.` : `${committed} rows are committed.`;
  return new SkylineError(cause.code, `${sentences(cause.message, account)} ${next}`, {
    outcome: unknown ? 'unknown' : committed > 0 ? 'partial' : 'not_applied',
    details: { ...cause.details, rows_committed: committed },
    cause,
  });
}
