import { describe, expect, test } from 'vitest';
import { inspectStatement, type StatementFacts } from '../../../daemon/worker/guard.js';
import { SkylineError } from '../../../protocol/errors.js';

const READS: StatementFacts = {
  mayWrite: false,
  changesRows: false,
  inserts: false,
  changesSchema: false,
  isVacuum: false,
  pragma: undefined,
  observes: false,
  readsOwnTables: false,
  variables: [],
};

function refusal(sql: string): SkylineError {
  try {
    inspectStatement(sql);
  } catch (error) {
    if (error instanceof SkylineError) return error;
    throw error;
  }
  throw new Error(`not refused: ${sql}`);
}

function expectRefused(sql: string, message: RegExp | string = /./): void {
  const error = refusal(sql);
  expect(error.code).toBe('STATEMENT_NOT_ALLOWED');
  expect(error.outcome).toBe('not_applied');
  expect(error.message).toMatch(message);
  // What is refused, then why and what to use instead.
  expect(error.message).toMatch(/^\S.* not allowed: .{20,}\.$/);
}

describe('what a statement does', () => {
  test.each([
    'SELECT 1',
    'select * from insert_log',
    'VALUES (1), (2)',
    'WITH a AS (SELECT 1) SELECT * FROM a',
    'WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a) SELECT n FROM a',
    'WITH replace AS (SELECT 1), "delete"(x) AS NOT MATERIALIZED (SELECT 2) VALUES (3)',
    'SELECT replace(a, b, c), "insert", [update] FROM t',
    'EXPLAIN INSERT INTO t VALUES (1)',
    'explain query plan DELETE FROM t',
    'EXPLAIN CREATE TABLE t(a)',
    'EXPLAIN VACUUM',
    '; ;SELECT 1 ; ; -- done',
    '\ufeffSELECT 1',
  ])('%j reads', (sql) => {
    expect(inspectStatement(sql)).toEqual(READS);
  });

  test.each([
    'INSERT INTO t VALUES (1)',
    'replace into t values (1)',
    'INSERT OR IGNORE INTO t SELECT 1',
    'WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x',
    'with x(a) as materialized (select 1), y as (values (2))replace/**/into t select 1',
    'INSERT INTO t VALUES (1) RETURNING a',
  ])('%j inserts', (sql) => {
    expect(inspectStatement(sql)).toEqual({ ...READS, mayWrite: true, changesRows: true, inserts: true });
  });

  test.each([
    'UPDATE t SET a = 1',
    'DELETE FROM t',
    'WITH x AS (SELECT 1) DELETE FROM t WHERE a IN (SELECT * FROM x)',
    'with [a] as (select \')\'), "b"("as") as (values(1)) update t set a = 2',
    'WITH x AS (SELECT (1) FROM t) DELETE FROM t',
    ';/* SELECT */ delete from t returning *',
  ])('%j changes rows', (sql) => {
    expect(inspectStatement(sql)).toEqual({ ...READS, mayWrite: true, changesRows: true });
  });

  test.each([
    'CREATE TABLE t(a)',
    'create table x as select 1',
    'CREATE UNIQUE INDEX IF NOT EXISTS i ON t(a)',
    'CREATE VIEW v AS SELECT 1',
    'DROP TABLE t',
    'ALTER TABLE t RENAME TO temp',
    'REINDEX',
    'ANALYZE',
    'ANALYZE main.t',
    'CREATE TABLE temp(a)',
    'CREATE TABLE main.temp(a)',
    'CREATE TABLE temporary(temp.a)',
    'CREATE VIEW v AS SELECT temp.a FROM t AS temp',
  ])('%j changes the schema', (sql) => {
    expect(inspectStatement(sql)).toEqual({ ...READS, mayWrite: true, changesSchema: true });
  });

  test('VACUUM is known as such', () => {
    const vacuum = { ...READS, mayWrite: true, changesSchema: true, isVacuum: true };
    expect(inspectStatement('VACUUM')).toEqual(vacuum);
    expect(inspectStatement('vacuum main;')).toEqual(vacuum);
    expect(inspectStatement('VACUUM "into"')).toEqual(vacuum);
  });

  test.each([
    '',
    'SELCT 1',
    '(SELECT 1)',
    '"COMMIT"',
    '[begin]',
    '\u00a0COMMIT',
    'WITH',
    'WITH x AS (SELECT 1',
  ])('%j, which is no SQL, may write for all we know', (sql) => {
    expect(inspectStatement(`${sql} x`)).toEqual({ ...READS, mayWrite: true });
  });

  test('its parameters are listed as written, in order of appearance', () => {
    const { variables } = inspectStatement(
      'EXPLAIN SELECT ?, \':no\', ?2, :name, "@no" /* $no */, @a, $a, #b, ?',
    );
    expect(variables).toEqual(['?', '?2', ':name', '@a', '$a', '#b', '?']);
  });

  test('the arguments of a virtual table hold no parameters', () => {
    expect(inspectStatement('CREATE VIRTUAL TABLE f USING fts5(a, tokenize = x :a ?)').variables).toEqual([]);
  });
});

