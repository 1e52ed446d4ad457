import { SkylineError } from '../protocol/errors.js';
import { monotonicMs, type Position } from './worker/link.js';
import { describeExit, type WorkerExit, type WorkerProcess } from './worker-process.js';

/** A client's batch on its way. It is answered through `reply` or `fail`, once. */
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
interface Progress {
  readonly job: Job;
  /** The worker has begun with it: if that worker dies, its outcome is open. */
  started: boolean;
  /** Its deadline has passed while it ran: that worker was killed for it. */
  timedOut: boolean;
  /** Workers that died before they began with it. */
  losses: number;
  timer: NodeJS.Timeout | undefined;
}

/** A batch that lost so many workers before its turn is not given to another. */
const MAX_LOSSES = 3;
/** After the deadline, for an answer that is on its way; in milliseconds. */
const WAITING_GRACE_MS = 20;
const RUNNING_GRACE_MS = 100;

/** What the queue needs of its database. */
export interface QueueHooks {
  /** A worker for what waits, started if there is none. */
  serving(): Promise<WorkerProcess>;
  /** Where the database stands now, from its worker. */
  position(): Promise<Position>;
  /** Where the database stood after the last answer. */
  known(): Position | null;
  /** An answer has come; the database stands at this rev now. */
  answered(rev: number): void;
  /** The batch that the worker runs is past its deadline. */
  stopWorker(): void;
  /** What the last worker said before it died. */
  lastWords(): string;
  /** The last batch is answered. */
  empty(): void;
}

/**
 * The batches that a database has accepted and not answered. If a worker dies, those it had not begun go to the next one,
 * in their order; the one it had is settled by the database's rev.
 */
export class BatchQueue {
  readonly #hooks: QueueHooks;
  readonly #jobs = new Map<Job, Progress>();
  /** Batches that no worker has yet, in order. */
  #waiting: Progress[] = [];

  constructor(hooks: QueueHooks) {
    this.#hooks = hooks;
  }

  /** Accepted and not yet answered. */
  get size(): number {
    return this.#jobs.size;
  }

  /** @param worker the one that serves, if there is one */
  submit(job: Job, worker: WorkerProcess | null): void {
    const progress: Progress = { job, started: false, timedOut: false, losses: 0, timer: undefined };
    this.#jobs.set(job, progress);
    if (job.deadline > 0) this.#watch(progress);
    if (worker?.state === 'serving' && this.#waiting.length === 0) this.#forward(progress, worker);
    else {
      this.#waiting.push(progress);
      void this.flush();
    }
  }

  /** Gives what waits to a worker. Never rejects: the batches get the error. */
  async flush(): Promise<void> {
    if (this.#waiting.length === 0) return;
    try {
      const worker = await this.#hooks.serving();
      for (const progress of this.#waiting.splice(0)) this.#forward(progress, worker);
    } catch (error) {
      const failure =
        error instanceof SkylineError
          ? error
          : new SkylineError('INTERNAL', 'No worker could be started.', { cause: error });
      for (const progress of this.#waiting.splice(0)) this.#fail(progress, failure);
    }
  }

  #forward(progress: Progress, worker: WorkerProcess): void {
    const { job } = progress;
    worker.request(job.lane, job.payload, job.deadline, {
      started: () => {
        progress.started = true;
      },
      reply: (payload, rev) => {
        this.#hooks.answered(rev);
        if (this.#settle(progress)) job.reply(payload, worker);
      },
      lost: (exit) => this.#lose(progress, exit),
    });
  }

  /** The worker died before it answered. */
  #lose(progress: Progress, exit: WorkerExit): void {
    if (!this.#jobs.has(progress.job)) return;
    if (progress.started) {
      void this.#settleByRev(progress, exit);
      return;
    }
    progress.losses += 1;
    if (progress.losses >= MAX_LOSSES) {
      const words = this.#hooks.lastWords().trim();
      this.#fail(
        progress,
        new SkylineError(
          'WORKER_CRASHED',
          `The database's worker ${describeExit(exit)} again and again before it could begin.${words === '' ? '' : ` Its last words: ${words}`}`,
        ),
      );
      return;
    }
    this.#waiting.push(progress);
    if (this.#waiting.length === 1) queueMicrotask(() => void this.flush());
  }

  /** A batch that was begun and not answered: the rev tells whether it was committed, since both are one transaction. */
  async #settleByRev(progress: Progress, exit: WorkerExit): Promise<void> {
    const before = this.#hooks.known();
    const after = await this.#hooks.position().catch(() => null);
    const untouched =
      after !== null && after.epoch === (before?.epoch ?? 1) && after.rev === (before?.rev ?? 0);
    const outcome = untouched ? 'not_applied' : 'unknown';
    const applied = untouched
      ? 'nothing of it was applied'
      : 'it may have been applied: look before you send it again';
    this.#fail(
      progress,
      progress.timedOut
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

  #watch(progress: Progress): void {
    const wait = Math.max(0, progress.job.deadline - monotonicMs()) + WAITING_GRACE_MS;
    progress.timer = setTimeout(() => {
      // What the worker said in the meantime is read before this runs: its news may be that it has begun.
      setImmediate(() => this.#late(progress));
    }, wait);
  }

  #late(progress: Progress): void {
    if (!this.#jobs.has(progress.job)) return;
    if (progress.started) {
      progress.timer = setTimeout(() => this.#overrun(progress), RUNNING_GRACE_MS);
      return;
    }
    // The worker looks at the same clock and will not begin it any more.
    this.#waiting = this.#waiting.filter((one) => one !== progress);
    this.#fail(
      progress,
      new SkylineError(
        'TIMEOUT',
        'The batch was not begun within its timeout_ms; nothing of it was applied.',
      ),
    );
  }

  /** better-sqlite3 cannot interrupt a statement: the process is what can be stopped. */
  #overrun(progress: Progress): void {
    if (!this.#jobs.has(progress.job)) return;
    progress.timedOut = true;
    this.#hooks.stopWorker();
  }

  #fail(progress: Progress, error: SkylineError): void {
    if (this.#settle(progress)) progress.job.fail(error);
  }

  /** True the first time: each batch is answered once. */
  #settle(progress: Progress): boolean {
    clearTimeout(progress.timer);
    if (!this.#jobs.delete(progress.job)) return false;
    if (this.#jobs.size === 0) this.#hooks.empty();
    return true;
  }
}
