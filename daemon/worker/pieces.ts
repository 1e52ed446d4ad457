import type { Connection } from './connection.js';
import type { Position } from './link.js';
import type { PositionWriter } from './position-table.js';
import { fromSqlite } from './sqlite-errors.js';

/** The whole group's transaction is lost, for the sake of one piece: nothing of it was applied. */
export class GroupBroken extends Error {}

/** A piece has failed that cannot be taken back by itself: the group is to be done again, carefully. */
export class PieceFailed extends GroupBroken {}

/** Errors that leave the transaction around a piece as it was. All others may have harmed it. */
const PIECE_ERRORS: ReadonlySet<string> = new Set([
  'SQL_ERROR',
  'STATEMENT_NOT_ALLOWED',
  'EXPECTATION_FAILED',
  'INVALID_REQUEST',
  'RESULT_TOO_LARGE',
  'TIMEOUT',
]);

/** How pieces are done. */
export interface Manner {
  readonly writes: boolean;
  /** Each can be taken back by itself, which costs as much again as a small piece: needed only where some fail. */
  readonly careful: boolean;
  /** The schema itself looks at SQLite's counters. */
  readonly observed: boolean;
}

/**
 * Pieces of work in one open transaction, each as if it had one of its own. The position's row is written where somebody
 * could see that it was not, and at the end: it leaves last_insert_rowid() and changes() as every batch finds them.
 */
export class Pieces {
  readonly #connection: Connection;
  readonly #positions: PositionWriter;
  readonly #path: string;
  readonly #manner: Manner;
  #position: Position;
  /** The row, and SQLite's counters, are not what the next piece would find after a transaction. */
  #stale = false;

  constructor(
    connection: Connection,
    positions: PositionWriter,
    path: string,
    start: Position,
    manner: Manner,
  ) {
    this.#connection = connection;
    this.#positions = positions;
    this.#path = path;
    this.#manner = manner;
    this.#position = start;
  }

  /** Where the database stands after the pieces so far. */
  get position(): Position {
    return this.#position;
  }

  /**
   * Runs one.
   * @param observes whether it could see SQLite's counters, or the position's row
   * @param work from the position before it to the one after it; the same one if it writes nothing
   * @throws SkylineError the piece's own; it has left nothing behind
   * @throws PieceFailed, GroupBroken the whole transaction must be rolled back
   */
  run(observes: boolean, work: (position: Position) => Position): void {
    const { careful, observed } = this.#manner;
    if (this.#stale && (observes || observed)) this.finish();
    if (careful) this.#connection.savepoint();
    try {
      const before = this.#position;
      const after = work(before);
      if (after !== before) {
        this.#stale = true;
        this.#position = after;
      }
      if (careful) this.#connection.release();
    } catch (error) {
      const failure = fromSqlite(error, this.#path);
      if (!this.#connection.inTransaction || !PIECE_ERRORS.has(failure.code))
        throw new GroupBroken(failure.message, { cause: failure });
      if (!careful) throw new PieceFailed(failure.message, { cause: failure });
      this.#connection.rollbackToSavepoint();
      this.#connection.release();
      // last_insert_rowid() and changes() outlast being taken back.
      this.#stale = this.#manner.writes;
      throw failure;
    }
  }

  /** Writes the position of all that is done. */
  finish(): void {
    if (!this.#stale) return;
    this.#position = this.#positions.write(this.#position);
    this.#stale = false;
  }
}
