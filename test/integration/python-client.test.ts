import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { VERSION } from '../../protocol/version.js';
import { DAEMON_MAIN, Playground } from '../support/playground.js';

/** The Python client's own tests, against the compiled daemon; and what its README shows. */

const CLIENT = fileURLToPath(new URL('../../clients/python', import.meta.url));

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

function works(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const python = works('python3', '-c', 'import sys, sqlite3; sys.exit(sys.version_info < (3, 9))');
const env = { PYTHONPATH: CLIENT, PYTHONDONTWRITEBYTECODE: '1' };

test.skipIf(!python).each(['units', 'client', 'reader', 'exactly_once', 'transaction'])(
  'tests/test_%s.py (skipped without Python 3.9 or newer)',
  async (name) => {
    // Warnings are errors: a socket or file that is left open is one.
    const args = ['-W', 'error', '-m', 'unittest', '-v', `tests.test_${name}`];
    const done = await ground.run('python3', args, { cwd: CLIENT, env });
    expect(done.code, done.stderr).toBe(0);
    expect(done.stderr).not.toContain('Exception ignored');
    expect(ground.processes()).toEqual([]);
  },
  300_000,
);

test.skipIf(!python)(
  'the README’s program runs, and what it writes is there for others (skipped without Python 3.9 or newer)',
  async () => {
    const readme = readFileSync(`${CLIENT}/README.md`, 'utf8');
    const programs = [...readme.matchAll(/^```python\n(.*?)^```/gms)].map((match) => match[1] ?? '');
    expect(programs.length).toBeGreaterThan(1);
    // A reader of the README has skylinedb-daemon on the PATH.
    const start = `import skylinedb, functools; skylinedb.connect = functools.partial(skylinedb.connect, daemon=[${JSON.stringify(process.execPath)}, ${JSON.stringify(DAEMON_MAIN)}])\n`;
    const done = await ground.run('python3', ['-W', 'error', '-c', start + programs.join('\n')], { env });
    expect(done.code, done.stderr).toBe(0);
    expect(done.stdout).toContain("{'name': 'Sirius', 'magnitude': -1.47}");
    const seen = await ground.cli(['query', '--json', '--db', 'stars.db', 'SELECT count(*) FROM stars']);
    expect(JSON.parse(seen.stdout)).toMatchObject({ rows: [[4]] });
    await ground.expectCleanEnd();
  },
  60_000,
);

test.skipIf(!python)('the version that the Python client tells is the package’s', async () => {
  const done = await ground.run('python3', ['-c', 'import skylinedb; print(skylinedb.__version__)'], { env });
  expect(done.stdout.trim()).toBe(VERSION);
});

test.skipIf(!works('mypy', '--version'))(
  'its types are strict (skipped where mypy is not installed)',
  async () => {
    const done = await ground.run('mypy', ['--cache-dir', `${ground.dir}/mypy`], { cwd: CLIENT });
    expect(done.code, done.stdout).toBe(0);
  },
  120_000,
);
