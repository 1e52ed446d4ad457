import { addCounts, type Counts, NO_COUNTS } from './counts.js';
import type { DatabaseContext, DatabaseNeighbours, RoutedDatabase } from './database.js';
import type { Logger } from './log.js';
import type { WatchedFile } from './watched-file.js';
import type { DatabaseFacts } from './worker/file-facts.js';
import type { Notice, Position, WalNotice } from './worker/link.js';
import { describeHolders } from './worker/lock-holders.js';
import { type WorkerExit, WorkerProcess } from './worker-process.js';
import { removeWorkerSocket } from './worker-sockets.js';
import { NO_TERMS, workerTerms } from './worker-terms.js';

/** Bytes of a worker's stderr that are kept for the log and for messages. */
const MAX_LAST_WORDS = 2_000;

/** What a database's workers tell it. */
export interface WorkersHooks {
  /** Somebody watches: each commit is to be told. */
  watched(): boolean;
  /** One is about to open the file. How the last one left it, while somebody watches. */
  starts(): DatabaseFacts | undefined;
  hear(notice: Notice): void;
  /** Everything that it was asked is answered. */
  rested(): void;
  /** It has let go of the file, and left it so if that could be told. */
  ended(clean: boolean, left: DatabaseFacts | undefined): void;
}

/**
 * The workers of one database, one after another: started when one is needed, let go, and followed by the next when it
 * has died.
 */
export class DatabaseWorkers {
  readonly #database: RoutedDatabase;
  readonly #context: DatabaseContext;
  readonly #neighbours: DatabaseNeighbours;
  readonly #file: WatchedFile;
  readonly #log: Logger;
  readonly #hooks: WorkersHooks;
  #current: WorkerProcess | null = null;
  #starting: Promise<WorkerProcess> | null = null;
  #startAfter: Promise<unknown> | null = null;
  #terms = NO_TERMS;
  /** Of those that have ended. */
  #counts = NO_COUNTS;
  #lastWords = '';

  constructor(
    database: RoutedDatabase,
    context: DatabaseContext,
    neighbours: DatabaseNeighbours,
    file: WatchedFile,
    log: Logger,
    hooks: WorkersHooks,
  ) {
    this.#database = database;
    this.#context = context;
    this.#neighbours = neighbours;
    this.#file = file;
    this.#log = log;
    this.#hooks = hooks;
  }

  /** The one there is, which may be leaving. */
  get current(): WorkerProcess | null {
    return this.#current;
  }

  /** There is none, and none on its way. */
  get none(): boolean {
    return this.#current === null && this.#starting === null;
  }

  /** What all of them have counted, as far as they have told; of one that died, what it had said by then. */
  get counts(): Counts {
    const last = this.#current?.lastStats;
    return last === undefined ? this.#counts : addCounts(this.#counts, last);
  }

  /** What the last one wrote to stderr. */
  get lastWords(): string {
    return this.#lastWords;
  }

