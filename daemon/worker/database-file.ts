import { rmSync, statSync } from 'node:fs';
import { SkylineError } from '../../protocol/errors.js';
import { Checkpointer } from './checkpoint.js';
import { Connection } from './connection.js';
import type { KernelLock } from './kernel-lock.js';
import type { Position, WorkerOptions } from './link.js';
import { acquireOwnership } from './owner-lock.js';
import { type Patience, untilFree } from './patience.js';
import { PositionWriter, readPosition } from './position-table.js';
import { fromSqlite } from './sqlite-errors.js';

export type Durability = 'normal' | 'full';

/**
 * A database file while it is open: its owner lock, its connection, its transactions. Whoever opens a file for writing
 * comes through {@link open}, which may refuse.
 */
export class DatabaseFile {
  readonly path: string;
  readonly connection: Connection;
  readonly checkpointer: Checkpointer;
  /** The position that the file held when it was opened. */
  readonly stored: Position;
  readonly #positions: PositionWriter;
  /** The owner lock, or why the folder does not take one: then the file can only be read. */
  readonly #owner: KernelLock | SkylineError;
  #wal = false;

  private constructor(
    path: string,
    connection: Connection,
    owner: KernelLock | SkylineError,
    stored: Position,
  ) {
    this.path = path;
    this.connection = connection;
    this.checkpointer = new Checkpointer(connection.handle);
    this.stored = stored;
    this.#positions = new PositionWriter(connection.handle);
    this.#owner = owner;
  }

  /**
   * Opens the file, or makes it.
   * @param held the owner lock, when the caller has it already; it belongs to the file from here on
   * @throws SkylineError `DATABASE_NOT_ALLOWED` (another daemon's), `NOT_A_DATABASE`, `DATABASE_CORRUPT`, `BUSY`, …
   */
  static async open(
    options: WorkerOptions,
    create: boolean,
    patience: Patience,
    held?: KernelLock,
  ): Promise<DatabaseFile> {
    const { path } = options;
    const owner = held ?? (await own(options, create));
    let connection: Connection | null = null;
    try {
      const opened = Connection.open(path, {
        create,
        limits: options.limits,
        durability: options.durability,
      });
      connection = opened;
      const stored = await untilFree(path, patience, () => readPosition(opened.handle));
      return new DatabaseFile(path, opened, owner, stored);
    } catch (error) {
      connection?.close();
      release(owner);
      throw fromSqlite(error, path);
    }
  }

  /**
   * Puts the database into WAL mode if it is not yet. Only writing needs that: reading leaves a file as it is.
   * @throws SkylineError `DATABASE_READONLY`, `BUSY`, `DATABASE_NOT_ALLOWED`
   */
  makeWritable(): void {
    if (this.#owner instanceof SkylineError) throw this.#owner;
    if (this.#wal) return;
    let mode: unknown;
    try {
      mode = this.connection.handle.pragma('journal_mode = WAL', { simple: true });
    } catch (error) {
      throw fromSqlite(error, this.path);
    }
    if (mode !== 'wal') {
      throw new SkylineError(
        'DATABASE_NOT_ALLOWED',
        `${this.path} cannot be put into WAL mode (it stays in ${String(mode)}): its file system lacks shared memory. Use a local disk.`,
      );
    }
    this.#wal = true;
  }

  /** Runs the work in a transaction that only reads. */
  read(durability: Durability, work: () => void): void {
    this.#transaction(false, durability, work);
  }

  /**
   * Runs the work in a transaction that writes, and the position that it returns with it.
   * @returns that position, as it was written
   */
  write(durability: Durability, work: () => Position): Position {
    let written: Position | undefined;
    try {
      this.#transaction(true, durability, () => {
        written = this.#positions.write(work());
      });
    } catch (error) {
      this.#positions.forget();
      throw error;
    }
    this.checkpointer.committed();
    if (written === undefined) throw new Error('a transaction was committed without a position');
    return written;
  }

  /** Closes the file and gives up the ownership. As the last connection SQLite empties and removes the WAL. */
  close(): void {
    try {
      this.connection.close();
    } finally {
      release(this.#owner);
    }
  }

  /** Closes a file that was made for a batch which failed after all (a full disk): nothing of it stays. */
  discard(): void {
    this.connection.close();
    if (statSync(this.path, { throwIfNoEntry: false })?.size === 0) rmSync(this.path, { force: true });
    release(this.#owner);
  }

  #transaction(writes: boolean, durability: Durability, work: () => void): void {
    let committing = false;
    try {
      this.connection.begin(writes, durability);
      work();
      committing = true;
      this.connection.commit();
    } catch (error) {
      const failure = fromSqlite(error, this.path);
      this.connection.rollback();
      // The commit may have reached the disk although its sync has failed.
      if (!committing || failure.code !== 'IO_ERROR') throw failure;
      throw new SkylineError(failure.code, failure.message, {
        outcome: 'unknown',
        details: failure.details,
        cause: error,
      });
    }
  }
}

/** The one place that decides whether this process may write the file. A read-only folder still allows reading. */
async function own(
  { path, routerPid, endpoint }: WorkerOptions,
  create: boolean,
): Promise<KernelLock | SkylineError> {
  try {
    return await acquireOwnership(path, { pid: process.pid, routerPid, endpoint });
  } catch (error) {
    if (!create && error instanceof SkylineError && error.code === 'DATABASE_READONLY') return error;
    throw error;
  }
}

function release(owner: KernelLock | SkylineError): void {
  if (!(owner instanceof SkylineError)) owner.release();
}
