/** Milliseconds without work after which the main file is made complete. */
const SETTLE_MS = 1_000;

/** Milliseconds for which a worker stays awake for an only client. */
const LINGER_MS = 0.1;

/** What is done when nothing is to be done. */
export interface RestHooks {
  /** After a short rest: bring the WAL home. */
  settle(): void;
  /** After the idle time, and again after each further one: offer to leave. */
  idle(): void;
}

/**
 * The clocks of a worker without work. Work only notes the time; a timer that fires too early waits for what is missing:
 * setting timers anew for every batch would cost as much as the batch.
 */
export class Rest {
  readonly #hooks: RestHooks;
  readonly #idleMs: number;
  #since = performance.now();
  #settleTimer: NodeJS.Timeout | undefined;
  #idleTimer: NodeJS.Timeout | undefined;
  #lingers = false;

  /** @param idleMs 0 for never */
  constructor(idleMs: number, hooks: RestHooks) {
    this.#idleMs = idleMs;
    this.#hooks = hooks;
    this.begin();
  }

  /** Work is done for now. */
  begin(): void {
    this.#since = performance.now();
    if (this.#settleTimer === undefined) this.#waitToSettle(SETTLE_MS);
    if (this.#idleTimer === undefined && this.#idleMs > 0) this.#waitForIdle(this.#idleMs);
  }

  /**
   * Looks for more work for a moment before the thread sleeps: to be woken takes longer than a client that waits for each
   * answer takes for its next batch. It costs no more than sleeping so shortly does (see docs/performance.md).
   */
  linger(): void {
    if (this.#lingers) return;
    this.#lingers = true;
    this.#look();
  }

  #look(): void {
    setImmediate(() => {
      if (performance.now() - this.#since < LINGER_MS) this.#look();
      else this.#lingers = false;
    });
  }

  /** For good. */
  end(): void {
    clearTimeout(this.#settleTimer);
    clearTimeout(this.#idleTimer);
  }

  #waitToSettle(ms: number): void {
    this.#settleTimer = setTimeout(() => {
      this.#settleTimer = undefined;
      const missing = SETTLE_MS - (performance.now() - this.#since);
      if (missing > 0) this.#waitToSettle(Math.ceil(missing));
      else this.#hooks.settle();
    }, ms).unref();
  }

  #waitForIdle(ms: number): void {
    this.#idleTimer = setTimeout(() => {
      const missing = this.#idleMs - (performance.now() - this.#since);
      if (missing > 0) {
        this.#waitForIdle(Math.ceil(missing));
        return;
      }
      this.#hooks.idle();
      this.#waitForIdle(this.#idleMs);
    }, ms).unref();
  }
}
