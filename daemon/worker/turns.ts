import type { Intake, Job, OrderJob } from './intake.js';
import type { StepJob, TransactionDesk } from './transaction-desk.js';

/** Whose turn it is: what waits in the lanes, steps of open transactions, and orders that wait for the end of both. */
export class Turns {
  readonly #intake: Intake;
  readonly #desk: TransactionDesk;
  /** Orders that wait until the queue is empty. */
  readonly #finals: OrderJob[] = [];
  /** The last that was done was a step of a client's transaction: something else is next. */
  #stepped = false;

  constructor(intake: Intake, desk: TransactionDesk) {
    this.#intake = intake;
    this.#desk = desk;
  }

  /** Takes an order that waits until everything else is done. */
  pushFinal(job: OrderJob): void {
    this.#finals.push(job);
  }

  /** Whether such an order waits: then all must be finished, also for clients that do not read their answers. */
  get finishing(): boolean {
    return this.#finals.length > 0;
  }

  /** What comes next: what waits in the lanes, then the orders that waited for their end. */
  next(): Job | StepJob | undefined {
    if (this.#desk.size > 0) return this.#nextBeside();
    return this.#intake.next(this.finishing) ?? this.#finals.shift();
  }

  /** The same while clients have transactions open: their steps and what else may be done take turns. */
  #nextBeside(): Job | StepJob | undefined {
    const step = this.#stepped ? undefined : this.#desk.next();
    this.#stepped = step !== undefined;
    if (step !== undefined) return step;
    const other = this.#desk.writing ? this.#intake.nextBeside() : this.#intake.next(this.finishing);
    if (other !== undefined) return other;
    // All other orders that wait for the end of everything wait for the transactions, too.
    if (this.#finals[0]?.order.op === 'position') return this.#finals.shift();
    return this.#desk.next();
  }
}
