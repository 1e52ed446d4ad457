import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CLI_MAIN, finished, Playground, until } from '../support/playground.js';
import { HAS_TERMINAL, Terminal } from '../support/terminal.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

/** Never ends, and takes no memory. */
const ENDLESS = 'WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c;';
const MAKE =
  "CREATE TABLE stars (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO stars (name) VALUES ('Vega'), (NULL);";

const pipe = (input: string, args: readonly string[] = []) =>
  ground.cli(['shell', '--db', 'stars.db', ...args], { input });
const sqlite3 = (sql: string, file = 'stars.db') => ground.sqlite3(ground.file(file), sql);

/** A statement that does not end runs: its worker is too busy to tell its figures. */
async function writes(): Promise<void> {
  await until('it runs', async () => {
    const { stdout } = await ground.cli(['status', '--json']);
    return JSON.parse(stdout).databases[0].stale === true;
  });
}

describe('in a pipe', () => {
  test('runs what comes in, with a semicolon at the end or without', async () => {
    expect(await ground.cli(['shell'], { input: 'select 1;' })).toMatchObject({
      code: 0,
      stdout: '1\n1\n',
      stderr: '',
    });
    const { code, stdout, stderr } = await pipe(`${MAKE}\n-- all;\nSELECT *\nFROM stars\nORDER BY id`);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toBe('id\tname\n1\tVega\n2\t\\N\n');
    expect(await sqlite3('SELECT count(*) FROM stars')).toBe('2');
  });

  test('Ctrl-C stops what runs, says what became of it, and ends the shell as the signal does', async () => {
    await pipe(MAKE);
    const child = ground.start(process.execPath, [CLI_MAIN, 'shell', '--db', 'stars.db']);
    const done = finished(child);
    child.stdin?.write(`INSERT INTO stars (id) ${ENDLESS}\nDELETE FROM stars;\n`);
    await writes();
    child.kill('SIGINT');
    expect(await done).toMatchObject({
      signal: 'SIGINT',
      stderr: '✗ Error: Line 1: The statement was stopped: nothing of it was applied.\n',
    });
    const idle = ground.start(process.execPath, [CLI_MAIN, 'shell', '--db', 'stars.db']);
    const ended = finished(idle);
    let shown = '';
    idle.stdout?.on('data', (text) => {
      shown += String(text);
    });
    idle.stdin?.write('SELECT count(*) FROM stars;\n');
    await until('it has answered', () => shown.endsWith('2\n'));
    idle.kill('SIGINT');
    // It may be about to say that it has read the last row.
    expect(await ended).toMatchObject({
      signal: 'SIGINT',
      stderr: expect.stringMatching(/^(✗ Error: Line 1: .*\n)?$/),
    });
  });

  test('a trigger is one statement, however many semicolons it has', async () => {
    const trigger = "CREATE TRIGGER t AFTER INSERT ON stars BEGIN\nDELETE FROM stars WHERE name = 'a';\nEND;";
    expect(await pipe(`${MAKE}\n${trigger}\nINSERT INTO stars (name) VALUES ('a');`)).toMatchObject({
      code: 0,
    });
    expect(await sqlite3('SELECT count(*) FROM stars')).toBe('2');
  });

  test.each([
    ['table', '┌──┬──┐', /│ {2}1 │ Vega │/],
    ['csv', 'id,name\n1,Vega\n2,\n', /^/],
    ['json', '[{"id":1,"name":"Vega"},\n{"id":2,"name":null}]\n', /^/],
    ['line', '  id = 1\nname = Vega\n\n  id = 2\nname = NULL\n', /^/],
    ['tabs', 'id\tname\n1\tVega\n2\t\\N\n', /^/],
  ])('the mode %s', async (mode, text, pattern) => {
    await pipe(MAKE);
    const { stdout } = await pipe(`.mode ${mode}\nSELECT * FROM stars;`);
    if (mode === 'table') expect(stdout).toMatch(pattern);
    else expect(stdout).toBe(text);
    expect((await pipe('SELECT * FROM stars;', ['--mode', mode])).stdout).toBe(stdout);
  });

  test('a long result comes in pieces, with one header and nothing lost', async () => {
    const many =
      'WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 1001) SELECT x FROM c;';
    const numbers = Array.from({ length: 1001 }, (_, at) => at + 1);
    await pipe(MAKE);
    expect((await pipe(many)).stdout).toBe(`x\n${numbers.join('\n')}\n`);
    const { stdout } = await pipe(many, ['--mode', 'json']);
    expect(JSON.parse(stdout)).toEqual(numbers.map((x) => ({ x })));
    const empty = await pipe('SELECT 1 AS x WHERE 0;', ['--mode', 'json']);
    expect(JSON.parse(empty.stdout)).toEqual([]);
  });

  test('the first error ends it, says where it is, and is the exit code', async () => {
    const { code, stdout, stderr } = await pipe(
      `${MAKE}\nSELECT 1;\nSELECT *\nFROM missing;\nDELETE FROM stars;`,
    );
    expect(code).toBe(1);
    expect(stdout).toBe('1\n1\n');
    expect(stderr).toBe('✗ Error: Line 3: SQLite: no such table: missing\n');
    expect(await sqlite3('SELECT count(*) FROM stars')).toBe('2');
    expect(await pipe('.nonsense\n')).toMatchObject({ code: 1, stdout: '' });
    expect(await pipe('INSERT INTO stars VALUES (1, 2, 3);')).toMatchObject({ code: 1 });
    await ground.cli(['close-database', '--db', 'stars.db']);
    expect(await pipe('DELETE FROM stars;')).toMatchObject({ code: 4 });
  });

  test('reads the file itself: it needs no daemon, and starts none', async () => {
    await sqlite3(MAKE);
    expect((await pipe('SELECT name FROM stars; WITH a AS (SELECT 1 AS x) SELECT x FROM a;')).stdout).toBe(
      'name\nVega\n\\N\nx\n1\n',
    );
    expect(ground.daemons()).toEqual([]);
    // What begins like a question and is none goes through the daemon.
    const written = await pipe(
      "WITH a AS (SELECT 'Deneb' AS n) INSERT INTO stars (name) SELECT n FROM a RETURNING id;",
    );
    expect(written).toMatchObject({ code: 0, stdout: 'id\n3\n' });
    expect(ground.daemons()).toHaveLength(1);
  });

  test('integers of 64 bits and blobs are whole', async () => {
    const sql = "SELECT 9223372036854775807 AS i, x'00ff' AS b;";
    expect((await pipe(sql)).stdout).toBe("i\tb\n9223372036854775807\tx'00ff'\n");
    await pipe(MAKE);
    expect((await pipe(sql)).stdout).toBe("i\tb\n9223372036854775807\tx'00ff'\n");
  });

  test('another database is read where it is named, and not written', async () => {
    await pipe(MAKE);
    await ground.cli([
      'exec',
      '--db',
      'moon.db',
      "CREATE TABLE craters (name); INSERT INTO craters VALUES ('Tycho')",
    ]);
    const join = 'SELECT stars.name, c.name FROM stars, moon.craters AS c WHERE stars.id = 1;';
    expect((await pipe(join)).stdout).toBe('name\tname\nVega\tTycho\n');
    for (const sql of [
      "INSERT INTO moon.craters VALUES ('x');",
      'DELETE FROM moon.craters;',
      'INSERT INTO stars (name) SELECT name FROM moon.craters;',
      'CREATE TABLE moon.t (a);',
    ]) {
      const { code, stderr } = await pipe(sql);
      expect(code, sql).toBe(1);
      expect(stderr, sql).toMatch(/uses one database: .*USE moon/);
    }
    const after = await pipe(
      "USE moon; INSERT INTO craters VALUES ('Kepler'); SELECT count(*) FROM craters;",
    );
    expect(after.stdout).toBe('count(*)\n2\n');
    // Tables of the same name are each database's own.
    await ground.cli(['exec', '--db', 'moon.db', 'CREATE TABLE stars (name)']);
    expect((await pipe('SELECT count(*) FROM stars; SELECT count(*) FROM moon.stars;')).stdout).toBe(
      'count(*)\n2\ncount(*)\n0\n',
    );
    expect(await pipe('SELECT * FROM mars.t;')).toMatchObject({ code: 1 });
  });
});

