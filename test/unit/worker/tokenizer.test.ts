import Database from 'better-sqlite3';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import {
  foldCase,
  isOperator,
  keywordOf,
  nameOf,
  type Token,
  tokenize,
} from '../../../daemon/worker/tokenizer.js';

/** `kind text` for each token, one line each. */
function shown(sql: string): string[] {
  return tokenize(sql).map((token) => `${token.kind} ${token.text}`);
}

describe('a token', () => {
  test.each([
    ['select', 'word'],
    ['_a$1', 'word'],
    ['größe', 'word'],
    ['x', 'word'],
    ['xyz', 'word'],
    ['\u00a0', 'word'],
    ['a\ufeffb', 'word'],
    ['"a""b"', 'quoted'],
    ['""', 'quoted'],
    ['`a``b`', 'quoted'],
    ['[a"b]', 'quoted'],
    ['[]', 'quoted'],
    ["'it''s; -- no comment'", 'string'],
    ["''", 'string'],
    ["x'00fF'", 'blob'],
    ["X''", 'blob'],
    ['0', 'number'],
    ['0x1F', 'number'],
    ['0XaB_c', 'number'],
    ['1_000', 'number'],
    ['1.5', 'number'],
    ['.5', 'number'],
    ['5.', 'number'],
    ['1e5', 'number'],
    ['1.e5', 'number'],
    ['1E-5', 'number'],
    ['.1e+5_0', 'number'],
    ['?', 'variable'],
    ['?123', 'variable'],
    [':a', 'variable'],
    ['@1', 'variable'],
    ['$a$b', 'variable'],
    ['#ü', 'variable'],
    ...[...'-+*/%=<>|&~,.;()'].map((sign) => [sign, 'operator']),
    ...['->', '->>', '==', '<=', '<>', '<<', '>=', '>>', '!=', '||'].map((sign) => [sign, 'operator']),
    ["'open", 'illegal'],
    ['"open', 'illegal'],
    ['`open', 'illegal'],
    ['[open', 'illegal'],
    ["x'0'", 'illegal'],
    ["x'0g'", 'illegal'],
    ["x'00", 'illegal'],
    ['1a', 'illegal'],
    ['0x', 'illegal'],
    ['1e', 'illegal'],
    [':', 'illegal'],
    ['@', 'illegal'],
    ['!', 'illegal'],
    ['\\', 'illegal'],
    ['^', 'illegal'],
    ['{', 'illegal'],
    ['\v', 'illegal'],
    ['\u007f', 'illegal'],
  ])('%j is one of kind %s', (text, kind) => {
    expect(tokenize(text)).toEqual([{ kind, text, start: 0 }]);
  });

  test('knows where it begins', () => {
    expect(tokenize(' /* ä */ a+b').map((token) => token.start)).toEqual([9, 10, 11]);
  });

  test('ends where the next one can begin', () => {
    expect(shown("1_000.5.5?1a$b-->\n->>x'00'ax'00'")).toEqual([
      'number 1_000.5',
      'number .5',
      'variable ?1',
      'word a$b',
      'operator ->>',
      "blob x'00'",
      'word ax',
      "string '00'",
    ]);
  });

  test("is not Tcl's $a::b(c), which this SQLite is compiled without", () => {
    expect(shown('$a::b(c)')).toEqual([
      'variable $a',
      'illegal :',
      'variable :b',
      'operator (',
      'word c',
      'operator )',
    ]);
  });
});

describe('what lies between tokens', () => {
  test.each([
    ['white space', '\t\n\f\r a \v '],
    ['a byte order mark', '\ufeffa \ufeff'],
    ['comments to the end of the line', '-- ; x\na--'],
    ['a vertical tab after such a comment', '--\n\va'],
    ['a carriage return inside such a comment', '-- \r x\na'],
    ['comments in stars', '/* ; */a/**/ /***/ /*/ */'],
    ['a comment without an end', 'a /* b'],
    ['text behind a NUL', 'a\0b'],
  ])('%s is left out', (_, sql) => {
    expect(shown(sql)).toEqual(['word a']);
  });

  test('"/*" at the very end is no comment', () => {
    expect(shown('a/*')).toEqual(['word a', 'operator /', 'operator *']);
  });

  test('quotes hide comments and comments hide quotes', () => {
    expect(shown(`'--' "/*" -- '\n/* " */ a`)).toEqual(["string '--'", 'quoted "/*"', 'word a']);
  });
});

