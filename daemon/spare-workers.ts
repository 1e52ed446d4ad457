/** What can be kept for later: a process that serves nothing yet. */
export interface Spare {
  readonly alive: boolean;
  readonly exited: Promise<unknown>;
  /** Lets it go, in its own time. */
  dismiss(): void;
  kill(): void;
}

/** Milliseconds after one was taken until the next is forked: the request that took it goes first. */
const SETTLE_MS = 100;
/** Milliseconds to wait after one that did not last; twice as long after each further one. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** One that has lived this long, in milliseconds, has started well. */
const LASTING_MS = 10_000;

/**
 * Workers forked ahead: a new database need not wait for a process to start. One that has closed its database becomes a
 * spare again where there are too few, or another database waits for it. Does nothing of the process itself: forking is
 * the caller's.
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
      this.#settleIn(SETTLE_MS);
      return spare;
    }
    const worker = this.#start();
    this.#settleIn(SETTLE_MS);
    return worker;
  }

  /**
   * Takes back a worker that has closed its database.
   * @param wanted somebody is about to take one: it is kept although there are enough
   * @returns false when it is the caller's to dismiss
   */
  giveBack(worker: Worker, wanted = false): boolean {
    if (this.#closed || !worker.alive || (this.#idle.size >= this.#count && !wanted)) return false;
    this.#idle.add(worker);
    this.#settleIn(SETTLE_MS);
    return true;
  }

  /** Forks what is missing. */
  fill(): void {
    while (!this.#closed && this.#idle.size < this.#count) {
      try {
        this.#idle.add(this.#start());
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

  /** @throws whatever forking throws */
  #start(): Worker {
    const worker = this.#fork();
    const since = performance.now();
    // Once for all that it will serve, not each time it comes back.
    void worker.exited.then((exit) => {
      if (!this.#idle.delete(worker)) return;
      if (performance.now() - since > LASTING_MS) this.#failures = 0;
      this.#failed(exit);
    });
    return worker;
  }

  /** Lets go what is too many: whoever wanted it has not come. */
  #trim(): void {
    for (const spare of this.#idle) {
      if (this.#idle.size <= this.#count) return;
      this.#idle.delete(spare);
      spare.dismiss();
    }
  }

  #failed(what: unknown): void {
    this.onTrouble(what);
    this.#failures += 1;
    this.#settleIn(Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#failures - 1)));
  }

  /** One timer: where workers cannot start, asking more often does not make it try more often. */
  #settleIn(ms: number): void {
    if (this.#closed || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#trim();
      this.fill();
    }, ms).unref();
  }
}
