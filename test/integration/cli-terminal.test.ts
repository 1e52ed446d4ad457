import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CliPlayground, HAS_TERMINAL, inTerminal } from './cli-harness.js';

let ground: CliPlayground;
beforeEach(() => {
  ground = new CliPlayground();
});
afterEach(async () => {
  await ground.dispose();
});

const ESCAPE = '\x1b';
const GREEN_MARK = `${ESCAPE}[32m✓${ESCAPE}[39m`;

describe.runIf(HAS_TERMINAL)('in a terminal', () => {
  beforeEach(async () => {
    await ground.cli([
      'exec',
      '--db',
      'x.db',
      "CREATE TABLE t (a, b); INSERT INTO t VALUES (10, '星'), ('x', NULL)",
    ]);
  });

  test('rows are a table', async () => {
    const { terminal, code } = await inTerminal(ground, 'out', ['query', '--db', 'x.db', 'SELECT * FROM t'], {
      NO_COLOR: '1',
    });
    expect(code).toBe(0);
    expect(terminal).toBe(
      [
        '┌────┬──────┐',
        '│ a  │ b    │',
        '├────┼──────┤',
        '│ 10 │ 星   │',
        '│ x  │ NULL │',
        '└────┴──────┘',
        '',
      ].join('\n'),
    );
  });

  test('what a database holds cannot reach the terminal', async () => {
    const sql = 'SELECT char(27) || \'[2J\' AS "a\x1b[2J"';
    const { terminal } = await inTerminal(ground, 'out', ['query', '--db', 'x.db', sql], { NO_COLOR: '1' });
    expect(terminal).toContain('\\x1b[2J');
    expect(terminal).not.toContain(ESCAPE);
  });

  test('colours are for terminals, each stream by itself, and NO_COLOR turns them off', async () => {
    const args = ['exec', '--db', 'x.db', 'INSERT INTO t VALUES (1, 1)'];
    const coloured = await inTerminal(ground, 'out err', args);
    expect(coloured.terminal).toContain(`${GREEN_MARK} Executed successfully on database: x.db\n`);
    expect(coloured.terminal).toMatch(/\n.*changed.* 1 row\n/);
    const plain = await inTerminal(ground, 'out err', args, { NO_COLOR: '1' });
    expect(plain.terminal).toMatch(/^✓ Executed successfully on database: x\.db\n {2}changed +1 row\n/);
    expect(plain.terminal).not.toContain(ESCAPE);
    const returning = [...args.slice(0, 3), 'INSERT INTO t VALUES (1, 1) RETURNING a'];
    const onlyErr = await inTerminal(ground, 'err', returning);
    expect(onlyErr.stdout).toBe('a\n1\n');
    expect(onlyErr.terminal).toContain(GREEN_MARK);
    const onlyOut = await inTerminal(ground, 'out', returning, { FORCE_COLOR: '1' });
    expect(onlyOut.stderr).toBe('✓ Executed successfully on database: x.db\n');
    expect(onlyOut.terminal).toContain(`${ESCAPE}[1ma${ESCAPE}[22m`);
  });

  test('errors are red, with what to do next', async () => {
    const { terminal, code } = await inTerminal(ground, 'err', ['exec', '--db', 'x.db', 'COMMIT']);
    expect(code).toBe(1);
    expect(terminal).toContain(`${ESCAPE}[31m✗${ESCAPE}[39m ${ESCAPE}[31mError:${ESCAPE}[39m `);
    expect(terminal).toMatch(/COMMIT is not allowed: .*Send/);
  });

  test('copies show their progress on stderr, if that is the terminal', async () => {
    const backup = ['backup', '--db', 'x.db', 'copy.db', '--overwrite'];
    const shown = await inTerminal(ground, 'err', backup);
    expect(shown.terminal).toMatch(/Copying \[.*\] 100% (\d+)\/\1 pages/);
    expect(shown.stdout).toMatch(/^✓ Backed up database: x\.db\n/);
    expect(shown.stdout).not.toContain(ESCAPE);
    const replace = ['replace-database', '--db', 'x.db', 'copy.db'];
    expect((await inTerminal(ground, 'out err', replace)).terminal).toContain('Replacing [');
    for (const [sides, args] of [
      ['out', backup],
      ['out err', [...backup, '--json']],
    ] as const)
      expect((await inTerminal(ground, sides, args)).terminal).not.toContain('Copying');
  });

  test('--json is one value there too, without colours', async () => {
    const { terminal } = await inTerminal(ground, 'out err', [
      'query',
      '--db',
      'x.db',
      'SELECT * FROM t',
      '--json',
    ]);
    expect(JSON.parse(terminal)).toEqual({
      status: 'ok',
      columns: ['a', 'b'],
      rows: [
        [10, '星'],
        ['x', null],
      ],
    });
    const failed = await inTerminal(ground, 'out err', ['pnig', '--json']);
    expect(JSON.parse(failed.terminal)).toMatchObject({ code: 'INVALID_REQUEST' });
  });
});
