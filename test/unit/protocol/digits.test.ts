import fc from 'fast-check';
import { expect, test } from 'vitest';
import { digits } from '../../../protocol/digits.js';

test('a whole number is written as it is by itself', () => {
  fc.assert(fc.property(fc.maxSafeInteger(), (n) => digits(n) === String(n)));
  fc.assert(fc.property(fc.integer({ min: -2000, max: 2_000_000 }), (n) => digits(n) === String(n)));
});

test.each([
  0,
  7,
  999,
  1000,
  1001,
  999_999,
  1_000_000,
  1_000_001,
  4_294_967_296,
  Number.MAX_SAFE_INTEGER,
  -1,
  -1000,
  Number.MIN_SAFE_INTEGER,
])('%i', (n) => {
  expect(digits(n)).toBe(String(n));
});

test('there is no other zero', () => {
  expect(digits(-0)).toBe('0');
});
