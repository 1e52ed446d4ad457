/** What can be told from the beginning of a statement. What SQLite alone can tell, it is asked. */

/** White space, comments and empty statements, where a statement is expected. */
const SKIPPED = /\s+|;|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/y;

const READS = /^(?:select|values)\b/i;
/** https://sqlite.org/pragma.html: of all PRAGMAs, those that describe the schema. */
const DESCRIBES =
  /^pragma\s+(?:main\s*\.\s*)?(?:table_info|table_xinfo|table_list|index_list|index_info|index_xinfo|foreign_key_list)\b/i;
/** What stands behind it decides. */
const WITH = /^with\b/i;

/** https://sqlite.org/lang_transaction.html */
const TRANSACTION_WORDS = [
  ['begin', /^begin(?:\s+(?:deferred|immediate|exclusive))?(?:\s+transaction)?[\s;]*$/i],
  ['commit', /^(?:commit|end)(?:\s+transaction)?[\s;]*$/i],
  ['rollback', /^rollback(?:\s+transaction)?[\s;]*$/i],
] as const;

/** https://sqlite.org/pragma.html#pragma_foreign_keys, which every tool for migrations sends. */
const FOREIGN_KEYS = /^pragma\s+(?:main\s*\.\s*)?foreign_keys(?:\s*[=(]\s*['"]?(\w+)['"]?\s*\)?)?[\s;]*$/i;

/** The statement without what is skipped before its first word. */
function body(sql: string): string {
  let at = 0;
  for (;;) {
    SKIPPED.lastIndex = at;
    if (!SKIPPED.test(sql)) return sql.slice(at);
    at = SKIPPED.lastIndex;
  }
}

/**
 * Whether the statement only reads; `ask` where SQLite has to be asked. Asking about any other statement could already have an
 * effect, since some PRAGMAs work while they are prepared.
 */
export function reads(sql: string): boolean | 'ask' {
  const text = body(sql);
  return READS.test(text) || DESCRIBES.test(text) || (WITH.test(text) && 'ask');
}

/** Which end of a transaction the statement is; undefined for every other statement, ROLLBACK TO among them. */
export function transactionWord(sql: string): 'begin' | 'commit' | 'rollback' | undefined {
  const text = body(sql);
  return TRANSACTION_WORDS.find(([, pattern]) => pattern.test(text))?.[0];
}

/** What `PRAGMA foreign_keys` is to be set to; `ask` where it is asked for, undefined for every other statement. */
export function foreignKeysPragma(sql: string): boolean | 'ask' | undefined {
  const [matched, value] = FOREIGN_KEYS.exec(body(sql)) ?? [];
  if (matched === undefined) return undefined;
  return value === undefined ? 'ask' : /^(?:1|on|yes|true)$/i.test(value);
}