  /**
   * The one that serves, started if there is none.
   * @throws SkylineError when the database turns out to be closed, or no process can be started
   */
  serving(): Promise<WorkerProcess> {
    if (this.#current?.state === 'serving' && !this.#file.exchanged) return Promise.resolve(this.#current);
    this.#starting ??= this.#start().finally(() => {
      this.#starting = null;
    });
    return this.#starting;
  }

  /** The next one opens the file when the promise has settled. */
  startAfter(others: Promise<unknown>): void {
    this.#startAfter = Promise.allSettled([this.#startAfter, others]);
  }

  /**
   * Lets the one there is go. With milliseconds to empty the WAL it may refuse.
   * @returns where the database stood at last; nothing if it could not tell, or there was none
   * @throws SkylineError `CHECKPOINT_BUSY`: then it stays, and serves
   */
  async close(timeoutMs: number): Promise<Position | null | undefined> {
    if (this.#starting !== null) await this.#starting.catch(() => undefined);
    return await this.#current?.leave(timeoutMs);
  }

  /** A worker that is not this database's yet: it copies, checks and swaps files. It has no place in the pool. */
  newHelper(): WorkerProcess {
    return this.#spawn();
  }

  /** A helper that has the database open, and a place in the pool, is its worker. */
  adopt(helper: WorkerProcess): void {
    this.#current = helper;
  }

  /** better-sqlite3 cannot interrupt a statement: the process is what can be stopped. */
  stop(why: 'late' | 'cancelled', worker = this.#current): void {
    const what =
      why === 'late' ? 'a batch ran past its deadline' : 'a client has cancelled a batch that runs';
    this.#log.warn({ worker: worker?.pid }, `${what}; its worker is stopped`);
    worker?.kill();
  }

  async #start(): Promise<WorkerProcess> {
    const { path, maintenance } = this.#database;
    const { pool, records } = this.#context;
    this.#database.left = false;
    await this.#startAfter;
    this.#startAfter = null;
    const last = this.#current;
    if (last !== null) {
      await last.decided;
      // It could not empty the WAL, and whoever wanted it closed has given up meanwhile.
      if (last.state === 'serving' && !this.#file.exchanged) return last;
      // It must have let go of the file before the next one opens it.
      await last.exited;
    }
    // Before it has a place: the catalog's worker may need one for this.
    this.#terms = await this.#neighbours.termsOf(path);
    await pool.enter(this.#database);
    try {
      const record = records.closed(path);
      if (record !== null && this.#database.state === 'open' && maintenance.operation === null) {
        maintenance.foundClosed();
        this.#database.known = record.known;
        maintenance.refuseUnlessOpen();
      }
      this.#current = this.#spawn(this.#hooks.starts());
      return this.#current;
    } catch (error) {
      pool.left(this.#database);
      throw error;
    }
  }

  #spawn(left?: DatabaseFacts): WorkerProcess {
    const { config, pool, spares } = this.#context;
    const child = spares.take();
    const worker: WorkerProcess = new WorkerProcess(
      child,
      {
        path: this.#database.path,
        endpoint: config.endpoint,
        socket: child.newSocket(config.endpoint),
        routerPid: process.pid,
        sessionTtlMs: config.sessionTtlMs,
        txLeaseMs: config.txLeaseMs,
        txMaxMs: config.txMaxMs,
        batchTimeoutMs: config.batchTimeoutMs,
        maxIntakeBytes: config.maxIntakeBytes,
        ...workerTerms(config, this.#terms),
        watched: this.#hooks.watched(),
        known: this.#database.known,
        left,
      },
      {
        notice: (notice) => this.#hear(notice),
        rested: () => this.#hooks.rested(),
        overrun: () => this.stop('late', worker),
        stderr: (text) => {
          this.#lastWords = (this.#lastWords + text).slice(-MAX_LAST_WORDS);
        },
        exit: (exit) => this.#exited(worker, exit),
      },
      () => spares.giveBack(child, pool.wanted),
    );
    this.#log.debug({ worker: worker.pid }, 'worker started');
    return worker;
  }

  #hear(notice: Notice): void {
    this.#hooks.hear(notice);
    if (notice.event === 'wal') this.#logWal(notice);
    if (notice.event === 'log') {
      const { event: _event, level, message, ...details } = notice;
      this.#log[level](details, message);
    }
  }

  #logWal(notice: WalNotice): void {
    if (notice.blocked) {
      const { bytes, limit, holders } = notice;
      this.#log.warn(
        { wal_bytes: bytes, wal_limit: limit, holders },
        `the WAL is beyond its limit, and a reader or writer keeps it from being emptied: ${describeHolders(holders)}`,
      );
    } else {
      const { most, limit, ms } = notice;
      this.#log.info({ longest: most, wal_limit: limit, ms }, 'the WAL is within its limit again');
    }
  }

  #exited(worker: WorkerProcess, exit: WorkerExit): void {
    if (worker.lastStats !== undefined) this.#counts = addCounts(this.#counts, worker.lastStats);
    if (exit.code === 0) this.#log.debug({ worker: worker.pid }, 'worker left');
    else {
      this.#counts = { ...this.#counts, restarts: this.#counts.restarts + 1 };
      this.#log.warn({ worker: worker.pid, ...exit, stderr: this.#lastWords }, 'worker died');
    }
    if (worker.attached) removeWorkerSocket(worker.socket);
    if (this.#current !== worker) return;
    this.#current = null;
    this.#hooks.ended(exit.code === 0, worker.left);
    this.#context.pool.left(this.#database);
  }
}
