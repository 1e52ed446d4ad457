import { mkdirSync, writeFileSync } from 'node:fs';
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

test('the command line prints what holds, and where each value comes from: option, variable, file and line', async () => {
  const inData = configure('# mine\nwal_limit = "2MB"\nmax_workers = 3\n');
  mkdirSync(ground.stateDir, { recursive: true });
  const inState = configure('wal_limit = "4MB"\nidle_timeout = "1h"\n', ground.stateDir);
  const env = { SKYLINEDB_MAX_WORKERS: '8' };
  const { code, stdout, stderr } = await ground.cli(['config', '--json'], { env });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const reply = JSON.parse(stdout) as {
    settings: { name: string; value: string; source: string; where: string }[];
  };
  expect(reply).toMatchObject({
    status: 'ok',
    endpoint: ground.socket,
    data_dir: ground.dataDir,
    state_dir: ground.stateDir,
    files: [inData, inState],
  });
  const found = Object.fromEntries(reply.settings.map(({ name, ...rest }) => [name, rest]));
  expect(found).toMatchObject({
    wal_limit: { value: '2MB', source: 'file', where: `${inData}:2`, default: '64MB' },
    idle_timeout: { value: '1h', source: 'file', where: `${inState}:2` },
    max_workers: { value: '8', source: 'environment', where: 'SKYLINEDB_MAX_WORKERS' },
    durability: { value: 'normal', source: 'default', where: '' },
  });
  const human = await ground.cli(['config'], { env });
  expect(human.stdout).toContain('✓ What a daemon that starts now would use');
  expect(human.stdout).toMatch(/max_workers +│ 8 +│ SKYLINEDB_MAX_WORKERS/);
  expect(human.stdout).toMatch(/durability +│ normal +│ default/);
  const flag = await ground.run(process.execPath, [DAEMON_MAIN, '--print-config', '--max-workers', '9'], {
    env,
  });
  expect(flag.stdout).toContain('"max_workers","value":"9","source":"flag","where":"--max-workers"');
  // It has looked, and nothing more.
  expect(ground.processes()).toEqual([]);
});

test('the command line says what is wrong with the configuration, as wrong usage', async () => {
  const path = configure('durability = "ful"\n');
  expect(await ground.cli(['config'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining(
      `${path}:1: durability takes normal or full, but got "ful". Did you mean full?`,
    ),
  });
  const { code, stdout } = await ground.cli(['config', '--json']);
  expect(code).toBe(2);
  expect(JSON.parse(stdout)).toMatchObject({ status: 'error', code: 'INVALID_REQUEST' });
});
