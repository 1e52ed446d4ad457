import { expect, test } from 'vitest';
import { bytes, count, micros, span } from '../../../cli/format.js';

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KB'],
  [1_572_864, '1.5 MB'],
  [2 ** 50, '1024.0 TB'],
])('%d bytes', (size, text) => {
  expect(bytes(size)).toBe(text);
});

test.each([
  [0, '0 s'],
  [999, '0 s'],
  [59_999, '59 s'],
  [60_000, '1 min'],
  [192_000, '3 min 12 s'],
  [3_600_000, '1 h'],
  [3_605_000, '1 h'],
  [90_061_000, '1 d 1 h'],
])('%d ms', (ms, text) => {
  expect(span(ms)).toBe(text);
});

test.each([
  [0, '0 µs'],
  [999, '999 µs'],
  [1_250, '1.3 ms'],
  [3_000_000, '3.0 s'],
])('%d µs', (us, text) => {
  expect(micros(us)).toBe(text);
});

test('one and many', () => {
  expect([0, 1, 2].map((value) => count(value, 'row'))).toEqual(['0 rows', '1 row', '2 rows']);
});
