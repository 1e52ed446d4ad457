import type Database from 'better-sqlite3';
import type { StatementFacts } from './guard.js';
import { isOperator, tokenize } from './tokenizer.js';

/** Names of tables, sorted; null where they cannot be told. */
export type Tables = readonly string[] | null;

/** SQL texts whose tables are remembered, and that wait to be looked at. */
const MAX_REMEMBERED = 256;
const MAX_REMEMBERED_SQL = 16 * 1024;
/** OPFLAG_P2ISREG of SQLite's opcodes: what is opened was made by the same statement. */
const MADE_JUST_NOW = 0x10;
/** `main` among a connection's databases. */
const MAIN = 0;
/** SQLite's own tables, and the daemon's. */
const INTERNAL = /^(sqlite_|_skylinedb_)/i;

/** A line of EXPLAIN: address, opcode, p1, p2, p3, p4, p5. */
type Opcode = readonly [number, string, number, number, number, string | null, number];

/**
 * Which tables a batch writes to. SQLite's own program for a statement says what it opens for writing, triggers and foreign
 * key actions included (https://sqlite.org/opcode.html); for a change of the schema, what is another there afterwards.
 *
 * EXPLAIN sets changes() to 0, as if the statement had run. So it waits until the batch has run: the position, which is
 * written behind each, sets it anew. Before a change of the schema it cannot wait; the tables of a batch that could see the
 * difference are unknown then.
 */
export class WrittenTables {
  readonly #db: Database.Database;
  readonly #known = new Map<string, Tables>();
  /** Looked at when the batch has run: SQL text → parameters. */
  readonly #waiting = new Map<string, readonly unknown[]>();
  readonly #names = new Set<string>();
  /** Of the schema for which the known ones hold; empty for none. */
  #version = '';
  /** Until a batch begins: it may have begun before this did. */
  #unknown = true;
  /** The batch could see what EXPLAIN does to changes(). */
  #observed = false;
  /** What the schema was before the statement that runs. */
  #schema: Map<string, string> | null = null;
  #tablesByRoot: Map<number, string> | null = null;

  constructor(db: Database.Database) {
    this.#db = db;
  }

