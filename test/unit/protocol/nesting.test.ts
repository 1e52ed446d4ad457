import { expect, test } from 'vitest';
import { readBatchEnvelope } from '../../../protocol/envelope.js';
import { ProtocolError } from '../../../protocol/errors.js';
import { decodeText, parseObject } from '../../../protocol/frame.js';

const PADDING = 'x'.repeat(70_000);

test('a large frame that nests deep is refused before it is parsed', () => {
  const deep = Buffer.from(`{"a":"${PADDING}","b":${'['.repeat(65)}${']'.repeat(65)}}`);
  expect(() => decodeText(deep)).toThrow(ProtocolError);
  const brackets = Buffer.alloc(16 * 1024 * 1024, '[');
  expect(() => decodeText(brackets)).toThrow(/nests more than 64 levels/);
});

test('brackets inside of strings do not count, however they are quoted', () => {
  const text = JSON.stringify({
    a: PADDING,
    b: '['.repeat(1000),
    c: '\\',
    d: '\\"[[[',
    e: `${'{'.repeat(100)}\\`,
    f: [[[1]]],
  });
  expect(parseObject(decodeText(Buffer.from(text)))).toEqual(JSON.parse(text));
});

test('many rows side by side are not deep', () => {
  const rows = Array.from({ length: 50_000 }, (_, n) => [n, 'a']);
  const text = JSON.stringify({ stmts: [{ sql: 'INSERT', param_sets: rows }] });
  expect(decodeText(Buffer.from(text))).toBe(text);
});

test('a string without an end is left to the parser', () => {
  expect(() => parseObject(decodeText(Buffer.from(`{"a":"${PADDING}\\"`)))).toThrow(/not JSON/);
});

// What it has passed is parsed without another look.
test.each([
  ['[', ']'],
  ['{"a":', '}'],
])('an envelope is read of what nests no deeper than a frame may, and of nothing else: %s', (open, close) => {
  for (let levels = 1; levels <= 70; levels += 1) {
    const deep = `${open.repeat(levels)}${open === '[' ? '' : '1'}${close.repeat(levels)}`;
    for (const members of [`"stmts":${deep},"x":"${PADDING}"`, `"x":"${PADDING}","y":[1,${deep}]`]) {
      const payload = Buffer.from(`{"type":"ExecBatch",${members}}`);
      let refused = false;
      try {
        decodeText(payload);
      } catch {
        refused = true;
      }
      expect([levels, readBatchEnvelope(payload) === null]).toEqual([levels, refused]);
    }
  }
});
