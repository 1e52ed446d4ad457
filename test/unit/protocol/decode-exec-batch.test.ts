import { describe, expect, test } from 'vitest';
import { decodeExec, decodeExecBatch, overLimit } from '../../../protocol/decode-exec-batch.js';
import { parseObject } from '../../../protocol/frame.js';
import { arrived, BAD_IDS, DAY, refusal, refusesField, WRONG } from './helpers.js';
import { batch, LIMITS } from './samples.js';

describe('decodeExecBatch', () => {
  const decode = (object: object) => decodeExecBatch(arrived(object), LIMITS);

  /** The refusal of a batch whose second statement is the given one. */
  const refusedStatement = (statement: unknown) =>
    refusal(() => decode({ stmts: [{ sql: 'x' }, statement] }));

  test('reads a batch with all its fields', () => {
    expect(decode(batch)).toEqual(batch);
  });

  test('adds nothing to the smallest batch', () => {
    expect(decode({ stmts: [{ sql: '' }] })).toEqual({ type: 'ExecBatch', stmts: [{ sql: '' }] });
  });

  test('ignores unknown fields of the batch, a statement and an expectation', () => {
    const padded = { ...batch, later: 1, stmts: [{ sql: 'x', later: [], expect: { later: 1 } }] };
    expect(decode(padded)).toEqual({ ...batch, stmts: [{ sql: 'x', expect: {} }] });
  });

  test.each<[string, readonly unknown[]]>([
    ['id', BAD_IDS],
    ['db', WRONG.string],
    ['tx', [...WRONG.string, 'ATOMIC', '', 'deferred']],
    ['durable', WRONG.boolean],
    ['expect_rev', WRONG.integer],
    ['expect_epoch', WRONG.integer],
    ['timeout_ms', WRONG.integer],
    ['results', WRONG.boolean],
    ['stmts', [...WRONG.array, undefined, []]],
  ])('refuses a wrong "%s" and names it', (name, values) => {
    for (const value of values) refusesField(name, () => decode({ ...batch, [name]: value }));
  });

  test('caps the timeout at a day', () => {
    expect(decode({ ...batch, timeout_ms: 2 ** 40 }).timeout_ms).toBe(DAY);
  });

  test('takes a session of up to 128 characters and its first seq', () => {
    const session = 'é'.repeat(128);
    expect(decode({ stmts: [{ sql: '' }], session, seq: 1 })).toMatchObject({ session, seq: 1 });
  });

  test.each<[string, readonly unknown[]]>([
    ['session', [...WRONG.string, '', 's'.repeat(129), '\ud800']],
    ['seq', [...WRONG.integer, 0, undefined]],
    ['acked', [...WRONG.integer, 7, 8]],
    ['session_epoch', WRONG.integer],
    ['session_rev', WRONG.integer],
    ['session_database', [null, false, 1, '', 'x'.repeat(129), {}]],
    ['only_replay', WRONG.boolean],
  ])('refuses a wrong "%s" of a session', (name, values) => {
    for (const value of values) refusesField(name, () => decode({ ...batch, [name]: value }));
  });

  test.each(['seq', 'acked', 'session_epoch', 'session_rev', 'session_database', 'only_replay'] as const)(
    'refuses "%s" without a session',
    (name) => {
      refusesField(name, () => decode({ stmts: batch.stmts, [name]: batch[name] }));
    },
  );

  test.each<[string, readonly unknown[]]>([
    ['sql', [...WRONG.string, undefined]],
    ['params', WRONG.params],
    ['param_sets', WRONG.array],
    ['expect', WRONG.object],
  ])('refuses a wrong "%s" and names the statement too', (name, values) => {
    for (const value of values) {
      const error = refusedStatement({ sql: 'x', [name]: value });
      expect(error.message).toMatch(new RegExp(`^Statement 1: .*"${name}"`));
      expect(error.details).toEqual({ statement_index: 1 });
    }
  });

  test('refuses a statement that is no object, a wrong set and a wrong expectation', () => {
    for (const value of WRONG.object) expect(refusedStatement(value).message).toContain('"stmts[1]"');
    for (const value of WRONG.params)
      expect(refusedStatement({ sql: 'x', param_sets: [[], value] }).message).toContain('"param_sets[1]"');
    for (const value of WRONG.integer)
      expect(refusedStatement({ sql: 'x', expect: { rows_affected: value } }).message).toContain(
        '"rows_affected"',
      );
  });

  test('refuses params beside param_sets', () => {
    const { message } = refusedStatement({ sql: 'x', params: [], param_sets: [] });
    expect(message).toContain('"params" and "param_sets"');
  });

  test('refuses a lone surrogate in the SQL', () => {
    for (const sql of ['\ud800', "SELECT '\udc00'"])
      expect(refusedStatement({ sql }).message).toMatch(/^Statement 1: "sql" has a lone surrogate/);
  });

  test('takes a batch that fills every limit', () => {
    const full = { sql: `${'€'.repeat(9)}xyz`, param_sets: [[1, 2, 3, 4], { a: 1, b: 2, c: 3, d: 4 }] };
    expect(decode({ stmts: [full, full, full] }).stmts).toEqual([full, full, full]);
  });

  test('refuses one statement too many and names the limit', () => {
    const error = refusal(() => decode({ stmts: Array(4).fill({ sql: 'x' }) }));
    expect(error.message).toContain('max_statements');
    expect(error.details).toEqual({ limit: 'max_statements', limit_value: 3 });
  });

  test.each([
    { params: [1, 2, 3, 4, 5] },
    { params: { a: 1, b: 2, c: 3, d: 4, e: 5 } },
    { param_sets: [[], [1, 2, 3, 4, 5]] },
  ])('refuses one parameter too many (%#) and names the limit', (given) => {
    const error = refusedStatement({ sql: 'x', ...given });
    expect(error.message).toContain('max_parameters');
    expect(error.details).toEqual({ limit: 'max_parameters', limit_value: 4, statement_index: 1 });
  });

  test.each(['x'.repeat(31), `${'€'.repeat(10)}x`])(
    'refuses one byte of SQL too many (%#) and names the limit',
    (sql) => {
      const error = refusedStatement({ sql });
      expect(error.message).toMatch(/31 bytes .*max_sql_bytes/);
      expect(error.details).toEqual({ limit: 'max_sql_bytes', limit_value: 30, statement_index: 1 });
    },
  );

  test('does not disguise a bug of its own as a bad request', () => {
    const statement = {
      get sql(): string {
        throw new RangeError('bug');
      },
    };
    expect(() => decodeExecBatch({ stmts: [statement] }, LIMITS)).toThrow(new RangeError('bug'));
  });

  test('counts a parameter named "__proto__" like any other', () => {
    const text = '{"stmts":[{"sql":"x","params":{"__proto__":1,"a":2}}]}';
    const { params } = decodeExecBatch(parseObject(text), LIMITS).stmts[0] ?? {};
    expect(Object.keys(params ?? {})).toEqual(['__proto__', 'a']);
  });
});

