import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DAEMON_MAIN, Playground } from '../support/playground.js';
import { Program } from '../support/program.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

function configure(text: string, dir = ground.dataDir): string {
  const path = join(dir, 'skylinedb.toml');
  writeFileSync(path, text);
  return path;
}

test('a daemon that a client starts reads the file in the data directory', async () => {
  configure('wal_limit = "2MB"\n');
  expect(await ground.cli(['exec', '--db', 'x.db', 'CREATE TABLE t (a)'])).toMatchObject({ code: 0 });
  const { stdout } = await ground.cli(['status', '--json']);
  expect(JSON.parse(stdout)).toMatchObject({ databases: [{ wal: { limit: 2 * 1024 ** 2 } }] });
  await ground.expectCleanEnd();
});

test('a client is told by file and line why the daemon cannot start', async () => {
  const path = configure('# mine\nwal_limt = "2MB"\n');
  const { code, stderr } = await ground.cli(['exec', '--db', 'x.db', 'CREATE TABLE t (a)']);
  expect(code).toBe(3);
  expect(stderr).toContain(
    `The daemon could not start: skylinedb-daemon: ${path}:2: there is no setting "wal_limt". Did you mean wal_limit?`,
  );
  const program = Program.fixture(ground, 'connects-once');
  expect(await program.json()).toMatchObject({
    code: 'NO_DAEMON',
    message: expect.stringContaining(`${path}:2`),
  });
  await program.exited;
  expect(ground.daemons()).toEqual([]);
});

test.each([
  ['of bytes that are no text', Buffer.from([0xff, 0xfe, 0x00, 0x3d])],
  ['of two megabytes', Buffer.alloc(2 * 1024 ** 2, '# '.repeat(10))],
])('a file %s is refused', async (_what, bytes) => {
  writeFileSync(join(ground.dataDir, 'skylinedb.toml'), bytes);
  const { code, stderr } = await ground.run(process.execPath, [DAEMON_MAIN]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/^✗ Error: .*skylinedb\.toml/);
});
