import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseLine, valueSources } from '../../../cli/import-ndjson.js';

describe('a line of NDJSON', () => {
  test('gives the text of each value as JSON.parse understands it', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()),
        fc.constantFrom(undefined, 1, '\t'),
        (object, space) => {
          const line = JSON.stringify(object, null, space);
          const parsed = JSON.parse(line) as { [key: string]: unknown };
          const sources = valueSources(line);
          expect([...sources.keys()].sort()).toEqual(Object.keys(parsed).sort());
          for (const [key, source] of sources) expect(JSON.parse(source)).toEqual(parsed[key]);
        },
      ),
    );
  });

  test.each<[string, unknown]>([
    ['12', 12],
    ['9007199254740993', 9007199254740993n],
    ['-9223372036854775808', -(2n ** 63n)],
    ['1.0', { $real: 1 }],
    ['1e3', { $real: 1000 }],
    ['0.5', 0.5],
    ['-0', 0n],
    ['true', true],
    ['null', null],
    ['"12"', '12'],
    ['{"$blob":"AP8="}', Uint8Array.of(0, 255)],
    ['{"$int":"9223372036854775807"}', 2n ** 63n - 1n],
    ['{"a": [1, 9223372036854775807]}', '{"a": [1, 9223372036854775807]}'],
    ['[]', '[]'],
    ['["}", "\\""]', '["}", "\\""]'],
  ])('%s is stored exactly', (json, value) => {
    expect(parseLine(`{"before": "x", "a": ${json}, "behind": {"a": 1}}`).get('a')).toEqual(value);
  });

  test('the last of equal keys counts', () => {
    expect([...parseLine('{"a":1,"a":9223372036854775807}')]).toEqual([['a', 9223372036854775807n]]);
  });

  test.each([
    ['[1]', /must be a JSON object/],
    ['7', /must be a JSON object/],
    ['{"a":1', /JSON/],
    ['{"a":9223372036854775808}', /^"a" '9223372036854775808': it does not fit into 64 bits/],
    ['{"a":1e999}', /too large for a REAL/],
    ['{"a":{"$int":"x"}}', /\$int/],
  ])('%s is refused', (line, message) => {
    expect(() => parseLine(line)).toThrow(message);
  });
});
