import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../protocol/errors.js';
import type { HelloReply } from '../protocol/messages.js';
import { isOlder, VERSION } from '../protocol/version.js';
import type { CheckedOptions } from './options.js';

/**
 * What a client does that meets a daemon older than itself: it starts the daemon of its own version, which takes the other's
 * place (daemon/hand-off.ts). Never the other way round, so that two versions that are in use at once do not take turns.
 */

/** Whether this client may bring a newer daemon. One that was started by hand stays, and so does a busy one for a while. */
export function mayHandOff(daemon: HelloReply, { autoStart, handOff }: CheckedOptions): boolean {
  return autoStart && handOff === 'auto' && daemon.hand_off === true && isOlder(daemon.version, VERSION);
}

/**
 * Starts the daemon of this version, to take the place of the one that runs. Meanwhile no other client starts one: an older
 * client would start an older daemon again.
 * @returns whether it was this client's turn; else another one is at it
 */
export async function handOff(options: CheckedOptions, timeoutMs: number): Promise<boolean> {
  try {
    const { startDaemon, tryStartLock } = await import('./spawn.js');
    const release = await tryStartLock(options.endpoint);
    if (release === null) {
      await sleep(50 + Math.random() * 100);
      return false;
    }
    await startDaemon(options, timeoutMs, ['--hand-off']).finally(release);
  } catch (error) {
    // Nothing is lost: it had not asked the old one yet.
    warn('SKYLINEDB_HAND_OFF', `The newer daemon could not take over. ${messageOf(error)}`);
  }
  return true;
}

let warned = false;

/** Says once per process that the daemon which runs is older: it works, but without what is new. */
export function warnOfOldDaemon(daemon: HelloReply): void {
  if (warned || !isOlder(daemon.version, VERSION)) return;
  warned = true;
  warn(
    'SKYLINEDB_OLD_DAEMON',
    `The daemon that runs (pid ${daemon.pid}) is skylinedb ${daemon.version}, older than this client (${VERSION}). After "skylinedb-cli shutdown" the next write starts the new one.`,
  );
}

function warn(code: string, message: string): void {
  process.emitWarning(message, { code });
}
