import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeParam, FrameText, hasUnsafeInteger, type SqlBind } from '../../../protocol/values.js';
import { anyUnits } from './arbitraries.js';
import { bindJson, bits, refusal } from './helpers.js';

const MIN64 = -(2n ** 63n);
const MAX64 = 2n ** 63n - 1n;

describe('parameters in foreign JSON', () => {
  test.each<[string, SqlBind]>([
    ['0', 0n],
    ['-7', -7n],
    ['9007199254740991', 2n ** 53n - 1n],
    ['-9007199254740991', 1n - 2n ** 53n],
    ['2.0', 2n],
    ['0.5', 0.5],
    ['1e300', 1e300],
    ['-1E+300', -1e300],
    ['9007199254740993.0', 9007199254740992],
    ['{"$int":"9223372036854775807"}', MAX64],
    ['{"$int":"-9223372036854775808"}', MIN64],
    ['{"$int":"5"}', 5n],
    ['{"$real":1}', 1],
    ['{"$real":9007199254740992}', 2 ** 53],
    ['{"$real":"Infinity"}', Number.POSITIVE_INFINITY],
    ['{"$real":"-Infinity"}', Number.NEGATIVE_INFINITY],
    ['{"$real":"-0"}', -0],
    ['{"$blob":""}', Buffer.alloc(0)],
    ['{"$blob":"+/8="}', Buffer.from([0xfb, 0xff])],
    ['{"$int":"7","$int":"8"}', 8n],
    ['{"$real":1,"$real":2}', 2],
    ['true', 1n],
    ['false', 0n],
    ['null', null],
  ])('%s is bound exactly', (json, bound) => {
    expect(bits(bindJson(json))).toEqual(bits(bound));
  });

  test.each([
    '9007199254740993',
    '9007199254740992',
    '-9223372036854775809',
    '123456789012345678901234567890',
  ])('digits beyond 2^53 such as %s are refused with the way out', (json) => {
    expect(refusal(() => bindJson(json)).message).toContain('$int');
  });

  test('1e300 is REAL beside digits in strings and in names', () => {
    const text = '{"sql":"9007199254740993","\\"9007199254740993":"\\\\","params":[1e300]}';
    expect(decodeParam(1e300, new FrameText(text))).toBe(1e300);
  });

  test('an array is refused as an array', () => {
    for (const json of ['[]', '[1]', '[{"$int":"1"}]'])
      expect(refusal(() => bindJson(json)).message).toContain('an array');
  });

  test('numbers that JSON.parse turned into infinity are refused', () => {
    for (const json of ['1e400', '-1e400', '{"$real":1e400}', '1'.repeat(400)])
      expect(refusal(() => bindJson(json)).message).toContain('too large');
  });

  test.each(['9223372036854775808', '-9223372036854775809', '99999999999999999999'])(
    '$int of %s is refused',
    (digits) => {
      expect(refusal(() => bindJson(`{"$int":"${digits}"}`)).message).toContain('64 bits');
    },
  );

  test.each([
    '5',
    'null',
    '""',
    '"1.0"',
    '"1e3"',
    '"0x10"',
    '" 1"',
    '"1\\n"',
    '"+1"',
    '"--1"',
    '"१"',
    `"${'1'.repeat(10_000)}"`,
  ])('$int of %s is refused', (json) => {
    expect(refusal(() => bindJson(`{"$int":${json}}`)).message).toContain('"$int"');
  });

  test.each(['"1"', '"NaN"', '"+Infinity"', '"infinity"', '""', 'null', 'true', '[1]', '{}'])(
    '$real of %s is refused',
    (json) => {
      expect(refusal(() => bindJson(`{"$real":${json}}`)).message).toContain('"$real"');
    },
  );

  test.each([
    '"A"',
    '"AA"',
    '"AAA"',
    '"A==="',
    '"===="',
    '"AA=A"',
    '"A A="',
    '"AAAA\\n"',
    '"AA-_"',
    '"AA*="',
    '"éAA="',
    '7',
    'null',
    '[65]',
  ])('$blob of %s is refused', (json) => {
    expect(refusal(() => bindJson(`{"$blob":${json}}`)).message).toContain('"$blob"');
  });

  test('a large blob with one bad character is refused', () => {
    const good = 'A'.repeat(4 * 1024 * 1024);
    for (const at of [0, good.length / 2, good.length - 1])
      refusal(() => bindJson(`{"$blob":"${good.slice(0, at)}*${good.slice(at + 1)}"}`));
  });

  test.each([
    '{}',
    '[]',
    '[1]',
    '{"a":1}',
    '{"$int":"1","x":1}',
    '{"$int":"1","$real":1}',
    '{"$INT":"1"}',
    '{"$text":"a"}',
    '{"__proto__":null}',
    '{"__proto__":{"$int":"1"}}',
    '{"$int":"1","__proto__":1}',
    '{"toString":1}',
    '{"length":0}',
  ])('%s is no SQL value', (json) => {
    refusal(() => bindJson(json));
  });
});

describe('hasUnsafeInteger', () => {
  const digits = fc.oneof(
    fc.constantFrom('0', '9007199254740991', '9007199254740992', '9007199254740993', '9999999999999999'),
    fc.bigInt({ min: 2n ** 53n - 20n, max: 2n ** 53n + 20n }).map(String),
    fc.bigInt({ min: 1n, max: 10n ** 25n }).map(String),
    fc.nat().map(String),
  );
  const number = fc
    .tuple(
      fc.constantFrom('', '-'),
      digits,
      fc.constantFrom('', '', '.5', '.9007199254740993'),
      fc.constantFrom('', '', 'e2', 'E+5', 'e-9', 'e9007199254740993', 'e-9007199254740993'),
    )
    .map((parts) => parts.join(''));
  const string = fc
    .oneof(number, anyUnits, fc.constantFrom('\\', '"', '\\"9007199254740993', '"9007199254740993'))
    .map((text) => JSON.stringify(text));
  const { json } = fc.letrec<{ json: string }>((tie) => ({
    json: fc.oneof(
      { maxDepth: 3 },
      number,
      string,
      fc.constantFrom('true', 'null', '[]'),
      fc.array(tie('json'), { maxLength: 4 }).map((items) => `[${items.join(' ,')}]`),
      fc
        .array(fc.tuple(string, tie('json')), { maxLength: 4 })
        .map((all) => `{${all.map(([key, value]) => `${key}: ${value}`).join(',')}}`),
    ),
  }));

  const texts = fc.array(json, { minLength: 1, maxLength: 8 }).map((items) => `[${items.join(',')}]`);

  /** With the whole grammar and exact arithmetic, for texts that are JSON. */
  function oracle(text: string): boolean {
    const outside = text.replace(/"(?:[^"\\]|\\.)*"/gs, '""');
    return [...outside.matchAll(/(\d+)(\.\d+)?(e[+-]?\d+)?/gi)].some(
      ([, whole = '', fraction, exponent]) =>
        fraction === undefined && exponent === undefined && BigInt(whole) > 2n ** 53n - 1n,
    );
  }

  test('agrees with a slow and exact reading of any JSON', () => {
    const seen = { true: 0, false: 0 };
    fc.assert(
      fc.property(texts, (text) => {
        JSON.parse(text);
        seen[`${oracle(text)}`] += 1;
        expect(hasUnsafeInteger(text)).toBe(oracle(text));
      }),
      { numRuns: 1000 },
    );
    expect(Math.min(seen.true, seen.false)).toBeGreaterThan(50);
  });
});
