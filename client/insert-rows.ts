import { invalidRequest } from '../protocol/errors.js';
import type { SqlInput } from '../protocol/values.js';
import type { SqlParams } from './batch.js';

/** Rows as the parameters of the statement that inserts them. */

/** What rows are loaded into: a table by its name, or a statement that is run once for each row. */
export type LoadTarget = string | { readonly sql: string };

/** How a row becomes the parameters of a statement. */
export interface Insert {
  readonly sql: string;
  /** undefined when rows are parameters as they are. */
  readonly paramsOf?: (row: SqlParams, at: number) => SqlParams;
}

/** The first row decides: arrays are values in the columns' order, objects name their columns. */
export function insertFor(
  target: LoadTarget,
  first: SqlParams,
  columns: readonly string[] | undefined,
): Insert {
  if (typeof target !== 'string') return { sql: target.sql };
  if (Array.isArray(first)) {
    const width = columns?.length ?? first.length;
    return { sql: insertInto(target, columns, width) };
  }
  const names = columns ?? Object.keys(first);
  return {
    sql: insertInto(target, names, names.length),
    paramsOf: (row, at) => valuesOf(row, names, at),
  };
}

/** The statement that inserts one row, with a `?` for each value. */
export function insertInto(table: string, columns: readonly string[] | undefined, width: number): string {
  if (width === 0) throw invalidRequest('The first row has no values, and so nothing to load into.');
  const list = columns === undefined ? '' : ` (${columns.map(quoteName).join(', ')})`;
  return `INSERT INTO ${quoteName(table)}${list} VALUES (${new Array(width).fill('?').join(', ')})`;
}

function valuesOf(row: SqlParams, names: readonly string[], at: number): SqlParams {
  const values = names.map((name) => (row as { readonly [name: string]: SqlInput | undefined })[name]);
  const missing = values.indexOf(undefined);
  if (missing >= 0 || Array.isArray(row) || Object.keys(row).length !== names.length)
    throw invalidRequest(
      `Row ${at} (from 0) must have exactly the columns of the first one: ${names.join(', ')}. Write null for what it has not.`,
    );
  return values as SqlParams;
}

/**
 * A name as SQL takes it, whatever characters it has (https://sqlite.org/lang_keywords.html).
 * @throws SkylineError `INVALID_REQUEST` for a NUL, which no name can have
 */
export function quoteName(name: string): string {
  if (typeof name !== 'string' || name.includes('\0'))
    throw invalidRequest('A name must be a text without NUL.');
  return `"${name.replaceAll('"', '""')}"`;
}

/** The size of a row on the wire, about: JSON escapes are not counted. */
export function bytesOf(row: SqlParams): number {
  let bytes = 2;
  if (Array.isArray(row)) for (const value of row) bytes += bytesOfValue(value);
  else for (const [name, value] of Object.entries(row)) bytes += name.length + 3 + bytesOfValue(value);
  return bytes;
}

function bytesOfValue(value: SqlInput): number {
  if (typeof value === 'string') return Buffer.byteLength(value) + 3;
  if (value instanceof Uint8Array) return Math.ceil(value.length / 3) * 4 + 14;
  // A number has 24 characters at most, but hardly ever more than a few.
  return 8;
}
