import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CLI_MAIN, finished, until } from '../support/playground.js';
import { CliPlayground, makeTable, runJson } from './cli-harness.js';

let ground: CliPlayground;
beforeEach(() => {
  ground = new CliPlayground();
});
afterEach(async () => {
  await ground.dispose();
});

/** Endless: for whatever must happen while a batch runs. */
const ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';

describe('exec', () => {
  test('starts the daemon, and says that it went well with the name as typed', async () => {
    const { code, stdout, stderr } = await ground.cli(['exec', '--db', './x.db', 'CREATE TABLE t (a)']);
    expect([code, stdout, stderr]).toEqual([0, '✓ Executed successfully on database: ./x.db\n', '']);
    expect(existsSync(ground.file('x.db'))).toBe(true);
    expect((await ground.cli(['ping'])).code).toBe(0);
  });

  test('a relative name belongs to the working directory, data.db is the default', async () => {
    const folder = join(ground.dir, 'elsewhere');
    mkdirSync(folder);
    const { stdout } = await ground.cli(['exec', 'CREATE TABLE t (a)'], { cwd: folder });
    expect(stdout).toBe('✓ Executed successfully on database: data.db\n');
    expect(existsSync(join(folder, 'data.db'))).toBe(true);
    expect(existsSync(ground.file('data.db'))).toBe(false);
  });

  test('with rows, stdout has the rows alone', async () => {
    await makeTable(ground);
    const insert = "INSERT INTO t VALUES (1, NULL), ('a\tb', x'00ff') RETURNING *";
    const { code, stdout, stderr } = await ground.cli(['exec', '--db', 'x.db', insert, 'SELECT 2 AS two']);
    expect([code, stderr]).toEqual([0, '✓ Executed successfully on database: x.db\n']);
    expect(stdout).toBe("a\tb\n1\t\\N\na\\tb\tx'00ff'\n\ntwo\n2\n");
  });

  test('--json is the reply of the protocol', async () => {
    const sql = 'CREATE TABLE t (id INTEGER PRIMARY KEY, v)';
    expect(await runJson(ground, ['exec', '--db', 'x.db', sql])).toEqual({
      exit: 0,
      status: 'ok',
      rev: 1,
      epoch: 1,
      rows_affected: 0,
      results: [{ rows_affected: 0 }],
    });
    const insert = "INSERT INTO t VALUES (9223372036854775807, x'00ff'), (-1, 1e999) RETURNING id, v";
    expect(await runJson(ground, ['exec', '--db', 'x.db', insert])).toEqual({
      exit: 0,
      status: 'ok',
      rev: 2,
      epoch: 1,
      rows_affected: 2,
      results: [
        {
          rows_affected: 2,
          last_insert_rowid: -1,
          columns: ['id', 'v'],
          rows: [
            [{ $int: '9223372036854775807' }, { $blob: 'AP8=' }],
            [-1, { $real: 'Infinity' }],
          ],
        },
      ],
    });
    const last = await runJson(ground, ['exec', '--db', 'x.db', 'UPDATE t SET v = 0 WHERE id > 0']);
    expect(last).toMatchObject({ rows_affected: 1, results: [{ rows_affected: 1 }] });
  });

  test('parameters keep their storage class', async () => {
    const types = ['integer', 'integer', 'real', 'real', 'null', 'text', 'text', 'blob', 'integer'];
    const values = [
      '1',
      '9007199254740993',
      '2.0',
      '{"$real":3}',
      'null',
      'x',
      '"5"',
      '{"$blob":"AP8="}',
      'true',
    ];
    const ctes = types.map((_, at) => `c${at}(v) AS (SELECT ?)`);
    const sql = `WITH ${ctes.join(', ')} SELECT ${types.map((_, at) => `typeof(c${at}.v), c${at}.v`).join(', ')} FROM ${types.map((_, at) => `c${at}`).join(', ')}`;
    const args = ['--db', 'x.db', sql, ...values.flatMap((value) => ['--param', value])];
    const cells = [1, { $int: '9007199254740993' }, 2, 3, null, 'x', '5', { $blob: 'AP8=' }, 1];
    const expected = types.flatMap((type, at) => [type, cells[at]]);
    expect(await runJson(ground, ['exec', ...args])).toMatchObject({ results: [{ rows: [expected] }] });
    await makeTable(ground);
    expect(await runJson(ground, ['query', ...args])).toMatchObject({ rows: [expected] });
    const named = ['SELECT :a, @b', '--param', ':b=--json', '--param', ':a={"x":1}'];
    expect(await runJson(ground, ['exec', ...named])).toMatchObject({
      results: [{ rows: [['{"x":1}', '--json']] }],
    });
    const literal = await ground.cli(['exec', 'SELECT ? AS a', '--param', '--json']);
    expect(literal.stdout).toBe('a\n--json\n');
  });

  test('all statements of one call are one transaction, wherever they come from', async () => {
    await makeTable(ground);
    const script =
      "-- a script\nINSERT INTO t VALUES (1, ';');\nCREATE TRIGGER x AFTER DELETE ON t BEGIN\n  SELECT 1; END;\n";
    writeFileSync(ground.file('a.sql'), script);
    writeFileSync(ground.file('b.sql'), '\ufeffINSERT INTO t VALUES (2, 2)');
    const db = ['exec', '--db', 'x.db'];
    expect(await runJson(ground, [...db, '--file', 'a.sql', '--file', 'b.sql'])).toMatchObject({
      rev: 2,
      rows_affected: 2,
    });
    const twice = ['INSERT INTO t VALUES (3, 3); INSERT INTO t VALUES (4, 4);', '-'];
    expect(
      await runJson(ground, [...db, ...twice], { input: 'INSERT INTO t VALUES (5, 5);;' }),
    ).toMatchObject({ rev: 3, rows_affected: 3 });
    const failing = await runJson(ground, [...db, '--file', '-'], {
      input: 'DELETE FROM t;\n\nINSERT INTO\n  missing VALUES (1);',
    });
    expect(failing).toMatchObject({
      exit: 1,
      code: 'SQL_ERROR',
      outcome: 'not_applied',
      statement_index: 1,
      sqlite_code: 'SQLITE_ERROR',
      message: expect.stringMatching(
        /^Statement 1 \(standard input, line 3: INSERT INTO missing VALUES \(1\)\): .*no such table/,
      ),
    });
    expect(await ground.sqlite3(ground.file('x.db'), 'SELECT count(*) FROM t')).toBe('5');
  });

  test('input that is not UTF-8 is refused', async () => {
    writeFileSync(ground.file('latin1.sql'), Buffer.from("SELECT '\xe9'", 'latin1'));
    const { code, stderr } = await ground.cli(['exec', '--file', 'latin1.sql']);
    expect([code, stderr]).toEqual([2, expect.stringContaining('latin1.sql is not UTF-8')]);
  });

  test('--tx none, --durable, --expect-rev, --expect-epoch', async () => {
    await makeTable(ground);
    const db = ['exec', '--db', 'x.db'];
    const partial = [...db, '--tx', 'none', 'INSERT INTO t VALUES (1, 1)', 'INSERT INTO u VALUES (1)'];
    const { code, stderr } = await ground.cli(partial);
    expect(code).toBe(1);
    expect(stderr).toMatch(/What was applied before it stays: 1 statement\.\n$/);
    expect((await ground.cli([...db, '--tx', 'none', 'VACUUM'])).code).toBe(0);
    expect((await ground.cli([...db, 'VACUUM'])).code).toBe(1);
    const insert = ['--durable', 'INSERT INTO t VALUES (2, 2)'];
    expect(await runJson(ground, [...db, '--expect-rev', '0', ...insert])).toMatchObject({
      exit: 1,
      code: 'EXPECTATION_FAILED',
    });
    expect((await ground.cli([...db, '--expect-epoch', '9', ...insert])).code).toBe(1);
    const { rev } = await runJson(ground, ['ping', '--db', 'x.db']);
    const now = ['--expect-rev', String(rev), '--expect-epoch', '1'];
    expect((await ground.cli([...db, ...now, ...insert])).code).toBe(0);
    expect(await ground.sqlite3(ground.file('x.db'), 'SELECT count(*) FROM t')).toBe('2');
  });

  test('--timeout ends the batch', async () => {
    await makeTable(ground);
    const args = ['exec', '--db', 'x.db', '--timeout', '100ms', 'DELETE FROM t', ENDLESS];
    expect(await runJson(ground, args)).toMatchObject({ exit: 1, code: 'TIMEOUT', outcome: 'not_applied' });
  });

  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s stops the batch, says what became of it, and ends the program as the signal does',
    async (signal) => {
      await makeTable(ground);
      const child = ground.start(process.execPath, [
        CLI_MAIN,
        'exec',
        '--db',
        'x.db',
        'DELETE FROM t',
        ENDLESS,
      ]);
      const done = finished(child);
      await until('it runs', async () => {
        const { databases } = await runJson(ground, ['status']);
        return (databases as { stale?: boolean }[])[0]?.stale === true;
      });
      child.kill(signal);
      expect(await done).toMatchObject({
        signal,
        stderr: expect.stringMatching(/✗ Error: The request was aborted: .* nothing of it was applied\./),
      });
      await until('the worker is free', async () => {
        const { databases } = await runJson(ground, ['status']);
        return (databases as { queue_depth?: number }[])[0]?.queue_depth === 0;
      });
    },
  );

  test('what the daemon refuses is exit code 1, with its words', async () => {
    for (const [args, code] of [
      [['SELEC'], 'SQL_ERROR'],
      [['COMMIT'], 'STATEMENT_NOT_ALLOWED'],
      [['--db', ':memory:', 'SELECT 1'], 'DATABASE_NOT_ALLOWED'],
      [['--db', 'file:x.db', 'SELECT 1'], 'DATABASE_NOT_ALLOWED'],
      [['--db', 'no/x.db', 'CREATE TABLE t (a)'], 'DATABASE_NOT_FOUND'],
    ] as const)
      expect(await runJson(ground, ['exec', ...args])).toMatchObject({ exit: 1, status: 'error', code });
    const { code, stdout, stderr } = await ground.cli(['exec', 'SELEC']);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^✗ Error: .*syntax error\n$/);
  });
});
