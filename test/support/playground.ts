import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Wire } from './wire.js';

// From test/support, and from dist/soak into which the soak is bundled.
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const FIXTURES = join(ROOT, 'test/fixtures');
export const DAEMON_MAIN = join(ROOT, 'dist/bin/daemon.cjs');
export const CLI_MAIN = join(ROOT, 'dist/bin/cli.cjs');

/** Milliseconds that `sqlite3` waits for a lock. */
const SQLITE3_MS = 10_000;

/** A finished process and what it wrote. */
export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Waits until the condition holds; throws after a generous time, saying what was waited for. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 20_000,
): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`still not so after ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A daemon that a test has started by itself. */
export interface DaemonProcess {
  readonly pid: number;
  readonly child: ChildProcess;
  /** Resolves when the process has ended. */
  readonly exited: Promise<Finished>;
}

/**
 * A temporary folder with a socket, a state folder and a data folder of its own, and every process that comes from it:
 * all of them carry the playground's mark in their environment, so that none can be left behind unseen.
 */
export class Playground {
  readonly dir: string;
  readonly socket: string;
  readonly stateDir: string;
  readonly dataDir: string;
  readonly #mark = randomUUID();
  readonly #wires: Wire[] = [];

  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), 'sky-'));
    mkdirSync(join(this.dir, 's'), { mode: 0o700 });
    this.socket = join(this.dir, 's', 'v1.sock');
    this.stateDir = join(this.dir, 'state');
    this.dataDir = join(this.dir, 'data');
    mkdirSync(this.dataDir);
  }

  /** For every process of this playground. */
  get env(): NodeJS.ProcessEnv {
    const { NO_COLOR: _no, FORCE_COLOR: _force, ...env } = process.env;
    return {
      ...env,
      SKYLINEDB_TEST_MARK: this.#mark,
      SKYLINEDB_SOCKET: this.socket,
      SKYLINEDB_STATE_DIR: this.stateDir,
      SKYLINEDB_DATA_DIR: this.dataDir,
    };
  }

  /** A path in the data folder. */
  file(name: string): string {
    return join(this.dataDir, name);
  }

  /**
   * Starts `skylinedb-daemon` and waits until it is ready.
   * @param special a program that runs the daemon (`['prlimit', '--fsize=100000']`), or another user's id
   */
  async daemon(
    args: readonly string[] = [],
    env: NodeJS.ProcessEnv = {},
    special: { via?: readonly string[]; uid?: number } = {},
  ): Promise<DaemonProcess> {
    const [command = '', ...rest] = [
      ...(special.via ?? []),
      process.execPath,
      DAEMON_MAIN,
      '--ready-fd',
      '3',
    ];
    const child = spawn(command, [...rest, ...args], {
      ...(special.uid === undefined ? {} : { uid: special.uid, gid: special.uid }),
      env: { ...this.env, ...env },
      cwd: this.dataDir,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    });
    const exited = finished(child);
    const ready = child.stdio[3] as Readable;
    let line = '';
    for await (const chunk of ready.setEncoding('utf8')) line += String(chunk);
    const answer = JSON.parse(line || '{}') as { status?: string; message?: string };
    if (answer.status !== 'ready') {
      const { stderr } = await exited;
      throw new Error(`the daemon did not start: ${answer.message ?? stderr}`);
    }
    return { pid: child.pid ?? 0, child, exited };
  }

  /** A raw connection that speaks the protocol and nothing else. */
  async wire(socket = this.socket): Promise<Wire> {
    const wire = await Wire.connect(socket);
    this.#wires.push(wire);
    return wire;
  }

  /** Runs `skylinedb-cli`. */
  cli(
    args: readonly string[],
    options: { input?: string; cwd?: string; env?: NodeJS.ProcessEnv } = {},
  ): Promise<Finished> {
    return this.run(process.execPath, [CLI_MAIN, ...args], options);
  }

  /** Runs any program with the playground's environment. */
  run(
    command: string,
    args: readonly string[],
    options: { input?: string; cwd?: string; env?: NodeJS.ProcessEnv } = {},
  ): Promise<Finished> {
    const child = this.start(command, args, options);
    // A program that does not read its input may have ended before it.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.input ?? '');
    return finished(child);
  }

  /** Starts any program with the playground's environment; the caller ends it. */
  start(
    command: string,
    args: readonly string[],
    options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
  ): ChildProcess {
    const child = spawn(command, args, {
      env: { ...this.env, ...options.env },
      cwd: options.cwd ?? this.dataDir,
      stdio: 'pipe',
    });
    // A program may end before it has read its input.
    child.stdin.on('error', () => undefined);
    return child;
  }

  /**
   * What plain `sqlite3` says about a file. It waits for locks, as whoever reads a WAL database must: the last connection to
   * be closed holds one for a moment (https://sqlite.org/wal.html#sometimes_queries_return_sqlite_busy_in_wal_mode).
   */
  sqlite3(file: string, sql: string): Promise<string> {
    return new Promise((resolve, reject) => {
      execFile('sqlite3', ['-batch', '-cmd', `.timeout ${SQLITE3_MS}`, file, sql], (error, stdout) =>
        error === null ? resolve(stdout.trim()) : reject(error),
      );
    });
  }

  /** Living processes of this playground. Linux only. Zombies do not count: they hold nothing. */
  processes(): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        try {
          if (!readFileSync(`/proc/${pid}/environ`, 'latin1').includes(this.#mark)) return false;
          return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
        } catch {
          return false;
        }
      })
      .map(Number);
  }

  /** Pids of this playground's workers that have been told which database they serve. */
  workers(): number[] {
    return this.#titled('skylinedb-worker');
  }

  /** Pids of this playground's workers that serve nothing. */
  spares(): number[] {
    return this.#titled('skylinedb-spare');
  }

  #titled(title: string): number[] {
    return this.processes().filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith(title);
      } catch {
        return false;
      }
    });
  }

  /** Pids of this playground's routers. */
  daemons(): number[] {
    return this.processes().filter((pid) => {
      try {
        return /^skylinedb-daemon|daemon\/main\.js/.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
      } catch {
        return false;
      }
    });
  }

  /** Ends every process and removes the folder. Use in afterEach. */
  async dispose(): Promise<void> {
    for (const wire of this.#wires) wire.destroy();
    // Again and again: a client may just have started another daemon.
    await until('all processes of the playground have ended', () => {
      const left = this.processes();
      for (const pid of left) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // Gone by itself.
        }
      }
      return left.length === 0;
    });
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Asks the daemon to leave and asserts that nothing of it remains. */
  async expectCleanEnd(): Promise<void> {
    for (const wire of this.#wires) wire.destroy();
    if (existsSync(this.socket)) {
      const wire = await Wire.connect(this.socket).catch(() => null);
      await wire?.request({ type: 'Shutdown' });
      wire?.destroy();
    }
    await until('no process is left', () => this.processes().length === 0);
    const left = [
      ...readdirSync(join(this.dir, 's')),
      ...readdirSync(this.dataDir).filter((name) => /-(owner|wal|shm|journal)$/.test(name)),
    ];
    if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`);
  }
}

/** Collects a process's output until its end. */
export function finished(child: ChildProcess): Promise<Finished> {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
    child.once('error', (error) => resolve({ code: -1, signal: null, stdout, stderr: String(error) }));
  });
}
