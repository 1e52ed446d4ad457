import type { SqlParams } from './batch.js';
import type { Reader } from './reader.js';

/** What a query reads, for one version of the schema. */
export interface ReadTables {
  readonly schemaVersion: number;
  /** By the names that change events use; null where it cannot be told, so that any change may concern it. */
  readonly names: ReadonlySet<string> | null;
}

/** Virtual tables that have all they show in themselves, so that nothing but writing to them changes it. */
const SELF_CONTAINED = /\busing\s+["'`[]?(fts[345]|rtree|rtree_i32|geopoly)\b/i;
/** Full-text tables of another table's contents. */
const OF_OTHERS = /\bcontent\s*=/i;
/** Table-valued functions of their arguments. */
const FUNCTIONS = ["json_each('[]')", "json_tree('[]')"];

/**
 * Which tables a query reads, views looked through: SQLite's own program for it says what it opens
 * (https://sqlite.org/opcode.html).
 */
export function readTables(reader: Reader, sql: string, params: SqlParams | undefined): ReadTables {
  const schemaVersion = Number(reader.rows('PRAGMA schema_version').rows[0]?.[0]);
  return { schemaVersion, names: namesOf(reader, sql, params) };
}

function namesOf(reader: Reader, sql: string, params: SqlParams | undefined): Set<string> | null {
  const statement = sql.replace(/^[\s;]+/, '');
  // Their programs read without opening tables.
  if (/^pragma\b/i.test(statement)) return null;
  const names = new Set<string>();
  let virtual: Map<string, string | null> | null = null;
  try {
    // First: EXPLAIN goes by the schema as it was last read, and only what is run looks whether that is still so.
    const tables = tablesByRoot(reader);
    for (const [, opcode, , root, database, pointer] of reader.rows(`EXPLAIN ${statement}`, params).rows) {
      if (opcode === 'OpenRead' && database === 0) {
        const table = tables.get(Number(root));
        // SQLite's own tables are not named by changes.
        if (table === undefined || /^sqlite_/i.test(table)) return null;
        names.add(table);
      } else if (opcode === 'VOpen') {
        virtual ??= virtualTables(reader);
        const table = virtual.get(String(pointer));
        if (table === undefined) return null;
        if (table !== null) names.add(table);
      }
    }
  } catch {
    // What is wrong with it is told where it runs.
    return null;
  }
  return names;
}

function tablesByRoot(reader: Reader): Map<number, string> {
  const { rows } = reader.rows('SELECT rootpage, tbl_name FROM sqlite_schema WHERE rootpage > 0');
  return new Map(rows.map(([root, table]) => [Number(root), String(table)]));
}

/** By the pointers that EXPLAIN shows; null for what reads nothing. */
function virtualTables(reader: Reader): Map<string, string | null> {
  const found = new Map<string, string | null>();
  const note = (source: string, table: string | null) => {
    const open = reader.rows(`EXPLAIN SELECT 1 FROM ${source}`).rows.find(([, opcode]) => opcode === 'VOpen');
    if (open !== undefined) found.set(String(open[5]), table);
  };
  for (const call of FUNCTIONS) note(call, null);
  const { rows } = reader.rows("SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND rootpage = 0");
  for (const [name, sql] of rows)
    if (SELF_CONTAINED.test(String(sql)) && !OF_OTHERS.test(String(sql)))
      note(`"${String(name).replaceAll('"', '""')}"`, String(name));
  return found;
}