test('databases by name: created, used, listed, read beside others, and dropped', async () => {
  const { stdout, stderr, code } = await pipe(`CREATE DATABASE moon; create database if not exists "moon";
    USE moon; CREATE TABLE craters (name); INSERT INTO craters VALUES ('Tycho'), ('Kepler');
    CREATE DATABASE sun; USE sun; SELECT name FROM moon.craters;`);
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toBe('name\nTycho\nKepler\n');
  expect((await pipe('SHOW DATABASES;', ['--mode', 'csv'])).stdout).toMatch(
    /^name,state,bytes,file\nmoon,open,\d+,.*\nsun,/,
  );
  // A name is what --db takes, too.
  const named = ['shell', '--db', 'moon'];
  expect((await ground.cli(named, { input: 'SELECT count(*) AS n FROM craters;' })).stdout).toBe('n\n2\n');
  expect(await ground.cli(['shell', '--db', 'mars'], { input: 'SELECT 1;' })).toMatchObject({
    code: 1,
    stdout: '',
  });
  expect(await pipe('CREATE DATABASE moon;')).toMatchObject({ code: 1 });
  expect((await pipe('CREATE DATABASE a b;')).stderr).toContain('CREATE DATABASE [IF NOT EXISTS] name');
  expect(await pipe('DROP DATABASE moon; DROP DATABASE IF EXISTS moon;')).toMatchObject({ code: 0 });
  expect(await pipe('DROP DATABASE moon;')).toMatchObject({ code: 1 });
  expect((await pipe('USE moon;')).stderr).toContain('There is no database');
});

