import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../support/playground.js';
import { CliPlayground, jsonOf, makeTable, runJson } from './cli-harness.js';

let ground: CliPlayground;
beforeEach(() => {
  ground = new CliPlayground();
});
afterEach(async () => {
  await ground.dispose();
});

const COMMANDS = [
  ...['ping', 'exec', 'query', 'prepare-for-maintenance', 'close-database', 'reopen-database'],
  ...[
    'replace-database',
    'backup',
    'checkpoint',
    'status',
    'shell',
    'top',
    'metrics',
    'shutdown',
    'endpoint',
  ],
];

/** Endless: for whatever must happen while a batch runs. */
const ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';

describe('help and versions', () => {
  test('the program lists its commands, and each has examples', async () => {
    const { code, stdout, stderr } = await ground.cli(['--help']);
    expect([code, stderr]).toEqual([0, '']);
    for (const command of COMMANDS) expect(stdout).toContain(`  ${command} `);
    const helps = await Promise.all(COMMANDS.map((command) => ground.cli([command, '--help'])));
    for (const [at, help] of helps.entries()) {
      expect(help).toMatchObject({ code: 0, stderr: '' });
      expect(help.stdout).toMatch(new RegExp(`^Usage: skylinedb-cli ${COMMANDS[at]} `));
      expect(help.stdout).toMatch(new RegExp(`Examples:\n(.*\n)*.*skylinedb-cli ${COMMANDS[at]}`));
    }
    const [long, word] = await Promise.all([ground.cli(['exec', '-h']), ground.cli(['help', 'exec'])]);
    expect(long.stdout).toBe(word.stdout);
  });

  test('the version is the package’s', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    expect((await ground.cli(['--version'])).stdout).toBe(`${version}\n`);
    expect(await runJson(ground, ['--version'])).toEqual({ exit: 0, status: 'ok', version });
    expect(await runJson(ground, ['ping', '--help'])).toMatchObject({
      help: expect.stringMatching(/^Usage/),
    });
  });
});

describe('wrong usage is exit code 2, without a daemon', () => {
  const CASES: [string[], RegExp][] = [
    [[], /No command was given.*--help/],
    [['pnig'], /Unknown command 'pnig'\. Did you mean ping\?/],
    [
      ['ping', '--sokcet', 'x'],
      /Unknown option '--sokcet'\. Did you mean --socket\? See "skylinedb-cli ping --help"/,
    ],
    [['--nonsense'], /Unknown option '--nonsense'/],
    [['ping', 'x.db'], /Too many arguments for 'ping'/],
    [['exec'], /There is no SQL/],
    [['exec', ' ; -- nothing'], /There is no statement/],
    [['exec', '--db', '', 'SELECT 1'], /--db.*a path/],
    [['exec', '--timeout', 'soon', 'SELECT 1'], /such as 5s/],
    [['exec', '--tx', 'some', 'SELECT 1'], /Allowed choices are atomic, none/],
    [['exec', '--expect-rev', '1.5', 'SELECT 1'], /whole number/],
    [['exec', 'SELECT 1; SELECT 2', '--param', '1'], /--param goes with one statement, and there are 2/],
    [['exec', 'SELECT ?', '--param', '1e999'], /'1e999': it is too large/],
    [['exec', 'SELECT 1', '--file', 'a.sql'], /not both/],
    [['exec', '-', '-'], /only once/],
    [['exec', '--file', 'missing.sql'], /missing\.sql: it cannot be read: ENOENT/],
    [['exec', '--param'], /argument missing/],
    [['query'], /Missing required argument 'SQL'/],
    [['query', 'SELECT 1; SELECT 2'], /query takes one statement, and there are 2/],
    [['backup'], /Missing required argument 'FILE'/],
    [['replace-database', 'a', 'b'], /Too many arguments/],
    [['checkpoint', '--mode', 'hard'], /passive, full, restart, truncate/],
    [['endpoint', '--socket', `/tmp/${'x'.repeat(120)}`], /The socket path has 126 bytes/],
    [['reopen-database', '--allow-mising'], /Did you mean --allow-missing/],
  ];
  test.each(CASES)('%j', async (args, message) => {
    // In front: behind it, "--param --json" would be a value.
    const [human, first] = await Promise.all([ground.cli(args), ground.cli(['--json', ...args])]);
    const json: Readonly<Record<string, unknown>> = { exit: first.code, ...jsonOf(first) };
    expect([human.code, human.stdout]).toEqual([2, '']);
    expect(human.stderr).toMatch(/^✗ Error: .*\n$/);
    expect(human.stderr).toMatch(message);
    expect(json).toMatchObject({ exit: 2, status: 'error', code: 'INVALID_REQUEST', outcome: 'not_applied' });
    expect(`✗ Error: ${String(json.message)}\n`).toBe(human.stderr);
    expect(ground.processes()).toEqual([]);
  });

  test('what the daemon calls an invalid request', async () => {
    expect(await runJson(ground, ['exec', 'SELECT ?, ?', '--param', '1'])).toMatchObject({
      exit: 2,
      code: 'INVALID_REQUEST',
      message: expect.stringContaining('2 parameters'),
    });
  });
});

