import { SkylineError } from '../../protocol/errors.js';
import type { SqlInput } from '../../protocol/values.js';
import type { ExecResult, Row } from '../batch.js';
import type { Database } from '../database.js';
import type { Reader } from '../reader.js';
import { reads } from './statement-kind.js';

/** The direct reader of a driver: opened when something is read, and shared by all of its connections. */
export class DirectReads {
  readonly #database: Database;
  #reader: Reader | null = null;

  constructor(database: Database) {
    this.#database = database;
  }

  /** @returns null for what does not only read, and while there is no file: the daemon knows what to say then */
  rows(sql: string, params: readonly SqlInput[]): ExecResult | null {
    return this.#ifItReads(sql, (reader) => ({ rowsAffected: 0, ...reader.rows(sql, params) }));
  }

  /** The same, one row after the other, on a connection of its own. */
  iterate(sql: string, params: readonly SqlInput[]): Generator<Row, void, undefined> | null {
    return this.#ifItReads(sql, (reader) => reader.iterate(sql, params));
  }

  /** Idempotent; a later read opens the file again. */
  close(): void {
    this.#reader?.close();
    this.#reader = null;
  }

  #ifItReads<T>(sql: string, work: (reader: Reader) => T): T | null {
    const kind = reads(sql);
    if (kind === false) return null;
    try {
      this.#reader ??= this.#database.reader();
      return kind === true || this.#reader.reads(sql) ? work(this.#reader) : null;
    } catch (error) {
      if (!(error instanceof SkylineError) || error.code !== 'DATABASE_NOT_FOUND') throw error;
      // A database that has a name may have another file by the next read.
      this.close();
      return null;
    }
  }
}
