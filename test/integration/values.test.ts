import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

let ground: Playground;
let wire: Wire;
let next = 0;
beforeAll(async () => {
  ground = new Playground();
  await ground.daemon();
  wire = await ground.wire();
});
afterAll(async () => {
  try {
    await ground.expectCleanEnd();
  } finally {
    await ground.dispose();
  }
});

/** Sends a frame whose JSON is written by hand: JSON.stringify would turn 2.0 into 2. */
async function raw(json: string): Promise<Message> {
  const payload = Buffer.from(json);
  const header = Buffer.alloc(4);
  header.writeUInt32LE(payload.length);
  wire.raw(Buffer.concat([header, payload]));
  return (await wire.next()) ?? {};
}

/** A database of its own for a test. */
function fresh(): string {
  next += 1;
  return `values-${next}.db`;
}

const big = (digits: string) => `{"$int":"${digits}"}`;
const blob = (bytes: readonly number[]) => `{"$blob":"${Buffer.from(bytes).toString('base64')}"}`;

describe('a value is stored in its own class and comes back the same', () => {
  /** As written in the request; the storage class; as written in the reply, if it differs; what SQLite itself shows. */
  const cases: readonly (readonly [sent: string, type: string, received?: string, quoted?: string])[] = [
    ['null', 'null', 'null', 'NULL'],
    ['0', 'integer', '0', '0'],
    ['-1', 'integer', '-1', '-1'],
    ['9007199254740991', 'integer', '9007199254740991', '9007199254740991'],
    ['-9007199254740991', 'integer', '-9007199254740991', '-9007199254740991'],
    [big('9007199254740992'), 'integer', big('9007199254740992'), '9007199254740992'],
    [big('9223372036854775807'), 'integer', big('9223372036854775807'), '9223372036854775807'],
    [big('-9223372036854775808'), 'integer', big('-9223372036854775808'), '-9223372036854775808'],
    [big('5'), 'integer', '5', '5'],
    ['true', 'integer', '1', '1'],
    ['false', 'integer', '0', '0'],
    ['0.5', 'real', '0.5', '0.5'],
    ['{"$real":2}', 'real', '2.0', '2.0'],
    ['{"$real":2.0}', 'real', '2.0', '2.0'],
    ['{"$real":0}', 'real', '0.0', '0.0'],
    ['{"$real":9007199254740993}', 'real', '9007199254740992.0'],
    ['-0.0', 'real', '-0.0'],
    ['{"$real":"-0"}', 'real', '-0.0'],
    ['1e308', 'real', '1e+308'],
    ['5e-324', 'real', '5e-324'],
    ['1.7976931348623157e308', 'real', '1.7976931348623157e+308'],
    ['0.1', 'real', '0.1'],
    ['{"$real":1e21}', 'real', '1e+21'],
    ['{"$real":"Infinity"}', 'real', '{"$real":"Infinity"}'],
    ['{"$real":"-Infinity"}', 'real', '{"$real":"-Infinity"}'],
    ['""', 'text', '""', "''"],
    ['"\'; DROP TABLE t; --"', 'text', '"\'; DROP TABLE t; --"', "'''; DROP TABLE t; --'"],
    ['"1"', 'text', '"1"', "'1'"],
    ['"ä€😀\u2028"', 'text', '"ä€😀\u2028"'],
    ['"\\ud83d\\ude00"', 'text', '"😀"', "'😀'"],
    ['"a\\u0000b"', 'text', '"a\\u0000b"'],
    ['"\\"\\\\\\n\\t\\u001f"', 'text', '"\\"\\\\\\n\\t\\u001f"'],
    ['"{\\"$int\\":\\"1\\"}"', 'text', '"{\\"$int\\":\\"1\\"}"'],
    [blob([]), 'blob', blob([]), "X''"],
    [blob([0, 255, 128, 10]), 'blob', blob([0, 255, 128, 10]), "X'00FF800A'"],
  ];

  test.each(cases)('%s', async (sent, type, received = sent, quoted = undefined) => {
    const db = fresh();
    const json = `{"type":"ExecBatch","db":"${db}","stmts":[{"sql":"CREATE TABLE t (v)"},{"sql":"INSERT INTO t VALUES (?)","params":[${sent}]},{"sql":"SELECT typeof(v), v FROM t"}]}`;
    expect(await raw(json)).toMatchObject({ status: 'ok' });
    // The bytes themselves: 2.0 and 2 are one to JSON.parse.
    expect(wire.lastText).toContain(`"rows":[["${type}",${received}]]`);
    if (quoted !== undefined)
      expect(await ground.sqlite3(ground.file(db), 'SELECT quote(v) FROM t')).toBe(quoted);
  });

  test('an INTEGER in a REAL column is REAL, and one in a TEXT column is TEXT, as SQLite has it', async () => {
    const reply = await wire.exec(fresh(), [
      'CREATE TABLE t (r REAL, x TEXT, i INTEGER)',
      { sql: 'INSERT INTO t VALUES (?, ?, ?)', params: [3, 4, '5'] },
      'SELECT r, x, i, typeof(r), typeof(x), typeof(i) FROM t',
    ]);
    expect(reply).toMatchObject({ status: 'ok' });
    expect(wire.lastText).toContain('[[3.0,"4",5,"real","text","integer"]]');
  });

  test('eight megabytes of text and of blob come back bit by bit', async () => {
    const db = fresh();
    const text = 'ä'.repeat(2_000_000) + 'z'.repeat(4_000_000);
    const bytes = Buffer.alloc(4_000_000, Buffer.from(Array.from({ length: 256 }, (_, at) => at)));
    await wire.exec(db, ['CREATE TABLE t (v)', { sql: 'INSERT INTO t VALUES (?)', params: [text] }]);
    expect(await wire.rows(db, 'SELECT v, length(v) FROM t')).toEqual([[text, 6_000_000]]);
    const params = [{ $blob: bytes.toString('base64') }];
    expect(await wire.exec(db, [{ sql: 'UPDATE t SET v = ?', params }])).toMatchObject({ status: 'ok' });
    const [[stored, length] = []] = await wire.rows(db, 'SELECT v, length(v) FROM t');
    expect(length).toBe(bytes.length);
    expect(Buffer.from((stored as { $blob: string }).$blob, 'base64').equals(bytes)).toBe(true);
  });
});

