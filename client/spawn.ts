import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, parse } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type Lockfile from 'proper-lockfile';
import { isPipe, userDataFolder } from '../protocol/endpoint.js';
import { codeOf, messageOf, SkylineError } from '../protocol/errors.js';
import { surroundings } from '../protocol/transport/this-package.js';
import type { CheckedOptions } from './options.js';
import { noDaemon, START_LOCK_STALE_MS, startLockPath } from './reach.js';

/**
 * Starting a daemon. What decides that one daemon lives is a lock that the daemon itself holds; the lock file used here
 * only calms a herd of starters, so that sixty clients do not start sixty processes to end fifty-nine.
 */

// From dist/client and from dist/bin alike.
const DAEMON_MAIN = fileURLToPath(new URL('../bin/daemon.cjs', import.meta.url));
/** How long a lock file may be without its holder's pid beside it, in milliseconds. */
const NO_PID_MS = 300;
const MAX_LAST_WORDS = 4_000;

/** How a client runs the daemon's program: the same for starting it and for asking it about its configuration. */
export function daemonCommand(
  { endpoint, daemonArgs }: Pick<CheckedOptions, 'endpoint' | 'daemonArgs'>,
  further: readonly string[],
): { args: string[]; cwd: string; env: NodeJS.ProcessEnv } {
  const around = surroundings();
  const { NODE_OPTIONS: _options, ...env } = process.env;
  return {
    args: [DAEMON_MAIN, '--socket', endpoint, ...further, ...daemonArgs, userDataFolder(around)],
    // Not the client's folder: a daemon that outlives it must not keep it busy.
    cwd: parse(around.home).root,
    // In an Electron app execPath is Electron itself. NODE_OPTIONS was meant for the client (--inspect, --require).
    env: { ...env, ELECTRON_RUN_AS_NODE: '1' },
  };
}

/**
 * Starts the daemon and waits until it is ready.
 * @param further arguments for it
 * @returns null when it is, or why another daemon is there already
 * @throws SkylineError `NO_DAEMON` with the daemon's own reason
 */
export async function startDaemon(
  options: CheckedOptions,
  timeoutMs: number,
  further: readonly string[] = [],
): Promise<string | null> {
  const { args, cwd, env } = daemonCommand(options, ['--ready-fd', '3', ...further]);
  const child = spawn(process.execPath, args, {
    detached: true,
    cwd,
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    env,
    windowsHide: true,
  });
  const [, , stderr, ready] = child.stdio as unknown as [null, null, Readable, Readable];
  let lastWords = '';
  stderr.setEncoding('utf8').on('data', (text: string) => {
    lastWords = (lastWords + text).slice(-MAX_LAST_WORDS);
  });
  try {
    const line = await firstLine(ready, timeoutMs, new Promise((_, reject) => child.once('error', reject)));
    const answer =
      line === '' ? null : (JSON.parse(line) as { status?: string; code?: string; message?: string });
    if (answer?.status === 'ready') return null;
    if (answer?.code === 'ALREADY_RUNNING') return answer.message ?? 'another daemon is running';
    if (answer === null) {
      await stderrEnd(stderr);
      // Whoever killed it did not mean this client: the next one may live.
      if ((await signalOf(child)) === 'SIGKILL') return 'a daemon was killed while it started';
    }
    throw noDaemon(
      `The daemon could not start: ${(answer?.message ?? lastWords.trim().replace(/^✗ Error: /, '')) || 'it ended without a word'}`,
    );
  } catch (error) {
    if (error instanceof SkylineError) throw error;
    throw noDaemon(
      `The daemon could not be started: ${messageOf(error)}.${lastWords === '' ? '' : ` It said: ${lastWords.trim()}`}`,
    );
  } finally {
    // From here on neither side waits for the other.
    stderr.destroy();
    ready.destroy();
    child.unref();
  }
}

async function firstLine(stream: Readable, timeoutMs: number, failed: Promise<never>): Promise<string> {
  const signal = AbortSignal.timeout(Math.ceil(timeoutMs));
  const line = (async () => {
    let text = '';
    for await (const chunk of stream.setEncoding('utf8')) {
      text += String(chunk);
      if (text.includes('\n')) break;
    }
    return text.split('\n')[0] ?? '';
  })();
  const late = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () =>
      reject(new Error(`it was not ready within ${Math.round(timeoutMs)} ms`)),
    );
  });
  return await Promise.race([line, failed, late]);
}

/** A process that died before it could report has left its reason on stderr. */
async function stderrEnd(stderr: Readable): Promise<void> {
  if (stderr.readableEnded) return;
  await Promise.race([new Promise((resolve) => stderr.once('end', resolve)), sleep(500)]);
}

/** The signal that has ended a process which is about to end; null for none. */
async function signalOf(child: ChildProcess): Promise<NodeJS.Signals | null> {
  if (child.exitCode === null && child.signalCode === null)
    await Promise.race([new Promise((resolve) => child.once('exit', resolve)), sleep(500)]);
  return child.signalCode;
}

/**
 * Takes the lock file, without waiting.
 * @returns how to give it back, or null while another process has it
 */
export async function tryStartLock(endpoint: string): Promise<(() => Promise<void>) | null> {
  const lockPath = startLockPath(endpoint);
  const folder = dirname(lockPath);
  if (isPipe(endpoint)) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const pidPath = `${lockPath}.pid`;
  try {
    const release = await lockfile().lock(folder, {
      lockfilePath: lockPath,
      realpath: false,
      stale: START_LOCK_STALE_MS,
      retries: 0,
      // By default it throws from a timer. Losing this lock costs a superfluous process, nothing more.
      onCompromised: () => undefined,
    });
    writeFileSync(pidPath, String(process.pid));
    return async () => {
      rmSync(pidPath, { force: true });
      await release().catch(() => undefined);
    };
  } catch (error) {
    // Made, and taken away before it was finished: somebody took it for the one before, whose holder had just left.
    if (codeOf(error) === 'ENOENT') return null;
    if (codeOf(error) !== 'ELOCKED')
      throw noDaemon(`The lock file ${lockPath} cannot be made: ${messageOf(error)}.`);
    if (holderIsDead(lockPath, pidPath)) breakLock(lockPath);
    return null;
  }
}

/**
 * By `require`, as the CommonJS module that it is: imported, it was seen once without its functions, in every process that took
 * the place of an older daemon and in no other.
 */
function lockfile(): typeof Lockfile {
  return createRequire(import.meta.url)('proper-lockfile') as typeof Lockfile;
}

/** A starter that was killed leaves its lock file until it is stale; its pid tells at once. */
function holderIsDead(lockPath: string, pidPath: string): boolean {
  try {
    process.kill(Number(readFileSync(pidPath, 'utf8')), 0);
    return false;
  } catch (error) {
    // No pid: killed between making the lock and writing it, a matter of milliseconds.
    // In the future, too: then the clock was set back since.
    return codeOf(error) === 'ESRCH' || (codeOf(error) === 'ENOENT' && Math.abs(ageMs(lockPath)) > NO_PID_MS);
  }
}

/** 0 when it is gone. */
function ageMs(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? 0 : Date.now() - stat.mtimeMs;
}

function breakLock(lockPath: string): void {
  try {
    rmdirSync(lockPath);
  } catch {
    // Somebody else was quicker.
  }
}
