import { isOperator, keywordOf, tokenize } from './tokenizer.js';

/**
 * Whether this is SAVEPOINT, RELEASE or ROLLBACK TO (https://sqlite.org/lang_savepoint.html): allowed inside a client's own
 * transaction, where they cannot reach beyond it. What is wrong behind these words SQLite says itself.
 */
export function isSavepoint(sql: string): boolean {
  const tokens = tokenize(sql);
  const start = tokens.findIndex((token) => !isOperator(token, ';'));
  const body = tokens.slice(start < 0 ? tokens.length : start);
  const end = body.findIndex((token) => isOperator(token, ';'));
  // A second statement is the guard's to refuse.
  if (end >= 0 && body.slice(end).some((token) => !isOperator(token, ';'))) return false;
  switch (keywordOf(body[0])) {
    case 'savepoint':
    case 'release':
      return true;
    case 'rollback':
      return keywordOf(body[keywordOf(body[1]) === 'transaction' ? 2 : 1]) === 'to';
    default:
      return false;
  }
}
