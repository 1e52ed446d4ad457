import type { ErrorCode } from '../../protocol/messages.js';
import { Histogram } from './histogram.js';
import type { WorkerCounts } from './link.js';

/** How long the parts of transactions have taken, in microseconds. */
export class TransactionTimes {
  readonly execute = new Histogram();
  readonly commit = new Histogram();

  /** The times are on performance.now()'s clock. A transaction that only reads has nothing to commit. */
  record(writes: boolean, begun: number, executed: number, committed: number): void {
    this.execute.record((executed - begun) * 1000);
    if (writes) this.commit.record((committed - executed) * 1000);
  }
}

/** What a worker counts of its batches. */
export class Metrics {
  readonly #latency = new Histogram();
  readonly #queue = new Histogram();
  readonly #groups = new Histogram();
  readonly #errors = new Map<ErrorCode, number>();
  #batches = 0;
  #failed = 0;

  /**
   * A batch was answered.
   * @param received when it arrived, on performance.now()'s clock
   * @param begun when its group was begun
   */
  answered(received: number, begun: number, now: number, failed: boolean): void {
    this.#batches += 1;
    if (failed) this.#failed += 1;
    this.#queue.record((begun - received) * 1000);
    this.#latency.record((now - received) * 1000);
  }

  /** Batches were done together. */
  group(batches: number): void {
    this.#groups.record(batches);
  }

  /** An error was sent to a client. */
  error(code: ErrorCode): void {
    this.#errors.set(code, (this.#errors.get(code) ?? 0) + 1);
  }

  get counts(): Pick<WorkerCounts, 'batches' | 'failed' | 'errors' | 'latency' | 'queue' | 'groups'> {
    return {
      batches: this.#batches,
      failed: this.#failed,
      errors: Object.fromEntries(this.#errors),
      latency: this.#latency.counts,
      queue: this.#queue.counts,
      groups: this.#groups.counts,
    };
  }
}
