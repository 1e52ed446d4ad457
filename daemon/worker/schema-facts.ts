import type { Connection } from './connection.js';

/** What the schema says that matters to groups of batches. */
export interface Facts {
  /**
   * Whether batches can share a transaction without anybody noticing. Deferred foreign keys are counted until the whole
   * transaction ends: one batch could make good another's violation, and both would pass. A view of the daemon's own tables
   * shows what a group writes at its end only.
   */
  readonly groupable: boolean;
  /** It looks at SQLite's counters by itself: `changes()`, `last_insert_rowid()`. */
  readonly observed: boolean;
}

/** Looks at the schema, once per version of it. */
export class SchemaFacts {
  readonly #connection: Connection;
  #version = -1;
  #facts: Facts = { groupable: false, observed: false };

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  look(): Facts {
    const version = this.#connection.schemaVersion;
    if (version === this.#version) return this.#facts;
    this.#facts = {
      groupable: !this.#has("sql LIKE '%deferr%' OR sql LIKE '%\\_skylinedb%' ESCAPE '\\'"),
      observed: this.#has("sql LIKE '%changes%' OR sql LIKE '%last\\_insert\\_rowid%' ESCAPE '\\'"),
    };
    this.#version = version;
    return this.#facts;
  }

  #has(condition: string): boolean {
    const found = this.#connection.handle
      .prepare(
        `SELECT 1 FROM sqlite_schema WHERE tbl_name NOT LIKE '\\_skylinedb%' ESCAPE '\\' AND (${condition}) LIMIT 1`,
      )
      .get();
    return found !== undefined;
  }
}
