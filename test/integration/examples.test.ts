import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';

const EXAMPLES = fileURLToPath(new URL('../../examples', import.meta.url));

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

function has(command: string): boolean {
  try {
    execFileSync(command, ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

test('the Python example writes, reads and understands errors with the standard library alone', async () => {
  await ground.daemon();
  const done = await ground.run('python3', [
    join(EXAMPLES, 'python/skyline.py'),
    '--db',
    ground.file('py.db'),
  ]);
  expect(done, done.stderr).toMatchObject({ code: 0 });
  expect(done.stdout).toContain('refused: SQL_ERROR, SQLITE_CONSTRAINT_UNIQUE, not_applied');
  expect(await ground.sqlite3(ground.file('py.db'), 'SELECT count(*) > 0 FROM example_stars')).toBe('1');
  await ground.expectCleanEnd();
});

test('the Python example works without db: data.db in the data directory', async () => {
  await ground.daemon();
  const done = await ground.run('python3', [join(EXAMPLES, 'python/skyline.py'), '--default-db']);
  expect(done, done.stderr).toMatchObject({ code: 0 });
  expect(await ground.sqlite3(ground.file('data.db'), 'SELECT count(*) > 0 FROM example_stars')).toBe('1');
});

test('the Python example says how to start a daemon when none runs', async () => {
  const done = await ground.run('python3', [join(EXAMPLES, 'python/skyline.py')]);
  expect(done.code).toBe(3);
  expect(done.stderr).toContain('skylinedb-daemon');
});

test('the Node example starts the daemon by itself', async () => {
  const done = await ground.run(process.execPath, [join(EXAMPLES, 'node/stars.mjs'), ground.file('node.db')]);
  expect(done, done.stderr).toMatchObject({ code: 0 });
  expect(done.stdout).toBe(
    'Sirius\t-1.46\nCanopus\t-0.74\nVega\t0.03\nrefused: SQL_ERROR SQLITE_CONSTRAINT_UNIQUE\n',
  );
  await ground.expectCleanEnd();
});

test.skipIf(!has('go'))(
  'the Go example does the same (skipped where Go is not installed)',
  async () => {
    await ground.daemon();
    const env = { GOCACHE: join(ground.dir, 'go-cache'), GOFLAGS: '-mod=mod' };
    const done = await ground.run('go', ['run', '.', '--db', ground.file('go.db')], {
      cwd: join(EXAMPLES, 'go'),
      env,
    });
    expect(done, done.stderr).toMatchObject({ code: 0 });
    expect(done.stdout).toContain('refused: SQL_ERROR, SQLITE_CONSTRAINT_UNIQUE, not_applied');
  },
  120_000,
);