describe('a value that would be changed in silence is refused, naming statement and parameter', () => {
  test.each([
    ['9007199254740993'],
    ['-9007199254740992'],
    ['1e400'],
    [big('9223372036854775808')],
    [big('-9223372036854775809')],
    [big('1.5')],
    [big('0x10')],
    ['{"$int":5}'],
    ['{"$real":"NaN"}'],
    ['{"$real":"1"}'],
    ['{"$blob":"AAA"}'],
    ['{"$blob":"A A="}'],
    ['{"$blob":"-_-_"}'],
    ['{"$blob":[1,2]}'],
    ['{"$int":"1","$real":1}'],
    ['{"a":1}'],
    ['{}'],
    ['[1]'],
    ['"\\ud800"'],
    ['"a\\udc00b"'],
  ])('%s', async (value) => {
    const db = fresh();
    await wire.exec(db, ['CREATE TABLE t (a, b)']);
    const insert = '"sql":"INSERT INTO t VALUES (?, ?)"';
    const json = `{"type":"ExecBatch","db":"${db}","stmts":[{${insert},"params":[1,2]},{${insert},"params":[3,${value}]}]}`;
    expect(await raw(json)).toMatchObject({
      code: 'INVALID_REQUEST',
      statement_index: 1,
      parameter: 1,
      outcome: 'not_applied',
    });
    const named = `{"type":"ExecBatch","db":"${db}","stmts":[{"sql":"INSERT INTO t (a) VALUES (:name)","params":{"name":${value}}}]}`;
    expect(await raw(named)).toMatchObject({
      code: 'INVALID_REQUEST',
      statement_index: 0,
      parameter: 'name',
    });
    expect(await wire.rows(db, 'SELECT count(*) FROM t')).toEqual([[0]]);
  });

  test('a lone surrogate in the SQL itself is refused', async () => {
    const json = `{"type":"ExecBatch","db":"${fresh()}","stmts":[{"sql":"SELECT 1"},{"sql":"SELECT '\\ud800'"}]}`;
    expect(await raw(json)).toMatchObject({ code: 'INVALID_REQUEST', statement_index: 1 });
  });
});

describe('parameters', () => {
  const select = async (sql: string, params: unknown) => {
    const reply = await wire.exec('params.db', [{ sql, params }]);
    return reply.status === 'ok' ? (reply.results as { rows: unknown[][] }[])[0]?.rows[0] : reply;
  };

  test('are found by name with each prefix and without', async () => {
    expect(await select('SELECT :a, @b, $c', { a: 1, b: 2, c: 3 })).toEqual([1, 2, 3]);
    expect(await select('SELECT :a, @b, $c', { ':a': 1, '@b': 2, $c: 3 })).toEqual([1, 2, 3]);
    expect(await select('SELECT :a, :b, :a', { a: 'x', b: 'y' })).toEqual(['x', 'y', 'x']);
  });

  test('are found by number, and names take part in the numbering', async () => {
    expect(await select('SELECT ?2, ?1', ['one', 'two'])).toEqual(['two', 'one']);
    expect(await select('SELECT ?, :a, ?', [1, 2, 3])).toEqual([1, 2, 3]);
    expect(await select('SELECT ?1, ?1', [7])).toEqual([7, 7]);
    expect(await select('SELECT ?3, ?', [1, 2, 3, 4])).toEqual([3, 4]);
  });

  test.each([
    ['too few', 'SELECT ?, ?', [1]],
    ['too many', 'SELECT ?', [1, 2]],
    ['none at all', 'SELECT ?', undefined],
    ['a name that is missing', 'SELECT :a, :b', { a: 1 }],
    ['a name that is not in the statement', 'SELECT :a', { a: 1, b: 2 }],
    ['names for question marks', 'SELECT ?', { a: 1 }],
  ])('that do not fit are refused: %s', async (_what, sql, params) => {
    expect(await select(sql, params)).toMatchObject({ code: 'INVALID_REQUEST', statement_index: 0 });
  });

  test('are no text or comment: a mark inside of those is none', async () => {
    expect(await select("SELECT '?', ? /* ? :a */ -- $b", [5])).toEqual(['?', 5]);
  });
});
