import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Connection } from '../../../daemon/worker/connection.js';
import { inspectStatement } from '../../../daemon/worker/guard.js';
import { nothingDone } from '../../../daemon/worker/statement-outcome.js';
import { type Tables, WrittenTables } from '../../../daemon/worker/written-tables.js';
import { LIMITS } from '../protocol/samples.js';

const SCHEMA = [
  'CREATE TABLE stars (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, size INTEGER CHECK (size < 100))',
  'CREATE TABLE planets (id INTEGER PRIMARY KEY, star REFERENCES stars ON DELETE CASCADE ON UPDATE CASCADE, name TEXT)',
  'CREATE TABLE moons (id INTEGER PRIMARY KEY, planet REFERENCES planets ON DELETE SET NULL)',
  'CREATE TABLE names (name TEXT PRIMARY KEY, times INTEGER DEFAULT 1) WITHOUT ROWID',
  'CREATE TABLE log (what TEXT)',
  'CREATE TABLE old (id INTEGER PRIMARY KEY, name TEXT)',
  'CREATE INDEX by_size ON stars (size)',
  'CREATE VIEW big AS SELECT id, name FROM stars WHERE size > 50',
  "CREATE TRIGGER big_stars INSTEAD OF INSERT ON big BEGIN INSERT INTO stars (name, size) VALUES (new.name, 60); INSERT INTO log VALUES ('big'); END",
  'CREATE TRIGGER named AFTER INSERT ON planets WHEN new.name IS NOT NULL BEGIN INSERT INTO names (name) VALUES (new.name) ON CONFLICT DO UPDATE SET times = times + 1; END',
  'CREATE TRIGGER kept BEFORE DELETE ON stars BEGIN INSERT OR REPLACE INTO old VALUES (old.id, old.name); END',
  'CREATE VIRTUAL TABLE texts USING fts5(body)',
  'CREATE VIRTUAL TABLE words USING fts4(body)',
  'CREATE VIRTUAL TABLE "the ""places""" USING rtree(id, x0, x1)',
  'CREATE TRIGGER told AFTER UPDATE ON log BEGIN INSERT INTO texts VALUES (new.what); END',
];

let connection: Connection;
beforeEach(() => {
  connection = Connection.open(':memory:', { create: true, limits: LIMITS, durability: 'normal' });
  for (const sql of SCHEMA) connection.handle.exec(sql);
  connection.written = new WrittenTables(connection.handle);
});
afterEach(() => connection.close());

/** Runs a batch and says what it has written to; rolls it back if it fails. */
function batch(...stmts: readonly (string | readonly [sql: string, ...bindings: unknown[]])[]): Tables {
  const list = stmts.map((stmt) => (typeof stmt === 'string' ? ([stmt] as const) : stmt));
  connection.begin(true, 'normal');
  try {
    connection.beginBatch(list.map(([sql]) => ({ sql })));
    for (const [sql, ...bindings] of list)
      connection.run(sql, inspectStatement(sql), bindings, { left: 100_000 }, true, nothingDone());
    const tables = connection.takeWritten();
    connection.commit();
    return tables;
  } finally {
    connection.rollback();
  }
}

