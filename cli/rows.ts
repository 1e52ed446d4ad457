import type { SqlOutput } from '../protocol/values.js';
import { cellToJson } from '../protocol/values.js';
import { type Output, visible } from './output.js';

/** What a statement returned. */
export interface RowSet {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly SqlOutput[])[];
}

/**
 * Rows per drawn table. cli-table3 takes more than linear time: 10 000 rows in one take three seconds, 100 000 four minutes.
 * Long results repeat their header instead, which helps whoever scrolls.
 */
const TABLE_ROWS = 200;
/** Bytes of a blob that a table shows. */
const BLOB_BYTES = 16;

/** Rows for a terminal, as a table; for everything else as tab-separated values. */
export async function writeRows(output: Output, set: RowSet): Promise<void> {
  if (output.isTerminal) await writeTable(output, set);
  else await output.write(tabSeparated(set));
}

/** Rows as a table, wherever they go. */
export async function writeTable(output: Output, set: RowSet): Promise<void> {
  const { default: Table } = await import('cli-table3');
  const { bold, dim } = output.colors;
  const cell = (value: SqlOutput) => {
    const content = forTable(value);
    if (value === null) return dim(content);
    return typeof value === 'number' || typeof value === 'bigint'
      ? { content, hAlign: 'right' as const }
      : content;
  };
  for (let from = 0; from === 0 || from < set.rows.length; from += TABLE_ROWS) {
    // cli-table3 would colour the header by itself, whatever NO_COLOR says.
    const table = new Table({
      head: set.columns.map((name) => bold(visible(name))),
      style: { head: [], border: [], compact: true },
    });
    table.push(...set.rows.slice(from, from + TABLE_ROWS).map((row) => row.map(cell)));
    await output.line(table.toString());
  }
}

/** A value in a cell of a table: on one line, blobs shortened, text in quotes where it reads like something else. */
export function forTable(value: SqlOutput): string {
  if (value === null) return 'NULL';
  if (typeof value === 'string')
    return visible(/^(NULL$|x')/.test(value) ? `'${value.replaceAll("'", "''")}'` : value);
  if (!(value instanceof Uint8Array)) return String(value);
  if (value.length <= BLOB_BYTES) return `x'${hex(value)}'`;
  return `x'${hex(value.subarray(0, BLOB_BYTES))}…' (${value.length} bytes)`;
}

/**
 * A header and one line per row. NULL is `\N`; a backslash, tab or line end within a text is `\\`, `\t`, `\n`, `\r`: the text
 * format of PostgreSQL's COPY and MySQL's LOAD DATA, in which nothing is ambiguous. Blobs are whole, as `x'…'`.
 */
export function* tabSeparated({ columns, rows }: RowSet): Generator<string> {
  yield `${columns.map(escapeTabs).join('\t')}\n`;
  for (const row of rows) yield `${row.map(forTabs).join('\t')}\n`;
}

function forTabs(value: SqlOutput): string {
  if (value === null) return '\\N';
  if (value instanceof Uint8Array) return `x'${hex(value)}'`;
  return typeof value === 'string' ? escapeTabs(value) : String(value);
}

const ESCAPES: { readonly [char: string]: string } = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

function escapeTabs(text: string): string {
  return text.replace(/[\\\t\n\r]/g, (char) => ESCAPES[char] ?? char);
}

/** `"columns":[…],"rows":[…]` as JSON text, with the values in the form of the protocol. */
export function* rowsJson({ columns, rows }: RowSet): Generator<string> {
  yield `"columns":${JSON.stringify(columns)},"rows":[`;
  for (const [at, row] of rows.entries()) yield `${at === 0 ? '' : ','}[${row.map(valueJson).join(',')}]`;
  yield ']';
}

/** JSON.stringify knows no bigint and writes infinity as null. */
/** A value as the protocol writes it. */
export function valueJson(value: SqlOutput): string {
  if (value instanceof Uint8Array) return cellToJson(Buffer.from(value));
  // The library gives numbers for INTEGER and REAL alike; what looks whole is written as whole.
  const whole = typeof value === 'number' && Number.isSafeInteger(value) && !Object.is(value, -0);
  return cellToJson(whole ? BigInt(value) : value);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}
