import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cells, fitEnd, fitStart, padEnd, padStart } from '../../../cli/cells.js';

test.each([
  ['', 0],
  ['stars.db', 8],
  ['星', 2],
  ['e\u0301', 1],
  ['한국', 4],
  ['🙂', 2],
])('%j takes %i cells', (text, count) => {
  expect(cells(text)).toBe(count);
});

test('what does not fit is cut, and says so', () => {
  expect(fitStart('stars.db', 8)).toBe('stars.db');
  expect(fitStart('stars.db', 5)).toBe('star…');
  expect(fitEnd('/data/stars.db', 9)).toBe('…stars.db');
  expect(fitStart('星星', 3)).toBe('星…');
  expect(fitStart('abc', 1)).toBe('…');
  expect(fitStart('abc', 0)).toBe('');
  expect(padEnd('星', 4)).toBe('星  ');
  expect(padStart('ab', 4)).toBe('  ab');
});

test('nothing is wider than it may be', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.nat(20), (text, width) => {
      expect(cells(fitStart(text, width))).toBeLessThanOrEqual(width);
      expect(cells(fitEnd(text, width))).toBeLessThanOrEqual(width);
      expect(cells(padEnd(fitStart(text, width), width))).toBe(width);
    }),
  );
});
