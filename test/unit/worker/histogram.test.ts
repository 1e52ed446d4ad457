import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addCounts,
  bucketTop,
  cumulative,
  Histogram,
  NOTHING_COUNTED,
  percentiles,
  subtractCounts,
} from '../../../daemon/worker/histogram.js';

const counted = (values: readonly number[]) => {
  const histogram = new Histogram();
  for (const value of values) histogram.record(value);
  return histogram.counts;
};
/** As many small as large ones: what is measured spans six powers of ten. */
const value = fc.integer({ min: 0, max: 31 }).chain((bits) => fc.integer({ min: 0, max: 2 ** bits }));
const values = fc.array(value, { maxLength: 60 });
const some = fc.array(value, { minLength: 1, maxLength: 60 });

describe('a histogram', () => {
  test('tells percentiles to one in thirty, and the largest exactly', () => {
    fc.assert(
      fc.property(some, (list) => {
        const sorted = [...list].sort((one, other) => one - other);
        const told = percentiles(counted(list));
        for (const [part, name] of [
          [50, 'p50'],
          [99, 'p99'],
          [99.9, 'p999'],
        ] as const) {
          const exact = sorted[Math.ceil((sorted.length * part) / 100) - 1] ?? 0;
          expect(Math.abs((told?.[name] ?? Number.NaN) - exact)).toBeLessThanOrEqual(exact / 30 + 0.5);
        }
        expect(told?.max).toBe(sorted.at(-1));
      }),
    );
  });

  test('of two parts is what both have counted together, and without one of them the other', () => {
    fc.assert(
      fc.property(values, values, (one, other) => {
        const [a, b, both] = [counted(one), counted(other), counted([...one, ...other])];
        expect(addCounts(a, b)).toEqual(both);
        expect(addCounts(b, a)).toEqual(both);
        expect(subtractCounts(both, b)).toEqual({ ...a, max: both.max });
      }),
    );
  });

  test('knows how many are within a bound at which a bucket ends', () => {
    const bounds = [1, 3, 7, 15, 31, 63, 2 ** 20 - 1, 2 ** 31 - 1];
    fc.assert(
      fc.property(values, (list) => {
        expect(cumulative(counted(list), bounds)).toEqual(
          bounds.map((bound) => list.filter((each) => each <= bound).length),
        );
      }),
    );
  });

  test('has buckets that follow each other without a gap, up to more than an hour in microseconds', () => {
    const tops = Array.from({ length: 464 }, (_, index) => bucketTop(index));
    for (const [index, top] of tops.entries()) {
      expect(counted([top]).buckets).toEqual([index, 1]);
      if (top < 2 ** 32 - 1) expect(counted([top + 1]).buckets).toEqual([index + 1, 1]);
    }
    expect(tops.at(-1)).toBe(2 ** 32 - 1);
    expect(counted([1e12, Number.POSITIVE_INFINITY]).buckets).toEqual([463, 2]);
    expect(counted([-1, Number.NaN, 0.4])).toMatchObject({ count: 3, sum: 0, buckets: [0, 3] });
  });

  test('of nothing has no percentiles', () => {
    expect(counted([])).toEqual(NOTHING_COUNTED);
    expect(percentiles(NOTHING_COUNTED)).toBe(null);
  });
});