describe('transactions', () => {
  test('BEGIN … COMMIT is one, which sees what it has done', async () => {
    await pipe(MAKE);
    const { stdout, code } = await pipe(`BEGIN; INSERT INTO stars (name) VALUES ('Deneb'), ('Rigel');
      SELECT count(*) AS n FROM stars;\n.tables\nROLLBACK; SELECT count(*) AS n FROM stars;
      BEGIN IMMEDIATE TRANSACTION; DELETE FROM stars WHERE id = 1; END; SELECT count(*) AS n FROM stars;`);
    expect([code, stdout]).toEqual([0, 'n\n4\nstars\nn\n2\nn\n1\n']);
    expect(await sqlite3('SELECT count(*) FROM stars')).toBe('1');
  });

  test('BEGIN READ ONLY is one that writes nothing', async () => {
    await pipe(MAKE);
    const { stdout, code } = await pipe('BEGIN READ ONLY; SELECT count(*) AS n FROM stars; COMMIT;');
    expect([code, stdout]).toEqual([0, 'n\n2\n']);
    expect(await pipe('BEGIN READ ONLY; DELETE FROM stars;')).toMatchObject({ code: 1 });
  });

  test('an error, or the end of the input, rolls it back', async () => {
    await pipe(MAKE);
    expect(await pipe('BEGIN; DELETE FROM stars; SELECT * FROM missing; COMMIT;')).toMatchObject({ code: 1 });
    const { code, stderr } = await pipe('BEGIN; DELETE FROM stars;');
    expect(code).toBe(1);
    expect(stderr).toContain('ended inside a transaction: it was rolled back');
    expect(await sqlite3('SELECT count(*) FROM stars')).toBe('2');
  });

  test('what is no part of one is refused in it', async () => {
    await pipe(MAKE);
    await ground.cli(['exec', '--db', 'moon.db', 'CREATE TABLE t (a)']);
    for (const what of [
      'BEGIN;',
      'USE moon;',
      '\n.dump',
      '\n.import x.csv stars',
      'CREATE DATABASE x;',
      'DROP DATABASE x;',
    ])
      expect((await pipe(`BEGIN; ${what}`)).stderr, what).toContain('COMMIT or ROLLBACK first');
    expect((await pipe('BEGIN; SELECT * FROM moon.t;')).stderr).toContain('A transaction uses one database');
    for (const what of ['COMMIT;', 'ROLLBACK;'])
      expect((await pipe(what)).stderr).toContain('No transaction is open');
  });

  test('one that the daemon has ended does nothing more by itself', async () => {
    await ground.daemon(['--tx-max', '300ms']);
    await pipe(MAKE);
    const slow =
      'WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 3000000) SELECT count(*) FROM c;';
    const { code, stderr } = await pipe(`BEGIN; DELETE FROM stars; ${slow} DELETE FROM stars; COMMIT;`);
    expect(code).toBe(1);
    expect(stderr).toContain('ROLLBACK goes on without it');
    expect(await sqlite3('SELECT count(*) FROM stars')).toBe('2');
  });
});

