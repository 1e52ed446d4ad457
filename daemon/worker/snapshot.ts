import { SkylineError } from '../../protocol/errors.js';
import type { Limits, RequestId } from '../../protocol/messages.js';
import { atStatement, type CheckedBatch, newResults } from './batch.js';
import { Connection } from './connection.js';
import { replyTo, runAll } from './execute.js';
import type { Position } from './link.js';
import { okReply } from './reply.js';
import type { Settled } from './session-answers.js';
import { fromSqlite } from './sqlite-errors.js';
import type { Held } from './transactions.js';

/** A client's transaction that only reads: a connection of its own, which sees the database as it is now. */
export class Snapshot implements Held {
  readonly read = true;
  /** Where the database stands. */
  readonly position: Position;
  readonly #connection: Connection;
  readonly #path: string;
  readonly #limits: Limits;

  private constructor(connection: Connection, path: string, position: Position, limits: Limits) {
    this.#connection = connection;
    this.#path = path;
    this.position = position;
    this.#limits = limits;
  }

  /**
   * Takes one.
   * @param path null for a database that has no file yet: it is empty
   * @throws SkylineError
   */
  static take(path: string, exists: boolean, position: Position, limits: Limits): Snapshot {
    const options = { create: !exists, limits, durability: 'normal', readonly: exists } as const;
    const connection = Connection.open(exists ? path : ':memory:', options);
    try {
      connection.begin(false, 'normal');
      // SQLite takes the snapshot with the first read (https://sqlite.org/lang_transaction.html).
      void connection.schemaVersion;
      return new Snapshot(connection, path, position, limits);
    } catch (error) {
      connection.close();
      throw fromSqlite(error, path);
    }
  }

  get alive(): boolean {
    return this.#connection.inTransaction;
  }

  /** @throws SkylineError */
  exec(batch: CheckedBatch): string {
    const writes = batch.statements.findIndex(({ facts }) => facts.mayWrite);
    if (writes >= 0) throw atStatement(onlyReads(), writes);
    const results = newResults(batch.request, this.#limits);
    runAll(this.#connection, batch, results, this.#path);
    return replyTo(batch.request, this.position, results, this.#limits).reply;
  }

  /** There is nothing to commit. */
  commit(_batch: CheckedBatch | null, id: RequestId | undefined): Settled {
    this.rollback();
    const { rev, epoch } = this.position;
    return { reply: okReply(id, `"rev":${rev},"epoch":${epoch},"rows_affected":0`) };
  }

  rollback(): void {
    this.#connection.close();
  }
}

function onlyReads(): SkylineError {
  return new SkylineError(
    'STATEMENT_NOT_ALLOWED',
    'This transaction only reads ("read": true). Begin one without it to write.',
  );
}
