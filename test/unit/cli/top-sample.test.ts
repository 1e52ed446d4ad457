import { expect, test } from 'vitest';
import { Sampler } from '../../../cli/top/sample.js';
import type { DatabaseStatus, StatusReply } from '../../../protocol/messages.js';
import { replies } from '../protocol/samples.js';

type Buckets = readonly (readonly [number, number])[];

const [model] = replies.Status.databases;
const database = (batches: number, buckets: Buckets, errors = {}): DatabaseStatus => {
  if (model === undefined) throw new Error('the sample has a database');
  return {
    ...model,
    counters: { ...model.counters, batches, failed: 0, errors },
    latency_us: { p50: 1, p99: 1, p999: 1, max: 1, buckets },
  };
};
const status = (databases: readonly DatabaseStatus[], more: Partial<StatusReply> = {}): StatusReply => ({
  ...replies.Status,
  errors: {},
  databases,
  ...more,
});

test('rates and percentiles are those since the last look', () => {
  const sampler = new Sampler();
  const first = sampler.next(
    status([
      database(100, [
        [7, 99],
        [500, 1],
      ]),
    ]),
    1_000,
  );
  expect(first).toMatchObject({
    batches: null,
    errors: null,
    rows: [{ batches: null, p50: null, p99: null }],
  });
  const second = sampler.next(
    status(
      [
        database(
          120,
          [
            [7, 99],
            [15, 19],
            [500, 1],
            [900, 1],
          ],
          { BUSY: 3 },
        ),
      ],
      { errors: { INVALID_REQUEST: 1 } },
    ),
    3_000,
  );
  expect(second).toMatchObject({ batches: 10, errors: 2, rows: [{ batches: 10, p50: 15, p99: 900 }] });
  expect(sampler.next(status([database(120, [[7, 99]])]), 4_000).rows).toMatchObject([
    { batches: 0, p50: null },
  ]);
});

test('a database that has come since then counts from nothing', () => {
  const sampler = new Sampler();
  sampler.next(status([]), 0);
  expect(sampler.next(status([database(5, [[31, 5]])]), 1_000).rows).toMatchObject([{ batches: 5, p50: 31 }]);
});

test('another daemon counts anew', () => {
  const sampler = new Sampler();
  sampler.next(status([database(100, [])], { pid: 1 }), 0);
  expect(sampler.next(status([database(1, [])], { pid: 2 }), 1_000)).toMatchObject({ batches: null });
  expect(sampler.next(status([database(3, [])], { pid: 2 }), 2_000)).toMatchObject({ batches: 2 });
});

test('no clock stands still, and nothing is negative', () => {
  const sampler = new Sampler();
  sampler.next(status([database(100, [])]), 0);
  expect(sampler.next(status([database(90, [])]), 0).rows).toMatchObject([{ batches: 0 }]);
});

test('a database goes by its name, and by its path if it has none', () => {
  const [one] = status([database(0, [])]).databases;
  if (one === undefined) throw new Error('the sample has a database');
  const { name: _name, ...nameless } = one;
  const both = [
    { ...nameless, db_path: '/d/a.db' },
    { ...nameless, db_path: '/d/b.db', name: 'stars' },
  ];
  expect(new Sampler().next(status(both), 0).rows.map(({ db }) => db)).toEqual(['/d/a.db', 'stars']);
});
