import { randomUUID } from 'node:crypto';
import type Database from 'better-sqlite3';
import type { Position } from './link.js';

/**
 * The daemon's own table in each database: one row with the database's identity and how far it has come. Written in the
 * transaction of each batch, so that rev and contents are one.
 */
const TABLE = '_skylinedb_database';

/** Where a database stands that has no such table: written by others so far, or not there at all. */
export const START: Position = { id: null, epoch: 1, rev: 0 };

/** The position that the file holds; {@link START} when it holds none. */
export function readPosition(db: Database.Database): Position {
  const present =
    db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(TABLE) !== undefined;
  if (!present) return START;
  const row = db
    .prepare<[], { id: string; epoch: number; rev: number }>(
      `SELECT id, epoch, rev FROM ${TABLE} WHERE one = 0`,
    )
    .get();
  return row === undefined ? START : { id: row.id, epoch: row.epoch, rev: row.rev };
}

/**
 * Where the daemon must say a database stands, given what it knew of it before: the same file further on keeps its
 * epoch; anything else (another file, an older copy) gets a higher one, so that (epoch, rev) never goes backwards.
 */
export function continueFrom(known: Position | null, file: Position): Position {
  if (known === null) return file;
  const sameHistory = known.id === null || known.id === file.id;
  const goesOn =
    file.epoch > known.epoch || (file.epoch === known.epoch && sameHistory && file.rev >= known.rev);
  return goesOn ? file : nextEpoch(known, file);
}

/** The position of a file that has taken another's place. */
export function nextEpoch(known: Position | null, file: Position): Position {
  return { id: file.id, epoch: Math.max(known?.epoch ?? 0, file.epoch) + 1, rev: file.rev };
}

/** Where a database stands whose file is missing: what comes next at its place has a higher epoch than what was. */
export function missingFile(known: Position | null): Position {
  if (known === null) return START;
  return known.id === null && known.rev === 0 ? known : nextEpoch(known, START);
}

/**
 * Writes the position, in the transaction that is open.
 *
 * REPLACE on row 0, not UPDATE: it leaves last_insert_rowid() at 0, as on a fresh connection, so that no client can see
 * what another inserted (https://sqlite.org/c3ref/last_insert_rowid.html).
 */
export class PositionWriter {
  readonly #db: Database.Database;
  #replace: Database.Statement<unknown[]> | null = null;

  constructor(db: Database.Database) {
    this.#db = db;
  }

  /** Makes the table if it is not there, in the transaction that is open. */
  prepare(): Database.Statement<unknown[]> {
    if (this.#replace === null) {
      this.#db.exec(
        `CREATE TABLE IF NOT EXISTS ${TABLE} (one INTEGER PRIMARY KEY CHECK (one = 0), id TEXT NOT NULL, epoch INTEGER NOT NULL, rev INTEGER NOT NULL)`,
      );
      this.#replace = this.#db.prepare(`REPLACE INTO ${TABLE} (one, id, epoch, rev) VALUES (0, ?, ?, ?)`);
    }
    return this.#replace;
  }

  /** Returns the position with an id, which a database gets with its first write. */
  write(position: Position): Position {
    const withId = position.id === null ? { ...position, id: randomUUID() } : position;
    this.prepare().run(withId.id, withId.epoch, withId.rev);
    return withId;
  }

  /** After a rollback the table may be gone again. */
  forget(): void {
    this.#replace = null;
  }
}
