import { existsSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { inspectStatement, type StatementFacts } from '../../../daemon/worker/guard.js';
import { bindParameters, parameterPlan } from '../../../daemon/worker/parameters.js';
import { isOperator, tokenize } from '../../../daemon/worker/tokenizer.js';
import { SkylineError } from '../../../protocol/errors.js';
import { FrameText } from '../../../protocol/values.js';

/** Where a forbidden statement would leave a file, were it ever let through. */
const FOREIGN_FILE = join(tmpdir(), `guard-test-${process.pid}.db`);

const ALLOWED = [
  'SELECT * FROM t WHERE a = CASE WHEN b THEN ? ELSE :x END',
  "VALUES (1), (x'00')",
  'WITH x(n) AS (SELECT 1) SELECT n FROM x',
  // No UNION: a mangled recursion would never end.
  'WITH RECURSIVE x(n) AS (SELECT 1) INSERT INTO t SELECT n, n FROM x',
  'WITH x AS (SELECT 1) DELETE FROM t WHERE a IN (SELECT * FROM x)',
  "INSERT INTO t VALUES (1, 'it''s'), (2, 'a') ON CONFLICT DO NOTHING RETURNING a",
  "INSERT OR REPLACE INTO main.t(a, b) VALUES (7, 'x')",
  'REPLACE INTO "t" SELECT a + 10, b FROM t',
  'UPDATE OR IGNORE t SET a = a + 1 FROM u WHERE u.c = t.a',
  "DELETE FROM 't' WHERE a > 1",
  'CREATE TABLE IF NOT EXISTS n(a INT PRIMARY KEY, b ANY DEFAULT (1 + 1), CHECK (a > 0)) STRICT',
  'CREATE TABLE n AS SELECT 1 AS a',
  'CREATE UNIQUE INDEX IF NOT EXISTS i ON t(a, b)',
  'CREATE VIEW n AS SELECT a FROM t',
  'CREATE TRIGGER n AFTER INSERT ON t WHEN new.a BEGIN UPDATE u SET c = CASE c WHEN 1 THEN 2 END; SELECT 1; END',
  'CREATE VIRTUAL TABLE n USING fts5(a, prefix = 2)',
  'ALTER TABLE t RENAME COLUMN a TO temp',
  'ALTER TABLE t RENAME TO n',
  'DROP TABLE IF EXISTS u',
  'REINDEX t',
  'ANALYZE',
  'VACUUM',
  'PRAGMA table_info(t)',
  'PRAGMA main.integrity_check',
  'PRAGMA user_version = 5',
  'PRAGMA application_id(7)',
  'PRAGMA optimize',
  'PRAGMA incremental_vacuum(1)',
  'EXPLAIN QUERY PLAN SELECT * FROM t',
  'EXPLAIN DELETE FROM t',
  "SELECT count(*) FROM pragma_table_info('t')",
  "SELECT * FROM f WHERE f MATCH 'x'",
];

const FORBIDDEN = [
  'BEGIN',
  'BEGIN IMMEDIATE TRANSACTION',
  'COMMIT',
  'END TRANSACTION',
  'ROLLBACK',
  'ROLLBACK TO s',
  'SAVEPOINT s',
  'RELEASE s',
  `ATTACH '${FOREIGN_FILE}' AS other`,
  "ATTACH DATABASE ':memory:' AS other",
  'DETACH other',
  `VACUUM INTO '${FOREIGN_FILE}'`,
  `VACUUM main INTO '${FOREIGN_FILE}'`,
  'CREATE TEMP TABLE n(a)',
  'CREATE TEMPORARY VIEW n AS SELECT 1',
  'CREATE TEMP TRIGGER n AFTER INSERT ON t BEGIN SELECT 1; END',
  'CREATE TABLE temp.n(a)',
  'CREATE TABLE IF NOT EXISTS "temp".n AS SELECT 1',
  "CREATE VIEW 'temp'.n AS SELECT 1",
  'CREATE TRIGGER [temp].n AFTER INSERT ON t BEGIN SELECT 1; END',
  'CREATE VIRTUAL TABLE `temp`.n USING fts5(a)',
  'ANALYZE temp',
  "SELECT load_extension('x')",
  'SELECT "total_changes"()',
  'SELECT optimize(f3) FROM f3',
  'SELECT * FROM pragma_optimize',
  'INSERT INTO _skylinedb_meta VALUES (1)',
  'UPDATE "_skylinedb_meta" SET a = 9',
  "DELETE FROM '_skylinedb_meta'",
  "UPDATE OR IGNORE '_skylinedb_meta' SET a = 9",
  "DROP TABLE main.'_skylinedb_meta'",
  'ALTER TABLE [_skylinedb_meta] RENAME TO n',
  'CREATE INDEX i ON _skylinedb_meta(a)',
  "CREATE TRIGGER n AFTER INSERT ON t BEGIN DELETE FROM '_skylinedb_meta'; END",
  'PRAGMA journal_mode = DELETE',
  'PRAGMA "synchronous" = 0',
  'PRAGMA main.locking_mode(exclusive)',
  "PRAGMA 'foreign_keys' = off",
  'PRAGMA recursive_triggers = 1',
  'PRAGMA writable_schema = on',
  'PRAGMA query_only(1)',
  'PRAGMA encoding = "UTF-16"',
  'PRAGMA page_size = 8192',
  'PRAGMA schema_version = 99',
  'PRAGMA wal_checkpoint',
  'PRAGMA case_sensitive_like = 1',
  'PRAGMA cache_size = 5',
  'EXPLAIN PRAGMA defer_foreign_keys = 1',
];

/** What the connection remembers between batches; nothing that is let through may change it. */
const SETTINGS =
  'journal_mode synchronous locking_mode foreign_keys recursive_triggers writable_schema query_only encoding cache_size page_size temp_store trusted_schema ignore_check_constraints legacy_alter_table busy_timeout secure_delete read_uncommitted automatic_index reverse_unordered_selects cell_size_check max_page_count auto_vacuum cache_spill'.split(
    ' ',
  );

const template = new Database(':memory:');
template.exec(`
  PRAGMA auto_vacuum = incremental;
  CREATE TABLE t(a, b);
  INSERT INTO t VALUES (1, 2), (3, 'x');
  CREATE TABLE u(c);
  CREATE VIRTUAL TABLE f USING fts5(a);
  INSERT INTO f VALUES ('x y');
  CREATE VIRTUAL TABLE f3 USING fts4(a);
  INSERT INTO f3 VALUES ('x y');
  INSERT INTO f3 VALUES ('z');
  CREATE TABLE _skylinedb_meta(a);
  INSERT INTO _skylinedb_meta VALUES (1);
`);
const image = template.serialize();
template.close();
afterAll(() => rmSync(FOREIGN_FILE, { force: true }));

function settings(db: Database.Database): unknown {
  const values = SETTINGS.map((name) => [name, db.pragma(name, { simple: true })]);
  return [
    ...values,
    db.prepare("SELECT 'a' LIKE 'A'").pluck().get(),
    db.prepare("SELECT * FROM pragma_database_list WHERE name <> 'temp'").all(),
  ];
}

function ownTables(db: Database.Database): unknown {
  const names = db.prepare(
    "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name LIKE '\\_skyline%' ESCAPE '\\' OR tbl_name LIKE '\\_sky%' ESCAPE '\\'",
  );
  return [names.all(), db.prepare('SELECT * FROM _skylinedb_meta').all()];
}

function inspected(sql: string): StatementFacts | undefined {
  try {
    return inspectStatement(sql);
  } catch (error) {
    if (error instanceof SkylineError) return undefined;
    throw error;
  }
}

/** Whether SQLite takes it; if so it is run, and everything that it was let through for is checked. */
function runLikeTheDaemon(sql: string, facts: StatementFacts): boolean {
  const db = new Database(Buffer.from(image));
  try {
    const own = ownTables(db);
    const before = settings(db);
    if (!facts.isVacuum) db.exec('BEGIN; SAVEPOINT batch');
    const inTransaction = db.inTransaction;
    let statement: Database.Statement | undefined;
    try {
      statement = db.prepare(sql);
    } catch {}
    if (statement !== undefined) {
      const rowid = db.prepare('SELECT last_insert_rowid()').pluck();
      const rowidBefore = rowid.get();
      let changes = 0;
      try {
        const plan = parameterPlan(facts.variables);
        const args = bindParameters(plan, new Array(plan.count).fill(null), new FrameText(''));
        if (statement.reader) statement.all(...args);
        else changes = statement.run(...args).changes;
      } catch {}
      expect(db.inTransaction).toBe(inTransaction);
      if (!facts.mayWrite) {
        // EXPLAIN DELETE is not read-only for SQLite, although it only reads.
        if (!/explain/i.test(sql)) expect(statement.readonly).toBe(true);
      }
      if (changes > 0 && !facts.changesSchema) expect(facts.changesRows).toBe(true);
      if (!facts.mayWrite) expect(rowid.get()).toBe(rowidBefore);
      expect(db.prepare('SELECT count(*) FROM temp.sqlite_schema').pluck().get()).toBe(0);
    }
    if (!facts.isVacuum && facts.pragma === undefined)
      expect(db.pragma('defer_foreign_keys', { simple: true })).toBe(0);
    if (!facts.isVacuum) db.exec('RELEASE batch; COMMIT');
    // Only now: serialize() of such a database does not see what is not committed.
    if (!facts.mayWrite) expect(db.serialize().equals(image)).toBe(true);
    expect(settings(db)).toEqual(before);
    expect(ownTables(db)).toEqual(own);
    expect(existsSync(FOREIGN_FILE)).toBe(false);
    return statement !== undefined;
  } finally {
    db.close();
  }
}

const gap = fc.constantFrom(
  ' ',
  '\n',
  '\t ',
  '/**/',
  ' /* ; */ ',
  '--\n',
  "-- '\n",
  ' \ufeff',
  '\r\n',
  ' \v',
);
const lead = fc.constantFrom('', ';', ' ;; ', '/* ; */', '-- COMMIT\n', '\ufeff', '\ufeff;', ';/* " */;');
const prefix = fc.constantFrom(
  '',
  '',
  '',
  'EXPLAIN ',
  'explain/**/',
  'EXPLAIN QUERY PLAN ',
  'Explain--\nquery/**/plan\t',
);
const tail = fc.constantFrom('', ';', ' ;;', '--', '/*', '; -- x', ';/* ; */;');

/** The same tokens with other letters, other gaps, and things around them. */
function disguised(statement: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc
    .tuple(statement, prefix, lead, tail, fc.infiniteStream(gap), fc.infiniteStream(fc.boolean()))
    .map(([sql, before, start, end, gaps, flips]) => {
      const texts = tokenize(before + sql).map((token) => {
        if (token.kind !== 'word') return token.text;
        return [...token.text].map((c) => (flips.next().value ? c.toUpperCase() : c.toLowerCase())).join('');
      });
      return start + texts.map((text) => text + gaps.next().value).join('') + end;
    });
}

const statement = fc.constantFrom(...ALLOWED, ...FORBIDDEN);
const scraps = [
  ...new Set([...ALLOWED, ...FORBIDDEN].flatMap((sql) => tokenize(sql).map((token) => token.text))),
  ...['temp', '"temp"', '.', ';', '(', ')', 'END', 'EXPLAIN', "'", '"', '\u00a0', '\u212a'],
];

/** Statements with tokens put in, left out, or taken from another one's end. */
const mangled = fc
  .tuple(
    statement,
    statement,
    fc.array(fc.tuple(fc.nat(20), fc.nat(2), fc.constantFrom(...scraps)), { maxLength: 3 }),
    fc.nat(12),
  )
  .map(([first, second, edits, cut]) => {
    const texts = tokenize(first).map((token) => token.text);
    if (cut < texts.length && cut > 6)
      texts.splice(
        cut,
        texts.length,
        ...tokenize(second)
          .map((token) => token.text)
          .slice(cut - 6),
      );
    for (const [at, drop, scrap] of edits)
      texts.splice(at % (texts.length + 1), drop, ...(drop === 2 ? [] : [scrap]));
    return texts.join(' ');
  });

describe('compared with SQLite itself', () => {
  test.each(ALLOWED)('%s is let through, and SQLite takes it', (sql) => {
    const facts = inspected(sql);
    expect(facts).toBeDefined();
    if (facts) expect(runLikeTheDaemon(sql, facts)).toBe(true);
  });

  test.each(FORBIDDEN)('%s is refused', (sql) => {
    expect(inspected(sql)).toBeUndefined();
  });

  test('no disguise makes a forbidden statement pass', () => {
    fc.assert(
      fc.property(disguised(fc.constantFrom(...FORBIDDEN)), (sql) => {
        const facts = inspected(sql);
        // Asking how the daemon's tables would be written is reading.
        if (/explain.*_skylinedb/is.test(sql)) expect(facts?.mayWrite).toBe(false);
        // SQLite takes one EXPLAIN only, and the guard leaves that error to it.
        else if (/explain.*explain/is.test(sql))
          expect(facts === undefined || !runLikeTheDaemon(sql, facts)).toBe(true);
        else expect(facts).toBeUndefined();
      }),
      { numRuns: 2000 },
    );
  });

  test('a disguise changes nothing about an allowed statement', () => {
    fc.assert(
      fc.property(
        disguised(fc.constantFrom(...ALLOWED.filter((sql) => !/^(EXPLAIN|PRAGMA)/.test(sql)))),
        (sql) => {
          const facts = inspected(sql);
          expect(facts).toBeDefined();
          const explained = /explain/i.test(sql);
          const plain = tokenize(sql).filter((token) => !isOperator(token, ';') || /trigger/i.test(sql));
          expect(facts?.variables).toEqual(
            plain.filter(({ kind }) => kind === 'variable').map(({ text }) => text),
          );
          if (explained) expect(facts?.mayWrite).toBe(false);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('whatever passes leaves transaction, settings, other files and own tables alone', () => {
    let taken = 0;
    fc.assert(
      fc.property(fc.oneof(mangled, disguised(mangled), disguised(statement)), (sql) => {
        const facts = inspected(sql);
        if (facts !== undefined && runLikeTheDaemon(sql, facts)) taken += 1;
      }),
      { numRuns: 3000 },
    );
    expect(taken).toBeGreaterThan(100);
  });

  test('every PRAGMA of this SQLite that passes as a table only reads', () => {
    const db = new Database(':memory:');
    const names = db.prepare('SELECT name FROM pragma_pragma_list').pluck().all() as string[];
    const tables = names.filter((name) => {
      try {
        db.prepare(`SELECT * FROM pragma_${name}`);
        return true;
      } catch {
        return false;
      }
    });
    db.close();
    expect(tables.length).toBeGreaterThan(40);
    for (const name of tables) {
      const sql = `SELECT * FROM pragma_${name}`;
      const facts = inspected(sql);
      expect(facts === undefined).toBe(name === 'optimize');
      if (facts) expect(runLikeTheDaemon(sql, facts)).toBe(true);
    }
  });

  test('every PRAGMA of this SQLite is refused unless it is on the list', () => {
    const db = new Database(':memory:');
    const names = db.prepare('SELECT name FROM pragma_pragma_list').pluck().all() as string[];
    db.close();
    for (const sql of names.flatMap((name) => [
      `PRAGMA ${name}`,
      `PRAGMA ${name} = 1`,
      `PRAGMA main.${name}(0)`,
    ])) {
      const facts = inspected(sql);
      if (facts) runLikeTheDaemon(sql, facts);
    }
    expect(names.filter((name) => inspected(`PRAGMA ${name}`) !== undefined)).toHaveLength(27);
  });

  test('SQLite really does the harm that is refused', () => {
    const db = new Database(Buffer.from(image));
    db.exec('BEGIN');
    db.prepare('EXPLAIN PRAGMA defer_foreign_keys = 1');
    expect(db.pragma('defer_foreign_keys', { simple: true })).toBe(1);
    db.exec('COMMIT');
    const optimize = db.prepare('SELECT optimize(f3) FROM f3 LIMIT 1');
    expect(optimize.readonly).toBe(true);
    expect(db.serialize().equals(image)).toBe(true);
    optimize.all();
    expect(db.serialize().equals(image)).toBe(false);
    // Whatever the eight bytes say is from then on an address that SQLite calls.
    expect(() => db.prepare("SELECT fts3_tokenizer('mine', ?)").all(Buffer.alloc(8, 1))).not.toThrow();
    db.close();
  });
});
