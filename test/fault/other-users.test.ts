import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DAEMON_MAIN, type Finished, Playground, until } from '../support/playground.js';
import { Program } from '../support/program.js';
import { Wire } from '../support/wire.js';

/**
 * Another user of the machine who wants in: prepares the place of the socket, swaps it while it is looked at, or knocks. Needs
 * root, who alone can be two users, and a checkout that others may read.
 */
const THEM = 65534;
const skipped = reasonToSkip();

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
  chmodSync(ground.dir, 0o755);
});
afterEach(async () => {
  await ground.dispose();
});

function reasonToSkip(): string | null {
  if (process.getuid?.() !== 0) return 'needs root';
  try {
    execFileSync('setpriv', [...as(THEM), process.execPath, DAEMON_MAIN, '--version'], {
      cwd: '/',
      stdio: 'ignore',
    });
    return null;
  } catch {
    return 'needs setpriv, and a checkout that others may read';
  }
}

function as(uid: number): string[] {
  return [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
}

/** Their program, which says a line when it is ready. */
async function their(script: string): Promise<Program> {
  const program = new Program(
    ground.start('setpriv', [...as(THEM), process.execPath, '-e', script], { cwd: '/' }),
  );
  expect(await program.line()).toBe('ready');
  return program;
}

describe.skipIf(skipped !== null)(`another user (${skipped ?? 'as root'})`, () => {
  test('who makes the folder of the default socket first is not trusted, by client or daemon', async () => {
    // The real place below /tmp, of a user whom nobody is.
    const victim = 1_000_000 + randomInt(1_000_000);
    const folder = join('/tmp', `skylinedb-${victim}`);
    const socket = join(folder, 'v1.sock');
    try {
      const program = await their(`
        require('node:fs').mkdirSync(${JSON.stringify(folder)}, { mode: 0o777 });
        require('node:fs').chmodSync(${JSON.stringify(folder)}, 0o777);
        let count = 0;
        require('node:net').createServer((s) => { count += 1; s.destroy(); }).listen(${JSON.stringify(socket)}, () => {
          require('node:fs').chmodSync(${JSON.stringify(socket)}, 0o777);
          console.log('ready');
        });
        process.stdin.on('data', () => { console.log(String(count)); });`);
      // Open to all, and closed to all but them.
      for (const mode of [0o777, 0o700]) {
        chmodSync(folder, mode);
        for (const end of [await victimDaemon(victim), await victimClient(victim)]) {
          expect(end.code).not.toBe(0);
          expect(end.stderr + end.stdout).toMatch(new RegExp(`belongs to user ${THEM}`));
        }
      }
      expect(await program.ask('how many?')).toBe('0');
      expect(readdirSync(folder)).toEqual(['v1.sock']);
      await program.kill();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test('who swaps folder, link and socket all the time never gets a connection of ours', async () => {
    // A place like /tmp: all may make things there, and nobody may touch those of others.
    const place = join(ground.dir, 'place');
    mkdirSync(place);
    chmodSync(place, 0o1777);
    const folder = join(place, 'sky');
    const program = await their(`
      const fs = require('node:fs'), net = require('node:net');
      const [folder, trap] = ${JSON.stringify([folder, join(place, 'trap')])};
      let [count, rounds, on] = [0, 0, true];
      fs.mkdirSync(trap);
      fs.chmodSync(trap, 0o777);
      net.createServer((s) => { count += 1; s.destroy(); }).listen(trap + '/v1.sock', () => {
        fs.chmodSync(trap + '/v1.sock', 0o777);
        console.log('ready');
        const swap = () => {
          for (let n = 0; n < 50; n += 1) {
            rounds += 1;
            try { fs.rmSync(folder, { recursive: true, force: true }); } catch {}
            try {
              if (rounds % 3 === 0) fs.symlinkSync(trap, folder);
              else if (rounds % 3 === 1) { fs.mkdirSync(folder); fs.chmodSync(folder, 0o777); fs.linkSync(trap + '/v1.sock', folder + '/v1.sock'); }
            } catch {}
          }
          if (on) setImmediate(swap);
        };
        swap();
      });
      process.stdin.on('data', () => { on = false; console.log(JSON.stringify({ count, rounds })); });`);
    const socket = join(folder, 'v1.sock');
    const said: string[] = [];
    for (let round = 0; round < 12; round += 1) {
      const autoStart = round % 4 === 3;
      const args = [JSON.stringify({ socket, autoStart, startTimeoutMs: 2_000 }), autoStart ? '3' : '300'];
      const client = Program.fixture(ground, 'connects-again', args);
      said.push(await client.line());
      await client.exited;
      // One that we have made is ours alone, and they cannot take it away: that would be the end of the game.
      if (statSync(folder, { throwIfNoEntry: false })?.uid !== 0) continue;
      expect(statSync(folder).mode & 0o777).toBe(0o700);
      rmSync(folder, { recursive: true, force: true });
    }
    const { count, rounds } = JSON.parse(await program.ask('how many?')) as { count: number; rounds: number };
    expect(rounds).toBeGreaterThan(100);
    expect(count, said.join('\n')).toBe(0);
    await program.kill();
  });

  test("cannot speak to a worker's own socket either", async () => {
    await ground.daemon();
    const wire = await ground.wire();
    await wire.exec('x.db', ['CREATE TABLE t (a)']);
    const { endpoint } = await wire.request({ type: 'Attach', db: 'x.db' });
    const script = (path: unknown) => `
      const s = require('node:net').connect(${JSON.stringify(path)});
      s.on('connect', () => console.log('connected')).on('error', (e) => console.log(e.code)).on('close', () => process.exit());`;
    const knock = async (path: unknown) =>
      (await ground.run('setpriv', [...as(THEM), process.execPath, '-e', script(path)], { cwd: '/' })).stdout;
    expect(await knock(endpoint)).toBe('EACCES\n');
    // And without the folder's protection.
    chmodSync(dirname(ground.socket), 0o755);
    expect(await knock(endpoint)).toBe('EACCES\n');
    expect(await knock(ground.socket)).toBe('EACCES\n');
    chmodSync(dirname(ground.socket), 0o700);
    await ground.expectCleanEnd();
  });

  test('finds nothing to read: state, log and locks are closed to others, whatever the umask', async () => {
    const before = process.umask(0);
    try {
      await ground.daemon();
    } finally {
      process.umask(before);
    }
    const wire = await ground.wire();
    await wire.exec('x.db', ['CREATE TABLE t (a)']);
    await wire.request({ type: 'CloseDatabase', db: 'x.db' });
    const open = readdirSync(ground.stateDir, { recursive: true, withFileTypes: true })
      .map((entry) => join(entry.parentPath, entry.name))
      .concat(
        ground.stateDir,
        ...readdirSync(dirname(ground.socket)).map((name) => join(dirname(ground.socket), name)),
      )
      .filter((path) => (statSync(path).mode & 0o077) !== 0 && !closedAbove(path));
    expect(open).toEqual([]);
  });

  function closedAbove(path: string): boolean {
    const folder = dirname(path);
    if (folder === tmpdir() || folder === '/') return false;
    return (statSync(folder).mode & 0o077) === 0 || closedAbove(folder);
  }

  /** With nothing set, so that the default place is used. */
  function victimRun(victim: number, program: readonly string[]): Promise<Finished> {
    const state = join(ground.dir, 'state-of-the-victim');
    mkdirSync(state, { recursive: true });
    chownSync(state, victim, victim);
    const env = { SKYLINEDB_SOCKET: '', XDG_RUNTIME_DIR: '', SKYLINEDB_STATE_DIR: state, HOME: '/' };
    return ground.run('setpriv', [...as(victim), process.execPath, ...program], { cwd: '/', env });
  }

  function victimDaemon(victim: number): Promise<Finished> {
    return victimRun(victim, [DAEMON_MAIN, '/']);
  }

  function victimClient(victim: number): Promise<Finished> {
    return victimRun(victim, [join(dirname(DAEMON_MAIN), 'cli.cjs'), 'ping']);
  }

  test("'s daemon and ours never both write one file, whoever comes first; what is killed leaves it to the other", async () => {
    // A folder and a file that both may write, as a group of people would have them.
    chmodSync(ground.dataDir, 0o777);
    const theirFolder = join(ground.dir, 'theirs');
    mkdirSync(theirFolder, { mode: 0o700 });
    chownSync(theirFolder, THEM, THEM);
    const theirSocket = join(theirFolder, 'v1.sock');
    const theirEnv = { SKYLINEDB_STATE_DIR: join(theirFolder, 'state') };
    const theirDaemon = () => ground.daemon(['--socket', theirSocket], theirEnv, { uid: THEM });
    const ours = await ground.daemon();
    const db = ground.file('shared.db');
    let us = await ground.wire();
    expect(await us.exec(db, ['CREATE TABLE t (n)'])).toMatchObject({ status: 'ok' });
    for (const name of readdirSync(ground.dataDir)) chmodSync(join(ground.dataDir, name), 0o666);

    await theirDaemon();
    // The socket lies in a folder of theirs: as root we may open it all the same, without the client's check.
    const them = await Wire.connect(theirSocket);
    try {
      const refused = await them.exec(db, ['INSERT INTO t VALUES (1)']);
      expect(refused).toMatchObject({ status: 'error', outcome: 'not_applied' });
      process.kill(ours.pid, 'SIGKILL');
      await ours.exited;
      await until('the file is theirs', async () => {
        return (await them.exec(db, ['INSERT INTO t VALUES (2)'])).status === 'ok';
      });
      await ground.daemon();
      us = await ground.wire();
      expect(await us.exec(db, ['INSERT INTO t VALUES (3)'])).toMatchObject({
        status: 'error',
        code: 'DATABASE_NOT_ALLOWED',
        outcome: 'not_applied',
      });
      expect(await ground.sqlite3(db, 'SELECT group_concat(n) FROM t')).toBe('2');
    } finally {
      them.destroy();
    }
  });
});
