import { SkylineError } from '../../protocol/errors.js';
import type { BeginTxRequest, CheckpointMode, WalStatus } from '../../protocol/messages.js';
import type { CheckedBatch } from './batch.js';
import { checkFile, fileGone, notFound } from './check-file.js';
import type { CheckpointResult } from './checkpoint.js';
import { Checkpointer } from './checkpointer.js';
import { DatabaseFile } from './database-file.js';
import { type Begin, execute, executeGroup, type Outcome, rehearse, type Terms } from './execute.js';
import type { KernelLock } from './kernel-lock.js';
import { monotonicMs, type Notice, type Position, type WorkerCounts, type WorkerOptions } from './link.js';
import { TransactionTimes } from './metrics.js';
import { notBegun, type Patience, untilFree } from './patience.js';
import { GroupBroken } from './pieces.js';
import { continueFrom, missingFile } from './position-table.js';
import { givenUp, refusal, type Settled } from './session-answers.js';
import { asGivenUp, SessionUpkeep } from './session-upkeep.js';
import { Snapshot } from './snapshot.js';
import { fromSqlite, isSqliteError } from './sqlite-errors.js';
import { Standing } from './standing.js';
import { WriteTransaction } from './write-transaction.js';
import type { Tables } from './written-tables.js';

/** A batch that is to be executed. */
export interface Work {
  readonly batch: CheckedBatch;
  /** On the machine's monotonic clock, 0 for none: not begun after it. */
  readonly deadline: number;
}

/**
 * One database: whether its file is open, where it stands, what is done with it. Holds nothing of the process, so that
 * one process may serve many. The caller does one thing at a time.
 */
export class ServedDatabase {
  readonly #options: WorkerOptions;
  readonly #checkpointer: Checkpointer;
  readonly #times = new TransactionTimes();
  readonly #standing: Standing;
  readonly #upkeep: SessionUpkeep;
  #file: DatabaseFile | null = null;
  #watched: boolean;

  /** @param notice told whenever identity or epoch have changed, and what else the router should hear */
  constructor(options: WorkerOptions, notice: (notice: Notice) => void) {
    this.#options = options;
    this.#checkpointer = new Checkpointer({ ...options, notice });
    this.#standing = new Standing(missingFile(options.known), notice);
    this.#upkeep = new SessionUpkeep(this.#standing, options.durability, options.sessionTtlMs);
    this.#watched = options.watched;
  }

  get path(): string {
    return this.#options.path;
  }

  get position(): Position {
    return this.#standing.position;
  }

  /** Whether the position is the file's own: before the file is open, it is what the router knew. */
  get isOpen(): boolean {
    return this.#file !== null;
  }

  /** What was counted of its transactions and checkpoints. */
  get counts(): Pick<WorkerCounts, 'commits' | 'checkpoints' | 'execute' | 'commit' | 'checkpointWait'> {
    return {
      commits: this.#standing.commits,
      checkpoints: this.#checkpointer.count,
      execute: this.#times.execute.counts,
      commit: this.#times.commit.counts,
      checkpointWait: this.#checkpointer.waits.counts,
    };
  }

  get wal(): WalStatus | null {
    return this.#checkpointer.status;
  }