describe('commands', () => {
  test('tables, their columns, the schema, and the databases, by both names', async () => {
    await pipe(`${MAKE} CREATE INDEX by_name ON stars (name); CREATE VIEW bright AS SELECT 1;`);
    const same = async (one: string, twin: string) => {
      const { stdout, code } = await pipe(one);
      expect(code).toBe(0);
      expect((await pipe(twin)).stdout).toBe(stdout);
      return stdout;
    };
    expect(await same('.tables', '\\dt')).toBe('bright\nstars\n');
    expect(await same('.tables st%', '\\dt st%')).toBe('stars\n');
    expect(await same('.columns stars', '\\d stars')).toBe(
      'column\ttype\tnull\tdefault\tkey\nid\tINTEGER\t\t\\N\t1\nname\tTEXT\t\t\\N\t0\nCREATE INDEX by_name ON stars (name);\n',
    );
    expect((await pipe('.schema stars')).stdout).toBe(
      'CREATE TABLE stars (id INTEGER PRIMARY KEY, name TEXT);\nCREATE INDEX by_name ON stars (name);\n',
    );
    expect(await same('.databases', '\\l')).toContain(`stars\topen\t\\N\t${ground.file('stars.db')}\n`);
    expect((await pipe('SHOW DATABASES;')).stdout).toContain('stars\topen');
    expect(await same('.help', '\\?')).toContain('.import FILE TABLE');
    expect((await pipe('.status')).stdout).toMatch(/rev +4, epoch 1/);
    expect(await pipe('.schema nothing')).toMatchObject({ code: 1 });
    expect((await pipe('SELECT 1;\n.quit\nSELECT 2;')).stdout).toBe('1\n1\n');
    expect((await pipe('\\timing on\nSELECT 1;')).stderr).toMatch(/^Time: \d+\.\d ms\n$/);
  });

  test('.dump makes the same database again, in this shell and in sqlite3', async () => {
    const schema = `CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT, "odd ""name" TEXT);
      CREATE TABLE child (id INTEGER REFERENCES parent (id), data, twice AS (id * 2));
      CREATE TRIGGER t AFTER INSERT ON child BEGIN UPDATE parent SET id = id; END;
      CREATE VIEW v AS SELECT 1;
      CREATE VIRTUAL TABLE words USING fts5 (word);`;
    const rows = `INSERT INTO parent VALUES (7, 'it''s
      two lines'), (9, 'a' || char(0) || 'b'); DELETE FROM parent WHERE id = 9 AND 0;
      INSERT INTO child VALUES (7, x'00ff'), (7, 0.1), (7, 9223372036854775807), (NULL, NULL);
      INSERT INTO words VALUES ('hello');`;
    expect(await pipe(`${schema}\n${rows}`)).toMatchObject({ code: 0, stderr: '' });
    const { stdout: dump, code } = await pipe('.dump');
    expect(code).toBe(0);
    expect(dump).not.toContain('_skylinedb');
    const file = join(ground.dir, 'dump.sql');
    writeFileSync(file, dump);
    await ground.run('sh', ['-c', `sqlite3 "${ground.file('plain.db')}" < "${file}"`]);
    const content = (name: string) =>
      ground.cli([
        'query',
        '--db',
        name,
        '--json',
        'SELECT * FROM parent, child, words ORDER BY child.rowid',
      ]);
    const expected = (await content('stars.db')).stdout;
    expect(JSON.parse(expected).rows.length).toBe(8);
    expect((await content('plain.db')).stdout).toBe(expected);
    expect((await pipe('.dump')).stdout).toBe(dump);
    expect((await pipe('.dump child')).stdout).not.toContain('parent (id INTEGER PRIMARY');
    expect((await pipe('.dump nothing')).code).toBe(1);
  });

  test('.read runs a file up to its first error, and .import loads one', async () => {
    await pipe(MAKE);
    const file = join(ground.dir, 'more stars.sql');
    writeFileSync(
      file,
      "INSERT INTO stars (name) VALUES ('Deneb');\n.tables\nSELECT * FROM missing;\nDELETE FROM stars;\n",
    );
    const { code, stdout, stderr } = await pipe(`.read "${file}"`);
    expect([code, stdout]).toEqual([1, 'stars\n']);
    expect(stderr).toContain(`${file}, line 3: SQLite: no such table: missing`);
    expect(await sqlite3('SELECT count(*) FROM stars')).toBe('3');
    const itself = join(ground.dir, 'self.sql');
    writeFileSync(itself, `.read ${itself}\n`);
    expect((await pipe(`\\i ${itself}`)).stderr).toContain('deep');
    expect((await pipe('.read /nowhere/x.sql')).stderr).toContain('cannot be read');
    const csv = join(ground.dir, 'stars.csv');
    writeFileSync(csv, 'name\nAltair\nRigel\n');
    expect(await pipe(`.import ${csv} stars`)).toMatchObject({ code: 0 });
    expect(await sqlite3('SELECT count(*) FROM stars')).toBe('5');
    expect(await pipe(`.import ${csv} missing`)).toMatchObject({ code: 1 });
  });
});

