import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addCounts, type Counts, NO_COUNTS } from '../../../daemon/counts.js';
import { MetricSeries } from '../../../daemon/metrics/series.js';
import { Histogram } from '../../../daemon/worker/histogram.js';

const MINUTE = 60_000;

function done(batches: number): Counts {
  const latency = new Histogram();
  for (let n = 0; n < batches; n += 1) latency.record(10 * batches);
  return { ...NO_COUNTS, batches, errors: { BUSY: batches }, latency: latency.counts };
}

const databases = (all: { readonly [path: string]: number }) =>
  new Map(Object.entries(all).map(([path, batches]) => [path, done(batches)]));

const shown = (
  series: MetricSeries,
  all: { readonly [path: string]: number },
  now: number,
  forgotten = 0,
) => {
  const { named, others } = series.update(databases(all), done(forgotten), now);
  const own = Object.fromEntries([...named].map(([path, { batches }]) => [path, batches]));
  return { ...own, others: others.batches };
};

test('the busiest have series of their own, from the beginning where there is room', () => {
  const series = new MetricSeries(2);
  expect(shown(series, { a: 1, b: 5, c: 3 }, 0)).toEqual({ b: 5, c: 3, others: 1 });
});

test('one that becomes busy takes the place of one that rests; what was counted stays where it was', () => {
  const series = new MetricSeries(1);
  expect(shown(series, { a: 9, b: 5 }, 0)).toEqual({ a: 9, others: 5 });
  // Not between two rankings.
  expect(shown(series, { a: 9, b: 50 }, MINUTE - 1)).toEqual({ a: 9, others: 50 });
  expect(shown(series, { a: 9, b: 60 }, MINUTE)).toEqual({ b: 0, others: 60 });
  expect(shown(series, { a: 12, b: 70 }, MINUTE + 1)).toEqual({ b: 10, others: 63 });
});

test('one that does about as much as another keeps its series', () => {
  const series = new MetricSeries(1);
  shown(series, { a: 0, b: 0 }, 0);
  expect(shown(series, { a: 10, b: 19 }, MINUTE)).toEqual({ a: 10, others: 19 });
  expect(shown(series, { a: 20, b: 40 }, 2 * MINUTE)).toHaveProperty('b');
});

test('a database that is forgotten loses its series, and its count is not told twice', () => {
  const series = new MetricSeries(1);
  expect(shown(series, { a: 9 }, 0)).toEqual({ a: 9, others: 0 });
  expect(shown(series, { b: 1 }, 1, 9)).toEqual({ b: 1, others: 0 });
  expect(shown(series, { a: 4, b: 1 }, 2, 9)).toEqual({ b: 1, others: 4 });
});

test('with no room at all, everything is summed', () => {
  expect(shown(new MetricSeries(0), { a: 2, b: 3 }, 0, 4)).toEqual({ others: 9 });
});

test('whatever databases do, no series goes backwards, and all that was ever in one is the whole', () => {
  const step = fc.record({
    work: fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.integer({ min: 0, max: 9 })),
    forget: fc.option(fc.constantFrom('a', 'b', 'c')),
    ms: fc.constantFrom(1, MINUTE / 2, MINUTE),
  });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 3 }), fc.array(step, { maxLength: 25 }), (limit, steps) => {
      const series = new MetricSeries(limit);
      const totals = new Map<string, Counts>();
      let forgotten = NO_COUNTS;
      let now = 0;
      let whole = 0;
      let last = new Map<string, number>();
      /** What Prometheus would add up: each rise of each series. */
      let risen = 0;
      for (const { work, forget, ms } of steps) {
        now += ms;
        for (const [path, batches] of Object.entries(work)) {
          totals.set(path, addCounts(totals.get(path) ?? NO_COUNTS, done(batches)));
          whole += batches;
        }
        const gone = forget === null ? undefined : totals.get(forget);
        if (forget !== null && gone !== undefined) {
          forgotten = addCounts(forgotten, gone);
          totals.delete(forget);
        }
        const { named, others } = series.update(totals, forgotten, now);
        expect(named.size).toBeLessThanOrEqual(limit);
        const told = new Map(
          [...named, ['(other)', others] as const].map(([path, all]) => [path, all.batches]),
        );
        for (const [path, batches] of told) {
          const before = last.get(path) ?? 0;
          expect(batches).toBeGreaterThanOrEqual(before);
          risen += batches - before;
        }
        for (const all of [...named.values(), others]) {
          expect(all.latency.count).toBe(all.batches);
          expect(all.errors.BUSY ?? 0).toBe(all.batches);
          for (let at = 1; at < all.latency.buckets.length; at += 2)
            expect(all.latency.buckets[at]).toBeGreaterThan(0);
        }
        last = told;
      }
      expect(risen).toBe(whole);
    }),
  );
});
