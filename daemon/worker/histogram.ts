/** Whole numbers below this have a bucket each; above, a bucket is a sixteenth as wide as the numbers in it. */
const EXACT = 32;
const PER_OCTAVE = 16;
/** Everything from here on counts as this: in microseconds more than an hour. */
const LARGEST = 2 ** 32 - 1;
const BUCKETS = bucketOf(LARGEST) + 1;

/** What a histogram has counted, as it travels and adds up: only the buckets that hold something. */
export interface HistogramCounts {
  readonly count: number;
  readonly sum: number;
  readonly max: number;
  /** Index and count of each bucket that holds something, in rising order: `[index, count, index, count, …]`. */
  readonly buckets: readonly number[];
}

/** A histogram in which nothing was counted. */
export const NOTHING_COUNTED: HistogramCounts = { count: 0, sum: 0, max: 0, buckets: [] };

/**
 * Counts whole numbers, such as microseconds, to one in thirty. Recording is a shift and an addition: it is done for each
 * batch. Float64 since a bucket of 32 bits is full after some hours of full load.
 */
export class Histogram {
  readonly #buckets = new Float64Array(BUCKETS);
  #count = 0;
  #sum = 0;
  #max = 0;

  /** @param value fractions are rounded; what is below 0 counts as 0 */
  record(value: number): void {
    const whole = value >= LARGEST ? LARGEST : value > 0 ? Math.round(value) : 0;
    const bucket = bucketOf(whole);
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#count += 1;
    this.#sum += whole;
    if (whole > this.#max) this.#max = whole;
  }

  get counts(): HistogramCounts {
    const buckets: number[] = [];
    for (const [index, count] of this.#buckets.entries()) if (count > 0) buckets.push(index, count);
    return { count: this.#count, sum: this.#sum, max: this.#max, buckets };
  }
}

/** The index of a whole number's bucket. */
function bucketOf(value: number): number {
  if (value < EXACT) return value;
  const shift = 27 - Math.clz32(value);
  return shift * PER_OCTAVE + (value >>> shift);
}

/** The largest whole number that a bucket takes. */
export function bucketTop(index: number): number {
  if (index < EXACT) return index;
  const shift = Math.floor(index / PER_OCTAVE) - 1;
  return ((index % PER_OCTAVE) + PER_OCTAVE + 1) * 2 ** shift - 1;
}

/** Both together. */
export function addCounts(one: HistogramCounts, other: HistogramCounts): HistogramCounts {
  if (one.count === 0) return other;
  if (other.count === 0) return one;
  return {
    count: one.count + other.count,
    sum: one.sum + other.sum,
    max: Math.max(one.max, other.max),
    buckets: merge(one.buckets, other.buckets, 1),
  };
}

/** What was counted since: `earlier` is what the same histogram held before. The largest is that of all. */
export function subtractCounts(now: HistogramCounts, earlier: HistogramCounts): HistogramCounts {
  return {
    count: now.count - earlier.count,
    sum: now.sum - earlier.sum,
    max: now.max,
    buckets: merge(now.buckets, earlier.buckets, -1),
  };
}

function merge(one: readonly number[], other: readonly number[], sign: 1 | -1): number[] {
  const merged: number[] = [];
  let a = 0;
  let b = 0;
  while (a < one.length || b < other.length) {
    const left = one[a] ?? Number.POSITIVE_INFINITY;
    const right = other[b] ?? Number.POSITIVE_INFINITY;
    const count = (left <= right ? (one[a + 1] ?? 0) : 0) + (right <= left ? sign * (other[b + 1] ?? 0) : 0);
    if (count !== 0) merged.push(Math.min(left, right), count);
    if (left <= right) a += 2;
    if (right <= left) b += 2;
  }
  return merged;
}

/** Half, 99, and 99.9 of 100 are no larger, and the largest of all. */
export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** null where nothing was counted. */
export function percentiles(counts: HistogramCounts): Percentiles | null {
  if (counts.count === 0) return null;
  return {
    p50: percentile(counts, 50),
    p99: percentile(counts, 99),
    p999: percentile(counts, 99.9),
    max: counts.max,
  };
}

/** The middle of the bucket in which it lies. */
function percentile({ count, max, buckets }: HistogramCounts, part: number): number {
  let left = Math.ceil((count * part) / 100);
  for (let at = 0; at < buckets.length; at += 2) {
    left -= buckets[at + 1] ?? 0;
    if (left > 0) continue;
    const index = buckets[at] ?? 0;
    const bottom = index === 0 ? 0 : bucketTop(index - 1) + 1;
    return Math.min(max, Math.floor((bottom + bucketTop(index)) / 2));
  }
  return max;
}

/**
 * How many are no larger than each bound.
 * @param bounds rising; exact where a bucket ends there, as at 2^n − 1
 */
export function cumulative({ buckets }: HistogramCounts, bounds: readonly number[]): number[] {
  let at = 0;
  let total = 0;
  return bounds.map((bound) => {
    for (; at < buckets.length && bucketTop(buckets[at] ?? 0) <= bound; at += 2)
      total += buckets[at + 1] ?? 0;
    return total;
  });
}
