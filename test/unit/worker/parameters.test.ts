import Database from 'better-sqlite3';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { inspectStatement } from '../../../daemon/worker/guard.js';
import { bindParameters, parameterPlan } from '../../../daemon/worker/parameters.js';
import { ProtocolError } from '../../../protocol/errors.js';
import type { WireParams } from '../../../protocol/messages.js';
import { FrameText } from '../../../protocol/values.js';

const db = new Database(':memory:');
db.defaultSafeIntegers();
afterAll(() => db.close());

/** The arguments for `SELECT <list>`. */
function bound(list: string, params?: WireParams): readonly unknown[] {
  return bindParameters(
    parameterPlan(inspectStatement(`SELECT ${list}`).variables),
    params,
    new FrameText(''),
  );
}

/** What the real better-sqlite3 makes of them. */
function selected(list: string, params?: WireParams): unknown[] {
  return db
    .prepare(`SELECT ${list}`)
    .raw()
    .get(...bound(list, params)) as unknown[];
}

function refusal(act: () => unknown): ProtocolError {
  try {
    act();
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  throw new Error('not refused');
}

function expectRefused(
  list: string,
  params: WireParams | undefined,
  parameter: number | string,
  message: RegExp,
): void {
  const error = refusal(() => bound(list, params));
  expect(error.code).toBe('INVALID_REQUEST');
  expect(error.details.parameter).toBe(parameter);
  expect(error.message).toContain(`Parameter ${JSON.stringify(parameter)}: `);
  expect(error.message).toMatch(message);
}

describe('an array', () => {
  test.each<[string, WireParams, unknown[]]>([
    ['1', [], [1n]],
    ['?, ?', [1, 'a'], [1n, 'a']],
    ['?2, ?1', [1, 2], [2n, 1n]],
    [':a, @b, $c, #d', [1, 2, 3, 4], [1n, 2n, 3n, 4n]],
    [':a, ?, :a, ?', [1, 2, 3], [1n, 2n, 1n, 3n]],
    ['?5, ?, ?1', [1, 2, 3, 4, 5, 6], [5n, 6n, 1n]],
    ['?, ?1, :x', [1, 2], [1n, 1n, 2n]],
    [':a, ?1', [1], [1n, 1n]],
    ['?01, ?1, ?001', [1], [1n, 1n, 1n]],
    ['?3', [1, 2, 3], [3n]],
    [':a, :A', [1, 2], [1n, 2n]],
    ['$a, :$a', [1, 2], [1n, 2n]],
    [':__proto__, :constructor', [1, 2], [1n, 2n]],
  ])("for %s follows SQLite's numbers", (list, params, row) => {
    expect(selected(list, params)).toEqual(row);
  });

  test('binds every storage class exactly', () => {
    const params: WireParams = [
      1,
      { $real: 1 },
      1.5,
      'ä',
      null,
      true,
      false,
      { $int: '9223372036854775807' },
      { $blob: 'AAE=' },
    ];
    const list = params.map(() => '?, typeof(?)').join(', ');
    const doubled = params.flatMap((value) => [value, value]);
    expect(selected(list, doubled)).toEqual([
      ...[1n, 'integer', 1, 'real', 1.5, 'real', 'ä', 'text', null, 'null', 1n, 'integer', 0n, 'integer'],
      ...[9223372036854775807n, 'integer', Buffer.from([0, 1]), 'blob'],
    ]);
  });

  test('may fill every number that SQLite has', () => {
    const values = Array.from({ length: 32_766 }, (_, at) => at);
    expect(selected('?32766, ?1', values)).toEqual([32_765n, 0n]);
    // SQLite's SELECT has at most 2000 columns.
    const list = `max(${Array.from({ length: 100 }, () => '?').join(', ')}), ?32766`;
    expect(selected(list, values)).toEqual([99n, 32_765n]);
  });

  test('of another length is refused, with the first position that is wrong', () => {
    expectRefused('?, ?, ?', [1], 1, /has 3 parameters and 1 was given/);
    expectRefused('?', [], 0, /has 1 parameter and 0 were given/);
    expectRefused('?, :a', [1, 2, 3], 2, /has 2 parameters and 3 were given/);
    expectRefused('?3', [1], 1, /has 3 parameters/);
    expectRefused('1', [1], 0, /has 0 parameters/);
  });

  test('with a value that is none is refused by position', () => {
    expectRefused('?, ?', [1, { $int: '9223372036854775808' }], 1, /64 bits/);
    expectRefused(':a', [{ $blob: '*' }], 0, /base64/);
    expectRefused('?', [[1] as never], 0, /array/);
  });
});

describe('an object', () => {
  test.each<[string, WireParams, unknown[]]>([
    ['1', {}, [1n]],
    [':a, @b, $c, #d', { a: 1, b: 2, c: 3, d: 4 }, [1n, 2n, 3n, 4n]],
    [':a, @b, $c, #d', { ':a': 1, '@b': 2, $c: 3, '#d': 4 }, [1n, 2n, 3n, 4n]],
    [':a, :a', { a: 'x' }, ['x', 'x']],
    ['?2, ?1', { 1: 'a', '?2': 'b' }, ['b', 'a']],
    ['?, ?1', { 1: 'a' }, ['a', 'a']],
    [':a, ?1', { '?1': 'a' }, ['a', 'a']],
    ['?01, ?1', { 1: 'a' }, ['a', 'a']],
    ['?3', { 3: 'c' }, ['c']],
    ['?3, :a, ?7', { 3: 1, a: 2, 7: null }, [1n, 2n, null]],
    [':a, :A', { a: 1, A: 2 }, [1n, 2n]],
    ['$a, :$a', { $a: 1, ':$a': 2 }, [1n, 2n]],
    [':constructor', { constructor: 1 } as unknown as WireParams, [1n]],
    [':__proto__, :a', JSON.parse('{"__proto__": 1, "a": 2}'), [1n, 2n]],
  ])('for %s gives each name its value', (list, params, row) => {
    expect(selected(list, params)).toEqual(row);
  });

  test('leaves NULL for the numbers that the statement skips', () => {
    expect(bound('?3', { 3: 'c' })).toEqual([null, null, { 3: 'c' }]);
  });

  test('that lacks a name, or has one too many, is refused by name', () => {
    expectRefused(':a, $b', { a: 1 }, 'b', /no value/);
    expectRefused(':a', { a: 1, c: 2 }, 'c', /no such parameter; it has a\./);
    expectRefused(':a', { '@a': 1 }, '@a', /no such parameter; it has a\./);
    expectRefused('?2', { 1: 1, 2: 2 }, '1', /no such parameter/);
    expectRefused('1', { a: 1 }, 'a', /no such parameter\./);
    expectRefused(':a', { toString: 1 } as unknown as WireParams, 'toString', /no such parameter/);
  });

  test('that gives a parameter twice is refused', () => {
    expectRefused(':a', { a: 1, ':a': 1 }, ':a', /twice/);
    expectRefused(':a', { a: null, ':a': 1 }, ':a', /twice/);
  });

  test('for a statement with a "?" is refused, because it has no name', () => {
    expectRefused(':a, ?', { a: 1 }, 1, /without a name.*array/);
    expectRefused('?', {}, 0, /without a name/);
  });

  test('with a value that is none is refused by name', () => {
    expectRefused(':a', { a: { $real: 'x' } as never }, 'a', /\$real/);
  });

  test('names at most twenty of the parameters that there are', () => {
    const names = Array.from({ length: 30 }, (_, at) => `:p${at}`).join(', ');
    expectRefused(names, { x: 1 }, 'x', /p19, …\.$/);
  });
});

describe('no "params"', () => {
  test('is right for a statement without parameters', () => {
    expect(bound('1')).toEqual([]);
    expect(selected('1, \':a\', "sqlite_version"()')).toHaveLength(3);
  });

  test('is refused for a statement that has some', () => {
    expectRefused('?, ?', undefined, 0, /has 2 parameters and no values were given/);
    expectRefused(':a', undefined, 'a', /has 1 parameter and/);
  });
});

describe('a statement is refused', () => {
  test('when two parameters differ only in the prefix, which better-sqlite3 cannot tell apart', () => {
    expect(db.prepare('SELECT :a, @a').raw().get({ a: 1n })).toEqual([1n, 1n]);
    expectRefused(':a, @a', [1, 2], 'a', /differ only in their prefix/);
    expectRefused('?1, ?2, :2', [1, 2, 3], '2', /differ only in their prefix/);
    expectRefused('$a, :$a, @$a', [1, 2, 3], '$a', /differ only in their prefix/);
  });

  test('when SQLite has no such number', () => {
    for (const variable of ['?0', '?32767', '?99999999999999999999']) {
      expect(() => db.prepare(`SELECT ${variable}`)).toThrow(/between \?1 and \?32766/);
      expectRefused(variable, [1], variable, /from \?1 to \?32766/);
    }
    expect(() => db.prepare('SELECT ?32766, :a')).toThrow(/too many SQL variables/);
    expectRefused('?32766, :a', [1], ':a', /from \?1 to \?32766/);
  });
});

test('a number may be huge in the text: it is looked at only when it matters', () => {
  const plan = parameterPlan(['?']);
  expect(refusal(() => bindParameters(plan, [2 ** 53], new FrameText('[9007199254740992]'))).message).toMatch(
    /\$int/,
  );
  expect(bindParameters(plan, [1e300], new FrameText('[1e300]'))).toEqual([1e300]);
});

test('numbers and names are those of SQLite, for any list of parameters', () => {
  const variable = fc.constantFrom(
    '?',
    '?',
    '?1',
    '?2',
    '?3',
    '?7',
    '?02',
    ':a',
    ':b',
    '@c',
    '$d',
    '#e',
    ':7',
    '$$a',
    '@b',
  );
  let compared = 0;
  fc.assert(
    fc.property(fc.array(variable, { minLength: 1, maxLength: 12 }), fc.boolean(), (variables, byName) => {
      const list = variables.join(', ');
      const unambiguous = ambiguous(variables) === false;
      if (!unambiguous) {
        expect(refusal(() => parameterPlan(variables)).message).toMatch(/prefix/);
        return;
      }
      const plan = parameterPlan(variables);
      const values = Array.from({ length: plan.count }, (_, at) => at + 1);
      const args = bindParameters(plan, values, new FrameText(''));
      // EXPLAIN shows the number that SQLite gave to each: https://sqlite.org/opcode.html#Variable
      const program = db
        .prepare(`EXPLAIN SELECT ${list}`)
        .raw()
        .all(...args) as unknown[][];
      const numbers = program.filter((step) => step[1] === 'Variable').map((step) => step[2]);
      expect(numbers).toHaveLength(variables.length);
      expect(selected(list, values)).toEqual(numbers);
      compared += 1;
      if (!byName || plan.anonymous !== undefined) return;
      const named = variables
        .filter((name) => name !== '?')
        .map((name) => [name, Number(numbers[variables.indexOf(name)])]);
      const once = [...new Map(named.map(([name, number]) => [number, name])).entries()];
      expect(selected(list, Object.fromEntries(once.map(([number, name]) => [name, number])))).toEqual(
        numbers,
      );
    }),
    { numRuns: 2000 },
  );
  expect(compared).toBeGreaterThan(300);
});

/** By SQLite's documentation alone: does any name without prefix belong to two numbers? */
function ambiguous(variables: readonly string[]): boolean {
  let largest = 0;
  const numbers = new Map<string, number>();
  for (const variable of variables) {
    if (variable === '?') {
      largest += 1;
      continue;
    }
    const number = /^\?\d/.test(variable)
      ? Number(variable.slice(1))
      : (numbers.get(variable) ?? largest + 1);
    numbers.set(variable, number);
    largest = Math.max(largest, number);
  }
  const bare = new Map<string, Set<number>>();
  for (const [variable, number] of numbers) {
    const name = variable.slice(1);
    bare.set(name, (bare.get(name) ?? new Set()).add(number));
  }
  return [...bare.values()].some((set) => set.size > 1);
}
