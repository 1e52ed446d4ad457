import { writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CliPlayground, HAS_TERMINAL, inTerminal, runJson } from './cli-harness.js';

let ground: CliPlayground;
beforeEach(async () => {
  ground = new CliPlayground();
  const create = 'CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, mag REAL, x)';
  expect(await ground.cli(['exec', '--db', 'x.db', create])).toMatchObject({ code: 0 });
});
afterEach(async () => {
  await ground.dispose();
});

const IMPORT = ['import', '--db', 'x.db', '--table', 't'];

function write(name: string, ...parts: readonly (string | Buffer)[]): string {
  writeFileSync(ground.file(name), Buffer.concat(parts.map((part) => Buffer.from(part))));
  return name;
}

async function rows(sql = 'SELECT * FROM t ORDER BY id'): Promise<unknown> {
  return (await runJson(ground, ['query', '--db', 'x.db', sql])).rows;
}

/** Tables of the database, beside the daemon's own. */
async function tables(): Promise<unknown> {
  return await rows(
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'",
  );
}

/** A CSV file of so many rows, larger than one batch of an import when they are many. */
function many(name: string, count: number, last = ''): string {
  const lines = Array.from({ length: count }, (_, at) => `${at},${'星'.repeat(30)} ${at},${at}.5,\n`);
  return write(name, 'id,name,mag,x\n', ...lines, last);
}

describe('csv', () => {
  test('quotes, line ends in values, unicode, a byte order mark, CRLF, an empty line', async () => {
    const text = '\ufeffname,id,x\r\n"a ""q"",\r\nz",1,5\r\nVega 星 😀,2,\r\n\r\n "x",3,"7"';
    const file = write('a.csv', text.replace(' "x"', 'x'));
    const { code, stdout, stderr } = await ground.cli([...IMPORT, file]);
    expect([code, stdout, stderr]).toEqual([0, '✓ Imported 3 rows into t of database: x.db\n', '']);
    expect(await rows()).toEqual([
      [1, 'a "q",\r\nz', null, '5'],
      [2, 'Vega 星 😀', null, ''],
      [3, 'x', null, '7'],
    ]);
  });

  test('values are text, and the columns convert them; 64 bits are exact', async () => {
    write('a.csv', 'id,name,mag,x\n9223372036854775807,12,1.5,12\n-9223372036854775808,,x,NULL\n');
    expect(await runJson(ground, [...IMPORT, '--null', 'NULL', 'a.csv'])).toEqual({
      exit: 0,
      status: 'ok',
      rows: 2,
      skipped: 0,
    });
    expect(
      await rows('SELECT id, name, typeof(name), mag, typeof(mag), x, typeof(x) FROM t ORDER BY id'),
    ).toEqual([
      [{ $int: '-9223372036854775808' }, '', 'text', 'x', 'text', null, 'null'],
      [{ $int: '9223372036854775807' }, '12', 'text', 1.5, 'real', '12', 'text'],
    ]);
  });

  test('--columns, --no-header, --delimiter, --null, --format', async () => {
    write('a.txt', '1\tVega\n2\t\n');
    const options = [
      '--format',
      'csv',
      '--no-header',
      '--columns',
      'ID, name',
      '--delimiter',
      '\\t',
      '--null',
      '',
    ];
    expect((await ground.cli([...IMPORT, ...options, 'a.txt'])).code).toBe(0);
    write('b.csv', 'number,what\n3,Deneb\n');
    expect((await ground.cli([...IMPORT, '--columns', 'id,name', 'b.csv'])).code).toBe(0);
    write('c.csv', '4;a;1;\n');
    expect((await ground.cli([...IMPORT, '--no-header', '--delimiter', ';', 'c.csv'])).code).toBe(0);
    expect(await rows()).toEqual([
      [1, 'Vega', null, null],
      [2, null, null, null],
      [3, 'Deneb', null, null],
      [4, 'a', 1, ''],
    ]);
  });

  test('names of tables and columns may be anything', async () => {
    const odd = 'a "b"; DROP TABLE t--';
    await ground.cli([
      'exec',
      '--db',
      'x.db',
      `CREATE TABLE "select ""1""" ("${odd.replaceAll('"', '""')}", "ü")`,
    ]);
    write('a.csv', `"${odd.replaceAll('"', '""')}",ü\n1,2\n`);
    const into = ['import', '--db', 'x.db', '--table', 'select "1"'];
    expect(await runJson(ground, [...into, 'a.csv'])).toMatchObject({ exit: 0, rows: 1 });
    expect(await runJson(ground, [...into, '--batch-rows', '1', 'a.csv'])).toMatchObject({
      exit: 0,
      rows: 1,
    });
    expect(await rows('SELECT * FROM "select ""1"""')).toEqual([
      ['1', '2'],
      ['1', '2'],
    ]);
  });

  test('an empty file and a header alone bring no rows', async () => {
    for (const [file, text] of [
      ['a.csv', ''],
      ['b.csv', 'id,name\n'],
      ['c.ndjson', '\n'],
    ] as const) {
      write(file, text);
      expect(await runJson(ground, [...IMPORT, file])).toMatchObject({ exit: 0, rows: 0 });
      expect(await runJson(ground, [...IMPORT, '--batch-rows', '5', file])).toMatchObject({
        exit: 0,
        rows: 0,
      });
    }
    expect(await tables()).toEqual([['t']]);
  });
});