describe('overLimit', () => {
  test('says how much it was, the limit and its name', () => {
    const error = overLimit('bytes in this result', 5000, LIMITS, 'max_result_bytes');
    expect(error.message).toBe('5000 bytes in this result; the limit is 4096 (max_result_bytes).');
    expect(error).toMatchObject({
      code: 'INVALID_REQUEST',
      details: { limit: 'max_result_bytes', limit_value: 4096 },
    });
  });
});

describe('decodeExec', () => {
  const decode = (object: object) => decodeExec(arrived(object), LIMITS);

  test('reads statements, timeout and whether results are wanted, and nothing of a batch of its own', () => {
    const { id, stmts, timeout_ms, results } = batch;
    expect(decode({ ...batch, tx: 'the transaction' })).toEqual({
      type: 'ExecBatch',
      id,
      stmts,
      timeout_ms,
      results,
    });
  });

  test('refuses statements as a batch does', () => {
    refusesField('stmts', () => decode({}));
    refusesField('stmts', () => decode({ stmts: [] }));
    const many = Array.from({ length: LIMITS.max_statements + 1 }, () => ({ sql: '' }));
    expect(refusal(() => decode({ stmts: many })).details).toMatchObject({ limit: 'max_statements' });
    expect(refusal(() => decode({ stmts: [{ sql: '' }, {}] })).details).toEqual({ statement_index: 1 });
  });
});
