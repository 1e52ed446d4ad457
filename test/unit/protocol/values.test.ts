import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cellToJson, encodeValue, real, type SqlBind, type SqlInput } from '../../../protocol/values.js';
import { anyUnits, wellFormed } from './arbitraries.js';
import { bindAll, bindJson, bits, readJson, refusal } from './helpers.js';

const MIN64 = -(2n ** 63n);
const MAX64 = 2n ** 63n - 1n;
const MAX_SAFE = Number.MAX_SAFE_INTEGER;

const integerEdges = [
  0n,
  1n,
  2n ** 31n,
  2n ** 32n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 53n + 1n,
  MAX64,
  2n ** 63n - 1024n,
]
  .flatMap((edge) => [edge, -edge])
  .concat(MIN64, MIN64 + 1n);
const realEdges = [
  0,
  1,
  0.1,
  1.5,
  5e-324,
  2.225073858507201e-308,
  2.2250738585072014e-308,
  Number.MAX_VALUE,
  1e300,
  1e21,
  1e20,
  1e-7,
  123456789012345680000,
  MAX_SAFE,
  2 ** 53,
  2 ** 63,
  Number.POSITIVE_INFINITY,
].flatMap((edge) => [edge, -edge]);
const textEdges = [
  '',
  '\0',
  'a\0b',
  '\uffff',
  '\ufffe',
  '\ufeff',
  '𝄞',
  '\u{10ffff}',
  '"\\\n\u2028',
  '__proto__',
  '{"$int":"1"}',
];
const blobEdges = [
  new Uint8Array(0),
  new Uint8Array([0]),
  new Uint8Array([255, 254]),
  new Uint8Array(256).map((_, i) => i),
];

const integers = fc.oneof(fc.bigInt({ min: MIN64, max: MAX64 }), fc.constantFrom(...integerEdges));
const reals = fc.oneof(
  fc.double({ noNaN: true }),
  fc.double({ noNaN: true, noInteger: true }),
  fc.maxSafeInteger(),
  fc.constantFrom(...realEdges),
);
const texts = fc.oneof(wellFormed, fc.constantFrom(...textEdges));
const blobs = fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.constantFrom(...blobEdges));

function boundAs(value: SqlInput): unknown {
  if (typeof value === 'boolean') return bits(value ? 1n : 0n);
  if (typeof value === 'number' && Number.isSafeInteger(value) && !Object.is(value, -0))
    return bits(BigInt(value));
  return bits(value as SqlBind);
}

