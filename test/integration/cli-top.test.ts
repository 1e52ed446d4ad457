import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Load } from '../support/load.js';
import { CLI_MAIN, Playground, until } from '../support/playground.js';
import { HAS_TERMINAL, Terminal } from '../support/terminal.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

const ALTERNATE = '\x1b[?1049h';
const NORMAL = '\x1b[?25h\x1b[?1049l';

/** The lines of the last screen that was drawn whole. */
function screenOf(terminal: Terminal): string[] {
  const frames = terminal.text.split('\x1b[H').slice(1);
  const whole = frames.filter((frame) => frame.includes('\x1b[J'));
  return stripVTControlCharacters(whole.at(-1) ?? '').split(/\r*\n/);
}

/** Waits for a screen that has such a line. */
async function sees(terminal: Terminal, pattern: RegExp): Promise<string[]> {
  try {
    await until('', () => screenOf(terminal).some((line) => pattern.test(line)));
  } catch {
    throw new Error(`no line matches ${pattern}:\n${screenOf(terminal).join('\n')}`);
  }
  return screenOf(terminal);
}

const namesIn = (screen: readonly string[]) =>
  screen.map((line) => line.split(' ')[0] ?? '').filter((word) => word.endsWith('.db'));

const top = (args: readonly string[] = [], options: ConstructorParameters<typeof Terminal>[2] = {}) =>
  new Terminal(ground, [process.execPath, CLI_MAIN, 'top', '--interval', '100ms', ...args], options);

async function makeDatabases(names: readonly string[]): Promise<void> {
  const wire = await ground.wire();
  for (const name of names) await wire.exec(name, ['CREATE TABLE t (a)']);
  wire.destroy();
}

describe.runIf(HAS_TERMINAL)('in a terminal', () => {
  test('shows what happens now, takes keys and sizes, and leaves the terminal as it was', async () => {
    await ground.daemon();
    await makeDatabases(['a.db', 'b.db', 'c.db']);
    const terminal = top();
    await sees(terminal, /^a\.db .*open/);
    expect(terminal.text).toContain(ALTERNATE);
    const load = await Load.start(ground, 'b.db');
    try {
      const screen = await sees(terminal, /^b\.db +[1-9]\d* +\d/);
      expect(namesIn(screen)[0]).toBe('b.db');
      expect(screen[1]).toMatch(/batches\/s [1-9]/);
    } finally {
      load.stop();
    }
    terminal.keys('d');
    expect(namesIn(await sees(terminal, /^▼database/))).toEqual(['a.db', 'b.db', 'c.db']);
    terminal.keys('r');
    expect(namesIn(await sees(terminal, /^▲database/))).toEqual(['c.db', 'b.db', 'a.db']);
    terminal.keys('>');
    await sees(terminal, /▲batches\/s/);
    terminal.keys('p');
    await sees(terminal, /^\[paused\]/);
    terminal.keys('?');
    await sees(terminal, /One row for each database/);
    terminal.keys('?');
    await sees(terminal, /^a\.db /);
    terminal.resize(7, 40);
    await until('the small screen is drawn', () => screenOf(terminal).length === 7);
    for (const line of screenOf(terminal)) expect(line.length).toBeLessThanOrEqual(40);
    terminal.keys('q');
    expect(await terminal.end()).toEqual({ code: 0, restored: true });
    expect(terminal.text.endsWith(NORMAL)).toBe(true);
  });

  test('says that the daemon has left, and goes on with the next one', async () => {
    const first = await ground.daemon();
    await makeDatabases(['a.db']);
    const terminal = top();
    await sees(terminal, new RegExp(`pid ${first.pid} `));
    process.kill(first.pid, 'SIGKILL');
    await sees(terminal, new RegExp(`pid ${first.pid}\\) has left. Waiting`));
    const next = await ground.daemon();
    await sees(terminal, new RegExp(`restarted: pid ${first.pid} has left, pid ${next.pid} runs`));
    await makeDatabases(['later.db']);
    await sees(terminal, /^later\.db/);
    terminal.keys('\x03');
    expect(await terminal.end()).toEqual({ code: 0, restored: true });
  });

  test.each([
    ['SIGTERM', 143],
    ['SIGHUP', 129],
    ['SIGINT', 130],
  ] as const)('gives the terminal back when %s ends it', async (signal, code) => {
    await ground.daemon();
    const terminal = top();
    await sees(terminal, /No database has been used yet/);
    terminal.signal(signal);
    expect(await terminal.end()).toEqual({ code, restored: true });
    expect(terminal.text.endsWith(NORMAL)).toBe(true);
  });

  test('NO_COLOR has no colours', async () => {
    await ground.daemon();
    const terminal = top([], { env: { NO_COLOR: '1' } });
    await sees(terminal, /No database has been used yet/);
    terminal.keys('q');
    await terminal.end();
    // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
    expect(terminal.text).not.toMatch(/\x1b\[\d+m/);
    const coloured = top();
    await sees(coloured, /No database has been used yet/);
    coloured.keys('q');
    await coloured.end();
    // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
    expect(coloured.text).toMatch(/\x1b\[\d+m/);
  });

  test('without a daemon it does not touch the screen', async () => {
    const terminal = top();
    expect(await terminal.end()).toEqual({ code: 3, restored: true });
    expect(terminal.text).toContain('No daemon');
    expect(terminal.text).not.toContain(ALTERNATE);
  });
});

test('without a terminal it prints the figures of one interval, and ends', async () => {
  await ground.daemon();
  await makeDatabases(['a.db']);
  for (const args of [[], ['--once']]) {
    const { code, stdout, stderr } = await ground.cli(['top', '--interval', '100ms', ...args]);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^skylinedb 0\.\d+\.\d+ {2}pid \d+ .*\ndatabases 1 {2}batches\/s 0 /);
    expect(stdout).toMatch(/\na\.db +0 .*open +\d+\n$/);
    expect(stdout).not.toContain('\x1b');
  }
  expect(await ground.cli(['top', '--interval', '1ms'])).toMatchObject({ code: 2, stdout: '' });
});

test('--json has a line for each interval, until its reader leaves', async () => {
  await ground.daemon();
  await makeDatabases(['a.db']);
  const once = await ground.cli(['top', '--json', '--once', '--interval', '100ms']);
  expect([once.code, once.stderr]).toEqual([0, '']);
  expect(JSON.parse(once.stdout)).toMatchObject({
    batches: 0,
    rows: [{ db: ground.file('a.db'), queue: 0 }],
  });
  const { stdout } = await ground.run('sh', [
    '-c',
    `"${process.execPath}" "${CLI_MAIN}" top --json --interval 100ms | head -n 3`,
  ]);
  expect(
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).workers),
  ).toEqual([1, 1, 1]);
  expect(
    await ground.cli(['top', '--json'], { env: { SKYLINEDB_SOCKET: `${ground.socket}x` } }),
  ).toMatchObject({
    code: 3,
  });
});
