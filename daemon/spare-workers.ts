/** What can be kept for later: a process that serves nothing yet. */
export interface Spare {
  readonly alive: boolean;
  readonly exited: Promise<unknown>;
  kill(): void;
}

/** Milliseconds after one was taken until the next is forked: the request that took it goes first. */
const REFILL_MS = 100;
/** Milliseconds to wait after one that did not last; twice as long after each further one. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** One that has lived this long, in milliseconds, has started well. */
const LASTING_MS = 10_000;

/**
 * Workers forked ahead: a new database need not wait for a process to start. One that has closed its database becomes a
 * spare again while there are too few. Does nothing of the process itself: forking is the caller's.
 */
export class SpareWorkers<Worker extends Spare> {
  readonly #count: number;
  readonly #fork: () => Worker;
  readonly #idle = new Set<Worker>();
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #closed = false;
  /** Told of a spare that could not be forked, or died by itself. */
  onTrouble: (what: unknown) => void = () => undefined;

  /**
   * @param count spares to have at hand
   * @param fork starts a process; may throw
   */
  constructor(count: number, fork: () => Worker) {
    this.#count = count;
    this.#fork = fork;
  }

  /** Spares at hand. */
  get size(): number {
    return this.#idle.size;
  }

  /**
   * A worker for a database: a spare, or one that is forked now.
   * @throws whatever forking throws
   */
  take(): Worker {
    for (const spare of this.#idle) {
      this.#idle.delete(spare);
      if (!spare.alive) continue;
      this.#refillIn(REFILL_MS);
      return spare;
    }
    const worker = this.#fork();
    this.#refillIn(REFILL_MS);
    return worker;
  }

  /** Takes back a worker that has closed its database. False when there are enough: then it is the caller's to dismiss. */
  giveBack(worker: Worker): boolean {
    if (this.#closed || !worker.alive || this.#idle.size >= this.#count) return false;
    this.#keep(worker);
    return true;
  }

  /** Forks what is missing. */
  fill(): void {
    while (!this.#closed && this.#idle.size < this.#count) {
      try {
        this.#keep(this.#fork());
      } catch (error) {
        this.#failed(error);
        return;
      }
    }
  }

  /** Ends the spares; there will be no more. Idempotent. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const spare of this.#idle) spare.kill();
    this.#idle.clear();
  }

  #keep(spare: Worker): void {
    this.#idle.add(spare);
    const since = performance.now();
    void spare.exited.then((exit) => {
      if (!this.#idle.delete(spare)) return;
      if (performance.now() - since > LASTING_MS) this.#failures = 0;
      this.#failed(exit);
    });
  }

  #failed(what: unknown): void {
    this.onTrouble(what);
    this.#failures += 1;
    this.#refillIn(Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#failures - 1)));
  }

  /** One timer: where workers cannot start, asking more often does not make it try more often. */
  #refillIn(ms: number): void {
    if (this.#closed || this.#count === 0 || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.fill();
    }, ms).unref();
  }
}
