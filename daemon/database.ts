import { renameSync, rmSync } from 'node:fs';
import { messageOf, never, SkylineError } from '../protocol/errors.js';
import type { JsonObject } from '../protocol/frame.js';
import type { DatabaseState } from '../protocol/messages.js';
import type { Config } from './config.js';
import { type FileId, lookAt, sameFile } from './identity.js';
import type { Logger } from './log.js';
import type { MaintenanceRecords } from './maintenance-records.js';
import { walBytes } from './worker/checkpoint.js';
import { monotonicMs, type Notice, type Order, type Position } from './worker/link.js';
import { missingFile } from './worker/position-table.js';
import type { PoolMember, WorkerPool } from './worker-pool.js';
import { describeExit, type WorkerExit, WorkerProcess } from './worker-process.js';

/** A client's batch on its way. */
export interface Job {
  readonly lane: number;
  readonly payload: Buffer;
  /** On the machine's monotonic clock; 0 for none. */
  readonly deadline: number;
  /** @param from whose reply it is, to be told when its bytes have left */
  reply(payload: Buffer, from: WorkerProcess): void;
  fail(error: SkylineError): void;
}

/** How far a batch has come. */
interface JobState {
  readonly job: Job;
  /** The worker has begun with it: if that worker dies, its outcome is open. */
  started: boolean;
  /** Its deadline has passed while it ran: that worker was killed for it. */
  timedOut: boolean;
  /** Workers that died before they began with it. */
  losses: number;
  timer: NodeJS.Timeout | undefined;
}

/** The maintenance cycle. What is not here does not happen. */
const EDGES: { readonly [From in DatabaseState]: readonly DatabaseState[] } = {
  open: ['preparing'],
  preparing: ['open', 'closed'],
  closed: ['open'],
};

/** A batch that lost so many workers before its turn is not given to another. */
const MAX_LOSSES = 3;
/** After the deadline, for an answer that is on its way; in milliseconds. */
const WAITING_GRACE_MS = 20;
const RUNNING_GRACE_MS = 100;

/** What all databases of a daemon share. */
export interface DatabaseContext {
  readonly config: Config;
  readonly pool: WorkerPool;
  readonly records: MaintenanceRecords;
  readonly log: Logger;
}

/**
 * One database as the router sees it: one identity, one maintenance state, at most one worker. Batches pass through;
 * if the worker dies, those it had not begun go to the next one, and the one it had is settled by the database's rev.
 */
export class RoutedDatabase implements PoolMember {
  readonly path: string;
  /** What the path pointed to when last looked at. */
  fileId: FileId | undefined;
  /** Where the database stands, as far as the router knows; null before it was ever opened. */
  known: Position | null;
  lastUsed = 0;
  restarts = 0;

  readonly #context: DatabaseContext;
  readonly #log: Logger;
  readonly #jobs = new Map<Job, JobState>();
  /** Batches that no worker has yet, in order. */
  #waiting: JobState[] = [];
  #worker: WorkerProcess | null = null;
  #starting: Promise<WorkerProcess> | null = null;
  #state: DatabaseState;
  /** The maintenance request in progress. */
  #operation: string | null = null;
  #lastWords = '';
  #moved = false;

  constructor(path: string, context: DatabaseContext) {
    this.path = path;
    this.#context = context;
    this.#log = context.log.child({ db: path });
    const record = context.records.read(path);
    this.#state = record === null ? 'open' : 'closed';
    this.known = record?.known ?? null;
  }

  get state(): DatabaseState {
    return this.#state;
  }

  get worker(): WorkerProcess | null {
    return this.#worker;
  }

  get operation(): string | null {
    return this.#operation;
  }

  /** Batches accepted and not yet answered. */
  get depth(): number {
    return this.#jobs.size;
  }

  get idle(): boolean {
    return this.#jobs.size === 0 && this.#operation === null && (this.#worker?.pending ?? 0) === 0;
  }

