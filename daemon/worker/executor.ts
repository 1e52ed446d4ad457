import { SkylineError } from '../../protocol/errors.js';
import type { BeginTxRequest } from '../../protocol/messages.js';
import type { CheckedBatch } from './batch.js';
import { fileGone } from './check-file.js';
import type { DatabaseFile } from './database-file.js';
import { type Begin, execute, executeGroup, type Outcome, rehearse, type Terms } from './execute.js';
import { monotonicMs } from './link.js';
import { notBegun, untilFree } from './patience.js';
import { GroupBroken } from './pieces.js';
import type { ServedDatabase } from './served-database.js';
import { givenUp, refusal, type Settled } from './session-answers.js';
import { asGivenUp } from './session-upkeep.js';
import { Snapshot } from './snapshot.js';
import { fromSqlite, isSqliteError } from './sqlite-errors.js';
import { WriteTransaction } from './write-transaction.js';
import type { Tables } from './written-tables.js';

/** A batch that is to be executed. */
export interface Work {
  readonly batch: CheckedBatch;
  /** On the machine's monotonic clock, 0 for none: not begun after it. */
  readonly deadline: number;
}

/**
 * Executes batches on a database and begins transactions: opens its file first, and makes it where something is to be
 * written. The caller does one thing at a time.
 */
export class Executor {
  readonly #database: ServedDatabase;

  constructor(database: ServedDatabase) {
    this.#database = database;
  }

  /**
   * Executes batches in one transaction.
   * @param onBegin told before a batch's statements run
   * @returns the outcomes of the first ones: at least one, and as many as there was time for; null when the group must be
   *   taken apart, because somebody could notice it or one batch has harmed it: nothing was applied, and each then meets
   *   by itself whatever stood in the way
   */
  executeTogether(work: readonly Work[], onBegin: Begin): Outcome[] | null {
    const file = this.#database.opened;
    if (file === null) return null;
    try {
      if (!file.schema.look().groupable) return null;
      const { position, outcomes } = executeGroup(file, work, this.#terms(), onBegin);
      this.#database.committed(position, this.#database.watched ? outcomes.flatMap(revOf) : []);
      return outcomes;
    } catch (error) {
      // The commit may have reached the disk: done again, each batch could count twice.
      if (error instanceof SkylineError && error.outcome !== 'not_applied')
        return work.map(() => ({ error, rev: this.#database.position.rev }));
      if (error instanceof GroupBroken || error instanceof SkylineError || isSqliteError(error)) return null;
      throw error;
    }
  }

  /** Executes a batch by itself; makes the file if there is none and the batch needs it. */
  async execute(work: Work, onBegin: Begin): Promise<Outcome> {
    try {
      const settled = await this.#execute(work, () => onBegin(0)).catch((error) => this.#anew(work, error));
      return { ...settled, rev: this.#database.position.rev };
    } catch (error) {
      const failure = fromSqlite(error, this.#database.path);
      const file = this.#database.opened;
      if (file !== null) this.#database.upkeep.recordFailure(file, work.batch, failure);
      return { error: asGivenUp(work.batch, failure), rev: this.#database.position.rev };
    }
  }

  /** SQLite opens a file to read it where it cannot be opened to write, and never tries again: that may have passed. */
  async #anew(work: Work, error: unknown): Promise<Settled> {
    const failure = fromSqlite(error, this.#database.path);
    if (failure.code !== 'DATABASE_READONLY' || failure.outcome !== 'not_applied') throw failure;
    this.#database.close();
    return await this.#execute(work, () => undefined);
  }

  async #execute(work: Work, onBegin: () => Promise<void> | undefined): Promise<Settled> {
    const { batch, deadline } = work;
    await onBegin();
    // With a session it may be answered with what is recorded: only looking that up tells.
    if (batch.turn === null) checkDeadline(deadline);
    if (await this.#database.open()) return await this.#executeAlone(work);
    checkDeadline(deadline);
    if (this.#database.options.mustExist === true) throw fileGone(this.#database.path);
    const refused = batch.turn === null ? null : refusal(batch.turn, null, this.#database.position);
    if (refused !== null) throw refused;
    // There is no place to record that in: a copy of it on its way could still make the file.
    if (batch.turn?.onlyReplay === true) return { error: givenUp(batch.turn) };
    const reply = rehearse(batch, this.#terms(), this.#database.path);
    if (!batch.mayWrite) return { reply };
    await this.#database.make(deadline);
    try {
      return await this.#executeAlone(work);
    } catch (error) {
      this.#database.discard();
      throw error;
    }
  }

  /**
   * Begins a transaction that stays open. Nothing else may be done until it has ended, but reading from snapshots. Makes the
   * file if there is none: it goes again if nothing is written.
   * @param deadline on the machine's monotonic clock, 0 for none
   * @throws SkylineError
   */
  async begin(
    { durable = false, foreign_keys: foreignKeys = true }: BeginTxRequest,
    deadline: number,
  ): Promise<WriteTransaction> {
    const patience = this.#database.patience(deadline);
    const isNew = !(await this.#database.open());
    if (isNew && this.#database.options.mustExist === true) throw fileGone(this.#database.path);
    const file = await (isNew ? this.#database.make(deadline) : this.#database.file());
    const discard = () => {
      if (isNew) this.#database.discard();
    };
    try {
      await untilFree(this.#database.path, patience, () => {
        file.makeWritable();
        file.begin(durable ? 'full' : this.#database.options.durability, foreignKeys);
      });
    } catch (error) {
      discard();
      throw error;
    }
    return new WriteTransaction(file, this.#terms(), {
      committed: (position, tables) => this.#database.committed(position, [tables]),
      rolledBack: discard,
    });
  }

  /**
   * A view of the database as it is now, which stays so whatever is written.
   * @throws SkylineError
   */
  async snapshot(deadline: number): Promise<Snapshot> {
    const patience = this.#database.patience(deadline);
    const exists = await this.#database.open();
    const file = this.#database.opened;
    return await untilFree(this.#database.path, patience, () => {
      if (file !== null && !file.connection.inTransaction) letOthersWrite(file);
      return Snapshot.take(
        this.#database.path,
        exists,
        this.#database.position,
        this.#database.options.limits,
      );
    });
  }

  async #executeAlone({ batch, deadline }: Work): Promise<Settled> {
    const file = await this.#database.file();
    const attempt = (): Settled => {
      const settled = file.sessions.lookUp(batch, this.#database.position);
      if (settled !== null) return settled;
      checkDeadline(deadline);
      if (batch.turn?.onlyReplay === true) return this.#database.upkeep.giveUp(file, batch, batch.turn);
      return { reply: execute(file, batch, this.#terms(), (...done) => this.#database.committed(...done)) };
    };
    return await untilFree(this.#database.path, this.#database.patience(deadline), attempt);
  }

  #terms(): Terms {
    const { limits, durability } = this.#database.options;
    return { position: this.#database.position, limits, durability };
  }
}

/** With a rollback journal a reader would keep all writers out. Where nobody can write, that is nobody's loss. */
function letOthersWrite(file: DatabaseFile): void {
  try {
    file.makeWritable();
  } catch (error) {
    if (!(error instanceof SkylineError) || error.code !== 'DATABASE_READONLY') throw error;
  }
}

function revOf({ tables }: Outcome): Tables[] {
  return tables === undefined ? [] : [tables];
}

/** @throws SkylineError `TIMEOUT` */
function checkDeadline(deadline: number): void {
  if (deadline > 0 && monotonicMs() >= deadline) throw notBegun();
}
