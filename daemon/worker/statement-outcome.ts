import { digits } from '../../protocol/digits.js';
import { SkylineError } from '../../protocol/errors.js';
import { cellToJson, integerToJson, type SqlBind } from '../../protocol/values.js';

/** What one statement did, with its rows as JSON text. */
export interface StatementOutcome {
  rowsAffected: number;
  lastInsertRowid: bigint | null;
  /** Column names, for whatever returns rows. */
  columns: readonly string[] | null;
  /** Each row as the text of a JSON array. */
  rows: string[];
}

/** Before it has run. */
export function nothingDone(): StatementOutcome {
  return { rowsAffected: 0, lastInsertRowid: null, columns: null, rows: [] };
}

/** A count of result bytes that runs over the whole batch. */
export interface ResultBudget {
  left: number;
}

/** One row as the text of a JSON array. */
export function rowToJson(row: readonly SqlBind[]): string {
  let json = '[';
  for (let at = 0; at < row.length; at += 1) {
    if (at > 0) json += ',';
    json += cellToJson(row[at] ?? null);
  }
  return `${json}]`;
}

/** The text of one statement's result object. */
export function outcomeToJson(outcome: StatementOutcome): string {
  let json = `{"rows_affected":${digits(outcome.rowsAffected)}`;
  if (outcome.lastInsertRowid !== null)
    json += `,"last_insert_rowid":${integerToJson(outcome.lastInsertRowid)}`;
  if (outcome.columns !== null)
    json += `,"columns":${JSON.stringify(outcome.columns)},"rows":[${outcome.rows.join(',')}]`;
  return `${json}}`;
}

export function resultTooLarge(limit: number): SkylineError {
  return new SkylineError(
    'RESULT_TOO_LARGE',
    `The rows of this batch have more than ${limit} bytes (max_result_bytes). Ask for fewer rows (LIMIT), or read the file directly: readers have no limit.`,
    { details: { limit: 'max_result_bytes', limit_value: limit } },
  );
}
