/** What a request costs besides its bytes: objects, places in queues. */
const REQUEST_BYTES = 1024;
/** Bytes of unanswered requests, of all connections together, over which nothing more is read. */
const HIGH_MARK = 16 * 1024 * 1024;
/** Below it, reading goes on: not at every answer, or all connections would be woken for one request's room. */
const LOW_MARK = 12 * 1024 * 1024;

/**
 * What all connections of a process may have unanswered together: each alone is bounded, but there can be thousands. Over the
 * mark only a connection without anything unanswered is read, so that nobody waits behind those who push.
 */
export class IntakeBudget {
  #used = 0;
  /** In the order in which they came to wait. */
  #waiting = new Set<() => void>();

  get isFull(): boolean {
    return this.#used >= HIGH_MARK;
  }

  take(bytes: number): void {
    this.#used += bytes + REQUEST_BYTES;
  }

  give(bytes: number): void {
    this.#used -= bytes + REQUEST_BYTES;
    if (this.#waiting.size === 0 || this.#used > LOW_MARK) return;
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const wake of waiting) wake();
  }

  /** @param wake called once, when there is room again */
  wait(wake: () => void): void {
    this.#waiting.add(wake);
  }

  /** Whoever waited has gone. */
  forget(wake: () => void): void {
    this.#waiting.delete(wake);
  }
}
