import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Output } from '../../../../cli/output.js';
import { type Mode, RowPrinter } from '../../../../cli/shell/printer.js';
import type { SqlOutput } from '../../../../protocol/values.js';
import { FakeStream } from '../fake-stream.js';

async function printed(mode: Mode, columns: readonly string[], pieces: readonly (readonly SqlOutput[][])[]) {
  const stream = new FakeStream();
  const printer = new RowPrinter(new Output(stream, {}), mode);
  for (const rows of pieces) await printer.piece({ columns, rows });
  await printer.end();
  return stream.text;
}

test('several pieces are one result', async () => {
  const pieces = [[[1, 'a']], [[2, null]]];
  expect(await printed('tabs', ['n', 't'], pieces)).toBe('n\tt\n1\ta\n2\t\\N\n');
  expect(await printed('csv', ['n', 't'], pieces)).toBe('n,t\n1,a\n2,\n');
  expect(await printed('json', ['n', 't'], pieces)).toBe('[{"n":1,"t":"a"},\n{"n":2,"t":null}]\n');
  expect(await printed('line', ['n', 'tt'], pieces)).toBe(' n = 1\ntt = a\n\n n = 2\ntt = NULL\n');
});

test('nothing is shown as nothing', async () => {
  for (const [mode, text] of [
    ['tabs', 'n\n'],
    ['csv', 'n\n'],
    ['json', '[]\n'],
    ['line', ''],
  ] as const)
    expect(await printed(mode, ['n'], [[]]), mode).toBe(text);
  expect(await printed('table', ['n'], [[]])).toContain('│ n │');
});

describe('csv', () => {
  test('tells NULL from an empty text, and quotes what needs it', async () => {
    expect(
      await printed(
        'csv',
        ['a"b', 'c'],
        [
          [
            [null, ''],
            ['x,y', 'l1\nl2'],
            [new Uint8Array([0, 255]), 9007199254740993n],
          ],
        ],
      ),
    ).toBe('"a""b",c\n,""\n"x,y","l1\nl2"\nx\'00ff\',9007199254740993\n');
  });

  test('is read back as it was', async () => {
    const row = fc.array(fc.string({ unit: 'binary' }), { minLength: 2, maxLength: 2 });
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 10 }), async (rows) => {
        const text = await printed('csv', ['a', 'b'], [rows]);
        expect(parse(text, { relax_column_count: false })).toEqual([['a', 'b'], ...rows]);
      }),
    );
  });
});

test('json keeps 64-bit integers and blobs, as the protocol writes them', async () => {
  const text = await printed('json', ['i', 'b'], [[[2n ** 63n - 1n, new Uint8Array([0, 255])]]]);
  expect(JSON.parse(text)).toEqual([{ i: { $int: '9223372036854775807' }, b: { $blob: 'AP8=' } }]);
});

test('nothing in a value reaches a terminal', async () => {
  expect(await printed('line', ['a\x1b'], [[['\x1b[2J']]])).toBe('a\\x1b = \\x1b[2J\n');
  expect(await printed('table', ['a\x1b'], [[['\x1b[2J']]])).not.toContain('\x1b');
});
