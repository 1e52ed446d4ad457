import type { SqlOutput } from '../../protocol/values.js';
import type { Output } from '../output.js';
import { visible } from '../output.js';
import { forTable, type RowSet, tabSeparated, valueJson, writeTable } from '../rows.js';

/** How rows are shown. */
export const MODES = ['table', 'csv', 'json', 'line', 'tabs'] as const;
export type Mode = (typeof MODES)[number];

/** Prints one result, piece by piece: a long one is never in memory as text. */
export class RowPrinter {
  readonly #out: Output;
  readonly #mode: Mode;
  #printed = 0;

  constructor(out: Output, mode: Mode) {
    this.#out = out;
    this.#mode = mode;
  }

  /** The next rows. All pieces have the same columns; an empty result has one piece without rows. */
  async piece(set: RowSet): Promise<void> {
    const first = this.#printed === 0;
    switch (this.#mode) {
      case 'table':
        if (first || set.rows.length > 0) await writeTable(this.#out, set);
        break;
      case 'tabs':
        await this.#out.write(first ? tabSeparated(set) : withoutHeader(tabSeparated(set)));
        break;
      case 'csv':
        await this.#out.write(csv(set, first));
        break;
      case 'json':
        await this.#out.write(json(set, first));
        break;
      case 'line':
        await this.#out.write(lines(set, first));
        break;
    }
    this.#printed += Math.max(1, set.rows.length);
  }

  /** There are no more. */
  async end(): Promise<void> {
    if (this.#mode === 'json') await this.#out.write(']\n');
  }
}

function* withoutHeader(pieces: Iterable<string>): Generator<string> {
  let first = true;
  for (const piece of pieces) {
    if (!first) yield piece;
    first = false;
  }
}

/** RFC 4180 with line feeds; NULL is nothing at all, an empty text is `""`, as PostgreSQL writes it. */
function* csv({ columns, rows }: RowSet, head: boolean): Generator<string> {
  if (head) yield `${columns.map(csvText).join(',')}\n`;
  for (const row of rows) yield `${row.map(csvCell).join(',')}\n`;
}

function csvCell(value: SqlOutput): string {
  if (value === null) return '';
  if (typeof value === 'string') return csvText(value);
  return value instanceof Uint8Array ? `x'${Buffer.from(value).toString('hex')}'` : String(value);
}

function csvText(text: string): string {
  return text === '' || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** An array of objects, one on each line. Values are the protocol's: 64-bit integers and blobs are exact. */
function* json({ columns, rows }: RowSet, head: boolean): Generator<string> {
  if (head) yield '[';
  const keys = columns.map((name) => JSON.stringify(name));
  let first = head;
  for (const row of rows) {
    yield first ? '' : ',\n';
    first = false;
    yield `{${keys.map((key, at) => `${key}:${valueJson(row[at] ?? null)}`).join(',')}}`;
  }
}

/** Each value on a line of its own, with an empty line between rows. */
function* lines({ columns, rows }: RowSet, head: boolean): Generator<string> {
  const names = columns.map(visible);
  const width = Math.max(0, ...names.map((name) => name.length));
  let first = head;
  for (const row of rows) {
    if (!first) yield '\n';
    first = false;
    for (const [at, name] of names.entries())
      yield `${name.padStart(width)} = ${forTable(row[at] ?? null)}\n`;
  }
}