describe('ndjson', () => {
  test('objects, whose first fixes the columns', async () => {
    const lines = [
      '\ufeff{"id":9223372036854775807,"name":"星","mag":1,"x":9007199254740993}',
      '',
      '{"id":1,"x":{"a":[1,9223372036854775807]}}\r',
      '{"x":{"$blob":"AP8="},"id":2}',
      '{"id":3,"x":2.0,"name":null}',
      '{"id":4,"x":true}',
    ];
    write('a.jsonl', lines.join('\n'));
    expect(await runJson(ground, [...IMPORT, 'a.jsonl'])).toMatchObject({ exit: 0, rows: 5 });
    expect(await rows('SELECT id, name, x, typeof(x) FROM t ORDER BY id')).toEqual([
      [1, null, '{"a":[1,9223372036854775807]}', 'text'],
      [2, null, { $blob: 'AP8=' }, 'blob'],
      [3, null, 2, 'real'],
      [4, null, 1, 'integer'],
      [{ $int: '9223372036854775807' }, '星', { $int: '9007199254740993' }, 'integer'],
    ]);
  });

  test('--columns has more than the first line', async () => {
    write('a.ndjson', '{"id":1}\n{"id":2,"name":"b"}\n');
    expect(await runJson(ground, [...IMPORT, '--columns', 'id,name', 'a.ndjson'])).toMatchObject({ rows: 2 });
    expect(await rows('SELECT id, name FROM t ORDER BY id')).toEqual([
      [1, null],
      [2, 'b'],
    ]);
  });
});

