import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DAEMON_MAIN, type Finished, Playground, until } from '../support/playground.js';
import { Program } from '../support/program.js';

/** `nobody` on every Linux. */
const OTHER_USER = 65534;
const root = process.getuid?.() === 0;

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

/** Starts a daemon that is expected to refuse. */
function refusedDaemon(socket: string): Promise<Finished> {
  return ground.run(process.execPath, [DAEMON_MAIN], { env: { SKYLINEDB_SOCKET: socket } });
}

/** What a client says that is expected to refuse before it connects or starts anything. */
async function refusedClient(socket: string, wanted = 'NO_DAEMON'): Promise<string> {
  const program = Program.fixture(ground, 'connects-once', [JSON.stringify({ socket })]);
  const said = await program.json<{ code: string; message: string }>();
  expect((await program.exited).code).toBe(0);
  expect(said.code).toBe(wanted);
  return said.message;
}

/** Both sides refuse, with words that match, and nothing new is in the folder afterwards. */
async function expectBothRefuse(socket: string, words: readonly RegExp[]): Promise<void> {
  const daemon = await refusedDaemon(socket);
  expect(daemon).toMatchObject({ code: 1, stdout: '' });
  const message = await refusedClient(socket);
  for (const word of words) {
    expect(daemon.stderr).toMatch(word);
    expect(message).toMatch(word);
  }
  // A spare worker that was started ahead notices a moment later.
  await until('nothing is left', () => ground.processes().length === 0);
}

/** Somebody else's program that listens at the socket. */
async function listenAt(path: string): Promise<Server> {
  const server = createServer().listen(path);
  await until('it listens', () => server.listening);
  return server;
}

test('the socket is 0600 and the folder that the daemon makes for it is 0700', async () => {
  const socket = join(ground.dir, 'made', 'v1.sock');
  await ground.daemon(['--socket', socket]);
  expect((statSync(join(ground.dir, 'made')).mode & 0o777).toString(8)).toBe('700');
  expect((lstatSync(socket).mode & 0o777).toString(8)).toBe('600');
  const wire = await ground.wire(socket);
  expect(await wire.request({ type: 'Shutdown' })).toMatchObject({ status: 'ok' });
  await until('no process is left', () => ground.processes().length === 0);
  expect(readdirSync(join(ground.dir, 'made'))).toEqual([]);
});

test('a client makes the folder 0700 as well, whatever the umask', async () => {
  const socket = join(ground.dir, 'made', 'v1.sock');
  const program = Program.fixture(ground, 'connects-once', [JSON.stringify({ socket })]);
  expect(await program.json()).toEqual({ daemon: expect.any(Number) });
  await program.exited;
  expect((statSync(join(ground.dir, 'made')).mode & 0o777).toString(8)).toBe('700');
  expect((lstatSync(socket).mode & 0o777).toString(8)).toBe('600');
});

test.each(['750', '705', '701', '777'])(
  'a socket folder of mode %s is refused by both sides, with the chmod that helps',
  async (mode) => {
    const folder = join(ground.dir, 'open');
    mkdirSync(folder);
    chmodSync(folder, Number.parseInt(mode, 8));
    await expectBothRefuse(join(folder, 'v1.sock'), [/open to others/, new RegExp(`chmod 700 '${folder}'`)]);
    expect(readdirSync(folder)).toEqual([]);
    expect((statSync(folder).mode & 0o777).toString(8)).toBe(mode);
  },
);

test('a socket folder that is a symbolic link is refused by both sides', async () => {
  const folder = join(ground.dir, 'link');
  symlinkSync(join(ground.dir, 's'), folder);
  await expectBothRefuse(join(folder, 'v1.sock'), [/symbolic link/, /Remove it|--socket/]);
  expect(readdirSync(join(ground.dir, 's'))).toEqual([]);
});

test('a socket folder that is a file is refused by both sides, and the file stays', async () => {
  const folder = join(ground.dir, 'file');
  writeFileSync(folder, 'mine');
  await expectBothRefuse(join(folder, 'v1.sock'), [/not a folder|cannot be made/, /--socket/]);
  expect(readFileSync(folder, 'utf8')).toBe('mine');
});