describe('parameters, from the client to the binding', () => {
  test.each<[string, fc.Arbitrary<SqlInput>]>([
    ['64-bit integers', integers],
    ['numbers', reals],
    ['texts', texts],
    ['blobs', blobs],
    ['booleans and null', fc.constantFrom(true, false, null)],
  ])('%s keep their storage class and every bit', (_, arbitrary) => {
    fc.assert(
      fc.property(arbitrary, (value) => {
        expect(bindAll([value]).map(bits)).toEqual([boundAs(value)]);
      }),
      { numRuns: 300 },
    );
  });

  test('values of one frame do not disturb each other', () => {
    const any = fc.oneof(integers, reals, texts, blobs, fc.boolean(), fc.constant(null));
    fc.assert(
      fc.property(fc.array(any), (values) => {
        expect(bindAll(values).map(bits)).toEqual(values.map(boundAs));
      }),
    );
  });

  test.each(integerEdges)('the integer %s is bound as it is', (value) => {
    expect(bindAll([value])).toEqual([value]);
  });

  test.each(realEdges)('the number %s keeps its bits when forced to be REAL', (value) => {
    expect(bits(bindJson(JSON.stringify(real(value))))).toEqual(bits(value));
  });

  test('a whole number beyond 2^53 from a program is REAL, a bigint INTEGER', () => {
    expect(bindAll([2 ** 53, 2n ** 53n])).toEqual([2 ** 53, 2n ** 53n]);
  });

  test('a view on a larger buffer gives its own bytes only', () => {
    const view = new Uint8Array(new Uint8Array([1, 2, 3, 4, 5]).buffer, 1, 3);
    expect(bindAll([view])).toEqual([Buffer.from([2, 3, 4])]);
  });

  test('a blob of megabytes arrives whole', () => {
    const blob = Buffer.alloc(9 * 1024 * 1024 + 1, 'skyline');
    const [bound] = bindAll([blob]);
    expect(Buffer.isBuffer(bound) && bound.equals(blob)).toBe(true);
  });

  test('texts with lone surrogates are refused on both sides, all others accepted', () => {
    fc.assert(
      fc.property(anyUnits, (text) => {
        const json = JSON.stringify(text);
        if (text.isWellFormed()) expect(bindAll([text])).toEqual([text]);
        else for (const run of [() => encodeValue(text), () => bindJson(json)]) refusal(run);
      }),
    );
    for (const text of ['\ud800', 'a\udfff', '\udc00\ud800']) {
      expect(refusal(() => encodeValue(text)).message).toContain('lone surrogate');
      expect(refusal(() => bindJson(JSON.stringify(text))).message).toContain('lone surrogate');
    }
  });

  test('the client refuses NaN, which SQLite would store as NULL', () => {
    expect(refusal(() => encodeValue(Number.NaN)).message).toContain('NaN');
    expect(refusal(() => real(Number.NaN)).message).toContain('NaN');
  });

  test.each([MAX64 + 1n, MIN64 - 1n, 2n ** 64n, -(10n ** 30n)])(
    'the client refuses %s, over 64 bits',
    (value) => {
      expect(refusal(() => encodeValue(value)).message).toContain('64 bits');
    },
  );

  test.each([undefined, () => 1, Symbol('s'), new Date(0), [1], {}, { $int: '1' }, new ArrayBuffer(2)])(
    'the client refuses what is no SQL value (%#)',
    (value) => {
      refusal(() => encodeValue(value as SqlInput));
    },
  );
});

describe('cells, from the worker to the application', () => {
  const cells = fc.oneof(
    integers,
    reals,
    texts,
    blobs.map((blob) => Buffer.from(blob)),
    fc.constant(null),
  );

  test('every value arrives with every bit, bigint only beyond 2^53', () => {
    fc.assert(
      fc.property(cells, (cell) => {
        const expected = typeof cell === 'bigint' && Number.isSafeInteger(Number(cell)) ? Number(cell) : cell;
        expect(bits(readJson(cellToJson(cell)))).toEqual(bits(expected));
      }),
      { numRuns: 500 },
    );
  });

  test('the JSON of a REAL is never that of an INTEGER', () => {
    fc.assert(fc.property(reals, (value) => /[.e]|^\{"\$real":"-?Infinity"\}$/.test(cellToJson(value))));
    fc.assert(fc.property(integers, (value) => /^-?\d+$|^\{"\$int":"-?\d+"\}$/.test(cellToJson(value))));
  });

  test.each<[SqlBind, string]>([
    [2, '2.0'],
    [-0, '-0.0'],
    [1e21, '1e+21'],
    [2n, '2'],
    [2n ** 53n - 1n, '9007199254740991'],
    [2n ** 53n, '{"$int":"9007199254740992"}'],
    [-(2n ** 53n), '{"$int":"-9007199254740992"}'],
    [Number.POSITIVE_INFINITY, '{"$real":"Infinity"}'],
    [Buffer.from([0xfb, 0xff]), '{"$blob":"+/8="}'],
  ])('%s is written as %s', (cell, json) => {
    expect(cellToJson(cell)).toBe(json);
  });

  test('an application gets bytes of its own, not a window on a shared pool', () => {
    const bytes = readJson('{"$blob":"AQID"}') as Uint8Array;
    expect(bytes).toEqual(new Uint8Array([1, 2, 3]));
    expect(Buffer.isBuffer(bytes)).toBe(false);
    expect(bytes.buffer.byteLength).toBe(3);
  });

  test.each(['true', '[]', '[1]', '{}', '{"$blob":"*"}', '{"$int":1}', '{"__proto__":{"$int":"1"}}'])(
    'a daemon that sends %s in a row is refused',
    (json) => {
      refusal(() => readJson(json));
    },
  );
});
