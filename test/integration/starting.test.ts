import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DAEMON_MAIN, Playground, until } from '../support/playground.js';
import { Program } from '../support/program.js';

interface Said {
  readonly daemon?: number;
  readonly rev?: number;
  readonly code?: string;
  readonly message?: string;
}

const HERD = 60;

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

/** Clients that have loaded the library and wait for the word. */
async function herd(): Promise<Program[]> {
  const clients = Array.from({ length: HERD }, () =>
    Program.fixture(ground, 'writes-when-told', [ground.file('herd.db')]),
  );
  for (const client of clients) expect(await client.line()).toBe('loaded');
  return clients;
}

/** Says the word to all of them at once, and waits for what they say. */
async function go(clients: readonly Program[]): Promise<Said[]> {
  for (const client of clients) client.say('go');
  const said = await Promise.all(clients.map((client) => client.json<Said>()));
  for (const { code } of await Promise.all(clients.map((client) => client.exited))) expect(code).toBe(0);
  return said;
}

/** Connects from a process of its own. */
async function connectOnce(options: object = {}, env: NodeJS.ProcessEnv = {}): Promise<Said> {
  const program = Program.fixture(
    ground,
    'connects-once',
    [JSON.stringify({ startTimeoutMs: 60_000, ...options })],
    { env },
  );
  const said = await program.json<Said>();
  expect((await program.exited).code).toBe(0);
  return said;
}

/** Pids of the daemons that ever listened, from the log. */
function listened(): number[] {
  return readFileSync(join(ground.stateDir, 'daemon.log'), 'utf8')
    .split('\n')
    .filter((line) => line.includes('"listening"'))
    .map((line) => (JSON.parse(line) as { pid: number }).pid);
}

/** What a client that finds no daemon needs to write again; the time only matters to whoever reads a failure. */
async function expectHelpless(what: string): Promise<number> {
  const begin = performance.now();
  const said = await connectOnce();
  if (said.daemon === undefined)
    console.error(`${what}: ${Math.round(performance.now() - begin)} ms, ${JSON.stringify(said)}`);
  expect(said).toEqual({ daemon: expect.any(Number) });
  return said.daemon ?? 0;
}

/** A socket file that nobody listens at, as a killed daemon leaves it. */
async function leaveDeadSocket(path: string): Promise<void> {
  const program = new Program(
    ground.start(process.execPath, [
      '-e',
      `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('listening'))`,
    ]),
  );
  await program.line();
  await program.kill();
  expect(existsSync(path)).toBe(true);
}

test('sixty clients that start at the same moment get one daemon, and all of them write', async () => {
  const said = await go(await herd());
  expect(said.filter(({ daemon }) => daemon === undefined)).toEqual([]);
  expect(new Set(said.map(({ daemon }) => daemon)).size).toBe(1);
  expect(listened()).toEqual([said[0]?.daemon]);
  expect(await ground.sqlite3(ground.file('herd.db'), 'SELECT count(DISTINCT pid) FROM t')).toBe(`${HERD}`);
  await ground.expectCleanEnd();
}, 180_000);

test('sixty clients right after kill -9 of the daemon get one new daemon, and all of them write', async () => {
  const first = await ground.daemon();
  const clients = await herd();
  first.child.kill('SIGKILL');
  const said = await go(clients);
  expect(new Set(said.map(({ daemon }) => daemon)).size).toBe(1);
  expect(listened()).toEqual([first.pid, said[0]?.daemon]);
  expect(await ground.sqlite3(ground.file('herd.db'), 'SELECT count(DISTINCT pid) FROM t')).toBe(`${HERD}`);
  await ground.expectCleanEnd();
}, 180_000);

test('after kill -9 of a daemon in the middle of its start the next client needs no help', async () => {
  for (let round = 0; round < 8; round += 1) {
    const after = Math.round(Math.random() * 150);
    const daemon = ground.start(process.execPath, [DAEMON_MAIN]);
    await new Promise((resolve) => setTimeout(resolve, after));
    daemon.kill('SIGKILL');
    const pid = await expectHelpless(`round ${round}, killed after ${after} ms`);
    process.kill(pid, 'SIGKILL');
  }
}, 180_000);

test('after kill -9 of a client that was starting a daemon the next client needs no help', async () => {
  for (let round = 0; round < 6; round += 1) {
    const client = Program.fixture(ground, 'writes-when-told', [ground.file('a.db')]);
    await client.line();
    client.say('go');
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 120));
    await client.kill();
    const pid = await expectHelpless(`round ${round}`);
    process.kill(pid, 'SIGKILL');
  }
  const wanted = await connectOnce();
  expect(wanted.daemon).toBeGreaterThan(0);
  await ground.expectCleanEnd();
}, 180_000);

