import { expect, describe as group, test } from 'vitest';
import {
  asArray,
  asBoolean,
  asInteger,
  asObject,
  asString,
  describe,
  field,
  oneOf,
  optional,
  unexpected,
} from '../../../protocol/fields.js';
import { parseObject } from '../../../protocol/frame.js';
import { refusal, WRONG } from './helpers.js';

group('field', () => {
  test('gives own fields only', () => {
    const object = parseObject('{"a":1,"b":null,"__proto__":{"c":3}}');
    expect([field(object, 'a'), field(object, 'b')]).toEqual([1, null]);
    for (const name of ['c', 'toString', 'constructor', 'hasOwnProperty'])
      expect(field(object, name)).toBeUndefined();
    expect(field(object, '__proto__')).toEqual({ c: 3 });
  });

  test('reads objects without a prototype and objects that shadow hasOwnProperty', () => {
    expect(field(Object.assign(Object.create(null), { a: 1 }), 'a')).toBe(1);
    expect(field(parseObject('{"hasOwnProperty":1,"a":2}'), 'a')).toBe(2);
  });
});

group('describe', () => {
  test.each<[unknown, string]>([
    [undefined, 'nothing'],
    [null, 'null'],
    [[1, 2], 'an array'],
    [{ a: 1 }, 'an object'],
    ['a"b', '"a\\"b"'],
    [-1.5, '-1.5'],
    [true, 'true'],
  ])('says of %j: %s', (value, text) => {
    expect(describe(value)).toBe(text);
  });

  test('cuts a long value', () => {
    expect(describe('x'.repeat(38))).toBe(`"${'x'.repeat(38)}"`);
    for (const length of [39, 1_000_000]) expect(describe('x'.repeat(length))).toBe(`"${'x'.repeat(39)}…`);
  });
});

group('unexpected', () => {
  test('names the field, what was expected and what came', () => {
    const error = unexpected('pid', 'a number', 'x');
    expect(error).toMatchObject({ code: 'INVALID_REQUEST', message: '"pid" must be a number, but is "x".' });
  });
});

group('the readers', () => {
  test.each<[string, (value: unknown, where: string) => unknown, readonly unknown[], readonly unknown[]]>([
    ['asString', asString, ['', 'a'], WRONG.string],
    ['asBoolean', asBoolean, [true, false], WRONG.boolean],
    ['asInteger', asInteger, [0, 1, 2 ** 53 - 1], [...WRONG.integer, Number.NaN, Number.POSITIVE_INFINITY]],
    ['asArray', asArray, [[], [1]], [...WRONG.array, { length: 0 }]],
    ['asObject', asObject, [{}, { a: 1 }], WRONG.object],
    ['oneOf', oneOf(['a', 'b']), ['a', 'b'], [...WRONG.string, 'c', 'A', '', 'a ']],
  ])('%s gives back what fits and names the field otherwise', (_, read, good, bad) => {
    for (const value of good) expect(read(value, 'place')).toBe(value);
    for (const value of bad)
      expect(refusal(() => read(value, 'place')).message).toMatch(/^"place" must be .*, but is .*\.$/);
  });

  test('asInteger takes another lower bound', () => {
    expect(asInteger(-3, 'n', -3)).toBe(-3);
    expect(refusal(() => asInteger(-4, 'n', -3)).message).toBe(
      '"n" must be a whole number from -3, but is -4.',
    );
  });

  test('oneOf lists the words', () => {
    expect(refusal(() => oneOf(['a', 'b'])('c', 'n')).message).toBe('"n" must be "a" or "b", but is "c".');
  });
});

group('optional', () => {
  test('gives the field alone, or nothing when it is absent', () => {
    expect(optional({ a: 'x', b: 1 }, 'a', asString)).toEqual({ a: 'x' });
    expect(Object.keys(optional({ b: 1 }, 'a' as string, asString))).toEqual([]);
    expect(Object.keys(optional(parseObject('{"__proto__":{"a":7}}'), 'a' as string, asString))).toEqual([]);
  });

  test('takes null for a value, not for absence', () => {
    expect(refusal(() => optional({ a: null }, 'a', asString)).message).toContain('"a"');
  });
});
