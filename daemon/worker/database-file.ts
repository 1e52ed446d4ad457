import { rmSync } from 'node:fs';
import { SkylineError } from '../../protocol/errors.js';
import type { Limits } from '../../protocol/messages.js';
import { refuseLink } from './check-file.js';
import type { Checkpointer } from './checkpointer.js';
import { Connection } from './connection.js';
import { type FileFacts, factsOf } from './file-facts.js';
import { ForeignWrites } from './foreign-writes.js';
import type { KernelLock } from './kernel-lock.js';
import type { Position, WorkerOptions } from './link.js';
import type { TransactionTimes } from './metrics.js';
import { type Ownership, own, release } from './owner-lock.js';
import { type Patience, untilFree } from './patience.js';
import { GroupBroken, PieceFailed, Pieces } from './pieces.js';
import { PositionWriter, readPosition } from './position-table.js';
import { SchemaFacts } from './schema-facts.js';
import { SessionTable } from './session-table.js';
import { Sessions } from './sessions.js';
import { fromSqlite, perhapsApplied } from './sqlite-errors.js';
import { WrittenTables } from './written-tables.js';

export type Durability = 'normal' | 'full';

/** Groups after one with a failed batch that are done carefully from the start: whoever fails, fails again. */
const CAREFUL_GROUPS = 32;

