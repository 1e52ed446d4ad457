import { SkylineError } from '../../protocol/errors.js';
import type { CheckpointMode, WalStatus } from '../../protocol/messages.js';
import { checkFile, notFound } from './check-file.js';
import type { CheckpointResult } from './checkpoint.js';
import { Checkpointer } from './checkpointer.js';
import { DatabaseFile } from './database-file.js';
import { type DatabaseFacts, databaseFactsOf, sameDatabaseFacts } from './file-facts.js';
import type { KernelLock } from './kernel-lock.js';
import type { Notice, Position, WorkerCounts, WorkerOptions } from './link.js';
import { TransactionTimes } from './metrics.js';
import { type Patience, untilFree } from './patience.js';
import { continueFrom, missingFile } from './position-table.js';
import { SessionUpkeep } from './session-upkeep.js';
import { fromSqlite, isSqliteError } from './sqlite-errors.js';
import { Standing } from './standing.js';
import type { Tables } from './written-tables.js';

/**
 * One database: whether its file is open, where it stands, what is done with it. Holds nothing of the process, so that
 * one process may serve many. The caller does one thing at a time.
 */
export class ServedDatabase {
  readonly options: WorkerOptions;
  readonly #checkpointer: Checkpointer;
  readonly #times = new TransactionTimes();
  readonly #standing: Standing;
  /** What is written about sessions beside the batches. */
  readonly upkeep: SessionUpkeep;
  readonly #notice: (notice: Notice) => void;
  #file: DatabaseFile | null = null;
  /** The router has heard which file is open. */
  #told = false;
  #watched: boolean;
  /** How the last worker left the files, until this one opens them. */
  #left: DatabaseFacts | undefined;

  /** @param notice told whenever identity or epoch have changed, and what else the router should hear */
  constructor(options: WorkerOptions, notice: (notice: Notice) => void) {
    this.options = options;
    this.#notice = notice;
    this.#checkpointer = new Checkpointer({ ...options, notice });
    this.#standing = new Standing(missingFile(options.known), notice);
    this.upkeep = new SessionUpkeep(this.#standing, options.durability, options.sessionTtlMs);
    this.#watched = options.watched;
    this.#left = options.left;
  }

  get path(): string {
    return this.options.path;
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
    decide = (file: Position) => continueFrom(this.options.known, file),
    owner?: KernelLock,
  ): Promise<boolean> {
    if (this.#file !== null) return true;
    if (!checkFile(this.path)) return false;
    this.#file = await this.#openFile(false, this.patience(), owner);
    this.#tellFile();
    this.#standing.moveTo(decide(this.#file.stored));
    this.#tellWhatOthersDid();
    return true;
  }

  /** The open file, for SQLite's own operations on it. */
  async file(): Promise<DatabaseFile> {
    if (!(await this.open()) || this.#file === null) throw notFound(this.path);
    return this.#file;
  }

  /** The file while it is open. */
  get opened(): DatabaseFile | null {
    return this.#file;
  }

  /**
   * Makes the file, without contents, for a batch or transaction that is to write.
   * @throws SkylineError
   */
  async make(deadline = 0): Promise<DatabaseFile> {
    this.#left = undefined;
    const file = await this.#openFile(true, this.patience(deadline));
    this.#file = file;
    // One with a history may have come there since this looked.
    if (file.stored.id !== null) this.#standing.moveTo(continueFrom(this.options.known, file.stored));
    return file;
  }

  /** Closes a file that was made for what has failed after all: nothing of it stays. */
  discard(): void {
    const file = this.#file;
    this.#file = null;
    file?.discard();
  }

  /**
   * Makes the file, empty but for its identity.
   * @throws SkylineError `DATABASE_EXISTS` when there is another one
   */
  async create(position: Position): Promise<Position> {
    const file = (await this.open()) ? await this.file() : await this.make();
    if (file.stored.id === position.id) return this.position;
    if (!file.isEmpty) throw new SkylineError('DATABASE_EXISTS', `There is a file at ${this.path} already.`);
    this.#standing.moveTo(position);
    try {
      await this.savePosition();
    } catch (error) {
      this.discard();
      throw fromSqlite(error, this.path);
    }
    return this.position;
  }

  /** Whether each commit is told, and what it has written to. */
  get watched(): boolean {
    return this.#watched;
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
    await untilFree(this.path, this.patience(), () => {
      file.makeWritable();
      this.#standing.moveTo(file.write(this.options.durability, () => this.position));
    });
    this.#tellFile();
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
    this.upkeep.forget(file);
    this.#checkpointer.settled();
  }

  /** Resolves when no thread of this process has the file open. */
  async alone(): Promise<void> {
    await this.#checkpointer.alone();
  }

  /**
   * Closes the file and gives up the ownership, and tells before what other programs have written so far.
   * @returns how the files are left, if each commit is told: what is different later, others have done after this
   */
  leave(): DatabaseFacts | undefined {
    // Never opened: as the last one left them.
    let left = this.#left;
    if (this.#file !== null && this.#watched) {
      this.#bringHome();
      // Facts first: what is written between the two is told twice rather than never.
      left = databaseFactsOf(this.path);
      this.lookForOthers();
    }
    this.close();
    return left;
  }

  /** Closes the file and gives up the ownership. Idempotent. */
  close(): void {
    const file = this.#file;
    if (file === null) return;
    this.#file = null;
    file.close();
  }

  /**
   * The one place between a commit and its answers.
   * @param tables what was written to, for each new rev
   */
  committed(position: Position, tables: readonly Tables[]): void {
    this.#tellFile();
    this.#standing.committed(position);
    if (this.#watched) this.#standing.tellChanges(tables, this.#file?.foreign.take() ?? false);
  }

  /** How long to wait for another program's lock, with or without a deadline. */
  patience(deadline = 0): Patience {
    return { busyTimeoutMs: this.options.busyTimeoutMs, deadline };
  }

  /** Only of one that will stay: one that goes again would look deleted. */
  #tellFile(): void {
    if (this.#told) return;
    this.#told = true;
    const facts = this.#file?.facts;
    if (facts) this.#notice({ event: 'file', dev: facts.dev, ino: facts.ino });
  }

  /** What SQLite does when the last connection closes, and what would make the files look as if others had written. */
  #bringHome(): void {
    try {
      this.#checkpointer.run('truncate');
    } catch (error) {
      // Whoever is in the way keeps SQLite from doing it later, too.
      if (!isSqliteError(error)) throw error;
    }
  }

  /** While no worker had the file open. What is written from here on is seen by SQLite's own means. */
  #tellWhatOthersDid(): void {
    const left = this.#left;
    this.#left = undefined;
    if (left === undefined || sameDatabaseFacts(left, databaseFactsOf(this.path))) return;
    // Another history is told by its epoch.
    const before = this.options.known?.epoch ?? this.position.epoch;
    if (before === this.position.epoch) this.#standing.tellChanges([], true);
  }

  async #openFile(create: boolean, patience: Patience, owner?: KernelLock): Promise<DatabaseFile> {
    const companions = { checkpointer: this.#checkpointer, times: this.#times };
    const file = await DatabaseFile.open(this.options, create, patience, companions, owner);
    this.#told = false;
    if (this.#watched) file.watch(true);
    return file;
  }
}