  /** Nothing of it is worth remembering. */
  get forgettable(): boolean {
    return this.#worker === null && this.#starting === null && this.#state === 'open' && this.idle;
  }

  /** @throws Error for an edge that is not in the table: a bug */
  moveTo(state: DatabaseState): void {
    if (!EDGES[this.#state].includes(state))
      throw new Error(`${this.path} cannot go from ${this.#state} to ${state}`);
    this.#log.info({ from: this.#state, to: state }, 'maintenance state');
    this.#state = state;
  }

  /**
   * Runs a maintenance request; only one at a time.
   * @throws SkylineError `DATABASE_PREPARING` while another is in progress
   */
  async exclusively<T>(operation: string, work: () => Promise<T>): Promise<T> {
    if (this.#operation !== null) {
      throw new SkylineError(
        'DATABASE_PREPARING',
        `${this.path}: ${this.#operation} is in progress. Try again when it is done.`,
      );
    }
    this.#operation = operation;
    try {
      return await work();
    } finally {
      this.#operation = null;
      this.lastUsed = performance.now();
    }
  }

  /**
   * Refuses writes while the database is not open.
   * @throws SkylineError `DATABASE_PREPARING`, `DATABASE_CLOSED`
   */
  refuseUnlessOpen(): void {
    switch (this.#state) {
      case 'open':
        return;
      case 'preparing':
        throw new SkylineError(
          'DATABASE_PREPARING',
          `${this.path} is being prepared for maintenance. Try again later; "skylinedb-cli reopen-database" ends the maintenance.`,
        );
      case 'closed':
        throw new SkylineError(
          'DATABASE_CLOSED',
          `Database is closed for maintenance: ${this.path}. Whoever closed it reopens it; "skylinedb-cli reopen-database" does so by hand.`,
        );
      default:
        never(this.#state);
    }
  }

  /** Takes a batch. It is answered through `reply` or `fail`, once. */
  submit(job: Job): void {
    this.refuseUnlessOpen();
    const state: JobState = { job, started: false, timedOut: false, losses: 0, timer: undefined };
    this.#jobs.set(job, state);
    this.lastUsed = performance.now();
    if (job.deadline > 0) this.#watch(state);
    const worker = this.#worker;
    if (worker?.state === 'serving' && this.#waiting.length === 0) this.#forward(state, worker);
    else {
      this.#waiting.push(state);
      void this.#flush();
    }
  }

  /**
   * Gives the worker an order, starting one if there is none. Batches sent before go first.
   * @throws SkylineError
   */
  async order(order: Order, lane = 0, onEvent?: (payload: Buffer) => void): Promise<JsonObject> {
    this.lastUsed = performance.now();
    if (this.#waiting.length > 0) await this.#flush();
    const worker = await this.#serving();
    return await worker.order(order, lane, onEvent);
  }

  /** Lets the worker go, if there is one. With milliseconds to empty the WAL it may refuse. */
  async closeWorker(timeoutMs = 0): Promise<void> {
    if (this.#starting !== null) await this.#starting.catch(() => undefined);
    await this.#worker?.leave(timeoutMs);
  }

  retire(): void {
    void this.closeWorker();
  }

  /** A worker for this database that serves nobody yet: it copies, checks and swaps files. */
  newHelper(): WorkerProcess {
    return this.#spawn();
  }

  /** Makes the helper, which has the database open by now, its worker. */
  async adopt(helper: WorkerProcess): Promise<void> {
    await this.#context.pool.enter(this);
    this.#worker = helper;
    this.fileId = lookAt(this.path);
  }

  /** The client of this lane has gone. */
  laneClosed(lane: number): void {
    this.#worker?.laneClosed(lane);
  }

  /** Takes note of what the path points to now. Another file than the worker has open means: it was replaced or deleted. */
  look(found: FileId | undefined): void {
    const before = this.fileId;
    this.fileId = found;
    if (before === undefined || sameFile(before, found) || this.#operation !== null || this.#moved) return;
    if (found === undefined) this.known = missingFile(this.known);
    if (this.#worker === null) return;
    this.#log.warn(
      'the file was replaced or deleted while it was open; use replace-database or close-database for that',
    );
    this.#moved = true;
    this.#worker.kill();
  }

  #forward(state: JobState, worker: WorkerProcess): void {
    const { job } = state;
    worker.request(job.lane, job.payload, job.deadline, {
      started: () => {
        state.started = true;
      },
      reply: (payload, rev) => {
        if (this.known !== null) this.known = { ...this.known, rev };
        if (this.#settle(state)) job.reply(payload, worker);
      },
      lost: (exit) => this.#lose(state, exit),
    });
  }

  /** Starts a worker for what waits and gives it all of it. */
  async #flush(): Promise<void> {
    try {
      const worker = await this.#serving();
      for (const state of this.#waiting.splice(0)) this.#forward(state, worker);
    } catch (error) {
      const failure =
        error instanceof SkylineError
          ? error
          : new SkylineError('INTERNAL', `No worker could be started: ${messageOf(error)}.`);
      for (const state of this.#waiting.splice(0)) this.#fail(state, failure);
    }
  }

  #serving(): Promise<WorkerProcess> {
    if (this.#worker?.state === 'serving') return Promise.resolve(this.#worker);
    this.#starting ??= this.#start().finally(() => {
      this.#starting = null;
    });
    return this.#starting;
  }

  async #start(): Promise<WorkerProcess> {
    // The last one must have let go of the file before the next one opens it.
    if (this.#worker !== null) await this.#worker.exited;
    await this.#context.pool.enter(this);
    // Another daemon with the same state folder may have closed it meanwhile.
    const record = this.#context.records.read(this.path);
    if (this.#state === 'open' && this.#operation === null && record !== null) {
      this.#state = 'closed';
      this.known = record.known;
      this.#context.pool.left(this);
      this.refuseUnlessOpen();
    }
    this.#worker = this.#spawn();
    return this.#worker;
  }

  #spawn(): WorkerProcess {
    const { config } = this.#context;
    const worker: WorkerProcess = new WorkerProcess(
      {
        path: this.path,
        endpoint: config.endpoint,
        routerPid: process.pid,
        durability: config.durability,
        busyTimeoutMs: config.busyTimeoutMs,
        idleTimeoutMs: config.workerIdleTimeoutMs,
        limits: config.limits,
        known: this.known,
      },
      {
        notice: (notice) => this.#hear(notice),
        stderr: (text) => {
          this.#lastWords = (this.#lastWords + text).slice(-2_000);
        },
        exit: (exit) => this.#exited(worker, exit),
      },
    );
    this.#log.debug({ worker: worker.pid }, 'worker started');
    return worker;
  }

  #hear(notice: Notice): void {
    switch (notice.event) {
      case 'ready':
        return;
      case 'opened':
        this.known = notice.position;
        return;
      case 'idle':
        if (this.idle) this.retire();
        return;
      case 'log': {
        const { event: _event, level, message, ...details } = notice;
        this.#log[level](details, message);
        return;
      }
      default:
        never(notice);
    }
  }

  #exited(worker: WorkerProcess, exit: WorkerExit): void {
    const clean = exit.code === 0;
    if (clean) this.#log.debug({ worker: worker.pid }, 'worker left');
    else {
      this.restarts += 1;
      this.#log.warn({ worker: worker.pid, ...exit, stderr: this.#lastWords }, 'worker died');
    }
    if (this.#worker !== worker) return;
    this.#worker = null;
    if (this.#moved) this.#setAside();
    this.#context.pool.left(this);
  }

  /** After a file was replaced under its worker: the old WAL beside the new file would corrupt it. */
  #setAside(): void {
    this.#moved = false;
    for (const suffix of ['-wal', '-shm']) {
      const path = `${this.path}${suffix}`;
      try {
        if (suffix === '-wal' && walBytes(this.path) > 0) renameSync(path, `${path}.orphaned-${Date.now()}`);
        else rmSync(path, { force: true });
      } catch (error) {
        this.#log.error({ path }, `could not be set aside: ${messageOf(error)}`);
      }
    }
  }

  /** The worker died before it answered. */
  #lose(state: JobState, exit: WorkerExit): void {
    if (!this.#jobs.has(state.job)) return;
    if (state.started) {
      void this.#settleByRev(state, exit);
      return;
    }
    state.losses += 1;
    if (state.losses >= MAX_LOSSES) {
      const words = this.#lastWords === '' ? '' : ` Its last words: ${this.#lastWords.trim()}`;
      this.#fail(
        state,
        new SkylineError(
          'WORKER_CRASHED',
          `The database's worker ${describeExit(exit)} again and again before it could begin.${words}`,
        ),
      );
      return;
    }
    this.#waiting.push(state);
    if (this.#waiting.length === 1) queueMicrotask(() => void this.#flush());
  }

  /**
   * A batch that was begun and not answered: the rev tells whether it was committed, since both are one transaction.
   */
  async #settleByRev(state: JobState, exit: WorkerExit): Promise<void> {
    const before = this.known;
    let outcome: 'not_applied' | 'unknown' = 'unknown';
    try {
      const after = (await this.order({ op: 'position' })) as unknown as Position;
      if (after.epoch === (before?.epoch ?? 1) && after.rev === (before?.rev ?? 0)) outcome = 'not_applied';
    } catch (error) {
      this.#log.warn(`position after a crash: ${messageOf(error)}`);
    }
    const applied =
      outcome === 'not_applied'
        ? 'nothing of it was applied'
        : 'it may have been applied: look before you send it again';
    this.#fail(
      state,
      state.timedOut
        ? new SkylineError('TIMEOUT', `The batch ran past its timeout_ms and was stopped; ${applied}.`, {
            outcome,
          })
        : new SkylineError(
            'WORKER_CRASHED',
            `The database's worker ${describeExit(exit)} while it ran this batch; ${applied}.`,
            { outcome },
          ),
    );
  }

  #watch(state: JobState): void {
    const { deadline } = state.job;
    state.timer = setTimeout(
      () => {
        // What the worker said in the meantime is read before this runs: its news may be that it has begun.
        setImmediate(() => {
          if (!this.#jobs.has(state.job)) return;
          if (state.started) {
            state.timer = setTimeout(() => this.#overrun(state), RUNNING_GRACE_MS);
            return;
          }
          // The worker looks at the same clock and will not begin it any more.
          this.#waiting = this.#waiting.filter((one) => one !== state);
          this.#fail(
            state,
            new SkylineError(
              'TIMEOUT',
              'The batch was not begun within its timeout_ms; nothing of it was applied.',
            ),
          );
        });
      },
      Math.max(0, deadline - monotonicMs()) + WAITING_GRACE_MS,
    );
  }

  /** better-sqlite3 cannot interrupt a statement: the process is what can be stopped. */
  #overrun(state: JobState): void {
    if (!this.#jobs.has(state.job) || this.#worker === null) return;
    state.timedOut = true;
    this.#log.warn({ worker: this.#worker.pid }, 'a batch ran past its deadline; its worker is stopped');
    this.#worker.kill();
  }

  #fail(state: JobState, error: SkylineError): void {
    if (this.#settle(state)) state.job.fail(error);
  }

  /** True the first time: each batch is answered once. */
  #settle(state: JobState): boolean {
    clearTimeout(state.timer);
    if (!this.#jobs.delete(state.job)) return false;
    if (this.idle) this.#context.pool.makeRoom();
    return true;
  }
}
