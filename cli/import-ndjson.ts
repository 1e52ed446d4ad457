import { messageOf } from '../protocol/errors.js';
import type { SqlInput } from '../protocol/values.js';
import { usageError } from './errors.js';
import type { ImportedRows } from './import-rows.js';
import type { ImportText } from './import-text.js';
import { parseValue } from './params.js';

/**
 * Reads newline-delimited JSON: an object on each line, whose keys are columns. The first line fixes them.
 * @param named the columns, when they are not those of the first line
 * @throws ProtocolError `INVALID_REQUEST` naming the file and the line, while the rows are read
 */
export async function ndjsonRows(
  text: ImportText,
  named: readonly string[] | undefined,
): Promise<ImportedRows> {
  const objects = read();
  const first = await objects.next();
  const columns = named ?? (first.done === true ? [] : [...first.value.object.keys()]);
  return { columns, rows: rows() };

  async function* read() {
    let line = 0;
    for await (const source of text.lines()) {
      line += 1;
      if (source.trim() === '') continue;
      try {
        yield { line, object: parseLine(source) };
      } catch (error) {
        throw usageError(`${text.name}, line ${line}: ${messageOf(error)}`);
      }
    }
  }

  async function* rows() {
    const known = new Set(columns);
    try {
      for (let step = first; step.done !== true; step = await objects.next()) {
        const { line, object } = step.value;
        const values = columns.map((column) => object.get(column) ?? null);
        if (object.size > columns.length || [...object.keys()].some((key) => !known.has(key))) {
          const more = [...object.keys()].filter((key) => !known.has(key));
          throw usageError(
            `${text.name}, line ${line}: there is no column for ${more.map((key) => JSON.stringify(key)).join(', ')}. The first line names the columns, or --columns.`,
          );
        }
        yield values;
      }
    } finally {
      await objects.return(undefined);
    }
  }
}

/**
 * The columns and values of one line. A value is what `--param` would make of it: digits alone are an INTEGER of up to 64
 * bits, with a point or an exponent a REAL; nested arrays and objects are their own JSON text.
 * @throws when it is no JSON object, or has a value that SQLite cannot store exactly
 */
export function parseLine(line: string): Map<string, SqlInput> {
  const object: unknown = JSON.parse(line);
  if (typeof object !== 'object' || object === null || Array.isArray(object))
    throw new TypeError('each line must be a JSON object, such as {"id":1,"name":"Vega"}.');
  const entries = Object.entries(object);
  const values = new Map<string, SqlInput>();
  let sources: Map<string, string> | undefined;
  for (const [key, value] of entries) {
    if (!needsSource(value, line)) {
      values.set(key, value as SqlInput);
      continue;
    }
    // JSON.parse rounds large numbers and forgets how 1.0 was written.
    sources ??= valueSources(line);
    values.set(key, parseValue(sources.get(key) ?? '', JSON.stringify(key)));
  }
  return values;
}

function needsSource(value: unknown, line: string): boolean {
  if (typeof value === 'object') return value !== null;
  if (typeof value !== 'number' || !Number.isInteger(value)) return value === Number.POSITIVE_INFINITY;
  return !Number.isSafeInteger(value) || Object.is(value, -0) || /\d[.eE]/.test(line);
}

/** The text of each value of an object that JSON.parse has accepted. The last of equal keys counts, as there. */
export function valueSources(json: string): Map<string, string> {
  const sources = new Map<string, string>();
  let depth = 0;
  let key: string | undefined;
  let begin = 0;
  for (let at = 0; at < json.length; at += 1) {
    const char = json[at];
    if (char === '"') {
      const open = at;
      for (at += 1; json[at] !== '"'; at += 1) if (json[at] === '\\') at += 1;
      if (depth === 1 && key === undefined) key = JSON.parse(json.slice(open, at + 1)) as string;
    } else if (char === ':' && depth === 1) {
      begin = at + 1;
    } else if ((char === ',' || char === '}') && depth === 1) {
      if (key !== undefined) sources.set(key, json.slice(begin, at).trim());
      key = undefined;
      if (char === '}') break;
    } else if (char === '{' || char === '[') {
      depth += 1;
    } else if (char === '}' || char === ']') {
      depth -= 1;
    }
  }
  return sources;
}
