import { SkylineError } from '../../protocol/errors.js';
import type { RequestId } from '../../protocol/messages.js';
import { type CheckedBatch, newResults } from './batch.js';
import type { DatabaseFile } from './database-file.js';
import { replyTo, runAll, type Terms } from './execute.js';
import type { Position } from './link.js';
import { okReply } from './reply.js';
import type { Settled } from './session-answers.js';
import { fromSqlite } from './sqlite-errors.js';
import type { Held } from './transactions.js';
import type { Tables } from './written-tables.js';

/** What a transaction tells its database. */
export interface WriteHooks {
  /** It is committed: the database stands here now, and this was written to. */
  committed(position: Position, tables: Tables): void;
  /** It has ended, and nothing of it was applied. */
  rolledBack(): void;
}

/** A client's transaction on the writer's own connection: while it is open, nothing else runs there. */
export class WriteTransaction implements Held {
  readonly read = false;
  readonly #file: DatabaseFile;
  readonly #terms: Terms;
  readonly #hooks: WriteHooks;
  /** A statement that writes was run, if only to fail: SQLite's counters show it. */
  #tried = false;
  /** One has succeeded: the commit counts as a rev. */
  #wrote = false;
  #rowsAffected = 0;

  /** The transaction is open on the file's connection. */
  constructor(file: DatabaseFile, terms: Terms, hooks: WriteHooks) {
    this.#file = file;
    this.#terms = terms;
    this.#hooks = hooks;
    file.connection.beginBatch(null);
  }

  /** Where the database stood when it began. */
  get position(): Position {
    return this.#terms.position;
  }

  /** False when SQLite has ended it by itself. */
  get alive(): boolean {
    return this.#file.connection.inTransaction;
  }

  /**
   * Runs statements: all of them, or none. SAVEPOINT and its like come alone: they are to outlast this.
   * @returns the reply's text
   * @throws SkylineError; with `tx_ended` if the failure has ended the transaction
   */
  exec(batch: CheckedBatch): string {
    const { connection, path } = this.#file;
    const { position, limits } = this.#terms;
    const results = newResults(batch.request, limits);
    if (batch.mayWrite) this.#tried = true;
    try {
      if (!batch.isSavepoint) connection.savepoint();
      runAll(connection, batch, results, path);
      const { reply } = replyTo(batch.request, position, results, limits);
      if (!batch.isSavepoint) connection.release();
      if (batch.mayWrite) this.#wrote = true;
      this.#rowsAffected += results.rowsAffected;
      return reply;
    } catch (error) {
      throw this.#takenBack(batch, fromSqlite(error, path));
    }
  }

  /**
   * Ends it, with what it has done, or with the error that has undone it.
   * @param batch what it is recorded under, if it has a session
   */
  commit(batch: CheckedBatch | null, id: RequestId | undefined): Settled {
    const settled = batch === null ? null : this.#file.sessions.lookUp(batch, this.position);
    if (settled !== null || !this.#wrote) {
      this.rollback();
      return settled ?? { reply: okReply(id, this.#body(this.position)) };
    }
    let tables: Tables = null;
    try {
      const committed = this.#file.commit(() => {
        tables = this.#file.connection.takeWritten();
        const { position } = this;
        const next = { ...position, rev: position.rev + 1 };
        if (batch !== null) this.#file.sessions.record(batch, { body: this.#body(next) });
        return next;
      });
      this.#hooks.committed(committed, tables);
      return { reply: okReply(id, this.#body(committed)) };
    } catch (error) {
      this.#hooks.rolledBack();
      return { error: ended(fromSqlite(error, this.#file.path)) };
    }
  }

  rollback(): void {
    if (this.#tried || !this.alive) this.#file.rollback();
    else this.#file.connection.rollback();
    this.#hooks.rolledBack();
  }

  /** Without the results of its `Exec`s, which were answered. */
  #body({ rev, epoch }: Position): string {
    return `"rev":${rev},"epoch":${epoch},"rows_affected":${this.#rowsAffected}`;
  }

  /** Undoes what a failed `Exec` has done. */
  #takenBack(batch: CheckedBatch, failure: SkylineError): SkylineError {
    const { connection } = this.#file;
    try {
      if (connection.inTransaction && !batch.isSavepoint) {
        connection.rollbackToSavepoint();
        connection.release();
      }
    } catch {
      // What cannot be taken back by itself takes all of it along.
      connection.rollback();
    }
    if (connection.inTransaction) return failure;
    this.rollback();
    return ended(failure);
  }
}

/** The same error, saying that the transaction is over. */
function ended(failure: SkylineError): SkylineError {
  const { code, message, outcome, details } = failure;
  const what = outcome === 'not_applied' ? 'nothing of it was applied' : 'it may have been applied';
  return new SkylineError(code, `${message} This has ended the transaction: ${what}.`, {
    outcome,
    // The same request cannot be sent again: its transaction is gone.
    retryable: false,
    details: { ...details, tx_ended: true },
    cause: failure,
  });
}