describe('what is refused', () => {
  test.each<[string, string, readonly string[], string, RegExp]>([
    ['too few values', 'a.csv', [], 'id,name\n1,a\n2\n', /a\.csv, line 3: 1 value for 2 columns/],
    ['too many values', 'a.csv', [], 'id\n1\n"2\n",3\n', /a\.csv, line 4: 2 values for 1 column/],
    ['an open quote', 'a.csv', [], 'id,name\n1,a\n2,"b\n', /a\.csv, line \d: .*[Qq]uote/],
    ['a quote inside', 'a.csv', [], 'id,name\n1,a"b\n', /a\.csv, line 2: .*[Qq]uote/],
    ['no JSON', 'a.ndjson', [], '{"id":1}\n{"id":\n', /a\.ndjson, line 2: .*JSON/],
    ['no object', 'a.ndjson', [], '{"id":1}\n\n[2]\n', /a\.ndjson, line 3: each line must be a JSON object/],
    ['a key too many', 'a.ndjson', [], '{"id":1}\n{"id":2,"zz":1}\n', /line 2: there is no column for "zz"/],
    [
      'more than 64 bits',
      'a.ndjson',
      [],
      '{"id":1}\n{"id":9223372036854775808}\n',
      /line 2: "id" .* 64 bits/,
    ],
    ['no format', 'a.txt', [], '', /--format csv or --format ndjson/],
    ['CSV options', 'a.ndjson', ['--null', 'x'], '', /are for CSV/],
    ['no rows at a time', 'a.csv', ['--batch-rows', '0'], '', /--batch-rows/],
    ['a long delimiter', 'a.csv', ['--delimiter', ';;'], '', /one character/],
  ])('%s: nothing is applied', async (_what, file, options, text, message) => {
    write(file, text);
    expect(await runJson(ground, [...IMPORT, ...options, file])).toMatchObject({
      exit: 2,
      code: 'INVALID_REQUEST',
      outcome: 'not_applied',
      message: expect.stringMatching(message),
    });
    expect(await rows()).toEqual([]);
  });

  test('bytes that are no UTF-8, a file that is not there, a folder', async () => {
    write('a.csv', 'id,name\n1,', Buffer.from([0xff]), '\n');
    for (const [file, message] of [
      ['a.csv', 'a.csv is not UTF-8'],
      ['none.csv', 'none.csv cannot be read'],
    ] as const) {
      const { code, stderr } = await ground.cli([...IMPORT, file]);
      expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
    }
    const folder = await ground.cli([...IMPORT, '--format', 'csv', '.']);
    expect([folder.code, folder.stderr]).toEqual([2, expect.stringContaining('cannot be read')]);
    expect(await rows()).toEqual([]);
  });

  test('a table or a column that is not there, and a row that breaks a constraint', async () => {
    write('a.csv', 'id,name\n1,a\n2,b\n1,c\n');
    for (const [args, message] of [
      [['import', '--db', 'x.db', '--table', 'u', 'a.csv'], /no table "u"\. Create it first/],
      [['import', '--db', 'none.db', '--table', 't', 'a.csv'], /no table "t"/],
      [[...IMPORT, '--columns', 'id,nome', 'a.csv'], /no column "nome"\. It has id, name, mag, x/],
      [[...IMPORT, '--columns', 'id,ID', 'a.csv'], /"ID" is named twice/],
      [[...IMPORT, 'a.csv'], /UNIQUE constraint failed.*It is row 3 of the file\. Nothing was imported/],
    ] as const)
      expect(await runJson(ground, args)).toMatchObject({
        exit: 1,
        code: 'SQL_ERROR',
        outcome: 'not_applied',
        message: expect.stringMatching(message),
      });
    expect(await rows()).toEqual([]);
    expect((await runJson(ground, ['ping', '--db', 'none.db'])).exists).toBe(false);
  });
});

