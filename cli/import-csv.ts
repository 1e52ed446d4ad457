import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { usageError } from './errors.js';
import { count } from './format.js';
import type { ImportedRows } from './import-rows.js';
import { type ImportText, MAX_ROW_BYTES } from './import-text.js';

export interface CsvOptions {
  /** Names for the columns, instead of the header's. */
  readonly columns: readonly string[] | undefined;
  /** Whether the first row names the columns. */
  readonly header: boolean;
  readonly delimiter: string;
  /** The text that stands for NULL; undefined: none does. */
  readonly nullText: string | undefined;
}

/** A row as the parser gives it, and the number of the line it ends in. */
interface CsvRecord {
  readonly record: readonly string[];
  readonly info: { readonly lines: number };
}

/**
 * Reads CSV (RFC 4180): quotes, line ends within them, any line end. Values are text; the columns' affinity converts them.
 * @throws ProtocolError `INVALID_REQUEST` naming the file and the line, while the rows are read
 */
export async function csvRows(text: ImportText, options: CsvOptions): Promise<ImportedRows> {
  const { parse } = await import('csv-parse');
  const parser = parse({
    bom: true,
    delimiter: options.delimiter,
    info: true,
    max_record_size: MAX_ROW_BYTES,
    // Counted here, where an empty line is told from a row.
    relax_column_count: true,
  });
  // Its errors come out of the parser.
  pipeline(Readable.from(text.bytes()), parser).catch(() => undefined);
  const records = (parser as AsyncIterable<CsvRecord>)[Symbol.asyncIterator]();
  const next = async () => {
    try {
      return await records.next();
    } catch (error) {
      throw located(text.name, error);
    }
  };
  const header = options.header ? await next() : undefined;
  const columns = options.columns ?? (header?.done === true ? [] : header?.value.record);
  return { columns, rows: rows() };

  async function* rows() {
    const { nullText } = options;
    let width = columns?.length;
    try {
      for (;;) {
        const { done, value } = await next();
        if (done === true) return;
        const { record, info } = value;
        width ??= record.length;
        if (record.length !== width) {
          if (record.length === 1 && record[0] === '') continue;
          throw usageError(
            `${text.name}, line ${info.lines}: ${count(record.length, 'value')} for ${count(width, 'column')}. Mend the file; a value with the delimiter in it needs quotes.`,
          );
        }
        yield nullText === undefined ? record : record.map((field) => (field === nullText ? null : field));
      }
    } finally {
      parser.destroy();
    }
  }
}

/** The parser's own errors know the line. */
function located(name: string, error: unknown): unknown {
  if (!(error instanceof Error) || !('lines' in error)) return error;
  return usageError(`${name}, line ${String(error.lines)}: ${error.message}.`);
}
