/** What a request costs besides its bytes: objects, places in queues. */
const REQUEST_BYTES = 1024;
/**
 * What all connections of a process may have unanswered together: each alone is bounded, but there can be thousands. Over the
 * mark only a connection without anything unanswered is read, so that nobody waits behind those who push.
 */
export class IntakeBudget {
  readonly #highMark: number;
  /** Below it, reading goes on: not at every answer, or all connections would be woken for one request's room. */
  readonly #lowMark: number;
  #used = 0;
  /** In the order in which they came to wait. */
  #waiting = new Set<() => void>();

  /** @param maxBytes of unanswered requests, over which nothing more is read */
  constructor(maxBytes: number) {
    this.#highMark = maxBytes;
    this.#lowMark = maxBytes * 0.75;
  }

  get isFull(): boolean {
    return this.#used >= this.#highMark;
  }

  take(bytes: number): void {
    this.#used += bytes + REQUEST_BYTES;
  }

  give(bytes: number): void {
    this.#used -= bytes + REQUEST_BYTES;
    if (this.#waiting.size === 0 || this.#used > this.#lowMark) return;
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
