import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import { foreignKeysPragma, reads, transactionWord } from '../../../client/drivers/statement-kind.js';

const NOISE = ['', ' \n\t', '-- COMMIT\n', '/* BEGIN; */ ', ';;', '/* a *//* b */--c\n ; '];

test.each([
  'SELECT 1',
  'select * from t',
  'VALUES (1)',
  'PRAGMA table_info(t)',
  'pragma main.index_list("t")',
  "PRAGMA main . foreign_key_list('t')",
])('reads only, as SQLite says, too: %s', (sql) => {
  const db = new Database(':memory:');
  db.exec('CREATE TABLE t (a)');
  for (const noise of NOISE) {
    expect(reads(noise + sql)).toBe(true);
    expect(db.prepare(noise.replaceAll(';', ' ') + sql).readonly).toBe(true);
  }
  db.close();
});

test.each(['WITH x AS (SELECT 1) SELECT * FROM x', 'with x as (select 1) delete from t'])(
  'is for SQLite to say: %s',
  (sql) => {
    for (const noise of NOISE) expect(reads(noise + sql)).toBe('ask');
  },
);

test.each([
  '',
  '-- SELECT 1',
  '/* SELECT 1',
  'INSERT INTO t SELECT 1',
  'selected',
  'withdraw',
  'EXPLAIN SELECT 1',
  'BEGIN',
  'COMMIT',
  'SAVEPOINT select_1',
  "ATTACH 'x' AS x",
  'PRAGMA query_only = OFF',
  'PRAGMA table_info_of_something',
  'PRAGMA temp.table_info(t)',
  'PRAGMA foreign_keys',
  'PRAGMA optimize',
])('is not asked about, since asking may have an effect: %s', (sql) => {
  for (const noise of NOISE) expect(reads(noise + sql)).toBe(false);
});

test.each([
  ['BEGIN', 'begin'],
  ['begin immediate transaction;', 'begin'],
  ['BEGIN EXCLUSIVE', 'begin'],
  ['Commit', 'commit'],
  ['END TRANSACTION ;', 'commit'],
  ['ROLLBACK;\n', 'rollback'],
  ['rollback transaction', 'rollback'],
  ['ROLLBACK TO x', undefined],
  ['ROLLBACK TRANSACTION TO SAVEPOINT x', undefined],
  ['COMMIT; DROP TABLE t', undefined],
  ['BEGIN CONCURRENT', undefined],
  ['beginning', undefined],
  ['SELECT 1', undefined],
  ['', undefined],
] as const)('%s is the word %s', (sql, word) => {
  for (const noise of NOISE) expect(transactionWord(noise + sql)).toBe(word);
});

test.each([
  ['PRAGMA foreign_keys', 'ask'],
  ['pragma main.foreign_keys;', 'ask'],
  ['PRAGMA foreign_keys = ON', true],
  ['PRAGMA foreign_keys=1;', true],
  ['PRAGMA foreign_keys(yes)', true],
  ["PRAGMA foreign_keys = 'true'", true],
  ['PRAGMA foreign_keys=OFF;', false],
  ['PRAGMA foreign_keys = 0', false],
  ['PRAGMA foreign_keys(no)', false],
  ['PRAGMA foreign_key_list(t)', undefined],
  ['PRAGMA defer_foreign_keys = ON', undefined],
  ['PRAGMA foreign_keys = OFF; DROP TABLE t', undefined],
  ['SELECT foreign_keys FROM pragma_foreign_keys', undefined],
] as const)('%s sets foreign keys to %s', (sql, setting) => {
  for (const noise of NOISE) expect(foreignKeysPragma(noise + sql)).toBe(setting);
});

test('many comments cost no more than they are long', () => {
  const sql = `${'/**/'.repeat(50_000)}1`;
  expect(reads(sql)).toBe(false);
  expect(transactionWord(sql)).toBeUndefined();
});
