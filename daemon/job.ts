import type { SkylineError } from '../protocol/errors.js';
import type { WorkerProcess } from './worker-process.js';

/** A client's batch on its way, or a request about its transaction. It is answered through `reply` or `fail`, once. */
export interface Job {
  readonly kind: 'batch' | 'begin' | 'step';
  readonly lane: number;
  readonly payload: Buffer;
  /** On the machine's monotonic clock; 0 for none, Infinity for none where it is to be told when it runs. */
  readonly deadline: number;
  /** It is recorded with what it does: a worker that gets it again answers with the record, or runs it for the first time. */
  readonly session: boolean;
  /** Its client is still there. */
  isWanted(): boolean;
  /** @param from whose reply it is, to be told when its bytes have left */
  reply(payload: Buffer, from: WorkerProcess): void;
  fail(error: SkylineError): void;
}

/** How far a job has come. */
export class Progress {
  readonly job: Job;
  readonly #onCancel: (progress: Progress) => void;
  /** The worker that has it, and its number there; null and 0 while none has it. */
  worker: WorkerProcess | null = null;
  tag = 0;
  /** The worker has taken it in hand: if that worker dies, its outcome is open. */
  started = false;
  /** Where the database stood then; -1 if the worker had not opened it. */
  startedAt = -1;
  /** A worker that has died may have applied it. */
  open = false;
  /** Its statements have begun to run. Only jobs with a deadline are told of singly. */
  begun = false;
  /** Its deadline has passed while it ran: that worker was killed for it. */
  timedOut = false;
  /** Its client wants it no more: no further worker runs it. */
  cancelled = false;
  /** Workers that died before they answered it. */
  losses = 0;
  timer: NodeJS.Timeout | undefined;
  /** Answered, one way or the other. */
  settled = false;

  constructor(job: Job, onCancel: (progress: Progress) => void) {
    this.job = job;
    this.#onCancel = onCancel;
  }

  /** Its client wants it no more. It is answered all the same, once. */
  cancel(): void {
    if (this.cancelled || this.settled) return;
    this.cancelled = true;
    this.#onCancel(this);
  }

  /** Whether it is what its worker is at. */
  get isRunning(): boolean {
    return this.worker?.isRunning(this.tag) === true;
  }

  /** As if no worker had ever had it; except that one may have applied it. */
  renew(): this {
    this.worker = null;
    this.tag = 0;
    this.started = false;
    this.startedAt = -1;
    this.begun = false;
    return this;
  }
}