  /**
   * A batch begins, in a transaction that is open.
   * @param schema another one when the same statement may write to other tables
   * @param statements all SQL of it; null if there may be more
   */
  begin(schema: string, statements: readonly { readonly sql: string }[] | null): void {
    if (schema !== this.#version) this.#forget();
    this.#version = schema;
    this.#names.clear();
    this.#waiting.clear();
    this.#unknown = false;
    this.#schema = null;
    this.#observed = statements?.some(({ sql }) => /changes/i.test(sql)) ?? true;
  }

  /** A statement is about to run. */
  note(sql: string, facts: StatementFacts, bindings: readonly unknown[]): void {
    if (!facts.mayWrite || facts.isVacuum || facts.pragma !== undefined || this.#unknown) return;
    if (facts.changesSchema) {
      this.#beforeSchemaChange(sql, bindings);
      return;
    }
    const tables = this.#known.get(sql);
    if (tables !== undefined) this.#add(tables);
    else if (this.#waiting.size < MAX_REMEMBERED) {
      if (!this.#waiting.has(sql)) this.#waiting.set(sql, withoutValues(bindings));
    } else this.#unknown = true;
  }

  /** It has run. */
  noted(facts: StatementFacts): void {
    if (!facts.changesSchema) return;
    const before = this.#schema;
    this.#schema = null;
    // The version is another one, or will be the old one again after a rollback: no version stands for what is there now.
    this.#forget();
    if (before === null || facts.isVacuum) return;
    const after = this.#readSchema();
    for (const [item, sql] of before) if (after.get(item) !== sql) this.#addItem(item);
    for (const [item, sql] of after) if (before.get(item) !== sql) this.#addItem(item);
  }

  /** What the batch has written to. Before its position is written. */
  take(): Tables {
    this.#settle();
    return this.#unknown ? null : [...this.#names].sort();
  }

  #beforeSchemaChange(sql: string, bindings: readonly unknown[]): void {
    this.#observed ||=
      this.#db.prepare("SELECT 1 FROM sqlite_schema WHERE sql LIKE '%changes%'").get() !== undefined;
    if (this.#observed) {
      this.#unknown = true;
      return;
    }
    this.#settle();
    this.#add(this.#explain(sql, bindings));
    this.#schema = this.#readSchema();
  }

  /** Looks at what waits. */
  #settle(): void {
    if (!this.#unknown) for (const [sql, bindings] of this.#waiting) this.#add(this.#look(sql, bindings));
    this.#waiting.clear();
  }

  #look(sql: string, bindings: readonly unknown[]): Tables {
    const tables = this.#explain(sql, bindings);
    if (sql.length <= MAX_REMEMBERED_SQL) {
      if (this.#known.size >= MAX_REMEMBERED) this.#known.clear();
      this.#known.set(sql, tables);
    }
    return tables;
  }

  #add(tables: Tables): void {
    if (tables === null) this.#unknown = true;
    else for (const table of tables) this.#names.add(table);
  }

  /** What it opens for writing, or empties or removes without opening it. */
  #explain(sql: string, bindings: readonly unknown[]): Tables {
    const tables = new Set<string>();
    const virtual = new Set<string>();
    let unknown = false;
    const opened = (root: number, database: number) => {
      if (database !== MAIN) return;
      const table = this.#tableAt(root);
      if (table === undefined) unknown = true;
      else if (!INTERNAL.test(table)) tables.add(table);
    };
    try {
      const explain = this.#db.prepare<unknown[], Opcode>(`EXPLAIN ${fromFirstWord(sql)}`).raw();
      for (const [, opcode, p1, p2, p3, p4, p5] of explain.all(...bindings)) {
        if (opcode === 'OpenWrite' && (p5 & MADE_JUST_NOW) === 0) opened(p2, p3);
        else if (opcode === 'Clear') opened(p1, p2);
        else if (opcode === 'Destroy') opened(p1, p3);
        else if (opcode === 'VUpdate') virtual.add(p4 ?? '');
      }
      for (const [pointer, table] of virtual.size === 0 ? [] : this.#virtualTables())
        if (virtual.delete(pointer)) tables.add(table);
    } catch {
      // Whatever is wrong with the statement, SQLite says it where the statement runs.
      return null;
    }
    return unknown || virtual.size > 0 ? null : [...tables];
  }

  /** The table to which the b-tree belongs: its own, or that of its index. */
  #tableAt(root: number): string | undefined {
    if (this.#tablesByRoot === null) {
      const rows = this.#db
        .prepare<[], [number, string]>('SELECT rootpage, tbl_name FROM sqlite_schema WHERE rootpage > 0')
        .raw()
        .all();
      this.#tablesByRoot = new Map(rows).set(1, 'sqlite_schema');
    }
    return this.#tablesByRoot.get(root);
  }

  /** EXPLAIN shows a virtual table as a pointer, which is the same for whatever opens it. */
  *#virtualTables(): Generator<readonly [pointer: string, table: string]> {
    const names = this.#db
      .prepare<[], string>("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage = 0")
      .pluck()
      .all();
    for (const name of names) {
      const open = this.#db
        .prepare<[], Opcode>(`EXPLAIN SELECT 1 FROM "${name.replaceAll('"', '""')}"`)
        .raw()
        .all()
        .find(([, opcode]) => opcode === 'VOpen');
      if (open !== undefined) yield [open[5] ?? '', name];
    }
  }

  /** Each item with its table's name, as text, and the SQL that made it. Where it lies does not matter. */
  #readSchema(): Map<string, string> {
    return new Map(
      this.#db
        .prepare<[], [string, string]>(
          "SELECT json_array(tbl_name, type, name), ifnull(sql, '') FROM sqlite_schema",
        )
        .raw()
        .all(),
    );
  }

  #addItem(item: string): void {
    const [table] = JSON.parse(item) as [string];
    if (!INTERNAL.test(table)) this.#names.add(table);
  }

  #forget(): void {
    this.#version = '';
    this.#known.clear();
    this.#tablesByRoot = null;
  }
}

/** SQLite takes semicolons in front of a statement, but not behind EXPLAIN. */
function fromFirstWord(sql: string): string {
  return sql.slice(tokenize(sql).find((token) => !isOperator(token, ';'))?.start ?? 0);
}

/** EXPLAIN wants as many parameters as the statement has; their values need not be kept for it. */
function withoutValues(bindings: readonly unknown[]): readonly unknown[] {
  return bindings.map((value) =>
    typeof value === 'object' && value !== null && !(value instanceof Uint8Array)
      ? Object.fromEntries(Object.keys(value).map((name) => [name, null]))
      : null,
  );
}
