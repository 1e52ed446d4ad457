import { rmSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { SkylineError } from '../../protocol/errors.js';
import type { CheckpointMode, ExecBatchRequest, RequestId } from '../../protocol/messages.js';
import { atStatement, type BatchResults, type CheckedBatch, newResults, runStatement } from './batch.js';
import { Checkpointer, type CheckpointResult, walBytes } from './checkpoint.js';
import { Connection } from './connection.js';
import type { KernelLock } from './kernel-lock.js';
import { monotonicMs, type Position, type WorkerOptions } from './link.js';
import { describeHolders, walReaders, writers } from './lock-holders.js';
import { acquireOwnership } from './owner-lock.js';
import { continueFrom, nextEpoch, PositionWriter, readPosition, START } from './position-table.js';
import { fromSqlite } from './sqlite-errors.js';

/** The database's file is open. */
interface OpenFile {
  readonly connection: Connection;
  readonly positions: PositionWriter;
  readonly checkpointer: Checkpointer;
  /** null when the folder takes no lock file: then nothing can be written either. */
  readonly lock: KernelLock | null;
  /** Why the file cannot be written; null when it can. */
  readonly readonly: SkylineError | null;
  wal: boolean;
}

/** SQLite's own steps for waiting on a lock, in milliseconds (sqliteDefaultBusyCallback). */
const BUSY_STEPS = [1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100];

/**
 * One database: its file, its position, its batches. Holds nothing of the process, so that one process may serve many.
 * The caller runs one thing at a time.
 */
export class ServedDatabase {
  readonly #options: WorkerOptions;
  readonly #onPosition: (position: Position) => void;
  #file: OpenFile | null = null;
  #position: Position;
  #commits = 0;
  #checkpoints = 0;

  /** @param onPosition told whenever identity or epoch have changed */
  constructor(options: WorkerOptions, onPosition: (position: Position) => void) {
    this.#options = options;
    this.#onPosition = onPosition;
    // A file that is missing now is another one when it comes back.
    this.#position = options.known === null ? START : nextEpochIfUsed(options.known);
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

  /** In a moment without work: keeps the WAL short. */
  quiet(longer: boolean): void {
    if (longer) this.#file?.checkpointer.settled();
    else this.#file?.checkpointer.quiet();
  }

  /**
   * Opens the file if there is one. A missing file is no error: the first batch that writes makes it.
   * @throws SkylineError when it is no database, belongs to another daemon, or cannot be read
   */
  async open(): Promise<boolean> {
    if (this.#file !== null) return true;
    if (!checkFile(this.path)) return false;
    await this.#openFile(false, (file) => continueFrom(this.#options.known, file));
    return true;
  }

  /**
   * Opens a file that has come into the place of another.
   * @param decide its position, from the one in the file
   */
  async openAs(decide: (file: Position) => Position): Promise<void> {
    await this.#openFile(false, decide);
  }

  /** Writes the position into the file, as every batch does. */
  async savePosition(): Promise<void> {
    await this.#untilFree(0, () => {
      this.#makeWritable();
      this.#write(this.#options.durability, () => this.#position);
    });
  }

  /**
   * Executes a batch.
   * @param deadline on the machine's monotonic clock, 0 for none: not begun after it
   * @returns the reply as JSON text
   * @throws SkylineError with the outcome
   */
  async execute(batch: CheckedBatch, deadline: number): Promise<string> {
    if (deadline > 0 && monotonicMs() >= deadline) throw timedOut();
    if (!(await this.open())) {
      const reply = this.#rehearse(batch);
      if (!batch.mayWrite) return reply;
      await this.#openFile(true, () => this.#position);
      try {
        return await this.#untilFree(deadline, () => this.#run(batch));
      } catch (error) {
        this.#uncreate();
        throw error;
      }
    }
    return await this.#untilFree(deadline, () => this.#run(batch));
  }

  /**
   * Brings the whole WAL into the main file and empties it, waiting for readers to leave.
   * @throws SkylineError `CHECKPOINT_BUSY` naming the readers; `DATABASE_NOT_FOUND`
   */
  async checkpointAll(timeoutMs: number): Promise<void> {
    if (!(await this.open())) throw notFound(this.path);
    const until = performance.now() + timeoutMs;
    for (;;) {
      const { busy, log, checkpointed } = this.checkpoint('truncate');
      // The row and the file must both say so: with a reader in the way SQLite reports no error.
      if (!busy && log === checkpointed && walBytes(this.path) === 0) return;
      if (performance.now() >= until) {
        const holders = [...walReaders(this.path), ...writers(this.path)];
        throw new SkylineError(
          'CHECKPOINT_BUSY',
          `${this.path}: a reader kept the WAL from being emptied for ${timeoutMs} ms (${describeHolders(holders)}). End its transaction or allow more time; the database is open again.`,
          { details: { holders } },
        );
      }
      await sleep(Math.min(20, timeoutMs));
    }
  }

  /** One checkpoint, as asked for. Nothing to do for a missing file. */
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

  /** The open connection, for SQLite's own operations on it. */
  async connection(): Promise<Connection> {
    if (!(await this.open()) || this.#file === null) throw notFound(this.path);
    return this.#file.connection;
  }

  /** Closes the file and gives up the ownership. Idempotent. */
  close(): void {
    const file = this.#file;
    if (file === null) return;
    this.#file = null;
    this.#checkpoints += file.checkpointer.count;
    try {
      file.connection.close();
    } finally {
      file.lock?.release();
    }
  }

  /** A batch that failed after all (a full disk) leaves no empty file behind. */
  #uncreate(): void {
    this.#file?.connection.close();
    if (statSync(this.path, { throwIfNoEntry: false })?.size === 0) rmSync(this.path, { force: true });
    this.#file?.lock?.release();
    this.#file = null;
  }

  async #openFile(create: boolean, decide: (file: Position) => Position): Promise<void> {
    const { options, lock } = await this.#own();
    let connection: Connection | null = null;
    try {
      connection = Connection.open(this.path, {
        create,
        limits: options.limits,
        durability: options.durability,
      });
      const opened = connection;
      const position = decide(await this.#untilFree(0, () => readPosition(opened.handle)));
      this.#file = {
        connection,
        positions: new PositionWriter(connection.handle),
        checkpointer: new Checkpointer(connection.handle),
        lock: lock instanceof SkylineError ? null : lock,
        readonly: lock instanceof SkylineError ? lock : null,
        wal: false,
      };
      this.#moveTo(position);
    } catch (error) {
      connection?.close();
      if (!(lock instanceof SkylineError)) lock.release();
      throw fromSqlite(error, this.path);
    }
  }

  /** The one place that decides whether this process may write the file. A read-only folder still allows reading. */
  async #own(): Promise<{ options: WorkerOptions; lock: KernelLock | SkylineError }> {
    const options = this.#options;
    try {
      const lock = await acquireOwnership(this.path, {
        pid: process.pid,
        routerPid: options.routerPid,
        endpoint: options.endpoint,
      });
      return { options, lock };
    } catch (error) {
      if (error instanceof SkylineError && error.code === 'DATABASE_READONLY' && checkFile(this.path))
        return { options, lock: error };
      throw error;
    }
  }

  /**
   * Runs a batch for a file that does not exist on an empty database in memory: what fails there fails here, and nothing
   * is created. The file itself is made only for a batch that has succeeded and writes.
   */
  #rehearse(batch: CheckedBatch): string {
    this.#checkExpectations(batch.request);
    const memory = Connection.open(':memory:', {
      create: true,
      limits: this.#options.limits,
      durability: 'normal',
    });
    try {
      const results = newResults(batch.request, this.#options.limits);
      const atomic = batch.request.tx !== 'none';
      if (atomic) memory.begin(true, 'normal');
      for (let index = 0; index < batch.statements.length; index += 1)
        runStatement(memory, batch, index, results, this.path);
      if (atomic) memory.commit();
      return this.#reply(batch.request, this.#position, results);
    } catch (error) {
      throw fromSqlite(error, this.path);
    } finally {
      memory.close();
    }
  }

  #run(batch: CheckedBatch): string {
    this.#checkExpectations(batch.request);
    if (batch.mayWrite) this.#makeWritable();
    const results = newResults(batch.request, this.#options.limits);
    return batch.request.tx === 'none' ? this.#runEach(batch, results) : this.#runAtomic(batch, results);
  }

  #runAtomic(batch: CheckedBatch, results: BatchResults): string {
    const { connection } = this.#opened();
    const durability = batch.request.durable === true ? 'full' : this.#options.durability;
    let reply = '';
    const statements = () => {
      for (let index = 0; index < batch.statements.length; index += 1)
        runStatement(connection, batch, index, results, this.path);
    };
    if (batch.mayWrite) {
      this.#write(durability, () => {
        statements();
        const next = { ...this.#position, rev: this.#position.rev + 1 };
        reply = this.#reply(batch.request, next, results);
        return next;
      });
    } else {
      this.#inTransaction(false, durability, statements);
      reply = this.#reply(batch.request, this.#position, results);
    }
    return reply;
  }

  /** Each statement on its own, stopping at the first error, which says how many were applied. */
  #runEach(batch: CheckedBatch, results: BatchResults): string {
    const { connection } = this.#opened();
    const durability = batch.request.durable === true ? 'full' : this.#options.durability;
    let written = 0;
    for (let index = 0; index < batch.statements.length; index += 1) {
      const facts = batch.statements[index]?.facts;
      const statement = () => runStatement(connection, batch, index, results, this.path);
      const next = () => ({ ...this.#position, rev: this.#position.rev + 1 });
      try {
        if (facts?.isVacuum === true) {
          // VACUUM cannot run inside a transaction: its rev follows in one of its own.
          connection.setDurability(durability);
          statement();
          this.#write(durability, next);
        } else if (facts?.mayWrite === true) {
          this.#write(durability, () => {
            statement();
            return next();
          });
        } else {
          this.#inTransaction(false, durability, statement);
        }
        if (facts?.mayWrite === true) written += 1;
      } catch (error) {
        const failure = atStatement(fromSqlite(error, this.path), index) as SkylineError;
        // Nothing applied yet and a lock in the way: the caller waits and tries the whole batch again.
        throw new SkylineError(failure.code, failure.message, {
          outcome:
            failure.outcome !== 'not_applied' ? failure.outcome : written > 0 ? 'partial' : 'not_applied',
          retryable: failure.retryable && written === 0,
          details: { ...failure.details, applied: index },
          cause: failure,
        });
      }
    }
    return this.#reply(batch.request, this.#position, results);
  }

  /** A write transaction that ends with the new position in it. */
  #write(durability: 'normal' | 'full', work: () => Position): void {
    const file = this.#opened();
    let next = this.#position;
    try {
      this.#inTransaction(true, durability, () => {
        next = file.positions.write(work());
      });
    } catch (error) {
      file.positions.forget();
      throw error;
    }
    this.#commits += 1;
    this.#moveTo(next);
    file.checkpointer.committed();
  }

  #inTransaction(writes: boolean, durability: 'normal' | 'full', work: () => void): void {
    const { connection } = this.#opened();
    let committing = false;
    try {
      connection.begin(writes, durability);
      work();
      committing = true;
      connection.commit();
    } catch (error) {
      const failure = fromSqlite(error, this.path);
      try {
        connection.rollback();
      } catch {
        // A connection that cannot roll back is of no use: closing it does.
        this.close();
      }
      // The commit record may have reached the disk although the sync failed.
      if (committing && failure.code === 'IO_ERROR') {
        throw new SkylineError(failure.code, failure.message, {
          outcome: 'unknown',
          details: failure.details,
          cause: error,
        });
      }
      throw failure;
    }
  }

  #makeWritable(): void {
    const file = this.#opened();
    if (file.readonly !== null) throw file.readonly;
    if (file.wal) return;
    try {
      const mode = file.connection.handle.pragma('journal_mode = WAL', { simple: true });
      if (mode !== 'wal') {
        throw new SkylineError(
          'DATABASE_NOT_ALLOWED',
          `${this.path} cannot be put into WAL mode (it stays in ${String(mode)}): its file system lacks shared memory. Use a local disk.`,
        );
      }
    } catch (error) {
      throw fromSqlite(error, this.path);
    }
    file.wal = true;
  }

  /** Tries again while another program holds a lock, in SQLite's own steps, without blocking this thread. */
  async #untilFree<T>(deadline: number, attempt: () => T): Promise<T> {
    const start = monotonicMs();
    for (let round = 0; ; round += 1) {
      try {
        return attempt();
      } catch (error) {
        const failure = fromSqlite(error, this.path);
        if (failure.code !== 'BUSY' || !failure.retryable) throw failure;
        const waited = monotonicMs() - start;
        if (deadline > 0 && monotonicMs() >= deadline) throw timedOut();
        if (waited >= this.#options.busyTimeoutMs) throw this.#busy(failure, waited);
        const step = BUSY_STEPS[Math.min(round, BUSY_STEPS.length - 1)] ?? 1;
        await sleep(deadline > 0 ? Math.min(step, deadline - monotonicMs()) : step);
      }
    }
  }

  #busy(failure: SkylineError, waitedMs: number): SkylineError {
    const holders = writers(this.path);
    return new SkylineError(
      'BUSY',
      `${this.path}: another program has held the write lock for ${Math.round(waitedMs)} ms (${describeHolders(holders)}). End its transaction, then try again.`,
      { details: { ...failure.details, holders }, cause: failure },
    );
  }

  #checkExpectations(request: ExecBatchRequest): void {
    const { epoch, rev } = this.#position;
    const wanted = [
      { name: 'epoch', expected: request.expect_epoch, actual: epoch },
      { name: 'rev', expected: request.expect_rev, actual: rev },
    ];
    for (const { name, expected, actual } of wanted) {
      if (expected === undefined || expected === actual) continue;
      throw new SkylineError(
        'EXPECTATION_FAILED',
        `The batch expects ${name} ${expected}, but the database is at ${name} ${actual}. Read again, then decide.`,
        {
          details: { expected, actual },
        },
      );
    }
  }

  /** @throws SkylineError `RESULT_TOO_LARGE`, before anything is committed */
  #reply(request: ExecBatchRequest, position: Position, results: BatchResults): string {
    const { max_frame } = this.#options.limits;
    const list = results.json === null ? '' : `,"results":[${results.json.join(',')}]`;
    const reply = `{"status":"ok"${idField(request.id)},"rev":${position.rev},"epoch":${position.epoch},"rows_affected":${results.rowsAffected}${list}}`;
    if (reply.length * 3 > max_frame && Buffer.byteLength(reply) > max_frame) {
      throw new SkylineError(
        'RESULT_TOO_LARGE',
        `The reply has more than ${max_frame} bytes (max_frame). Use fewer statements, or "results": false.`,
        {
          details: { limit: 'max_frame', limit_value: max_frame },
        },
      );
    }
    return reply;
  }

  #opened(): OpenFile {
    if (this.#file === null) throw new SkylineError('INTERNAL', `${this.path} is not open.`);
    return this.#file;
  }

  #moveTo(position: Position): void {
    const { id, epoch } = this.#position;
    this.#position = position;
    if (position.id !== id || position.epoch !== epoch) this.#onPosition(position);
  }
}

/** A database whose file has gone keeps its place in time: whatever comes next has a higher epoch. */
function nextEpochIfUsed(known: Position): Position {
  return known.id === null && known.rev === 0 ? known : nextEpoch(known, START);
}

/** `,"id":…` for a reply, or nothing. */
export function idField(id: RequestId | undefined): string {
  return id === undefined ? '' : `,"id":${JSON.stringify(id)}`;
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

export function notFound(path: string): SkylineError {
  return new SkylineError(
    'DATABASE_NOT_FOUND',
    `There is no database at ${path}. Check the path; a first ExecBatch that writes would create it.`,
  );
}

export function timedOut(): SkylineError {
  return new SkylineError(
    'TIMEOUT',
    'The batch was not begun within its timeout_ms; nothing of it was applied.',
  );
}
