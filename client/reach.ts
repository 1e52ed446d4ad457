import { statSync } from 'node:fs';
import { join, parse } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isPipe, stateFolder } from '../protocol/endpoint.js';
import { codeOf, messageOf, SkylineError } from '../protocol/errors.js';
import { type ByteStream, connect } from '../protocol/transport/node-ipc.js';
import { checkSocketFolder, ensureSocketFolder } from '../protocol/transport/socket-folder.js';
import { surroundings } from '../protocol/transport/this-package.js';
import type { CheckedOptions } from './options.js';

const CONNECT_TIMEOUT_MS = 5_000;
/** How long a lock file may be without a sign of life from its holder, in milliseconds. */
export const START_LOCK_STALE_MS = 5_000;

/**
 * Connects to the daemon, starting it if need be and allowed.
 * @throws SkylineError `NO_DAEMON` with the reason, the daemon's own where it gave one
 */
export async function reachDaemon(options: CheckedOptions): Promise<ByteStream> {
  const { endpoint } = options;
  const until = performance.now() + options.startTimeoutMs;
  let reason = `no daemon listens at ${endpoint}`;
  for (;;) {
    // Looked at first: whoever starts one lets go of the lock when it listens.
    const starting = !options.autoStart && isStarting(endpoint);
    const stream = await tryConnect(endpoint);
    if (stream !== null) return stream;
    if (starting && performance.now() < until) {
      await sleep(20);
      continue;
    }
    if (!options.autoStart)
      throw noDaemon(
        `No daemon is running at ${endpoint}. Start one with "skylinedb-daemon", or let a write start it.`,
      );
    if (performance.now() >= until)
      throw noDaemon(`No daemon could be reached within ${options.startTimeoutMs} ms: ${reason}.`);
    ensureSocketFolder(endpoint, process.getuid?.() ?? -1);
    // Most clients find a daemon that runs: what starting one takes is loaded by whoever has to.
    const { startDaemon, tryStartLock } = await import('./spawn.js');
    const release = await tryStartLock(endpoint);
    if (release === null) {
      reason = `another process is starting one at ${endpoint}`;
      await sleep(10 + Math.random() * 40);
      continue;
    }
    try {
      const meanwhile = await tryConnect(endpoint);
      if (meanwhile !== null) return meanwhile;
      const failure = await startDaemon(options, Math.max(1_000, until - performance.now()));
      if (failure !== null) {
        reason = failure;
        await sleep(20);
      }
    } finally {
      await release();
    }
  }
}

/**
 * Connects to whoever listens at the endpoint.
 * @returns null when nobody does
 * @throws SkylineError `NO_DAEMON` when the folder is not the user's alone, or something else stands in the way
 */
export async function tryConnect(endpoint: string): Promise<ByteStream | null> {
  if (!checkSocketFolder(endpoint, process.getuid?.() ?? -1)) return null;
  try {
    return await connect(endpoint, CONNECT_TIMEOUT_MS);
  } catch (error) {
    const code = codeOf(error);
    // EAGAIN: the listener's queue is full (unix(7)); ECONNRESET: it went away just then.
    if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'EAGAIN' || code === 'ECONNRESET')
      return null;
    throw noDaemon(`The daemon at ${endpoint} cannot be reached: ${messageOf(error)}.`);
  }
}

/** What a client holds while it starts a daemon: a folder, beside the socket. */
export function startLockPath(endpoint: string): string {
  const folder = isPipe(endpoint) ? stateFolder(surroundings()) : parse(endpoint).dir;
  return join(folder, `${parse(endpoint).name}.starting`);
}

/**
 * Whether another client is starting one, perhaps in the place of an older one that has just left.
 * @throws SkylineError `NO_DAEMON` when the folder is not the user's alone: what lies in it says nothing
 */
function isStarting(endpoint: string): boolean {
  if (!checkSocketFolder(endpoint, process.getuid?.() ?? -1)) return false;
  const lock = statSync(startLockPath(endpoint), { throwIfNoEntry: false });
  return lock !== undefined && Math.abs(Date.now() - lock.mtimeMs) < START_LOCK_STALE_MS;
}

/** There is no daemon to talk to, and why. */
export function noDaemon(message: string): SkylineError {
  return new SkylineError('NO_DAEMON', message);
}
