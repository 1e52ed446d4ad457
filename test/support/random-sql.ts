import type { Random } from './random.js';

/** Must never be done, however it is written. */
const FORBIDDEN = [
  'BEGIN',
  'BEGIN IMMEDIATE TRANSACTION',
  'COMMIT',
  'COMMIT TRANSACTION',
  'END',
  'ROLLBACK',
  'ROLLBACK TO SAVEPOINT batch',
  'SAVEPOINT mine',
  'RELEASE batch',
  "ATTACH DATABASE 'foreign.db' AS other",
  "ATTACH ':memory:' AS other",
  'DETACH main',
  "VACUUM INTO 'foreign.db'",
  "VACUUM main INTO 'foreign.db'",
  'CREATE TEMP TABLE mine ( a )',
  'CREATE TEMPORARY VIEW mine AS SELECT 1',
  'CREATE TABLE temp . mine ( a )',
  'CREATE TEMP TRIGGER mine AFTER INSERT ON fuzz BEGIN SELECT 1 ; END',
  "SELECT load_extension ( 'foreign' )",
  'SELECT total_changes ( )',
  'PRAGMA journal_mode = DELETE',
  'PRAGMA main . synchronous = 0',
  'PRAGMA foreign_keys = OFF',
  'PRAGMA foreign_keys ( 0 )',
  'PRAGMA locking_mode = EXCLUSIVE',
  'PRAGMA writable_schema = ON',
  'PRAGMA query_only = 1',
  'PRAGMA wal_checkpoint ( TRUNCATE )',
  'PRAGMA case_sensitive_like = 1',
  'PRAGMA recursive_triggers = 1',
  'PRAGMA ignore_check_constraints = 1',
  'UPDATE _skylinedb_database SET rev = 0',
  'DELETE FROM _skylinedb_database',
  'DROP TABLE _skylinedb_database',
  'INSERT INTO _skylinedb_sessions SELECT * FROM _skylinedb_sessions',
  'ALTER TABLE _skylinedb_database RENAME TO mine',
  'CREATE TRIGGER mine AFTER INSERT ON fuzz BEGIN DELETE FROM _skylinedb_database ; END',
] as const;

/** May be done, or fail: for the mutations. */
const ALLOWED = [
  'INSERT INTO fuzz VALUES ( 1 , 2 )',
  "INSERT OR ROLLBACK INTO fuzz VALUES ( 'x' , x'00' ) RETURNING a",
  'REPLACE INTO fuzz SELECT a , b FROM fuzz LIMIT 3',
  'UPDATE OR IGNORE fuzz SET a = b , b = a WHERE a IS NOT b',
  'DELETE FROM fuzz WHERE a IN ( SELECT b FROM fuzz )',
  'SELECT CASE WHEN a THEN b END FROM fuzz AS "BEGIN" LIMIT 5',
  'WITH commit ( a ) AS ( SELECT 1 ) SELECT a FROM commit',
  'CREATE TABLE IF NOT EXISTS fuzz2 ( a , b )',
  'DROP TABLE IF EXISTS fuzz2',
  'CREATE TRIGGER IF NOT EXISTS tr AFTER INSERT ON fuzz2 BEGIN SELECT RAISE ( ROLLBACK , 1 ) ; END',
  'DROP TRIGGER IF EXISTS tr',
  'INSERT INTO fuzz2 VALUES ( 1 , 2 )',
  'PRAGMA user_version = 7',
  'PRAGMA defer_foreign_keys = 1',
  'PRAGMA table_info ( fuzz )',
  'EXPLAIN SELECT 1',
  'REINDEX fuzz',
  'ANALYZE',
  'VALUES ( 1 , ? )',
] as const;

/** What SQLite takes for white space, with what may lie in it. */
const GAPS = [
  ' ',
  '\t',
  '\n',
  '\f',
  '\r\n',
  '  ',
  '/**/',
  ' /* ; END */ ',
  '/*\n*/',
  '-- \n',
  "--' \n",
  '/* /* */',
];
/** What only looks like it. */
const FALSE_GAPS = [
  '\u00a0',
  '\u2003',
  '\u3000',
  '\u200b',
  '\u2028',
  '\u0085',
  '\v',
  '\u0000',
  '',
  '/*/',
  '--',
];
const LEADS = ['', '', '', ';', ' ; ', '/* SELECT 1 */', '-- SELECT 1\n', '\ufeff', '\n\n'];
const TAILS = ['', '', '', ';', ' ; ', ';-- x', '/* x', '; /* ; */'];
const SCRAPS = [
  '(',
  ')',
  ',',
  ';',
  "'",
  '"',
  '`',
  '[',
  'x',
  'BEGIN',
  'COMMIT',
  'END',
  'temp',
  '.',
  'EXPLAIN',
  '?',
  'SELECT',
  '\u212a',
  'ı',
];

/** A statement that must be refused: letters, gaps and quotes are others, its tokens are the same. */
export function disguised(random: Random): string {
  const words = random.pick(FORBIDDEN).split(' ');
  const text = words
    .map((word) => quoted(cased(word, random), random))
    .map((word, at) => (at === 0 ? word : random.pick(GAPS) + word));
  return random.pick(LEADS) + text.join('') + random.pick(TAILS);
}

/** A statement of which nobody can say what it is. */
export function mangled(random: Random): string {
  const words = random.pick([...ALLOWED, ...ALLOWED, ...FORBIDDEN]).split(' ');
  for (let times = random.int(4); times > 0; times -= 1) {
    const other = random.pick([...ALLOWED, ...FORBIDDEN]).split(' ');
    const at = random.int(words.length + 1);
    const scrap = random.chance(0.5) ? [random.pick(SCRAPS)] : other.slice(random.int(other.length));
    words.splice(at, random.int(3), ...scrap);
  }
  const gap = () => (random.chance(0.1) ? random.pick(FALSE_GAPS) : random.pick(GAPS));
  const prefix = random.pick(['', '', '', 'EXPLAIN ', 'EXPLAIN QUERY PLAN ']);
  return (
    random.pick(LEADS) +
    prefix +
    words.map((word) => cased(word, random) + gap()).join('') +
    random.pick(TAILS)
  );
}

function cased(word: string, random: Random): string {
  if (word.startsWith("'")) return word;
  return [...word].map((c) => (random.chance(0.5) ? c.toUpperCase() : c.toLowerCase())).join('');
}

/** Names may stand in quotes, each kind of which SQLite takes. */
function quoted(word: string, random: Random): string {
  if (!/^(_skylinedb_\w+|temp|journal_mode|foreign_keys|load_extension|total_changes)$/i.test(word))
    return word;
  return random.pick([word, word, `"${word}"`, `[${word}]`, `\`${word}\``]);
}
