import {
  addCounts as addHistograms,
  NOTHING_COUNTED,
  subtractCounts as subtractHistograms,
} from './worker/histogram.js';
import type { WorkerCounts } from './worker/link.js';

/** What was counted of one database by all of its workers, or of many databases. */
export interface Counts extends WorkerCounts {
  /** Workers that have died. */
  readonly restarts: number;
}

/** Nothing was counted yet. */
export const NO_COUNTS: Counts = {
  batches: 0,
  failed: 0,
  commits: 0,
  checkpoints: 0,
  restarts: 0,
  errors: {},
  latency: NOTHING_COUNTED,
  queue: NOTHING_COUNTED,
  groups: NOTHING_COUNTED,
  execute: NOTHING_COUNTED,
  commit: NOTHING_COUNTED,
  checkpointWait: NOTHING_COUNTED,
};

/** Both together. */
export function addCounts(one: Counts, other: WorkerCounts & { readonly restarts?: number }): Counts {
  return combine(one, { restarts: 0, ...other }, (a, b) => a + b, addHistograms);
}

/** What was counted since: `earlier` is what the same counts were before. */
export function subtractCounts(now: Counts, earlier: Counts): Counts {
  return combine(now, earlier, (a, b) => a - b, subtractHistograms);
}

function combine(
  one: Counts,
  other: Counts,
  numbers: (a: number, b: number) => number,
  histograms: typeof addHistograms,
): Counts {
  const errors: { [code: string]: number } = { ...one.errors };
  for (const [code, count] of Object.entries(other.errors)) errors[code] = numbers(errors[code] ?? 0, count);
  return {
    batches: numbers(one.batches, other.batches),
    failed: numbers(one.failed, other.failed),
    commits: numbers(one.commits, other.commits),
    checkpoints: numbers(one.checkpoints, other.checkpoints),
    restarts: numbers(one.restarts, other.restarts),
    errors,
    latency: histograms(one.latency, other.latency),
    queue: histograms(one.queue, other.queue),
    groups: histograms(one.groups, other.groups),
    execute: histograms(one.execute, other.execute),
    commit: histograms(one.commit, other.commit),
    checkpointWait: histograms(one.checkpointWait, other.checkpointWait),
  };
}