describe('no daemon is exit code 3', () => {
  test.each([['ping'], ['ping', '--db', 'x.db'], ['status'], ['shutdown']])(
    '%s %s %s starts none',
    async (...args) => {
      const given = args.filter((arg) => arg !== undefined);
      const [human, json] = await Promise.all([ground.cli(given), runJson(ground, given)]);
      expect([human.code, human.stdout]).toEqual([3, '']);
      expect(human.stderr).toMatch(/^✗ Error: No daemon is running at /);
      expect(json).toMatchObject({ exit: 3, status: 'error', code: 'NO_DAEMON' });
      expect(ground.processes()).toEqual([]);
      expect(existsSync(ground.socket)).toBe(false);
    },
  );

  test('shutdown says that there is nothing to do', async () => {
    const { stderr } = await ground.cli(['shutdown']);
    expect(stderr).toBe(
      `✗ Error: No daemon is running at ${ground.socket}: there is nothing to shut down.\n`,
    );
  });

  test('a daemon that cannot start tells why', async () => {
    writeFileSync(join(ground.dir, 'in-the-way'), '');
    const { code, stderr } = await ground.cli(['exec', 'SELECT 1'], {
      env: { SKYLINEDB_STATE_DIR: join(ground.dir, 'in-the-way') },
    });
    expect(code).toBe(3);
    expect(stderr).toMatch(/in-the-way/);
  });

  test('a daemon that dies meanwhile: the next one finishes it, once', async () => {
    const daemon = await ground.daemon();
    const wire = await ground.wire();
    await wire.exec('x.db', ['CREATE TABLE t (n)']);
    const slow = ENDLESS.replace('FROM n)', 'FROM n WHERE i < 5000000)');
    const running = ground.cli(['exec', '--db', 'x.db', `INSERT INTO t ${slow}`, '--json']);
    await until('the batch runs', async () => {
      const reply = await wire.request({ type: 'Status' });
      return (reply.databases as { queue_depth: number }[]).some(({ queue_depth: depth }) => depth > 0);
    });
    daemon.child.kill('SIGKILL');
    expect(await running).toMatchObject({ code: 0 });
    expect(await ground.sqlite3(ground.file('x.db'), 'SELECT count(*) FROM t')).toBe('1');
  });
});

describe('ping, status, endpoint, shutdown', () => {
  test('ping', async () => {
    const daemon = await ground.daemon();
    const { code, stdout, stderr } = await ground.cli(['ping']);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout.split('\n')[0]).toBe('✓ Daemon is running');
    expect(stdout).toMatch(new RegExp(`\n  pid +${daemon.pid}\n`));
    expect(await runJson(ground, ['ping'])).toEqual({
      exit: 0,
      status: 'ok',
      version: expect.any(String),
      pid: daemon.pid,
      uptime_ms: expect.any(Number),
    });
  });

  test('ping --db tells where a database stands and creates nothing', async () => {
    await makeTable(ground);
    const { stdout } = await ground.cli(['ping', '--db', 'x.db']);
    expect(stdout).toMatch(/^✓ Daemon is running\n/);
    for (const line of [/exists +yes/, /state +open/, /rev +1/, /epoch +1/]) expect(stdout).toMatch(line);
    expect(await runJson(ground, ['ping', '--db', 'none.db'])).toMatchObject({
      exit: 0,
      db_path: ground.file('none.db'),
      exists: false,
      state: 'open',
    });
    expect(existsSync(ground.file('none.db'))).toBe(false);
  });

  test('ping gives up a socket that accepts and says nothing', async () => {
    const silent = createServer(() => undefined).listen(ground.socket);
    await until('it listens', () => existsSync(ground.socket));
    const { code, stderr } = await ground.cli(['ping', '--timeout', '50ms']);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/did not answer within 50 ms/)]);
    silent.close();
  });

  test('status', async () => {
    await makeTable(ground);
    const { code, stdout } = await ground.cli(['status']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^✓ Daemon is running\n/);
    expect(stdout).toMatch(new RegExp(`│ ${ground.file('x.db')} +│ open +│ +1 │`));
    expect(await runJson(ground, ['status', '--db', 'x.db'])).toMatchObject({
      exit: 0,
      status: 'ok',
      endpoint: ground.socket,
      databases: [{ db_path: ground.file('x.db'), state: 'open', rev: 1 }],
    });
  });

  test('endpoint prints the path alone, with or without a daemon', async () => {
    expect(await ground.cli(['endpoint'])).toMatchObject({
      code: 0,
      stdout: `${ground.socket}\n`,
      stderr: '',
    });
    expect(await runJson(ground, ['--socket', '/a/b.sock', 'endpoint'])).toEqual({
      exit: 0,
      status: 'ok',
      endpoint: '/a/b.sock',
    });
    expect((await ground.cli(['endpoint', '--socket', 'rel.sock'])).stdout).toBe(
      `${ground.file('rel.sock')}\n`,
    );
    expect((await ground.cli(['endpoint'], { env: { SKYLINEDB_SOCKET: '/c.sock' } })).stdout).toBe(
      '/c.sock\n',
    );
  });

  test('shutdown', async () => {
    await makeTable(ground);
    expect(await ground.cli(['shutdown'])).toMatchObject({
      code: 0,
      stdout: '✓ Daemon has shut down\n',
      stderr: '',
    });
    await ground.cli(['exec', '--db', 'x.db', 'SELECT 1']);
    expect(await runJson(ground, ['shutdown'])).toEqual({ exit: 0, status: 'ok' });
    await ground.expectCleanEnd();
  });

  test('--socket reaches another daemon', async () => {
    mkdirSync(join(ground.dir, 'other'), { mode: 0o700 });
    const other = join(ground.dir, 'other', 'v1.sock');
    await ground.cli(['exec', '--socket', other, '--db', 'x.db', 'CREATE TABLE t (a)']);
    expect((await ground.cli(['ping'])).code).toBe(3);
    expect((await ground.cli(['--socket', other, 'ping'])).code).toBe(0);
    expect((await ground.cli(['shutdown', '--socket', other])).code).toBe(0);
    await ground.expectCleanEnd();
  });
});