describe.runIf(HAS_TERMINAL)('in a terminal', () => {
  const shell = (args: readonly string[] = ['--db', 'stars.db']) =>
    new Terminal(ground, [process.execPath, CLI_MAIN, 'shell', ...args], { env: { NO_COLOR: '1' } });
  /** Types a line, and waits for what it brings. */
  async function type(terminal: Terminal, keys: string, pattern: RegExp): Promise<string> {
    const from = terminal.text.length;
    terminal.keys(keys);
    await terminal.shows(pattern, from);
    return stripVTControlCharacters(terminal.text.slice(from));
  }

  test('a prompt, statements of several lines, tables, errors, and what was done', async () => {
    const terminal = shell();
    await terminal.shows(/stars> $/);
    await type(terminal, 'CREATE TABLE stars (id INTEGER PRIMARY KEY,\r', /-----> $/);
    await type(terminal, 'name TEXT);\r', /Done[\s\S]*stars> $/);
    await type(terminal, "INSERT INTO stars (name) VALUES ('Vega; or not'), ('Deneb');\r", /2 rows changed/);
    expect(await type(terminal, 'SELECT * FROM stars;\r', /└.*[\s\S]*stars> $/)).toContain(
      '│  1 │ Vega; or not │',
    );
    await type(
      terminal,
      'SELECT * FROM missing;\r',
      /✗ Error: SQLite: no such table: missing[\s\S]*stars> $/,
    );
    await type(terminal, 'SELECT count(*) AS n FROM stars;\r', /│ 2 │/);
    await type(terminal, '\\c moon.db\r', /moon> $/);
    terminal.keys('\\q\r');
    expect(await terminal.end()).toEqual({ code: 0, restored: true });
  });

  test('Ctrl-C stops the statement that runs, not the shell; and forgets one that has begun', async () => {
    const terminal = shell();
    await terminal.shows(/stars> $/);
    await type(terminal, `${MAKE}\r`, /2 rows changed[\s\S]*stars> $/);
    terminal.keys(`${ENDLESS}\r`);
    await until('it reads', () => terminal.text.includes('FROM c;') && readers().length > 0);
    await type(terminal, '\x03', /✗ Error: The statement was stopped\.[\s\S]*stars> $/);
    await until('it reads no more', () => readers().length === 0);
    await type(terminal, 'SELECT count(*) AS n FROM stars;\r', /│ 2 │/);
    await type(terminal, 'DELETE FROM\r', /-----> $/);
    await type(terminal, 'stars\x03', /\^C[\s\S]*stars> $/);
    await type(terminal, 'SELECT count(*) AS n FROM stars;\r', /│ 2 │[\s\S]*stars> $/);
    terminal.keys('\x04');
    expect(await terminal.end()).toEqual({ code: 0, restored: true });
  });

  test('Ctrl-C stops a statement that writes, too, and says that nothing of it was applied', async () => {
    const terminal = shell();
    await terminal.shows(/stars> $/);
    await type(terminal, `${MAKE}\r`, /2 rows changed[\s\S]*stars> $/);
    // Neither is what was typed behind it done: it was meant for the case that it succeeds.
    terminal.keys(`INSERT INTO stars (id) ${ENDLESS}\rDELETE FROM stars;\r`);
    await writes();
    await type(
      terminal,
      '\x03',
      /✗ Error: The statement was stopped: nothing of it was applied\.[\s\S]*stars> $/,
    );
    await type(terminal, "INSERT INTO stars (name) VALUES ('Deneb');\r", /1 row changed[\s\S]*stars> $/);
    await type(terminal, 'SELECT count(*) AS n FROM stars;\r', /│ 3 │[\s\S]*stars> $/);
    terminal.keys('\x04');
    expect(await terminal.end()).toEqual({ code: 0, restored: true });
  });

  test('inside a transaction Ctrl-C ends it with the statement that runs; ROLLBACK goes on', async () => {
    await pipe(MAKE);
    const terminal = shell();
    await terminal.shows(/stars> $/);
    await type(terminal, 'BEGIN;\r', /stars\*> $/);
    await type(terminal, 'DELETE FROM stars;\r', /2 rows changed[\s\S]*stars\*> $/);
    terminal.keys(`INSERT INTO stars (id) ${ENDLESS}\r`);
    await writes();
    await type(
      terminal,
      '\x03',
      /✗ Error: The statement was stopped, and the transaction is over: nothing of it is applied\. ROLLBACK goes on without it\.[\s\S]*stars!> $/,
    );
    await type(terminal, 'SELECT 1;\r', /✗ Error: .*ROLLBACK goes on[\s\S]*stars!> $/);
    await type(terminal, 'ROLLBACK;\r', /stars> $/);
    await type(terminal, 'SELECT count(*) AS n FROM stars;\r', /│ 2 │[\s\S]*stars> $/);
    terminal.keys('\x04');
    expect(await terminal.end()).toEqual({ code: 0, restored: true });
  });

  test.each([
    ['in one batch', 10],
    ['by way of a table of its own', 60_000],
  ])('Ctrl-C stops an import %s: nothing of it is there', async (_how, rows) => {
    await pipe(
      `${MAKE} CREATE TABLE junk (x);
       CREATE VIEW endless AS ${ENDLESS}
       CREATE TRIGGER never_ends AFTER INSERT ON stars BEGIN INSERT INTO junk SELECT * FROM endless; END;`,
    );
    const line = (n: number) => `${'star '.repeat(6)}${n}`;
    writeFileSync(
      ground.file('more.csv'),
      ['name', ...Array.from({ length: rows }, (_, n) => line(n))].join('\n'),
    );
    const terminal = shell();
    await terminal.shows(/stars> $/);
    terminal.keys('.import more.csv stars\r');
    await writes();
    await type(
      terminal,
      '\x03',
      /✗ Error: It was stopped\. Nothing was imported into stars\.[\s\S]*stars> $/,
    );
    await type(terminal, 'SELECT count(*) AS n FROM stars;\r', /│ 2 │[\s\S]*stars> $/);
    await type(terminal, '.tables\r', /endless\r?\njunk\r?\nstars\r?\nstars> $/);
    terminal.keys('\x04');
    expect(await terminal.end()).toEqual({ code: 0, restored: true });
  });

  test('a second Ctrl-C does not wait for a daemon that says nothing; the shell goes on', async () => {
    await ground.daemon();
    const terminal = shell();
    await terminal.shows(/stars> $/);
    await type(terminal, `${MAKE}\r`, /2 rows changed[\s\S]*stars> $/);
    terminal.keys(`INSERT INTO stars (id) ${ENDLESS}\r`);
    await writes();
    for (const pid of ground.daemons()) process.kill(pid, 'SIGSTOP');
    await type(
      terminal,
      '\x03\x03',
      /✗ Error: The statement is not waited for any more: whether it is applied is unknown\.[\s\S]*stars> $/,
    );
    for (const pid of ground.daemons()) process.kill(pid, 'SIGCONT');
    // The Cancel had left: nothing of it is there, and its worker is another one.
    await type(terminal, 'DELETE FROM stars;\r', /2 rows changed[\s\S]*stars> $/);
    terminal.keys('\x04');
    expect(await terminal.end()).toEqual({ code: 0, restored: true });
  });

  test('the prompt shows an open transaction, and one that the daemon has ended', async () => {
    await ground.daemon(['--tx-lease', '60s', '--tx-max', '2s']);
    await pipe(MAKE);
    const terminal = shell();
    await terminal.shows(/stars> $/);
    await type(terminal, 'BEGIN;\r', /stars\*> $/);
    await type(terminal, 'DELETE FROM stars;\r', /2 rows changed[\s\S]*stars\*> $/);
    await type(terminal, 'ROLLBACK;\r', /Rolled back[\s\S]*stars> $/);
    await type(terminal, 'BEGIN;\r', /stars\*> $/);
    await until('the daemon has ended it', async () => {
      const from = terminal.text.length;
      await type(terminal, 'SELECT 1;\r', /stars[*!]> $/);
      return /stars!> $/.test(stripVTControlCharacters(terminal.text.slice(from)));
    });
    await type(terminal, 'DELETE FROM stars;\r', /✗ Error: [\s\S]*ROLLBACK goes on[\s\S]*stars!> $/);
    await type(terminal, 'ROLLBACK;\r', /stars> $/);
    await type(terminal, 'BEGIN;\r', /stars\*> $/);
    terminal.keys('\x04');
    await terminal.shows(/The transaction was rolled back/);
    expect(await terminal.end()).toEqual({ code: 0, restored: true });
    expect(await sqlite3('SELECT count(*) FROM stars')).toBe('2');
  });

  test('BEGIN READ ONLY is one moment, whatever is written meanwhile', async () => {
    await pipe(MAKE);
    const terminal = shell();
    await terminal.shows(/stars> $/);
    await type(terminal, 'BEGIN READ ONLY;\r', /stars\*> $/);
    await type(terminal, 'SELECT count(*) AS n FROM stars;\r', /│ 2 │[\s\S]*stars\*> $/);
    expect(await ground.cli(['exec', '--db', 'stars.db', 'DELETE FROM stars'])).toMatchObject({ code: 0 });
    await type(terminal, 'SELECT count(*) AS n FROM stars;\r', /│ 2 │[\s\S]*stars\*> $/);
    await type(terminal, 'COMMIT;\r', /stars> $/);
    await type(terminal, 'SELECT count(*) AS n FROM stars;\r', /│ 0 │[\s\S]*stars> $/);
    terminal.keys('\x04');
    await terminal.end();
  });

  /** Processes that read for a shell and are busy: they have used the processor for a while. */
  function readers(): number[] {
    return ground.processes().filter((pid) => {
      try {
        const name = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
        const [, ticks = '0'] =
          /\) (?:\S+ ){11}(\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'latin1')) ?? [];
        return name.startsWith('skylinedb-shell-reader') && Number(ticks) > 30;
      } catch {
        return false;
      }
    });
  }

  test('completes keywords, tables, columns and databases', async () => {
    await pipe(MAKE);
    const terminal = shell();
    await terminal.shows(/stars> $/);
    await type(terminal, 'SEL\t', /SELECT/);
    await type(terminal, ' stars.na\t', /stars\.name/);
    await type(terminal, ' FROM sta\t', /FROM stars/);
    await type(terminal, ' LIMIT 1;\r', /│ Vega │/);
    await type(terminal, '.tab\t', /\.tables/);
    await type(terminal, '\r', /\nstars\r/);
    await type(terminal, '.databases\r', /│ stars/);
    await type(terminal, 'USE st\t', /USE stars/);
    terminal.keys('\x03');
    terminal.keys('\x04');
    await terminal.end();
  });

  test('the history comes back in the next shell, and is nobody else’s to read', async () => {
    const first = shell();
    await first.shows(/stars> $/);
    await type(first, "SELECT 'remember me';\r", /remember me[\s\S]*stars> $/);
    await type(first, " SELECT 'a secret';\r", /a secret[\s\S]*stars> $/);
    first.keys('\x04');
    await first.end();
    const file = join(ground.stateDir, 'shell-history');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, 'utf8')).toBe("SELECT 'remember me';\n");
    const second = shell();
    await second.shows(/stars> $/);
    await type(second, '\x1b[A', /SELECT 'remember me';/);
    second.keys('\x03');
    second.keys('\x04');
    await second.end();
  });

  test('a history that cannot be kept is no reason not to work', async () => {
    mkdirSync(join(ground.stateDir, 'shell-history'), { recursive: true });
    const terminal = shell();
    await terminal.shows(/stars> $/);
    await type(terminal, 'SELECT 1 AS one;\r', /│ {3}1 │[\s\S]*stars> $/);
    terminal.keys('\x04');
    expect(await terminal.end()).toEqual({ code: 0, restored: true });
  });

  test.each([
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('%s ends it and everything that it has started', async (signal, code) => {
    await sqlite3(MAKE);
    const terminal = shell();
    await terminal.shows(/stars> $/);
    terminal.keys(`${ENDLESS}\r`);
    await until('it reads', () => readers().length > 0);
    terminal.signal(signal);
    expect(await terminal.end()).toEqual({ code, restored: true });
    await until('nothing of it is left', () => ground.processes().length === 0);
  });
});