/** What outlasts a file's being open. */
export interface Companions {
  /** Has no other file open at the time. */
  readonly checkpointer: Checkpointer;
  /** Where the parts of its transactions are counted. */
  readonly times: TransactionTimes;
}

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
  /** Which file it is, as its path showed right after it was opened. */
  readonly facts: FileFacts | null;
  /** What became of the batches of each client's session. */
  readonly sessions: Sessions;
  readonly schema: SchemaFacts;
  /** Looked at by each transaction, and before the file is put into WAL mode. */
  readonly foreign: ForeignWrites;
  readonly #positions: PositionWriter;
  readonly #times: TransactionTimes;
  readonly #owner: Ownership;
  #wal = false;
  #careful = 0;

  private constructor(
    path: string,
    connection: Connection,
    { checkpointer, times }: Companions,
    owner: Ownership,
    stored: Position,
    facts: FileFacts | null,
    limits: Limits,
  ) {
    this.path = path;
    this.connection = connection;
    this.checkpointer = checkpointer;
    this.#times = times;
    checkpointer.opened(connection.handle);
    this.stored = stored;
    this.facts = facts;
    this.sessions = new Sessions(new SessionTable(connection.handle), limits);
    this.schema = new SchemaFacts(connection);
    this.foreign = new ForeignWrites(connection);
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
    companions: Companions,
    held?: KernelLock,
  ): Promise<DatabaseFile> {
    const { path } = options;
    const owner = held ?? (await own(options, create));
    let connection: Connection | null = null;
    let facts: FileFacts | null = null;
    try {
      const { limits, durability, mmapSize } = options;
      // Its first settings read the file already: another program's lock is waited for here, too.
      const opened = await untilFree(path, patience, () => {
        refuseLink(path);
        const settled = Connection.open(path, { create, limits, durability, mmapSize });
        facts = factsOf(path);
        return settled;
      });
      connection = opened;
      const stored = await untilFree(path, patience, () => readPosition(opened.handle));
      return new DatabaseFile(path, opened, companions, owner, stored, facts, limits);
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
      this.foreign.look();
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
    // The other mode looks like another's write.
    this.foreign.skip();
  }

  /** Something was written through it: it can be. */
  get written(): boolean {
    return this.#wal;
  }

  /** Whether somebody wants to know which tables are written to, and that other programs write. */
  watch(on: boolean): void {
    this.connection.written = on ? new WrittenTables(this.connection.handle) : null;
    this.foreign.watch(on);
  }

  /** Runs the work in a transaction that only reads. */
  read(durability: Durability, work: () => void): void {
    this.#transaction(false, durability, work);
  }

  /**
   * Runs the work in a transaction that writes, and with it the position that it returns and the sessions it has touched.
   * @returns that position, as it was written
   */
  write(durability: Durability, work: () => Position): Position {
    return this.#write(durability, work);
  }

  /** Begins a transaction that writes and stays open until {@link commit} or {@link rollback}. */
  begin(durability: Durability, foreignKeys: boolean): void {
    this.connection.begin(true, durability, foreignKeys);
    this.foreign.look();
  }

  /** As {@link write}, for the transaction that is open; it ends in any case. */
  commit(work: () => Position): Position {
    return this.#write(null, work);
  }

  /** Gives up the transaction that is open, if it still is. */
  rollback(): void {
    this.sessions.rolledBack();
    this.connection.rollback();
    this.#clearCounters();
  }

  #write(durability: Durability | null, work: () => Position): Position {
    let written: Position | undefined;
    try {
      this.#transaction(true, durability, () => {
        const position = work();
        this.sessions.write();
        // The last: it leaves last_insert_rowid() and changes() as they must be.
        written = this.#positions.write(position);
      });
    } catch (error) {
      this.#clearCounters();
      throw error;
    }
    this.checkpointer.committed();
    if (written === undefined) throw new Error('a transaction was committed without a position');
    return written;
  }

  /**
   * Runs pieces of work in one transaction, each as if it had one of its own: with its own rev, and taken back alone.
   * @param work an error that a piece throws is the piece's own; it may be run a second time, when nothing is left of the first
   * @returns where the database stands afterwards
   * @throws GroupBroken, SkylineError when the transaction as a whole has failed: then nothing of it was applied
   */
  group(writes: boolean, durability: Durability, start: Position, work: (pieces: Pieces) => void): Position {
    const careful = writes && this.#careful > 0;
    if (careful) this.#careful -= 1;
    try {
      return this.#group(writes, durability, start, careful, work);
    } catch (error) {
      if (!(error instanceof PieceFailed)) throw error;
      this.#careful = CAREFUL_GROUPS;
      return this.#group(writes, durability, start, true, work);
    }
  }

  #group(
    writes: boolean,
    durability: Durability,
    start: Position,
    careful: boolean,
    work: (pieces: Pieces) => void,
  ): Position {
    const { observed } = this.schema.look();
    // What only reads leaves nothing behind that would have to be taken back.
    const manner = { writes, careful: careful || !writes, observed };
    const pieces = new Pieces(this.connection, this.#positions, this.path, start, manner);
    try {
      this.#transaction(writes, durability, () => {
        if (writes) this.#positions.prepare();
        work(pieces);
        pieces.finish();
        this.sessions.write();
      });
    } catch (error) {
      if (writes) this.#clearCounters();
      throw error;
    }
    if (writes) this.checkpointer.committed();
    return pieces.position;
  }

  /** Closes the file and gives up the ownership. As the last connection SQLite empties and removes the WAL. */
  close(): void {
    this.checkpointer.closing();
    try {
      this.connection.close();
    } finally {
      release(this.#owner);
    }
  }

  /** Closes a file that was made for a batch which failed after all (a full disk): nothing of it stays. */
  discard(): void {
    const empty = this.isEmpty;
    this.checkpointer.closing();
    this.connection.close();
    if (empty) rmSync(this.path, { force: true });
    release(this.#owner);
  }

  /** Also with a header of its own, which WAL mode writes before the first batch. */
  get isEmpty(): boolean {
    try {
      return this.connection.handle.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get() === undefined;
    } catch {
      return false;
    }
  }

  /**
   * last_insert_rowid() and changes() outlast a rollback, and the next client would see them. Writing our own row sets
   * them, also when that is taken back again.
   */
  #clearCounters(): void {
    this.#positions.forget();
    try {
      this.connection.begin(true, 'normal');
      this.#positions.write(this.stored);
    } catch {
      // Another program holds the lock, or the disk is full: then the next batch that writes clears them.
    } finally {
      this.connection.rollback();
      this.#positions.forget();
    }
  }

  /** @param durability null for a transaction that is open already */
  #transaction(writes: boolean, durability: Durability | null, work: () => void): void {
    let committing = false;
    const begun = performance.now();
    try {
      if (durability !== null) this.connection.begin(writes, durability);
      // From here on nobody else can write before the commit: what others wrote came before it.
      this.foreign.look();
      work();
      committing = true;
      const executed = performance.now();
      this.connection.commit();
      this.#times.record(writes, begun, executed, performance.now());
      this.sessions.committed();
    } catch (error) {
      this.sessions.rolledBack();
      this.connection.rollback();
      if (error instanceof GroupBroken) throw error;
      const failure = fromSqlite(error, this.path);
      // The commit may have reached the disk although its sync has failed.
      if (!committing || failure.code !== 'IO_ERROR') throw failure;
      throw perhapsApplied(failure);
    }
  }
}