test('a socket path that the system would cut is refused by name, not cut', async () => {
  const folder = join(ground.dir, 's');
  const name = 'x'.repeat(107 - Buffer.byteLength(folder) - 1);
  const longest = join(folder, name);
  const tooLong = `${longest}y`;
  const daemon = await refusedDaemon(tooLong);
  expect(daemon.code).not.toBe(0);
  expect(daemon.stderr).toContain(tooLong);
  expect(daemon.stderr).toMatch(/109 bytes.*108/);
  expect(await refusedClient(tooLong, 'INVALID_REQUEST')).toContain(tooLong);
  expect(readdirSync(folder)).toEqual([]);
  // One byte less is served, under its whole name.
  await ground.daemon(['--socket', longest]);
  expect(readdirSync(folder)).toContain(name);
  const wire = await ground.wire(longest);
  await wire.request({ type: 'Shutdown' });
});

test('a plain file at the place of the socket is refused by both sides, and stays', async () => {
  writeFileSync(ground.socket, 'somebody needs this');
  await expectBothRefuse(ground.socket, [/not a socket/, /Remove it/]);
  expect(readFileSync(ground.socket, 'utf8')).toBe('somebody needs this');
});

test('a plain file at the place of the lock is refused by name, and stays', async () => {
  writeFileSync(`${ground.socket}.lock`, 'somebody needs this, and it is no database at all');
  const daemon = await refusedDaemon(ground.socket);
  expect(daemon).toMatchObject({ code: 1, stderr: expect.stringContaining(`${ground.socket}.lock`) });
  expect(readFileSync(`${ground.socket}.lock`, 'utf8')).toMatch(/^somebody needs this/);
});

test('the socket of a program that listens is never removed, even without a lock of ours', async () => {
  const server = await listenAt(ground.socket);
  const before = lstatSync(ground.socket).ino;
  const daemon = await refusedDaemon(ground.socket);
  expect(daemon).toMatchObject({ code: 1, stderr: expect.stringMatching(/listens at .*v1\.sock/) });
  expect(lstatSync(ground.socket).ino).toBe(before);
  expect(existsSync(`${ground.socket}.lock`)).toBe(false);
  await new Promise((resolve) => server.close(resolve));
});

test('the socket of a living daemon survives any number of others that want its place', async () => {
  const daemon = await ground.daemon();
  const before = lstatSync(ground.socket).ino;
  const others = await Promise.all(Array.from({ length: 4 }, () => refusedDaemon(ground.socket)));
  for (const other of others) expect(other.code).toBe(1);
  expect(lstatSync(ground.socket).ino).toBe(before);
  const wire = await ground.wire();
  expect(await wire.request({ type: 'Ping' })).toMatchObject({ status: 'ok', pid: daemon.pid });
  await ground.expectCleanEnd();
});

describe.skipIf(!root)(
  'with another user on the machine (skipped unless run by root, who alone can be two)',
  () => {
    /** The playground's own folder is closed to others; here only the socket's folder may stand in the way. */
    beforeEach(() => {
      chmodSync(ground.dir, 0o755);
    });

    test('a socket folder of another user is refused by both sides, naming the owner', async () => {
      const folder = join(ground.dir, 'theirs');
      mkdirSync(folder, { mode: 0o700 });
      chownSync(folder, OTHER_USER, OTHER_USER);
      await expectBothRefuse(join(folder, 'v1.sock'), [/belongs to user 65534/, /--socket/]);
      expect(readdirSync(folder)).toEqual([]);
    });

    test('a socket that another user has put into our folder is not connected to', async () => {
      const server = await listenAt(ground.socket);
      chownSync(ground.socket, OTHER_USER, OTHER_USER);
      let connections = 0;
      server.on('connection', (socket) => {
        connections += 1;
        socket.destroy();
      });
      await expectBothRefuse(ground.socket, [/belongs to user 65534/, /Remove it/]);
      expect(connections).toBe(0);
      await new Promise((resolve) => server.close(resolve));
    });

    test('another user cannot connect to the daemon', async () => {
      await ground.daemon();
      const script = `const s = require('node:net').connect(${JSON.stringify(ground.socket)});
      s.on('connect', () => { console.log('connected'); s.destroy(); }).on('error', (e) => console.log(e.code))`;
      const user = ['--reuid', `${OTHER_USER}`, '--regid', `${OTHER_USER}`, '--clear-groups'];
      const other = await ground.run('setpriv', [...user, process.execPath, '-e', script], { cwd: '/' });
      expect(other).toMatchObject({ code: 0, stdout: 'EACCES\n' });
      // The same without the folder's protection: the socket's own mode keeps them out.
      chmodSync(join(ground.dir, 's'), 0o755);
      const nearer = await ground.run('setpriv', [...user, process.execPath, '-e', script], { cwd: '/' });
      expect(nearer).toMatchObject({ code: 0, stdout: 'EACCES\n' });
      chmodSync(join(ground.dir, 's'), 0o700);
      await ground.expectCleanEnd();
    });
  },
);
