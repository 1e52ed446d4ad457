import { expect, test } from 'vitest';
import { isSavepoint } from '../../../daemon/worker/savepoint.js';

test.each([
  'SAVEPOINT a',
  ' savepoint "a b" ; ;',
  '/* so */ Release a',
  'RELEASE SAVEPOINT a',
  'ROLLBACK TO a',
  'rollback transaction to savepoint [a]',
  'ROLLBACK TO',
])('%s', (sql) => {
  expect(isSavepoint(sql)).toBe(true);
});

test.each([
  '',
  ';',
  'ROLLBACK',
  'ROLLBACK TRANSACTION',
  'COMMIT',
  'BEGIN',
  'SELECT 1',
  "SELECT 'SAVEPOINT a'",
  '"savepoint" a',
  'SAVEPOINT a; DROP TABLE t',
  'DROP TABLE t; SAVEPOINT a',
  'EXPLAIN SAVEPOINT a',
])('not: %s', (sql) => {
  expect(isSavepoint(sql)).toBe(false);
});