describe('a batch has written to', () => {
  test.each([
    ['its table, indexes or not', ['INSERT INTO stars (size) VALUES (1)'], ['stars']],
    ['nothing, if it only reads', ['SELECT * FROM stars', 'EXPLAIN DELETE FROM stars', 'VALUES (1)'], []],
    ['nothing, with PRAGMAs', ['PRAGMA user_version = 3', 'PRAGMA optimize'], []],
    ['a table whose rows it could not find', ['UPDATE names SET times = 1 WHERE 0'], ['names']],
    ['what a trigger writes to', ["INSERT INTO planets (name) VALUES ('x')"], ['names', 'planets']],
    ['what a trigger of a view writes to', ['INSERT INTO big (name) VALUES (NULL)'], ['log', 'stars']],
    ['what a trigger of a trigger writes to', ["UPDATE log SET what = 'x'"], ['log', 'texts']],
    ['foreign keys, and triggers', ['DELETE FROM stars WHERE id = 1'], ['moons', 'old', 'planets', 'stars']],
    ['foreign keys of an update', ['UPDATE stars SET id = id + 1'], ['planets', 'stars']],
    ['foreign keys of a REPLACE', ['REPLACE INTO planets (id) VALUES (1)'], ['moons', 'names', 'planets']],
    ['a table that is emptied at once', ['DELETE FROM log'], ['log']],
    ['one without rowid that is emptied', ['DELETE FROM names'], ['names']],
    ['virtual tables', ["INSERT INTO texts VALUES ('x')", 'DELETE FROM words'], ['texts', 'words']],
    ['a strange name', ['REPLACE INTO "the ""places""" VALUES (1, 2, 3)'], ['the "places"']],
    ['what WITH leads to', ['WITH a AS (SELECT 1) INSERT INTO log SELECT * FROM a'], ['log']],
    ['behind semicolons and comments', [' ; /* ; */ ; -- x\n DELETE FROM log;;'], ['log']],
    ['a RETURNING', ["INSERT INTO log VALUES ('x') RETURNING what"], ['log']],
    ['an index that is made anew', ['REINDEX by_size'], ['stars']],
    ['nothing, by ANALYZE', ['ANALYZE'], []],
  ])('%s', (_what, stmts, tables) => {
    expect(batch(...stmts)).toEqual(tables);
    // From memory, too.
    expect(batch(...stmts)).toEqual(tables);
  });

  test.each([
    ['a table that it makes', ['CREATE TABLE a (x)'], ['a']],
    ['one that is there already', ['CREATE TABLE IF NOT EXISTS log (x)'], []],
    ['a table from a query', ['CREATE TABLE a AS SELECT * FROM stars'], ['a']],
    ['a table that it makes and fills', ['CREATE TABLE a (x)', 'INSERT INTO a VALUES (1)'], ['a']],
    ['one that it writes to and drops', ["INSERT INTO old (name) VALUES ('x')", 'DROP TABLE old'], ['old']],
    ['one that is dropped, and what hangs on it', ['DROP TABLE planets'], ['moons', 'planets']],
    ['the table of an index', ['CREATE INDEX i ON names (times)', 'DROP INDEX by_size'], ['names', 'stars']],
    ['the table of a trigger', ['DROP TRIGGER kept'], ['stars']],
    ['a view', ['DROP VIEW big', 'CREATE VIEW small AS SELECT 1'], ['big', 'small']],
    ['a column that is added', ['ALTER TABLE log ADD COLUMN n'], ['log']],
    ['a column that goes', ['ALTER TABLE names DROP COLUMN times'], null],
    ['a new name, and what names it', ['ALTER TABLE log RENAME TO logged'], ['big', 'log', 'logged']],
    [
      'a virtual table, and the tables in which it is kept',
      ['CREATE VIRTUAL TABLE v USING rtree(id, x0, x1)'],
      ['v', 'v_node', 'v_parent', 'v_rowid'],
    ],
  ])('%s', (_what, stmts, tables) => {
    if (tables === null) {
      // The trigger that uses it would be broken.
      expect(() => batch(...stmts)).toThrow('after drop column');
      expect(batch('DROP TRIGGER named', ...stmts)).toEqual(['names', 'planets']);
    } else expect(batch(...stmts)).toEqual(tables);
  });

  test('tables of parameters, which need not be kept', () => {
    expect(batch(['INSERT INTO log VALUES (?)', 'a'], ['UPDATE log SET what = ?', Buffer.from('x')])).toEqual(
      ['log', 'texts'],
    );
    const named = ['UPDATE names SET times = :n WHERE name = $a', { n: 1, a: 'x' }] as const;
    expect(batch(named)).toEqual(['names']);
    expect(batch(['INSERT INTO log VALUES (?2 || :a)', 'x', { 2: 'x', a: 'y' }])).toEqual(['log']);
  });

  test('what it says is of the schema as it is by then', () => {
    const insert = "INSERT INTO log VALUES ('x')";
    expect(batch(insert)).toEqual(['log']);
    connection.handle.exec('CREATE TRIGGER t AFTER INSERT ON log BEGIN DELETE FROM old; END');
    expect(batch(insert)).toEqual(['log', 'old']);
    expect(batch(insert, 'DROP TRIGGER t', insert)).toEqual(['log', 'old']);
    expect(batch(insert)).toEqual(['log']);
    const trigger = 'CREATE TRIGGER t AFTER INSERT ON log BEGIN DELETE FROM moons; END';
    expect(() => batch(trigger, insert, 'SELECT * FROM nowhere')).toThrow();
    expect(batch(insert)).toEqual(['log']);
    expect(batch(trigger.replace('moons', 'names'), insert)).toEqual(['log', 'names']);
  });

  test('what is not known, if it changes the schema and could see that it was looked at', () => {
    expect(batch('CREATE TABLE a (x)', 'SELECT changes()')).toBe(null);
    expect(batch('INSERT INTO log SELECT changes()')).toEqual(['log']);
    batch('CREATE TRIGGER c AFTER INSERT ON old BEGIN INSERT INTO log SELECT changes(); END');
    expect(batch('CREATE TABLE b (x)')).toBe(null);
  });

  test('what is not known, if it has too many different statements', () => {
    expect(batch(...Array.from({ length: 300 }, (_, n) => `INSERT INTO log VALUES ('${n}')`))).toBe(null);
    expect(batch('DELETE FROM log')).toEqual(['log']);
  });

  test('nothing of a batch that has failed', () => {
    expect(() => batch("INSERT INTO log VALUES ('x')", 'INSERT INTO stars (size) VALUES (200)')).toThrow();
    expect(batch('DELETE FROM old')).toEqual(['old']);
  });
});