  /**
   * Opens the file if there is one. A missing file is no error: the first batch that writes makes it.
   * @param decide where the database stands, from the position in the file
   * @param owner the owner lock, when it is held already
   * @throws SkylineError when it is no database, belongs to another daemon, or cannot be read
   */
  async open(
    decide = (file: Position) => continueFrom(this.#options.known, file),
    owner?: KernelLock,
  ): Promise<boolean> {
    if (this.#file !== null) return true;
    if (!checkFile(this.path)) return false;
    this.#file = await this.#openFile(false, this.#patience(), owner);
    this.#standing.moveTo(decide(this.#file.stored));
    return true;
  }

  /** The open file, for SQLite's own operations on it. */
  async file(): Promise<DatabaseFile> {
    if (!(await this.open()) || this.#file === null) throw notFound(this.path);
    return this.#file;
  }

  /**
   * Makes the file, empty but for its identity.
   * @throws SkylineError `DATABASE_EXISTS` when there is another one
   */
  async create(position: Position): Promise<Position> {
    if (await this.open()) {
      const file = await this.file();
      if (file.stored.id === position.id) return this.position;
      if (!file.isEmpty)
        throw new SkylineError('DATABASE_EXISTS', `There is a file at ${this.path} already.`);
    } else this.#file = await this.#openFile(true, this.#patience());
    this.#standing.moveTo(position);
    try {
      await this.savePosition();
    } catch (error) {
      const file = this.#file;
      this.#file = null;
      file?.discard();
      throw fromSqlite(error, this.path);
    }
    return this.position;
  }

  /** Whether to tell of each commit, and of what other programs write. */
  watch(on: boolean): void {
    if (on === this.#watched) return;
    this.#watched = on;
    this.#file?.watch(on);
  }

  /** In a moment without work: whether other programs have written. */
  lookForOthers(): void {
    if (!this.#watched || this.#file === null) return;
    try {
      this.#file.foreign.look();
      if (this.#file.foreign.take()) this.#standing.tellChanges([], true);
    } catch (error) {
      // Somebody holds a lock, or the file is being exchanged: the next look tells.
      if (!isSqliteError(error)) throw error;
    }
  }

  /** Writes the position into the file without a batch. */
  async savePosition(): Promise<void> {
    const file = await this.file();
    await untilFree(this.path, this.#patience(), () => {
      file.makeWritable();
      this.#standing.moveTo(file.write(this.#options.durability, () => this.position));
    });
  }

  /**
   * Executes batches in one transaction.
   * @param onBegin told before a batch's statements run
   * @returns the outcomes of the first ones: at least one, and as many as there was time for; null when the group must be
   *   taken apart, because somebody could notice it or one batch has harmed it: nothing was applied, and each then meets
   *   by itself whatever stood in the way
   */
  executeTogether(work: readonly Work[], onBegin: Begin): Outcome[] | null {
    const file = this.#file;
    if (file === null) return null;
    try {
      if (!file.schema.look().groupable) return null;
      const { position, outcomes } = executeGroup(file, work, this.#terms(), onBegin);
      this.#committed(position, this.#watched ? outcomes.flatMap(revOf) : []);
      return outcomes;
    } catch (error) {
      // The commit may have reached the disk: done again, each batch could count twice.
      if (error instanceof SkylineError && error.outcome !== 'not_applied')
        return work.map(() => ({ error, rev: this.position.rev }));
      if (error instanceof GroupBroken || error instanceof SkylineError || isSqliteError(error)) return null;
      throw error;
    }
  }

  /** Executes a batch by itself; makes the file if there is none and the batch needs it. */
  async execute(work: Work, onBegin: Begin): Promise<Outcome> {
    try {
      const settled = await this.#execute(work, () => onBegin(0)).catch((error) => this.#anew(work, error));
      return { ...settled, rev: this.position.rev };
    } catch (error) {
      const failure = fromSqlite(error, this.path);
      if (this.#file !== null) this.#upkeep.recordFailure(this.#file, work.batch, failure);
      return { error: asGivenUp(work.batch, failure), rev: this.position.rev };
    }
  }

  /** SQLite opens a file to read it where it cannot be opened to write, and never tries again: that may have passed. */
  async #anew(work: Work, error: unknown): Promise<Settled> {
    const failure = fromSqlite(error, this.path);
    if (failure.code !== 'DATABASE_READONLY' || failure.outcome !== 'not_applied') throw failure;
    this.close();
    return await this.#execute(work, () => undefined);
  }

  async #execute(work: Work, onBegin: () => Promise<void> | undefined): Promise<Settled> {
    const { batch, deadline } = work;
    await onBegin();
    // With a session it may be answered with what is recorded: only looking that up tells.
    if (batch.turn === null) checkDeadline(deadline);
    if (await this.open()) return await this.#executeAlone(work);
    checkDeadline(deadline);
    if (this.#options.mustExist === true) throw fileGone(this.path);
    const refused = batch.turn === null ? null : refusal(batch.turn, null, this.position);
    if (refused !== null) throw refused;
    // There is no place to record that in: a copy of it on its way could still make the file.
    if (batch.turn?.onlyReplay === true) return { error: givenUp(batch.turn) };
    const reply = rehearse(batch, this.#terms(), this.path);
    if (!batch.mayWrite) return { reply };
    const file = await this.#openFile(true, this.#patience(deadline));
    this.#file = file;
    try {
      return await this.#executeAlone(work);
    } catch (error) {
      this.#file = null;
      file.discard();
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
    const patience = this.#patience(deadline);
    const isNew = !(await this.open());
    if (isNew && this.#options.mustExist === true) throw fileGone(this.path);
    if (isNew) this.#file = await this.#openFile(true, patience);
    const file = await this.file();
    const discard = () => {
      if (!isNew) return;
      this.#file = null;
      file.discard();
    };
    try {
      await untilFree(this.path, patience, () => {
        file.makeWritable();
        file.begin(durable ? 'full' : this.#options.durability, foreignKeys);
      });
    } catch (error) {
      discard();
      throw error;
    }
    return new WriteTransaction(file, this.#terms(), {
      committed: (position, tables) => this.#committed(position, [tables]),
      rolledBack: discard,
    });
  }

  /**
   * A view of the database as it is now, which stays so whatever is written.
   * @throws SkylineError
   */
  async snapshot(deadline: number): Promise<Snapshot> {
    const patience = this.#patience(deadline);
    const exists = await this.open();
    const file = this.#file;
    return await untilFree(this.path, patience, () => {
      if (file !== null && !file.connection.inTransaction) letOthersWrite(file);
      return Snapshot.take(this.path, exists, this.position, this.#options.limits);
    });
  }

  /** One checkpoint, as asked for. Nothing to do while no file is open. */
  async checkpoint(mode: CheckpointMode): Promise<CheckpointResult> {
    await this.#checkpointer.alone();
    try {
      return this.#checkpointer.run(mode);
    } catch (error) {
      const failure = fromSqlite(error, this.path);
      if (failure.code === 'BUSY') return { busy: true, log: 0, checkpointed: 0 };
      throw failure;
    }
  }

  /** In a moment without work: keeps the WAL short; after a longer one, leaves the main file complete. */
  quiet(longer: boolean): void {
    const file = this.#file;
    if (file === null) return;
    if (!longer) {
      this.#checkpointer.quiet();
      return;
    }
    this.#upkeep.forget(file);
    this.#checkpointer.settled();
  }

  /** Resolves when no thread of this process has the file open. */
  async alone(): Promise<void> {
    await this.#checkpointer.alone();
  }

  /** Closes the file and gives up the ownership. Idempotent. */
  close(): void {
    const file = this.#file;
    if (file === null) return;
    this.#file = null;
    file.close();
  }

  async #executeAlone({ batch, deadline }: Work): Promise<Settled> {
    const file = await this.file();
    const attempt = (): Settled => {
      const settled = file.sessions.lookUp(batch, this.position);
      if (settled !== null) return settled;
      checkDeadline(deadline);
      if (batch.turn?.onlyReplay === true) return this.#upkeep.giveUp(file, batch, batch.turn);
      return { reply: execute(file, batch, this.#terms(), (...done) => this.#committed(...done)) };
    };
    return await untilFree(this.path, this.#patience(deadline), attempt);
  }

  /**
   * The one place between a commit and its answers.
   * @param tables what was written to, for each new rev
   */
  #committed(position: Position, tables: readonly Tables[]): void {
    this.#standing.committed(position);
    if (this.#watched) this.#standing.tellChanges(tables, this.#file?.foreign.take() ?? false);
  }

  #terms(): Terms {
    const { limits, durability } = this.#options;
    return { position: this.position, limits, durability };
  }

  #patience(deadline = 0): Patience {
    return { busyTimeoutMs: this.#options.busyTimeoutMs, deadline };
  }

  async #openFile(create: boolean, patience: Patience, owner?: KernelLock): Promise<DatabaseFile> {
    const companions = { checkpointer: this.#checkpointer, times: this.#times };
    const file = await DatabaseFile.open(this.#options, create, patience, companions, owner);
    if (this.#watched) file.watch(true);
    return file;
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