test('a socket file that nobody listens at is replaced by the next daemon', async () => {
  await leaveDeadSocket(ground.socket);
  await expectHelpless('dead socket');
  await ground.expectCleanEnd();
});

test('a lock file and a starter folder of processes that died do not stop a daemon', async () => {
  const dead = await ground.run(process.execPath, ['-e', 'console.log(process.pid)']);
  const daemon = await ground.daemon();
  daemon.child.kill('SIGKILL');
  await daemon.exited;
  expect(existsSync(`${ground.socket}.lock`)).toBe(true);
  const starting = join(dirname(ground.socket), 'v1.starting');
  mkdirSync(starting);
  writeFileSync(`${starting}.pid`, dead.stdout.trim());
  await expectHelpless('stale locks');
  await ground.expectCleanEnd();
});

test('a starter folder whose maker was killed before it wrote its pid is taken over without help', async () => {
  mkdirSync(join(dirname(ground.socket), 'v1.starting'));
  await expectHelpless('stale folder without pid');
  await ground.expectCleanEnd();
});

test('a state folder that is a file is what the client is told', async () => {
  const file = join(ground.dir, 'no-folder');
  writeFileSync(file, '');
  const said = await connectOnce({}, { SKYLINEDB_STATE_DIR: file });
  expect(said).toMatchObject({ code: 'NO_DAEMON', message: expect.stringContaining(file) });
  expect(said.message).not.toMatch(/within \d+ ms/);
  expect(readFileSync(file, 'utf8')).toBe('');
  await until('the daemon that could not start has ended', () => ground.processes().length === 0);
});

test('a data folder that cannot be made is what the client is told', async () => {
  const file = join(ground.dir, 'no-folder');
  writeFileSync(file, '');
  const said = await connectOnce({}, { SKYLINEDB_DATA_DIR: join(file, 'data') });
  expect(said).toMatchObject({ code: 'NO_DAEMON', message: expect.stringContaining(join(file, 'data')) });
  await until('the daemon that could not start has ended', () => ground.processes().length === 0);
  // What remains is what a client needs to try again at once.
  expect(readdirSync(dirname(ground.socket))).toEqual([]);
});

test('arguments that the daemon does not take are named to the client', async () => {
  const said = await connectOnce({ daemonArgs: ['--durability', 'sometimes'] });
  expect(said).toMatchObject({
    code: 'NO_DAEMON',
    message: expect.stringMatching(/--durability.*sometimes/),
  });
  const unknown = await connectOnce({ daemonArgs: ['--no-such-option'] });
  expect(unknown).toMatchObject({ code: 'NO_DAEMON', message: expect.stringContaining('--no-such-option') });
  await until('the daemon that could not start has ended', () => ground.processes().length === 0);
});

test('a client that may not start a daemon says that none runs, and starts none', async () => {
  const said = await connectOnce({ autoStart: false });
  expect(said).toMatchObject({ code: 'NO_DAEMON', message: expect.stringContaining(ground.socket) });
  expect(existsSync(ground.stateDir)).toBe(false);
  await leaveDeadSocket(ground.socket);
  expect(await connectOnce({ autoStart: false })).toMatchObject({ code: 'NO_DAEMON' });
  rmSync(ground.socket);
  expect(ground.processes()).toEqual([]);
});

test('a program that connects and writes ends by itself, without close()', async () => {
  const program = Program.fixture(ground, 'writes-and-never-closes', [ground.file('a.db')]);
  const { daemon } = await program.json<Said>();
  expect(await program.exited).toMatchObject({ code: 0, stderr: '' });
  expect(ground.processes()).toContain(daemon);
  await ground.expectCleanEnd();
});

test('neither daemon nor worker keeps the working directory of the client that started them', async () => {
  const cwd = join(ground.dir, 'unmounted-later');
  mkdirSync(cwd);
  const program = Program.fixture(ground, 'writes-and-never-closes', [ground.file('a.db')], { cwd });
  await program.exited;
  const running = ground.processes();
  // The daemon, the worker, and perhaps the next spare one already.
  expect(running.length).toBeGreaterThanOrEqual(2);
  for (const pid of running) expect(readlinkSync(`/proc/${pid}/cwd`)).toBe('/');
  await ground.expectCleanEnd();
});