describe('transaction control and other files are refused', () => {
  const verbs = [
    'BEGIN',
    'COMMIT',
    'END',
    'ROLLBACK',
    'SAVEPOINT a',
    'RELEASE a',
    'ATTACH ? AS a',
    'DETACH a',
  ];

  test.each(verbs)('%s', (sql) => {
    const verb = sql.split(' ')[0] ?? '';
    expectRefused(sql, new RegExp(`^${verb} is not allowed: .*(ExecBatch|request)`));
    expectRefused(`;;/**/ ${sql.toLowerCase()};`, verb);
    expectRefused(`-- x\n/* y */\ufeff${sql}/*`, verb);
    expectRefused(`EXPLAIN ${sql}`, verb);
    expectRefused(`explain/**/query--\nplan ${sql}`, verb);
    expectRefused(`WITH x AS (SELECT 1) ${sql}`, verb);
  });

  test.each(["VACUUM INTO 'x'", "VACUUM main INTO 'x'", 'vacuum"main"into?', "EXPLAIN VACUUM/**/INTO 'x'"])(
    '%s, which writes another file',
    (sql) => {
      expectRefused(sql, /^VACUUM INTO .*Backup/);
    },
  );
});

describe('TEMP objects are refused', () => {
  test.each([
    'CREATE TEMP TABLE t(a)',
    'create temporary view v as select 1',
    'CREATE TEMP TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END',
    'CREATE TABLE temp.t(a)',
    'CREATE TABLE IF NOT EXISTS temp.t(a)',
    'CREATE TABLE "TEMP".t(a)',
    "CREATE TABLE 'temp'/**/. t(a)",
    'CREATE TABLE [Temp].t AS SELECT 1',
    'CREATE VIEW `temp`.v AS SELECT 1',
    'CREATE VIRTUAL TABLE IF NOT EXISTS temp.f USING fts5(a)',
    'CREATE TRIGGER temp.r AFTER INSERT ON t BEGIN SELECT 1; END',
    'CREATE UNIQUE INDEX temp.i ON t(a)',
    'EXPLAIN CREATE TEMP TABLE t(a)',
    'ANALYZE temp',
    'ANALYZE "temp".sqlite_schema',
  ])('%s', (sql) => {
    expectRefused(sql, /TEMP object.*ordinary table/);
  });
});

describe('calls that reach out of the batch are refused', () => {
  test.each([
    "SELECT load_extension('x')",
    "SELECT LOAD_extension /**/ ('x')",
    'SELECT "load_extension"(?)',
    'SELECT a FROM t ORDER BY [load_extension](a)',
    'CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT `load_extension`(new.a); END',
    'CREATE VIEW v AS SELECT load_extension(1)',
    'SELECT total_changes()',
    'SELECT * FROM t JOIN u ON total_changes()',
    "SELECT fts3_tokenizer('simple', ?)",
    'SELECT optimize(f) FROM f LIMIT 1',
    'EXPLAIN SELECT total_changes()',
  ])('%s', (sql) => {
    expectRefused(sql, /^A call of \w+\(\) /);
  });

  test.each([
    'SELECT load_extension, total_changes FROM t',
    "SELECT 'load_extension' || (1)",
    'CREATE TABLE IF NOT EXISTS optimize(a)',
    'INSERT INTO optimize(a) VALUES (changes())',
    'CREATE TABLE t(a REFERENCES optimize(a))',
    "INSERT INTO f(f) VALUES ('optimize')",
  ])('but not %s', (sql) => {
    expect(() => inspectStatement(sql)).not.toThrow();
  });

  test.each([
    'SELECT * FROM pragma_optimize',
    "SELECT * FROM ('pragma_optimize')",
    'SELECT * FROM "PRAGMA_optimize"(-1)',
  ])('%s: a PRAGMA that writes, in the clothes of a table', (sql) => {
    expectRefused(sql, /PRAGMA optimize/);
  });
});

