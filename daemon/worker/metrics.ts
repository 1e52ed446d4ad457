import { createHistogram } from 'node:perf_hooks';
import type { WorkerStats } from './link.js';

/** What a worker counts of its batches. */
export class Metrics {
  readonly #latency = createHistogram();
  #batches = 0;
  #failed = 0;

  /** @param receivedMs when the batch arrived, on performance.now()'s clock */
  answered(receivedMs: number, failed: boolean): void {
    this.#batches += 1;
    if (failed) this.#failed += 1;
    this.#latency.record(Math.max(1, Math.round((performance.now() - receivedMs) * 1000)));
  }

  get figures(): Pick<WorkerStats, 'batches' | 'failed' | 'latencyUs'> {
    const { count, max } = this.#latency;
    const percentile = (part: number) => this.#latency.percentile(part);
    const latencyUs =
      count === 0 ? null : { p50: percentile(50), p99: percentile(99), p999: percentile(99.9), max };
    return { batches: this.#batches, failed: this.#failed, latencyUs };
  }
}
