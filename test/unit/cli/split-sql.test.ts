import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { splitSql } from '../../../cli/split-sql.js';
import { inspectStatement } from '../../../daemon/worker/guard.js';
import { messageOf } from '../../../protocol/errors.js';

const texts = (script: string) => splitSql(script).map(({ sql }) => sql);

describe('where a statement ends', () => {
  test.each<[string, string[]]>([
    ['', []],
    [' \n\t;;  ; ', []],
    ['-- only a comment', []],
    ['/* only; a; comment */;', []],
    ['SELECT 1', ['SELECT 1']],
    ['SELECT 1;', ['SELECT 1']],
    ['SELECT 1;;SELECT 2 ; ', ['SELECT 1', 'SELECT 2']],
    ["SELECT ';', 'it''s; one';SELECT 2", ["SELECT ';', 'it''s; one'", 'SELECT 2']],
    ['SELECT ";", "a"";b";SELECT 2', ['SELECT ";", "a"";b"', 'SELECT 2']],
    ['SELECT `;`, [a;"b];SELECT 2', ['SELECT `;`, [a;"b]', 'SELECT 2']],
    ['SELECT 1 -- not; here\n, 2; SELECT 3', ['SELECT 1 -- not; here\n, 2', 'SELECT 3']],
    ['SELECT 1 /* not; here */, 2; SELECT 3', ['SELECT 1 /* not; here */, 2', 'SELECT 3']],
    ["SELECT 1 - -2 -- it's;\n; SELECT 3 / 4", ['SELECT 1 - -2', 'SELECT 3 / 4']],
    ["SELECT 'never ended; SELECT 2", ["SELECT 'never ended; SELECT 2"]],
    ["SELECT 'abc''; SELECT 2", ["SELECT 'abc''; SELECT 2"]],
    ['SELECT 1; /* never ended; SELECT 2', ['SELECT 1']],
    ["SELECT x'3b'; SELECT ?1;", ["SELECT x'3b'", 'SELECT ?1']],
    ['\ufeffSELECT 1;\ufeff', ['SELECT 1']],
    ['-- first\nSELECT 1 -- last\n;', ['SELECT 1']],
  ])('%j', (script, expected) => {
    expect(texts(script)).toEqual(expected);
  });

  const BODY = 'BEGIN UPDATE t SET a = CASE WHEN a THEN 1 ELSE 2 END; DELETE FROM u; END';
  test.each([
    `CREATE TRIGGER x AFTER INSERT ON t ${BODY}`,
    `create temp trigger x AFTER INSERT ON t ${BODY}`,
    `CREATE /* ; */ TEMPORARY -- ;\n TRIGGER IF NOT EXISTS x AFTER INSERT ON t ${BODY}`,
    `EXPLAIN CREATE TRIGGER x AFTER INSERT ON t ${BODY}`,
    `EXPLAIN QUERY PLAN CREATE TRIGGER x AFTER INSERT ON t ${BODY}`,
    `CREATE TRIGGER "end" AFTER INSERT ON t BEGIN SELECT ';end;'; SELECT "end"; SELECT [end]; /*;*/ END`,
  ])('a trigger is one statement: %s', (trigger) => {
    expect(texts(`SELECT 1; ${trigger}; SELECT 2`)).toEqual(['SELECT 1', trigger, 'SELECT 2']);
    expect(texts(trigger)).toEqual([trigger]);
  });

  test.each([
    'CREATE TABLE trigger_log (a); END',
    'CREATE TABLE "trigger" (a); SELECT 1',
    'DROP TRIGGER x; SELECT 1',
    'CREATE "temp" TRIGGER; SELECT 1',
  ])('no trigger: %s', (script) => {
    expect(texts(script)).toHaveLength(2);
  });
});

test('each statement knows its line', () => {
  const script = 'SELECT 1;\n\n-- two\nSELECT\n2; SELECT 3;\nSELECT 4';
  expect(splitSql(script).map(({ line }) => line)).toEqual([1, 4, 5, 6]);
});

const soup = fc
  .array(
    fc.constantFrom(
      ...[
        ';',
        ' ',
        '\n',
        "'",
        '"',
        '`',
        '[',
        ']',
        '--',
        '/*',
        '*/',
        "''",
        'x',
        "x'00'",
        '$a',
        '-',
        '/',
        '*',
        '(',
        ')',
      ],
      ...[
        'CREATE',
        'TEMP',
        'TRIGGER',
        'BEGIN',
        'END',
        'END;',
        '; END ;',
        'EXPLAIN',
        'SELECT',
        '"end"',
        '1',
        'é',
        '\ufeff',
      ],
    ),
    { maxLength: 40 },
  )
  .map((parts) => parts.join(''));

test('the daemon agrees: what is split here is one statement to its guard', () => {
  fc.assert(
    fc.property(soup, (script) => {
      for (const { sql } of splitSql(script)) {
        try {
          inspectStatement(sql);
        } catch (error) {
          expect(messageOf(error)).not.toMatch(/More than one statement|no statement/);
        }
      }
    }),
    { numRuns: 5_000 },
  );
});

test('nothing but semicolons, space and comments gets lost', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('SELECT 1', "SELECT ';'", 'SELECT "a;b"', 'DELETE FROM t')),
      (statements) => {
        expect(texts(statements.join(' ; -- ;\n'))).toEqual(statements);
      },
    ),
  );
});

test('a script of megabytes takes no more than linear time', () => {
  const statement = `INSERT INTO t VALUES ('${"it''s; ".repeat(1000)}')`;
  const script = `${statement};\n`.repeat(1000);
  // Were each byte as long as what is before it, the test's time would be over many times.
  expect(splitSql(script)).toHaveLength(1000);
  expect(splitSql(`SELECT '${';'.repeat(5_000_000)}'`)).toHaveLength(1);
});