describe('a PRAGMA', () => {
  const queries = [
    'table_info table_xinfo table_list index_list index_info index_xinfo',
    'foreign_key_list foreign_key_check integrity_check quick_check',
  ];
  const bare = [
    'page_count page_size freelist_count encoding collation_list function_list module_list pragma_list',
    'compile_options database_list schema_version data_version',
  ];
  const names = (lines: string[]): string[] => lines.join(' ').split(' ');

  test.each(names(queries))('%s may be asked in every form', (name) => {
    const forms = [
      name,
      `${name}=t`,
      `${name}(t)`,
      `main.${name}`,
      `"Main".'${name}'("t")`,
      `[${name}] = 't'`,
    ];
    for (const form of forms) {
      expect(inspectStatement(`PRAGMA ${form}`)).toEqual({ ...READS, pragma: name });
    }
    expect(inspectStatement(`explain query plan pragma ${name.toUpperCase()}(t)`)).toEqual(READS);
  });

  test.each(names(bare))('%s may be asked without an argument', (name) => {
    expect(inspectStatement(`PRAGMA ${name}`)).toEqual({ ...READS, pragma: name });
    expect(inspectStatement(`PRAGMA main.${name};`)).toEqual({ ...READS, pragma: name });
    expectRefused(`PRAGMA ${name} = 1`, /with an argument/);
    expectRefused(`PRAGMA main.${name}(1)`, /with an argument/);
  });

  test.each(['user_version', 'application_id', 'defer_foreign_keys'])(
    '%s reads, and writes with one',
    (pragma) => {
      expect(inspectStatement(`PRAGMA ${pragma}`)).toEqual({ ...READS, pragma });
      expect(inspectStatement(`PRAGMA ${pragma} = 1`)).toEqual({ ...READS, pragma, mayWrite: true });
      expect(inspectStatement(`PRAGMA main.${pragma}(-1)`)).toEqual({ ...READS, pragma, mayWrite: true });
      // Under EXPLAIN SQLite sets defer_foreign_keys all the same.
      expectRefused(`EXPLAIN PRAGMA ${pragma} = 1`, /EXPLAIN PRAGMA/);
    },
  );

  test('that works on the file is allowed and writes', () => {
    const optimize = { ...READS, pragma: 'optimize', mayWrite: true, changesSchema: true };
    expect(inspectStatement('PRAGMA optimize')).toEqual(optimize);
    expect(inspectStatement('PRAGMA main.optimize(0x10002)')).toEqual(optimize);
    expect(inspectStatement('PRAGMA incremental_vacuum(9)')).toEqual({
      ...READS,
      pragma: 'incremental_vacuum',
      mayWrite: true,
    });
  });

  test.each([
    'PRAGMA journal_mode',
    'PRAGMA synchronous = OFF',
    'pragma/**/"synchronous"(0)',
    "PRAGMA'journal_mode'=delete",
    ';;EXPLAIN QUERY PLAN PRAGMA synchronous=OFF',
    '/* */--\n pragma wal_checkpoint(TRUNCATE)',
    'PRAGMA main.locking_mode = exclusive',
    'PRAGMA foreign_keys = off',
    'PRAGMA writable_schema(1)',
    'PRAGMA query_only = 1',
    'PRAGMA temp_store_directory = x',
    'PRAGMA main.main.user_version',
    'PRAGMA a"user_version"',
    'PRAGMA',
    'PRAGMA ?',
  ])('%j is not on the list', (sql) => {
    expectRefused(sql, /^(EXPLAIN )?PRAGMA .*settings belong to the daemon.*user_version/);
  });

  test.each(['temp', '"temp"', 'other', "''"])('of the schema %s is refused', (schema) => {
    expectRefused(`PRAGMA ${schema}.table_info(t)`, /another schema.*"main"/);
  });
});