describe('a name', () => {
  const only = (sql: string): Token => tokenize(sql)[0] ?? { kind: 'illegal', text: '', start: 0 };

  test.each([
    ['"a""b"', 'a"b'],
    ['`a``"b`', 'a`"b'],
    ['[a""b]', 'a""b'],
    ['[a[[b]', 'a[[b'],
    ["'it''s'", "it's"],
    ["''''", "'"],
    ['""', ''],
    ['Plain', 'Plain'],
    ['?1', '?1'],
  ])('of %s is %j', (sql, name) => {
    expect(nameOf(only(sql))).toBe(name);
  });

  test('is folded as SQLite does: ASCII letters only', () => {
    expect(foldCase('ROLLBAC\u212a İÄ')).toBe('rollbac\u212a İÄ');
  });

  test('in quotes is no keyword and no operator', () => {
    expect(keywordOf(only('CoMMit'))).toBe('commit');
    expect(keywordOf(only('"commit"'))).toBe('');
    expect(keywordOf(undefined)).toBe('');
    expect(isOperator(only(';'), ';')).toBe(true);
    expect(isOperator(only("';'"), ';')).toBe(false);
    expect(isOperator(undefined, ';')).toBe(false);
  });
});

describe("SQLite's own tokenizer", () => {
  // The arguments of a virtual table may be any tokens, and its module gets them as text, cut at commas:
  // https://sqlite.org/vtab.html#xcreate shows where SQLite saw tokens begin, end, nest and fail.
  const db = new Database(':memory:');
  let received: unknown[] = [];
  let tables = 0;
  db.table('probe', ((...args: unknown[]) => {
    received = args;
    return { columns: ['a'], *rows() {} };
  }) as never);
  afterAll(() => db.close());

  function asSqliteSees(soup: string): unknown[] | string {
    tables += 1;
    try {
      db.prepare(`CREATE VIRTUAL TABLE probe${tables} USING probe(${soup})`).run();
      return received;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** The same, from our tokens: the arguments, the error for an illegal token, or how the parentheses end wrongly. */
  function asWeSee(soup: string): string[] | { error: string } | 'too early' | 'never' {
    const sql = `(${soup})`;
    const args: string[] = [];
    let from: Token | undefined;
    let last: Token | undefined;
    let depth = 0;
    for (const token of tokenize(sql)) {
      if (token.kind === 'illegal') return { error: `unrecognized token: "${token.text}"` };
      const closing = isOperator(token, ')') && depth === 1;
      if (closing || (isOperator(token, ',') && depth === 1)) {
        if (from && last) args.push(sql.slice(from.start, last.start + last.text.length));
        from = undefined;
        last = undefined;
        if (closing) return token.start === sql.length - 1 ? args : 'too early';
        continue;
      }
      if (isOperator(token, '(')) depth += 1;
      if (isOperator(token, ')')) depth -= 1;
      if (depth === 1 && isOperator(token, '(') && token.start === 0) continue;
      from ??= token;
      last = token;
    }
    return 'never';
  }

  const pieces = [
    ...'\'"`[]()*/-+,;:@$#?.!|<>=&~\\^{}%_xXeE019aZ \t\n\v',
    ...[
      "''",
      '""',
      '--',
      '/*',
      '*/',
      '/**/',
      "x'",
      "x'ab'",
      '0x',
      '0xf',
      '1_0',
      '1e5',
      'e+',
      '.5',
      '?1',
      ':a',
    ],
    ...[
      '$a',
      '::',
      '->',
      '->>',
      '||',
      '!=',
      '\ufeff',
      '\u00a0',
      'ä',
      '😀',
      '\u007f',
      '\u0001',
      'begin',
      ', ',
      ' (',
    ],
  ];

  test('sees the same tokens in any soup of characters', () => {
    let compared = 0;
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 14 }), (parts) => {
        const soup = parts.join('');
        const ours = asWeSee(soup);
        const theirs = asSqliteSees(soup);
        if (ours === 'too early') return;
        compared += 1;
        if (ours === 'never') expect(theirs).toBe('incomplete input');
        else expect(theirs).toEqual(Array.isArray(ours) ? ours : ours.error);
      }),
      { numRuns: 4000 },
    );
    expect(compared).toBeGreaterThan(1000);
  });
});

describe('a megabyte', () => {
  test.each(
    [
      "'",
      '"',
      '`',
      '[',
      '/*',
      '/',
      '-',
      '--',
      '$a(',
      '1e',
      '1_',
      '.',
      "x'",
      "x'0",
      '0x',
      ':',
      '((',
      '\ufeff',
      'ä',
      ' \v',
    ].map((part) => [part]),
  )('of %j takes linear time', (part) => {
    // A million steps: were each as long as what is before it, the test's time would be over many times.
    const tokens = tokenize(part.repeat(2 ** 20 / part.length));
    tokens.forEach(nameOf);
  });
});
