import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CLI_MAIN } from '../support/playground.js';
import { CliPlayground, makeTable, runJson } from './cli-harness.js';

let ground: CliPlayground;
beforeEach(() => {
  ground = new CliPlayground();
});
afterEach(async () => {
  await ground.dispose();
});

describe('query', () => {
  test('reads without a daemon, and starts none', async () => {
    await ground.sqlite3(
      ground.file('x.db'),
      "CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x'), (NULL, x'00')",
    );
    const args = ['query', '--db', 'x.db', 'SELECT * FROM t'];
    const { code, stdout, stderr } = await ground.cli(args);
    expect([code, stdout, stderr]).toEqual([0, "a\tb\n1\tx\n\\N\tx'00'\n", '']);
    expect(await runJson(ground, args)).toEqual({
      exit: 0,
      status: 'ok',
      columns: ['a', 'b'],
      rows: [
        [1, 'x'],
        [null, { $blob: 'AA==' }],
      ],
    });
    expect((await ground.cli(['query', '--db', 'x.db', '-'], { input: 'SELECT 1 AS a;\n' })).stdout).toBe(
      'a\n1\n',
    );
    expect(ground.processes()).toEqual([]);
    expect(existsSync(ground.socket)).toBe(false);
  });

  test('refuses to write, and what is no database', async () => {
    await ground.sqlite3(ground.file('x.db'), 'CREATE TABLE t (a)');
    writeFileSync(ground.file('text.db'), 'no database, but long enough to be taken for one. '.repeat(20));
    for (const [args, code] of [
      [['--db', 'x.db', 'INSERT INTO t VALUES (1)'], 'STATEMENT_NOT_ALLOWED'],
      [['--db', 'x.db', 'INSERT INTO t VALUES (1) RETURNING a'], 'SQL_ERROR'],
      [['--db', 'x.db', 'SELECT * FROM u'], 'SQL_ERROR'],
      [['--db', 'none.db', 'SELECT 1'], 'DATABASE_NOT_FOUND'],
      [['--db', 'text.db', 'SELECT * FROM sqlite_master'], 'NOT_A_DATABASE'],
    ] as const)
      expect(await runJson(ground, ['query', ...args])).toMatchObject({ exit: 1, status: 'error', code });
    const { stderr } = await ground.cli(['query', '--db', 'x.db', 'DELETE FROM t']);
    expect(stderr).toContain('skylinedb-cli exec');
    expect(existsSync(ground.file('none.db'))).toBe(false);
    expect(await ground.sqlite3(ground.file('x.db'), 'SELECT count(*) FROM t')).toBe('0');
  });

  test('sees what was written before, also while the database is closed', async () => {
    await makeTable(ground);
    await ground.cli(['exec', '--db', 'x.db', 'INSERT INTO t VALUES (1, 2)']);
    const args = ['query', '--db', 'x.db', 'SELECT * FROM t'];
    expect((await ground.cli(args)).stdout).toBe('a\tb\n1\t2\n');
    await ground.cli(['close-database', '--db', 'x.db']);
    expect((await ground.cli(args)).stdout).toBe('a\tb\n1\t2\n');
  });
});

describe('output', () => {
  const MANY =
    'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT i FROM n';

  test('a reader that leaves early is no error', async () => {
    await ground.sqlite3(ground.file('x.db'), 'CREATE TABLE t (a)');
    const pipe = `"$0" "$1" query --db x.db "$2" $3 | head -c 5; echo "$\{PIPESTATUS[0]}" >&2`;
    for (const flag of ['', '--json']) {
      const { stdout, stderr } = await ground.run('bash', [
        '-c',
        pipe,
        process.execPath,
        CLI_MAIN,
        MANY,
        flag,
      ]);
      expect([stdout.length, stderr]).toEqual([5, '0\n']);
    }
  });

  test('large output arrives whole', async () => {
    await ground.sqlite3(ground.file('x.db'), 'CREATE TABLE t (a)');
    const { stdout } = await ground.cli(['query', '--db', 'x.db', MANY]);
    expect(stdout.split('\n')).toHaveLength(300_002);
    expect((await runJson(ground, ['query', '--db', 'x.db', MANY])).rows).toHaveLength(300_000);
  });

  test.runIf(existsSync('/dev/full'))('a full disk is said', async () => {
    for (const flag of ['', '--json']) {
      const command = `"$0" "$1" endpoint ${flag} > /dev/full`;
      const { code, stderr } = await ground.run('bash', ['-c', command, process.execPath, CLI_MAIN]);
      expect([code, stderr]).toEqual([1, expect.stringMatching(/output could not be written: ENOSPC/)]);
    }
  });

  test('the program works through a link, as npm makes one', async () => {
    const link = join(ground.dir, 'skylinedb-cli');
    symlinkSync(CLI_MAIN, link);
    expect((await ground.run(process.execPath, [link, 'endpoint'])).stdout).toBe(`${ground.socket}\n`);
    expect(readFileSync(CLI_MAIN, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  });
});
