import { fork, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pidsWithMark } from './processes.mjs';

/** @typedef {import('node:child_process').ChildProcess} ChildProcess */

/**
 * The benchmark's own folders, sockets and processes. Every process carries a mark in its environment: none is left
 * behind, however the benchmark ends.
 */
export class Playground {
  #mark = `SKYLINEDB_BENCH_MARK=${randomUUID()}`;
  #number = 0;
  /** Every living child, and the signal that ends it at once. @type {Map<ChildProcess, NodeJS.Signals>} */
  #children = new Map();
  #ended = false;
  /** @type {Promise<void> | null} */
  #ending = null;

  /** @param {string | undefined} dir where databases are to lie */
  constructor(dir) {
    // Sockets must have short paths, so they stay in the temporary folder whatever --dir says.
    this.sockets = mkdtempSync(join(tmpdir(), 'skybench-'));
    this.dir = dir === undefined ? join(this.sockets, 'data') : mkdtempSync(join(dir, 'skybench-'));
    mkdirSync(this.dir, { recursive: true });
    // PostgreSQL runs as another user when this is root: it must be able to pass through.
    for (const path of [this.sockets, this.dir]) chmodSync(path, 0o711);
    process.on('exit', () => this.#killNow());
    for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
      process.on(signal, () => {
        if (this.#ended) return;
        process.stderr.write(`\nbench: ${signal}, cleaning up\n`);
        this.end().finally(() => process.exit(130));
      });
    }
  }

  get env() {
    const { NODE_OPTIONS: _options, ...env } = process.env;
    const [name, value] = this.#mark.split('=');
    return { ...env, [name ?? '']: value, SKYLINEDB_STATE_DIR: join(this.sockets, 'state'), NO_COLOR: '1' };
  }

  /** A new, empty folder for databases. */
  folder(name = 'run') {
    this.#number += 1;
    const path = join(this.dir, `${name}-${this.#number}`);
    mkdirSync(path, { mode: 0o700 });
    return path;
  }

  /** A path for a new socket, in a folder of its own that is nobody else's. */
  socket() {
    this.#number += 1;
    const folder = join(this.sockets, `s${this.#number}`);
    mkdirSync(folder, { mode: 0o700 });
    return join(folder, 'v1.sock');
  }

  /**
   * @param {string} command
   * @param {readonly string[]} args
   * @param {import('node:child_process').SpawnOptions & { endSignal?: NodeJS.Signals }} [options]
   */
  start(command, args, { endSignal = 'SIGKILL', ...options } = {}) {
    if (this.#ended) throw new Error('The benchmark is being ended.');
    const child = spawn(command, [...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
      cwd: this.sockets,
      ...options,
      env: { ...this.env, ...options.env },
    });
    return this.#keep(child, endSignal);
  }

  /**
   * @param {string | URL} module
   * @param {readonly string[]} [args]
   */
  fork(module, args = []) {
    if (this.#ended) throw new Error('The benchmark is being ended.');
    const options = { execArgv: [], env: this.env, cwd: this.sockets };
    const child = fork(module, [...args], { ...options, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    return this.#keep(child, 'SIGKILL');
  }

  /**
   * Asks a process to leave, waits, and kills it if it does not.
   * @param {ChildProcess} child
   * @param {NodeJS.Signals} [signal]
   */
  async stop(child, signal = 'SIGTERM') {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), 15_000);
    await gone;
    clearTimeout(late);
  }

  /** @param {string} path */
  remove(path) {
    rmSync(path, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Ends every process and removes every folder. Idempotent. */
  end() {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  async #end() {
    this.#ended = true;
    this.#signalAll();
    // Orphans (workers, PostgreSQL's backends) notice by themselves that their parent has gone.
    for (let tries = 0; tries < 60 && (this.#living() || pidsWithMark(this.#mark).length > 0); tries += 1) {
      if (tries === 30) this.#killMarked();
      await sleep(50);
    }
    for (const path of [this.dir, this.sockets]) this.remove(path);
  }

  /**
   * @param {ChildProcess} child
   * @param {NodeJS.Signals} endSignal
   */
  #keep(child, endSignal) {
    this.#children.set(child, endSignal);
    child.on('error', () => this.#children.delete(child));
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  #living() {
    return this.#children.size > 0;
  }

  #signalAll() {
    for (const [child, signal] of this.#children) child.kill(signal);
  }

  #killMarked() {
    for (const pid of pidsWithMark(this.#mark)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has just gone by itself.
      }
    }
  }

  /** The last resort: nothing may wait any more. */
  #killNow() {
    if (this.#ending !== null) return;
    this.#signalAll();
    this.#killMarked();
    for (const path of [this.dir, this.sockets]) rmSync(path, { recursive: true, force: true });
  }
}

/**
 * What a process wrote to stderr last, for the message when it fails.
 * @param {ChildProcess} child
 */
export function lastWords(child) {
  let text = '';
  child.stderr?.setEncoding('utf8').on('data', (more) => {
    text = (text + more).slice(-2_000);
  });
  return () => text.trim();
}

/**
 * @param {string} what
 * @param {() => boolean | Promise<boolean>} condition
 * @param {number} [timeoutMs]
 */
export async function until(what, condition, timeoutMs = 20_000) {
  const end = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`Still not so after ${timeoutMs} ms: ${what}.`);
    await sleep(10);
  }
}