describe('much', () => {
  test('a file of many batches is imported whole, in order, and leaves nothing behind', async () => {
    many('a.csv', 60_000);
    expect(await runJson(ground, [...IMPORT, 'a.csv'])).toMatchObject({ exit: 0, rows: 60_000 });
    expect(await rows('SELECT count(*), sum(id), sum(mag), min(typeof(mag)) FROM t')).toEqual([
      [60_000, 1_799_970_000, 1_800_000_000, 'real'],
    ]);
    expect(await tables()).toEqual([['t']]);
  });

  test('a bad line at its end leaves nothing, as does a row that the table refuses', async () => {
    for (const [last, code] of [
      ['60000\n', 'INVALID_REQUEST'],
      ['59999,twice,0,\n', 'SQL_ERROR'],
    ] as const) {
      many('a.csv', 60_000, last);
      expect(await runJson(ground, [...IMPORT, 'a.csv'])).toMatchObject({
        code,
        outcome: 'not_applied',
        message: expect.stringContaining('Nothing was imported into t.'),
      });
      expect(await rows('SELECT count(*) FROM t')).toEqual([[0]]);
      expect(await tables()).toEqual([['t']]);
    }
  });

  test('standard input, of any size', async () => {
    const input = Array.from({ length: 60_000 }, (_, at) => `{"id":${at},"name":"${'x'.repeat(60)}"}\n`).join(
      '',
    );
    const stdin = [...IMPORT, '--format', 'ndjson', '-'];
    expect(await runJson(ground, stdin, { input })).toMatchObject({ exit: 0, rows: 60_000 });
    const again = [...IMPORT, '--format', 'ndjson', '--batch-rows', '1000', '-'];
    const behind = `{"id":60000}\n{"id":60001}\n`.repeat(1_000);
    expect(await runJson(ground, again, { input: behind })).toMatchObject({
      exit: 1,
      outcome: 'not_applied',
      rows_committed: 0,
      message: expect.stringContaining(
        'A pipe cannot be resumed: give standard input only the rows behind these',
      ),
    });
    expect(await rows('SELECT count(*) FROM t')).toEqual([[60_000]]);
  });

  test('pieces go on where the last one ended', async () => {
    many('a.csv', 5_000, '4999,twice,0,\n');
    const pieces = [...IMPORT, '--batch-rows', '600', 'a.csv'];
    for (const _ of [1, 2])
      expect(await runJson(ground, pieces)).toMatchObject({
        exit: 1,
        code: 'SQL_ERROR',
        outcome: 'partial',
        rows_committed: 4_800,
        message: expect.stringMatching(
          /It is row 5001 of the file\. 4800 rows are committed\. The same command goes on/,
        ),
      });
    expect(await runJson(ground, [...IMPORT, 'a.csv'])).toMatchObject({
      exit: 2,
      message: expect.stringMatching(/not finished: its first 4800 rows/),
    });
    expect(await runJson(ground, [...pieces, '--null', 'x'])).toMatchObject({
      exit: 2,
      message: expect.stringMatching(/with other options/),
    });
    await ground.cli([
      'exec',
      '--db',
      'x.db',
      "CREATE TRIGGER skip BEFORE INSERT ON t WHEN NEW.name = 'twice' BEGIN SELECT RAISE(IGNORE); END",
    ]);
    expect(await runJson(ground, pieces)).toEqual({ exit: 0, status: 'ok', rows: 201, skipped: 4_800 });
    expect(await rows('SELECT count(*), sum(id) FROM t')).toEqual([[5_000, 12_497_500]]);
    expect(await tables()).toEqual([['t']]);
  });

  test('a file that has changed is not resumed, unless it begins again', async () => {
    write('a.csv', 'id,name\n1,a\n2,b\n3,c\n2,d\n');
    const pieces = [...IMPORT, '--batch-rows', '2', 'a.csv'];
    expect(await runJson(ground, pieces)).toMatchObject({ exit: 1, rows_committed: 2 });
    write('a.csv', 'id,name\n1,a\n2,b\n3,c\n4,dd\n');
    expect(await runJson(ground, pieces)).toMatchObject({
      exit: 2,
      message: expect.stringMatching(/^a\.csv has changed since its first 2 rows were imported/),
    });
    await ground.cli(['exec', '--db', 'x.db', 'DELETE FROM t']);
    expect(await runJson(ground, [...pieces, '--restart'])).toMatchObject({ exit: 0, rows: 4, skipped: 0 });
    expect(await tables()).toEqual([['t']]);
  });
});

test.runIf(HAS_TERMINAL)('the progress is shown on a terminal', async () => {
  many('a.csv', 40_000);
  const { terminal, stdout, code } = await inTerminal(ground, 'err', [
    ...IMPORT,
    '--batch-rows',
    '5000',
    'a.csv',
  ]);
  expect([code, stdout]).toEqual([0, '✓ Imported 40000 rows into t of database: x.db\n']);
  expect(terminal).toMatch(/Importing \[.*\] \d+% \d+ rows, \d+ rows\/s, .* MB, .* left/);
});
