import type { Reader } from '../../client/reader.js';
import { SkylineError } from '../../protocol/errors.js';

/** Characters of a piece of the text. */
const PIECE = 64 * 1024;

interface SchemaRow {
  readonly type: string;
  readonly name: string;
  readonly tbl_name: string;
  readonly sql: string;
}

/**
 * SQL that makes a database again, or one of its tables: any SQLite runs it. The daemon's own tables are left out, since they
 * belong to this file's history. Call it inside {@link Reader.snapshot}.
 * @throws SkylineError `SQL_ERROR` when there is no such table
 */
export function dump(reader: Reader, only: string | null): string[] {
  const schema = reader
    .all<SchemaRow>(
      `SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
       AND tbl_name NOT LIKE '\\_skylinedb\\_%' ESCAPE '\\' AND name NOT IN
       (SELECT name FROM pragma_table_list WHERE type = 'shadow') ORDER BY rowid`,
    )
    .filter(({ tbl_name: table }) => only === null || table.toLowerCase() === only.toLowerCase());
  const tables = schema.filter(({ type }) => type === 'table');
  if (only !== null && schema.length === 0)
    throw new SkylineError(
      'SQL_ERROR',
      `There is no table ${JSON.stringify(only)}. Type .tables for all of them.`,
    );
  const pieces: string[] = [];
  let text = '';
  const write = (line: string) => {
    text += `${line}\n`;
    if (text.length < PIECE) return;
    pieces.push(text);
    text = '';
  };
  write('BEGIN;');
  // Rows come table by table, whatever refers to what. Without foreign keys it means nothing.
  write('PRAGMA defer_foreign_keys = ON;');
  for (const table of tables) {
    write(`${table.sql};`);
    for (const insert of inserts(reader, table.name)) write(insert);
  }
  for (const line of sequences(reader, tables)) write(line);
  // Behind the rows: indexes are made faster so, and triggers must not run.
  for (const { type, sql } of schema) if (type !== 'table') write(`${sql};`);
  write('COMMIT;');
  return [...pieces, text];
}

function inserts(reader: Reader, table: string): string[] {
  // Generated columns take no values.
  const columns = reader
    .rows('SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0', [table])
    .rows.map(([name]) => quoted(String(name)));
  if (columns.length === 0) return [];
  const values = columns.map(literal).join(` || ',' || `);
  const into = `INSERT INTO ${quoted(table)} (${columns.join(',')}) VALUES (`;
  return reader.rows(`SELECT ${values} FROM ${quoted(table)}`).rows.map(([row]) => `${into}${String(row)});`);
}

/** SQLite's own `quote`, which ends a text at its first NUL (https://sqlite.org/lang_corefunc.html#quote). */
function literal(column: string): string {
  return `CASE WHEN typeof(${column}) = 'text' AND instr(${column}, char(0)) > 0
    THEN 'CAST(x''' || hex(${column}) || ''' AS TEXT)' ELSE quote(${column}) END`;
}

/** AUTOINCREMENT counts on from the highest that was ever there, not from the highest that is. */
function sequences(reader: Reader, tables: readonly SchemaRow[]): string[] {
  if (reader.get("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'") === undefined) return [];
  return reader
    .rows('SELECT name, seq FROM sqlite_sequence')
    .rows.filter(([name]) => tables.some((table) => table.name === name))
    .flatMap(([name, seq]) => {
      const table = `'${String(name).replaceAll("'", "''")}'`;
      return [
        `DELETE FROM sqlite_sequence WHERE name = ${table};`,
        `INSERT INTO sqlite_sequence (name, seq) VALUES (${table}, ${String(seq)});`,
      ];
    });
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