const small = fc.integer({ min: 1, max: 6 });
const statement = fc.oneof(
  fc
    .tuple(small, small)
    .map(([id, n]) => `INSERT OR REPLACE INTO stars (id, name, size) VALUES (${id}, 's${n}', ${n * 20})`),
  fc
    .tuple(small, small)
    .map(([id, star]) => `INSERT OR IGNORE INTO planets VALUES (${id}, ${star}, 'p${star}')`),
  fc.tuple(small, small).map(([id, star]) => `REPLACE INTO planets (id, star) VALUES (${id}, ${star})`),
  fc.tuple(small, small).map(([id, planet]) => `INSERT OR IGNORE INTO moons VALUES (${id}, ${planet})`),
  small.map((n) => `INSERT INTO big (name) VALUES ('b${n}')`),
  small.map((n) => `UPDATE stars SET id = id + 10 WHERE id = ${n}`),
  small.map((n) => `DELETE FROM stars WHERE id = ${n} RETURNING id`),
  small.map((n) => `DELETE FROM planets WHERE id > ${n}`),
  small.map((n) => `UPDATE log SET what = 'w${n}'`),
  small.map((n) => `INSERT INTO "the ""places""" VALUES (${n}, ${n}, ${n})`),
  small.map((n) => `CREATE TABLE IF NOT EXISTS t${n} AS SELECT * FROM names`),
  small.map((n) => `DROP TABLE IF EXISTS t${n}`),
  small.map(
    (n) =>
      `CREATE TRIGGER IF NOT EXISTS x${n} AFTER DELETE ON planets BEGIN INSERT INTO log VALUES ('x${n}'); END`,
  ),
  fc.constantFrom(
    'DELETE FROM log',
    'DELETE FROM names',
    'DELETE FROM stars',
    'SELECT * FROM stars',
    'DROP TABLE moons',
  ),
);

/** Every table's contents, and its schema; of virtual tables what one sees of them. */
function contents(): Map<string, string> {
  const { handle } = connection;
  const names = handle
    .prepare(
      "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual') AND name NOT LIKE 'sqlite%'",
    )
    .pluck()
    .all() as string[];
  return new Map(
    names.map((name) => [
      name,
      JSON.stringify([
        handle.prepare('SELECT sql FROM sqlite_schema WHERE tbl_name = ? ORDER BY 1').all(name),
        handle.prepare(`SELECT * FROM "${name.replaceAll('"', '""')}" ORDER BY 1`).all(),
      ]),
    ]),
  );
}

test('every table that has changed is among those that were written to', () => {
  let changes = 0;
  let untouched = 0;
  fc.assert(
    fc.property(
      fc.array(fc.array(statement, { minLength: 1, maxLength: 4 }), { maxLength: 12 }),
      (batches) => {
        const fresh = Connection.open(':memory:', { create: true, limits: LIMITS, durability: 'normal' });
        connection.close();
        connection = fresh;
        for (const sql of SCHEMA) connection.handle.exec(sql);
        connection.written = new WrittenTables(connection.handle);
        for (const stmts of batches) {
          const before = contents();
          let tables: Tables;
          try {
            tables = batch(...stmts);
          } catch {
            continue;
          }
          const after = contents();
          const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
            (name) => before.get(name) !== after.get(name),
          );
          changes += changed.length;
          untouched += (tables?.length ?? 0) < after.size ? 1 : 0;
          expect(tables).toEqual(expect.arrayContaining(changed));
        }
      },
    ),
    { numRuns: 200 },
  );
  expect(changes).toBeGreaterThan(200);
  expect(untouched).toBeGreaterThan(200);
});
