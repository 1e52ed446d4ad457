/** Units of a histogram per millisecond: 100 ns. */
const UNITS_PER_MS = 10_000;
/** Each power of two is cut into this many steps, so a value is off by 0.2 % at most. */
const STEPS_LOG2 = 8;
const STEPS = 1 << STEPS_LOG2;
const MAX_UNITS = 2 ** 32 - 1;
const SIZE = (32 - STEPS_LOG2 + 1) * STEPS;

/** Latencies, in fixed memory whatever their number: steps are fine for short ones and coarse for long ones. */
export class Histogram {
  #counts = new Float64Array(SIZE);
  count = 0;
  /** Exact, in milliseconds. */
  max = 0;

  /** @param {number} ms */
  add(ms) {
    const units = Math.min(MAX_UNITS, Math.max(0, Math.round(ms * UNITS_PER_MS))) >>> 0;
    this.#bump(indexOf(units), 1);
    this.count += 1;
    if (ms > this.max) this.max = ms;
  }

  /** A wait that ended without success: the longest counts, it is no latency of a batch. @param {number} ms */
  waited(ms) {
    if (ms > this.max) this.max = ms;
  }

  /** @returns {{ cells: [number, number][], count: number, max: number }} */
  toJSON() {
    /** @type {[number, number][]} */
    const cells = [];
    this.#counts.forEach((count, index) => {
      if (count > 0) cells.push([index, count]);
    });
    return { cells, count: this.count, max: this.max };
  }

  /** @param {ReturnType<Histogram['toJSON']>} other */
  merge({ cells, count, max }) {
    for (const [index, times] of cells) this.#bump(index, times);
    this.count += count;
    this.max = Math.max(this.max, max);
  }

  /**
   * @param {number} index
   * @param {number} times
   */
  #bump(index, times) {
    this.#counts[index] = (this.#counts[index] ?? 0) + times;
  }

  /** Milliseconds that this share of the batches did not exceed. @param {number} share 0 to 1 */
  percentile(share) {
    if (this.count === 0) return null;
    let left = Math.max(1, Math.ceil(share * this.count));
    for (let index = 0; index < SIZE; index += 1) {
      left -= this.#counts[index] ?? 0;
      if (left <= 0) return Math.min(this.max, middleOf(index) / UNITS_PER_MS);
    }
    return this.max;
  }
}

/** @param {number} units */
function indexOf(units) {
  if (units < STEPS) return units;
  const shift = 31 - Math.clz32(units) - STEPS_LOG2;
  return (shift + 1) * STEPS + (units >>> shift) - STEPS;
}

/** @param {number} index */
function middleOf(index) {
  if (index < 2 * STEPS) return index;
  const shift = Math.floor(index / STEPS) - 1;
  return ((index % STEPS) + STEPS + 0.5) * 2 ** shift;
}

/**
 * The middle one; of an even number the mean of the two in the middle. null when there is none.
 * @param {readonly (number | null | undefined)[]} values
 * @returns {number | null}
 */
export function median(values) {
  const sorted = values.filter((value) => typeof value === 'number').sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? 0) + upper) / 2;
}

/**
 * @param {number | null | undefined} a
 * @param {number | null | undefined} b
 * @returns {number | null}
 */
export function ratio(a, b) {
  return typeof a === 'number' && typeof b === 'number' && b !== 0 ? a / b : null;
}

/**
 * How far the rounds lie apart: (largest - smallest) ÷ median.
 * @param {readonly (number | null)[]} values
 */
export function spread(values) {
  const known = values.filter((value) => value !== null);
  return known.length < 2 ? null : ratio(Math.max(...known) - Math.min(...known), median(known));
}
