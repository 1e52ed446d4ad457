import { SkylineError } from '../protocol/errors.js';
import type { JsonObject } from '../protocol/frame.js';
import { type Job, Progress } from './job.js';
import { asOpen, cancelled, isTimeout, lossError, unlearned } from './lost-batch.js';
import { LinkKind, monotonicMs, type Position } from './worker/link.js';
import type { WorkerExit, WorkerProcess } from './worker-process.js';

/** What no worker has yet: a batch, or an order that has its place among the batches. */
interface Waiting {
  /** null for an order. */
  readonly job: Job | null;
  send(worker: WorkerProcess): void;
  fail(error: SkylineError): void;
}

/** A batch that lost so many workers is not given to another: it may be what kills them. */
const MAX_LOSSES = 3;
/** After the deadline, for an answer that is on its way; in milliseconds. */
const WAITING_GRACE_MS = 20;
const RUNNING_GRACE_MS = 100;
/** Milliseconds for which a batch may run on although its client has gone. */
const ABANDONED_MS = 1_000;
/** On the machine's monotonic clock: no worker begins what has this deadline. */
const OVER = 1;

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
  /** The batch that the worker runs is past its deadline, or cancelled. */
  stopWorker(why: 'late' | 'cancelled'): void;
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
  /** Batches that are not settled. */
  #open = 0;
  /** In the order of arrival. */
  #waiting: Waiting[] = [];
  /** Batches of a dead worker that are not settled yet, in order. */
  readonly #lost: Progress[] = [];
  /** The last that was told to run: most jobs are not told of. */
  #running: Progress | null = null;
  /** Why nothing that is unanswered goes on: its worker is being ended. */
  #ending: SkylineError | null = null;

  constructor(hooks: QueueHooks) {
    this.#hooks = hooks;
  }

  /** Nothing that was accepted is unanswered, and no order waits for a worker. */
  get idle(): boolean {
    return this.#open === 0 && this.#waiting.length === 0;
  }

  /** Accepted and not yet answered. */
  get size(): number {
    return this.#open;
  }

  /**
   * @param worker the one that serves, if there is one
   * @returns what can be cancelled
   */
  submit(job: Job, worker: WorkerProcess | null): Progress {
    const progress = new Progress(job, this.#cancel);
    this.#open += 1;
    if (job.deadline > 0 && job.deadline !== Number.POSITIVE_INFINITY) this.#watch(progress);
    this.#pass(this.#waitingFor(progress), worker);
    return progress;
  }

  /**
   * Gives the worker an order, behind what was submitted before it and before what is submitted after it.
   * @param worker the one that serves, if there is one
   * @throws SkylineError
   */
  order(
    send: (worker: WorkerProcess) => Promise<JsonObject>,
    worker: WorkerProcess | null,
  ): Promise<JsonObject> {
    return new Promise((resolve, reject) => {
      this.#pass({ job: null, send: (to) => resolve(send(to)), fail: reject }, worker);
    });
  }

  /**
   * Answers everything: what waits was not applied, and of what is in hand it is not known. The caller ends the worker.
   * @param error for those that were not begun
   */
  end(error: SkylineError): void {
    for (const waiting of this.#waiting.splice(0)) waiting.fail(error);
    if (this.#open > 0) this.#ending = error;
  }

  /** The client of this lane has gone. What it had sent is carried out, but no statement without end for nobody. */
  laneClosed(lane: number): void {
    if (this.#running?.job.lane === lane) this.#abandon(this.#running);
  }

  #pass(waiting: Waiting, worker: WorkerProcess | null): void {
    // A transaction lives in one worker, and may end there although that is to leave.
    if (waiting.job?.kind === 'step' && worker?.state === 'leaving') waiting.send(worker);
    else if (worker?.state === 'serving' && this.#waiting.length === 0 && this.#lost.length === 0)
      waiting.send(worker);
    else {
      this.#waiting.push(waiting);
      void this.#flush();
    }
  }

  #waitingFor(progress: Progress): Waiting {
    return {
      job: progress.job,
      send: (worker) => this.#forward(progress, worker),
      fail: (error) => this.#fail(progress, error),
    };
  }

  /** Gives what waits to a worker. Never rejects: who waits gets the error. */
  async #flush(): Promise<void> {
    // Those that a dead worker had come first.
    if (this.#waiting.length === 0 || this.#lost.length > 0) return;
    try {
      const worker = await this.#hooks.serving();
      // The worker before it has died meanwhile: what it had goes first, and then comes back here.
      if (this.#lost.length > 0) return;
      for (const waiting of this.#waiting.splice(0)) waiting.send(worker);
    } catch (error) {
      const failure =
        error instanceof SkylineError
          ? error
          : new SkylineError('INTERNAL', 'No worker could be started.', { cause: error });
      for (const waiting of this.#waiting.splice(0)) waiting.fail(failure);
    }
  }

  #forward(progress: Progress, worker: WorkerProcess): void {
    const { job } = progress;
    // Those that were in hand together are executed one by one: what kills workers is told from what only was beside it.
    const batch = progress.losses > 0 ? LinkKind.Suspect : LinkKind.Request;
    // The worker before was told that the client has gone, and this one is not: nobody would end its transaction.
    if (job.kind === 'begin' && !job.isWanted()) {
      this.#fail(progress, new SkylineError('ABORTED', 'The client has gone.'));
      return;
    }
    const kind = job.kind === 'batch' ? batch : LinkKind.Transaction;
    // One that was cancelled goes on only to learn whether it was applied.
    const deadline = progress.cancelled ? OVER : job.deadline;
    progress.worker = worker;
    progress.tag = worker.request(kind, job.lane, job.payload, deadline, {
      started: (rev) => {
        progress.started = true;
        progress.startedAt = rev;
      },
      running: () => {
        progress.begun = true;
        this.#running = progress;
        if (progress.cancelled) this.#stop(progress);
        else if (!job.isWanted()) this.#abandon(progress);
      },
      reply: (payload, rev) => {
        this.#hooks.answered(rev);
        if (deadline === OVER && isTimeout(payload)) {
          progress.open = false;
          this.#fail(progress, cancelled('not_applied'));
          return;
        }
        const error = progress.open ? unlearned(payload) : null;
        if (error !== null) this.#fail(progress, error);
        else if (this.#settle(progress)) job.reply(payload, worker);
      },
      unreadable: (error) => this.#fail(progress, error),
      lost: (exit) => this.#lose(progress, exit),
    });
  }

  readonly #cancel = (progress: Progress): void => {
    const { worker, tag, job } = progress;
    if (worker !== null) {
      worker.cancel(tag, job.lane);
      if (progress.begun) this.#stop(progress);
    } else if (this.#waiting.some((waiting) => waiting.job === job)) {
      this.#waiting = this.#waiting.filter((waiting) => waiting.job !== job);
      this.#fail(progress, cancelled('not_applied'));
    }
    // Else its worker has just died: what becomes of it is about to be settled.
  };

  /** It runs, and is not wanted: as at its deadline, its answer may be on its way. BEGIN itself does not take long. */
  #stop(progress: Progress): void {
    if (progress.job.kind === 'begin') return;
    clearTimeout(progress.timer);
    progress.timer = setTimeout(() => this.#overrun(progress), RUNNING_GRACE_MS);
  }

  #abandon(progress: Progress): void {
    if (progress.settled || progress.cancelled) return;
    clearTimeout(progress.timer);
    progress.timer = setTimeout(() => {
      progress.cancelled = true;
      this.#overrun(progress);
    }, ABANDONED_MS);
  }

  /** The worker died before it answered. All that it had are dealt with together, so that they keep their order. */
  #lose(progress: Progress, exit: WorkerExit): void {
    if (progress.settled) return;
    if (this.#lost.push(progress) === 1) queueMicrotask(() => void this.#settleLost(exit));
  }

  /**
   * What was not begun goes to the next worker. For what was in hand the rev tells whether it was committed, since both are
   * one transaction: if it was not, it goes to the next worker, too. What has a session goes there in any case: the record
   * of its outcome commits with it, and the next worker looks at that first.
   */
  async #settleLost(exit: WorkerExit): Promise<void> {
    if (this.#ending !== null) {
      const ended = this.#ending;
      this.#ending = null;
      for (const progress of this.#lost.splice(0)) {
        progress.open ||= progress.started;
        this.#fail(progress, ended);
      }
      return;
    }
    const before = this.#hooks.known();
    const inHand = this.#lost.some(({ started }) => started);
    const after = inHand ? await this.#hooks.position().catch(() => null) : null;
    // Others than the router's clients may have committed since the last answer that the router has heard.
    const rev = Math.max(before?.rev ?? 0, ...this.#lost.map(({ startedAt }) => startedAt));
    const untouched = after !== null && after.epoch === (before?.epoch ?? 1) && after.rev === rev;
    const again: Progress[] = [];
    for (const progress of this.#lost.splice(0)) {
      // What only waited behind it is not to blame, unless the worker died before it had anything in hand.
      if (progress.started || !inHand) progress.losses += 1;
      if (progress.started && !untouched) progress.open = true;
      if (mayGoOn(progress)) again.push(progress.renew());
      else this.#fail(progress, lossError(progress, exit, this.#hooks.lastWords()));
    }
    this.#waiting = [...again.map((progress) => this.#waitingFor(progress)), ...this.#waiting];
    await this.#flush();
  }

  #watch(progress: Progress): void {
    const wait = Math.max(0, progress.job.deadline - monotonicMs()) + WAITING_GRACE_MS;
    progress.timer = setTimeout(() => {
      // What the worker said in the meantime is read before this runs: its news may be that it has begun.
      setImmediate(() => this.#late(progress));
    }, wait);
  }

  #late(progress: Progress): void {
    if (progress.settled) return;
    if (progress.begun) {
      progress.timer = setTimeout(() => this.#overrun(progress), RUNNING_GRACE_MS);
      return;
    }
    // The worker looks at the same clock and will not begin it any more.
    this.#waiting = this.#waiting.filter(({ job }) => job !== progress.job);
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
    if (progress.settled) return;
    if (progress.isRunning) {
      progress.timedOut = !progress.cancelled;
      this.#hooks.stopWorker(progress.cancelled ? 'cancelled' : 'late');
      return;
    }
    // Its own statements are done; it waits for the commit that it shares with others.
    progress.timer = setTimeout(() => this.#overrun(progress), RUNNING_GRACE_MS);
  }

  #fail(progress: Progress, error: SkylineError): void {
    if (this.#settle(progress)) progress.job.fail(progress.open ? asOpen(error) : error);
  }

  /** True the first time: each batch is answered once. */
  #settle(progress: Progress): boolean {
    clearTimeout(progress.timer);
    if (progress.settled) return false;
    progress.settled = true;
    if (this.#running === progress) this.#running = null;
    this.#open -= 1;
    if (this.#open === 0) this.#hooks.empty();
    return true;
  }
}

/** Whether the next worker gets it: never when it could be applied twice, or run past its deadline, or for nobody once more. */
function mayGoOn({ job, started, open, timedOut, cancelled, losses }: Progress): boolean {
  if (losses >= MAX_LOSSES || (started && !job.isWanted())) return false;
  // Past its deadline the next worker only looks whether it is recorded: so it is known whether it was applied.
  return open ? job.session : !timedOut && !cancelled;
}
