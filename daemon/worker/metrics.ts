import { createHistogram } from 'node:perf_hooks';
import type { WorkerStats } from './link.js';

/**
 * Up to an hour, in microseconds, to one in a hundred: 26 KB. Node's default takes 370 KB, which do not count as the heap's
 * and so are not collected for long: a process that had served two thousand databases held 250 MB of them.
 */
const LATENCY = { highest: 3_600_000_000, figures: 2 };

/** What a worker counts of its batches. */
export class Metrics {
  readonly #latency = createHistogram(LATENCY);
  #batches = 0;
  #failed = 0;

  /** @param tookMs milliseconds since the batch arrived */
  answered(tookMs: number, failed: boolean): void {
    this.#batches += 1;
    if (failed) this.#failed += 1;
    const us = Math.round(tookMs * 1000);
    this.#latency.record(Math.min(Math.max(1, us), LATENCY.highest));
  }

  get figures(): Pick<WorkerStats, 'batches' | 'failed' | 'latencyUs'> {
    const { count, max } = this.#latency;
    const percentile = (part: number) => this.#latency.percentile(part);
    const latencyUs =
      count === 0 ? null : { p50: percentile(50), p99: percentile(99), p999: percentile(99.9), max };
    return { batches: this.#batches, failed: this.#failed, latencyUs };
  }
}
