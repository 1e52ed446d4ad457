import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { SkylineError } from '../../protocol/errors.js';
import type { CheckpointMode } from '../../protocol/messages.js';
import type { CheckedBatch } from './batch.js';
import { type CheckpointResult, walBytes } from './checkpoint.js';
import { DatabaseFile, GroupBroken } from './database-file.js';
import { type Begin, execute, executeGroup, type Outcome, rehearse, type Terms } from './execute.js';
import type { KernelLock } from './kernel-lock.js';
import { monotonicMs, type Position, type WorkerOptions } from './link.js';
import { describeHolders, walUsers } from './lock-holders.js';
import { notBegun, type Patience, untilFree } from './patience.js';
import { continueFrom, missingFile } from './position-table.js';
import { fromSqlite, isSqliteError } from './sqlite-errors.js';

/** Milliseconds between two looks at whether the readers have left. */
const READERS_POLL_MS = 20;

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
  readonly #onPosition: (position: Position) => void;
  #file: DatabaseFile | null = null;
  #position: Position;
  #commits = 0;
  /** Checkpoints through files that are closed again. */
  #checkpoints = 0;

  /** @param onPosition told whenever identity or epoch have changed */
  constructor(options: WorkerOptions, onPosition: (position: Position) => void) {
    this.#options = options;
    this.#onPosition = onPosition;
    this.#position = missingFile(options.known);
  }

  get path(): string {
    return this.#options.path;
  }

  get position(): Position {
    return this.#position;
  }

  get commits(): number {
    return this.#commits;
  }

  get checkpoints(): number {
    return this.#checkpoints + (this.#file?.checkpointer.count ?? 0);
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
    this.#file = await DatabaseFile.open(this.#options, false, this.#patience(), owner);
    this.#moveTo(decide(this.#file.stored));
    return true;
  }

  /** The open file, for SQLite's own operations on it. */
  async file(): Promise<DatabaseFile> {
    if (!(await this.open()) || this.#file === null) throw notFound(this.path);
    return this.#file;
  }

  /** Writes the position into the file without a batch. */
  async savePosition(): Promise<void> {
    const file = await this.file();
    await untilFree(this.path, this.#patience(), () => {
      file.makeWritable();
      this.#moveTo(file.write(this.#options.durability, () => this.#position));
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
      if (!file.groupable) return null;
      const { position, outcomes } = executeGroup(file, work, this.#terms(), onBegin);
      this.#committed(position);
      return outcomes;
    } catch (error) {
      // The commit may have reached the disk: done again, each batch could count twice.
      if (error instanceof SkylineError && error.outcome !== 'not_applied')
        return work.map(() => ({ error, rev: this.#position.rev }));
      if (error instanceof GroupBroken || error instanceof SkylineError || isSqliteError(error)) return null;
      throw error;
    }
  }

  /** Executes a batch by itself; makes the file if there is none and the batch needs it. */
  async execute(work: Work, onBegin: Begin): Promise<Outcome> {
    try {
      const reply = await this.#execute(work, () => onBegin(0));
      return { reply, rev: this.#position.rev };
    } catch (error) {
      return { error: fromSqlite(error, this.path), rev: this.#position.rev };
    }
  }

  async #execute({ batch, deadline }: Work, onBegin: () => Promise<void> | undefined): Promise<string> {
    await onBegin();
    if (deadline > 0 && monotonicMs() >= deadline) throw notBegun();
    if (await this.open()) return await this.#executeAlone(batch, deadline);
    const reply = rehearse(batch, this.#terms(), this.path);
    if (!batch.mayWrite) return reply;
    const file = await DatabaseFile.open(this.#options, true, this.#patience(deadline));
    this.#file = file;
    try {
      return await this.#executeAlone(batch, deadline);
    } catch (error) {
      this.#file = null;
      file.discard();
      throw error;
    }
  }

  /**
   * Brings the whole WAL into the main file and empties it, waiting for readers to leave.
   * @throws SkylineError `CHECKPOINT_BUSY` naming the readers; `DATABASE_NOT_FOUND`
   */
  async checkpointAll(timeoutMs: number): Promise<void> {
    await this.file();
    const until = performance.now() + timeoutMs;
    for (;;) {
      const { busy, log, checkpointed } = this.checkpoint('truncate');
      // The row and the file must both say so: with a reader in the way SQLite reports no error.
      if (!busy && log === checkpointed && walBytes(this.path) === 0) return;
      if (performance.now() >= until) throw this.#readersInTheWay(timeoutMs);
      await sleep(Math.min(READERS_POLL_MS, timeoutMs));
    }
  }

  /** One checkpoint, as asked for. Nothing to do while no file is open. */
  checkpoint(mode: CheckpointMode): CheckpointResult {
    if (this.#file === null) return { busy: false, log: 0, checkpointed: 0 };
    try {
      return this.#file.checkpointer.run(mode);
    } catch (error) {
      const failure = fromSqlite(error, this.path);
      if (failure.code === 'BUSY') return { busy: true, log: 0, checkpointed: 0 };
      throw failure;
    }
  }

  /** In a moment without work: keeps the WAL short; after a longer one, leaves the main file complete. */
  quiet(longer: boolean): void {
    if (longer) this.#file?.checkpointer.settled();
    else this.#file?.checkpointer.quiet();
  }

  /** Closes the file and gives up the ownership. Idempotent. */
  close(): void {
    const file = this.#file;
    if (file === null) return;
    this.#file = null;
    this.#checkpoints += file.checkpointer.count;
    file.close();
  }

  async #executeAlone(batch: CheckedBatch, deadline: number): Promise<string> {
    const file = await this.file();
    const attempt = () => execute(file, batch, this.#terms(), (position) => this.#committed(position));
    return await untilFree(this.path, this.#patience(deadline), attempt);
  }

  /** The one place between a commit and its answers. */
  #committed(position: Position): void {
    const { rev } = this.#position;
    if (position !== this.#position) this.#commits += 1;
    // The rev is not told before the answers tell it: the router takes it for what has been answered.
    this.#moveTo(position, rev);
  }

  #terms(): Terms {
    const { limits, durability } = this.#options;
    return { position: this.#position, limits, durability };
  }

  #patience(deadline = 0): Patience {
    return { busyTimeoutMs: this.#options.busyTimeoutMs, deadline };
  }

  #readersInTheWay(timeoutMs: number): SkylineError {
    const holders = walUsers(this.path);
    return new SkylineError(
      'CHECKPOINT_BUSY',
      `${this.path}: a reader or writer kept the WAL from being emptied for ${timeoutMs} ms (${describeHolders(holders)}). End its transaction or allow more time; the database is open again.`,
      { details: { holders } },
    );
  }

  #moveTo(position: Position, told = position.rev): void {
    const { id, epoch } = this.#position;
    this.#position = position;
    if (position.id !== id || position.epoch !== epoch) this.#onPosition({ ...position, rev: told });
  }
}

/**
 * Whether there is a file that may be served.
 * @throws SkylineError `DATABASE_NOT_ALLOWED` for folders, devices and files with several names
 */
export function checkFile(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return false;
  if (!stat.isFile())
    throw new SkylineError(
      'DATABASE_NOT_ALLOWED',
      `${path} is ${stat.isDirectory() ? 'a folder' : 'no regular file'}, not a database.`,
    );
  if (stat.nlink > 1) {
    throw new SkylineError(
      'DATABASE_NOT_ALLOWED',
      `${path} has ${stat.nlink} hard links. SQLite keeps a WAL for each name, which would corrupt it: keep one name, use symbolic links for others.`,
    );
  }
  return true;
}

function notFound(path: string): SkylineError {
  return new SkylineError(
    'DATABASE_NOT_FOUND',
    `There is no database at ${path}. Check the path; a first ExecBatch that writes would create it.`,
  );
}