describe("the daemon's own tables", () => {
  test.each([
    'INSERT INTO _skylinedb_meta VALUES (1)',
    'update "_SkylineDB_meta" set a = 1',
    "DELETE FROM '_skylinedb_meta'",
    "DELETE FROM main . '_skylinedb_meta'",
    "UPDATE OR FAIL '_skylinedb_meta' SET a = 1",
    "REPLACE INTO '_skylinedb_meta' VALUES (1)",
    "WITH x AS (SELECT 1) DELETE FROM '_skylinedb_meta'",
    'DROP TABLE IF EXISTS [_skylinedb_meta]',
    "DROP TABLE IF EXISTS '_skylinedb_meta'",
    "ALTER TABLE t RENAME TO '_skylinedb_x'",
    "ALTER TABLE '_skylinedb_meta' ADD COLUMN a",
    "CREATE TABLE '_skylinedb_x'(a)",
    "CREATE INDEX i ON '_skylinedb_meta'(a)",
    "CREATE TRIGGER r AFTER INSERT ON '_skylinedb_meta' BEGIN SELECT 1; END",
    'CREATE TRIGGER r AFTER INSERT ON t BEGIN DELETE FROM `_skylinedb_meta`; END',
    "CREATE TRIGGER r AFTER INSERT ON t BEGIN UPDATE OR REPLACE '_skylinedb_meta' SET a = 1; END",
    'CREATE VIEW v AS SELECT * FROM _skylinedb_meta',
    "CREATE TABLE t(a REFERENCES '_skylinedb_meta' ON DELETE CASCADE)",
    'ANALYZE _skylinedb_meta',
    'CREATE VIRTUAL TABLE _skylinedb USING fts5(a)',
    "ALTER TABLE f RENAME TO '_skylinedb'",
  ])('are not written by %s', (sql) => {
    expectRefused(sql, /^Writing with the name "_skylinedb/i);
  });

  test.each([
    'SELECT * FROM _skylinedb_meta',
    'PRAGMA table_info(_skylinedb_meta)',
    'EXPLAIN DELETE FROM _skylinedb_meta',
    "INSERT INTO t VALUES ('_skylinedb_meta')",
    "UPDATE t SET a = '_skylinedb_x' WHERE b LIKE '_skylinedb_%'",
    'INSERT INTO skylinedb_ VALUES (1)',
    'CREATE TABLE _skylinedbs(a)',
    'CREATE TABLE _s\u212aylinedb_x(a)',
  ])('do not forbid %s', (sql) => {
    expect(() => inspectStatement(sql)).not.toThrow();
  });
});

describe('one statement at a time', () => {
  test.each([
    'SELECT 1; SELECT 2',
    'SELECT 1;;/**/;SELECT 2',
    "INSERT INTO t VALUES (';'); x",
    'EXPLAIN; COMMIT',
    "SELECT 1; 'open",
    'CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END; SELECT 2',
    'CREATE TABLE trigger(a); END; SELECT 1',
  ])('%j is refused', (sql) => {
    expectRefused(sql, /More than one statement.*"stmts"/);
  });

  test.each([
    'CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END',
    'create trigger if not exists r update of a on t for each row when new.a begin delete from t; select 1; end;;',
    'CREATE TRIGGER r INSERT ON t BEGIN UPDATE t SET a = CASE WHEN a THEN 1 ELSE CASE a WHEN 2 THEN 3 END END; END',
    'CREATE TRIGGER "end" INSERT ON t BEGIN SELECT CASE 1 WHEN 2 THEN 3 END; SELECT ";" ; /* ; */ END -- ;',
  ])('%j is one', (sql) => {
    expect(inspectStatement(sql)).toEqual({ ...READS, mayWrite: true, changesSchema: true });
  });

  test.each(['', ' \n', ';', ';;;', '-- SELECT 1', '/* SELECT 1', '\ufeff;'])('%j has none', (sql) => {
    expect(refusal(sql)).toMatchObject({ code: 'INVALID_REQUEST', message: /no statement/ });
  });

  test('a NUL, where SQLite stops reading, is refused', () => {
    expect(refusal('SELECT 1;\0 COMMIT')).toMatchObject({ code: 'INVALID_REQUEST' });
    expect(refusal("SELECT '\0'").message).toMatch(/NUL/);
  });

  test('text that UTF-8 cannot hold is refused instead of changed', () => {
    expect(refusal("SELECT '\ud800'").message).toMatch(/lone surrogate/);
  });
});

test('a megabyte of SQL is judged in linear time', () => {
  // Were each token as long as what is before it, the test's time would be over many times.
  const values = "(?, 'it''s', x'00', 1.5e3),".repeat(2 ** 15);
  expect(inspectStatement(`INSERT INTO t VALUES ${values}(1)`).variables).toHaveLength(2 ** 15);
  expect(() => inspectStatement(`WITH a AS ${'('.repeat(2 ** 20)}`)).not.toThrow();
  expect(() => inspectStatement(`CREATE TRIGGER r ${'; a END'.repeat(2 ** 17)}`)).not.toThrow();
});
