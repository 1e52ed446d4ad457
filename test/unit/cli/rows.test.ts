import { describe, expect, test } from 'vitest';
import { Output } from '../../../cli/output.js';
import { forTable, type RowSet, rowsJson, tabSeparated, writeRows } from '../../../cli/rows.js';
import type { SqlOutput } from '../../../protocol/values.js';
import { FakeStream } from './fake-stream.js';

const EVERYTHING: RowSet = {
  columns: ['v'],
  rows: [
    [null],
    [1],
    [-0],
    [1.5],
    [2n ** 62n],
    ['a\tb\n\\N\r'],
    [new Uint8Array([0, 255])],
    [Number.POSITIVE_INFINITY],
    [''],
  ],
};

async function written(set: RowSet, isTTY: boolean, env = {}): Promise<string> {
  const stream = new FakeStream(isTTY);
  await writeRows(new Output(stream, env), set);
  return stream.text;
}

test('tab-separated: a line is a row, and nothing is ambiguous', async () => {
  expect([...tabSeparated(EVERYTHING)].join('')).toBe(
    [
      'v',
      '\\N',
      '1',
      '0',
      '1.5',
      '4611686018427387904',
      'a\\tb\\n\\\\N\\r',
      "x'00ff'",
      'Infinity',
      '',
      '',
    ].join('\n'),
  );
  expect(await written({ columns: ['a', 'b\tc'], rows: [] }, false)).toBe('a\tb\\tc\n');
  expect(await written({ columns: ['a', 'a'], rows: [[1, null]] }, false)).toBe('a\ta\n1\t\\N\n');
});

test('JSON: the values of the protocol', () => {
  const text = `{${[...rowsJson(EVERYTHING)].join('')}}`;
  expect(JSON.parse(text)).toEqual({
    columns: ['v'],
    rows: [
      [null],
      [1],
      [-0],
      [1.5],
      [{ $int: '4611686018427387904' }],
      ['a\tb\n\\N\r'],
      [{ $blob: 'AP8=' }],
      [{ $real: 'Infinity' }],
      [''],
    ],
  });
  expect(text).toContain('[-0.0]');
  expect([...rowsJson({ columns: [], rows: [] })].join('')).toBe('"columns":[],"rows":[]');
});

test.each<[SqlOutput, string]>([
  [null, 'NULL'],
  ['NULL', "'NULL'"],
  ["x'00'", "'x''00'''"],
  ['NULLs', 'NULLs'],
  ['', ''],
  [12n, '12'],
  [0.1, '0.1'],
  ['\x1b[31m', '\\x1b[31m'],
  [new Uint8Array(0), "x''"],
  [new Uint8Array(16).fill(1), `x'${'01'.repeat(16)}'`],
  [new Uint8Array(17).fill(1), `x'${'01'.repeat(16)}…' (17 bytes)`],
])('a table shows %s as %s', (value, shown) => {
  expect(forTable(value)).toBe(shown);
});

describe('a table', () => {
  test('numbers to the right, wide letters counted as wide', async () => {
    const set: RowSet = {
      columns: ['n', '名'],
      rows: [
        [1, '星'],
        [1000, 'abc'],
        ['5', null],
      ],
    };
    expect(await written(set, true, { NO_COLOR: '1' })).toBe(
      [
        '┌──────┬──────┐',
        '│ n    │ 名   │',
        '├──────┼──────┤',
        '│    1 │ 星   │',
        '│ 1000 │ abc  │',
        '│ 5    │ NULL │',
        '└──────┴──────┘',
        '',
      ].join('\n'),
    );
  });

  test('without rows it has its header', async () => {
    expect(await written({ columns: ['a'], rows: [] }, true, { NO_COLOR: '1' })).toMatch(/│ a │/);
  });

  test('NULL is dim, the header bold', async () => {
    const text = await written({ columns: ['a'], rows: [[null]] }, true);
    expect(text).toContain('\x1b[1ma\x1b[22m');
    expect(text).toContain('\x1b[2mNULL\x1b[22m');
  });

  test('long results come in several, with every row', async () => {
    const rows = Array.from({ length: 401 }, (_, at) => [at]);
    const text = await written({ columns: ['n'], rows }, true, { NO_COLOR: '1' });
    expect(text.match(/│ +n +│/g)).toHaveLength(3);
    expect(text.match(/│ +\d+ │/g)).toHaveLength(401);
  });
});
