import { describe, expect, test } from 'vitest';
import { parseParams, parseValue } from '../../../cli/params.js';
import { ProtocolError } from '../../../protocol/errors.js';
import { encodeValue } from '../../../protocol/values.js';

/** What goes over the wire for what was typed. */
const wire = (text: string) => encodeValue(parseValue(text));

describe('one value', () => {
  test.each<[string, unknown]>([
    ['12', 12],
    ['-5', -5],
    [' 7 ', 7],
    ['-0', 0],
    ['9007199254740991', 9007199254740991],
    ['9007199254740993', { $int: '9007199254740993' }],
    ['-9223372036854775808', { $int: '-9223372036854775808' }],
    ['1.5', { $real: 1.5 }],
    ['2.0', { $real: 2 }],
    ['1e3', { $real: 1000 }],
    ['-0.0', { $real: '-0' }],
    ['null', null],
    ['true', true],
    ['false', false],
    ['"12"', '12'],
    ['"a\\tb"', 'a\tb'],
    ['{"$blob":"AP8="}', { $blob: 'AP8=' }],
    ['{"$blob":""}', { $blob: '' }],
    ['{"$int":"9223372036854775807"}', { $int: '9223372036854775807' }],
    ['{"$int":"5"}', 5],
    ['{"$real":1}', { $real: 1 }],
    ['{"$real":"-Infinity"}', { $real: '-Infinity' }],
  ])('%s as JSON', (text, expected) => {
    expect(wire(text)).toEqual(expected);
  });

  test.each([
    '',
    'Sirius',
    '007',
    '+5',
    '1_000',
    '0x10',
    '.5',
    '5.',
    'NaN',
    'Infinity',
    'Null',
    'TRUE',
    "'a'",
    '{',
    '[1,2]',
    '{"a":1}',
    '{"a":{"$b":1}}',
    '-',
    '星',
  ])('%j as text', (text) => {
    expect(wire(text)).toBe(text);
  });

  test.each<[string, RegExp]>([
    ['9223372036854775808', /64 bits/],
    ['-9223372036854775809', /64 bits/],
    ['1e400', /too large for a REAL/],
    ['{"$int":"x"}', /\$int/],
    ['{"$int":5}', /\$int/],
    ['{"$blob":"%"}', /base64/],
    ['{"$blbo":"AP8="}', /no SQL value.*JSON string/],
    ['{"$blob":"AP8=","a":1}', /no SQL value/],
    [`{"$real":"${'9'.repeat(100)}"}`, /…': "\$real"/],
  ])('%s is refused', (text, message) => {
    expect(() => parseValue(text)).toThrow(ProtocolError);
    expect(() => parseValue(text)).toThrow(message);
  });
});

describe('all of them', () => {
  test('by position', () => {
    expect(parseParams(['1', 'a', 'null'])).toEqual([1n, 'a', null]);
    expect(parseParams([])).toEqual([]);
  });

  test('by name', () => {
    expect(parseParams([':a=1', ':größe=x=y', ':__proto__=2', ':n=', ':m=a\nb'])).toEqual(
      Object.fromEntries([
        ['a', 1n],
        ['größe', 'x=y'],
        ['__proto__', 2n],
        ['n', ''],
        ['m', 'a\nb'],
      ]),
    );
  });

  test.each([':', ':=a', ':a b=c', ': a=1', ':12:30', 'a=b', '":a=b"'])('%j is no name', (text) => {
    expect(parseParams([text])).toEqual([text === '":a=b"' ? ':a=b' : text]);
  });

  test.each<[string[], RegExp]>([
    [[':a=1', '2'], /'2'.*this one has none/],
    [['2', ':a=1'], /'2'.*this one has none/],
    [[':a=1', ':a=2'], /:a is given twice/],
    [[':a={"$int":1}'], /\$int/],
  ])('%j is refused', (args, message) => {
    expect(() => parseParams(args)).toThrow(message);
  });
});
