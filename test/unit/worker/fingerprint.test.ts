import fc from 'fast-check';
import { expect, test } from 'vitest';
import { beginningOf, fingerprint } from '../../../daemon/worker/fingerprint.js';
import { BARE, type DecodedBatch, type DecodedStatement } from '../../../protocol/decode-exec-batch.js';

function statement(sql: string, rest: Partial<DecodedStatement> = {}): DecodedStatement {
  return { sql, params: undefined, param_sets: undefined, expect: undefined, ...rest };
}

function batch(stmts: DecodedStatement[], rest: Partial<DecodedBatch> = {}): DecodedBatch {
  return { ...BARE, stmts, ...rest };
}

// They are in users' databases: another version must come to the same ones, or it would refuse what is sent again.
test.each([
  [
    'one statement',
    batch([statement('INSERT INTO t VALUES (?, ?)', { params: [1, 'a'] })]),
    2218012647162147,
  ],
  ['a field of its own', batch([statement('DELETE FROM t')], { durable: true }), 4513783127109321],
  [
    'many sets, names, an expectation',
    batch([
      statement('INSERT INTO t VALUES (?)', { param_sets: [[1], [2.5], [null]] }),
      statement('UPDATE t SET a = :a', { params: { a: true }, expect: { rows_affected: 3 } }),
    ]),
    4581531943463272,
  ],
])('the fingerprint of a batch with %s stays what it was', (_, one, expected) => {
  expect(fingerprint(one)).toBe(expected);
  expect(fingerprint(one, beginningOf(one.stmts[0]?.sql ?? ''))).toBe(expected);
});

const value = fc.oneof(fc.integer(), fc.double(), fc.string(), fc.boolean(), fc.constant(null));
const statements = fc.array(
  fc.record({
    sql: fc.string(),
    params: fc.option(fc.array(value, { maxLength: 3 }), { nil: undefined }),
    param_sets: fc.option(fc.array(fc.array(value, { maxLength: 2 }), { maxLength: 3 }), { nil: undefined }),
    expect: fc.option(fc.record({ rows_affected: fc.nat() }), { nil: undefined }),
  }),
  { minLength: 1, maxLength: 3 },
);
const own = fc.record(
  {
    tx: fc.constantFrom('atomic' as const, 'none' as const),
    durable: fc.boolean(),
    expect_rev: fc.nat(),
    expect_epoch: fc.nat(),
    results: fc.boolean(),
  },
  { requiredKeys: [] },
);

test('what is remembered of a statement changes nothing, whatever the batch has besides', () => {
  fc.assert(
    fc.property(statements, fc.oneof(fc.constant({}), own), (stmts, rest) => {
      const one = batch(stmts as DecodedStatement[], rest);
      expect(fingerprint(one, beginningOf(one.stmts[0]?.sql ?? ''))).toBe(fingerprint(one));
    }),
  );
});

test('a field of its own, another statement or parameter make another one', () => {
  const sql = 'INSERT INTO t VALUES (?)';
  const beginning = beginningOf(sql);
  const all = [
    fingerprint(batch([statement(sql, { params: [1] })]), beginning),
    fingerprint(batch([statement(sql, { params: [2] })]), beginning),
    fingerprint(batch([statement(sql, { params: ['1'] })]), beginning),
    fingerprint(batch([statement(sql, { params: [1] })], { durable: true }), beginning),
    fingerprint(batch([statement(sql, { params: [1] })], { results: false }), beginning),
    fingerprint(batch([statement(sql, { params: [1] })], { expect_rev: 1 }), beginning),
    fingerprint(batch([statement(sql, { params: [1] })], { expect_epoch: 1 }), beginning),
    fingerprint(batch([statement(sql, { params: [1] })], { tx: 'atomic' }), beginning),
    fingerprint(batch([statement(sql, { params: [1] }), statement(sql, { params: [1] })]), beginning),
  ];
  expect(new Set(all).size).toBe(all.length);
});
