import { lstatSync, mkdirSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { isPipe } from '../endpoint.js';
import { codeOf, SkylineError } from '../errors.js';

/**
 * Who may speak to the daemon is decided by the folder that holds its socket: 0700 and the caller's own. Both sides
 * check: the daemon before it listens, the client before it connects, so that nobody else can stand in for either.
 */

/**
 * Makes the socket's folder if it is missing, and checks it.
 * @throws SkylineError `NO_DAEMON`, saying what to do
 */
export function ensureSocketFolder(endpoint: string, uid: number): void {
  if (isPipe(endpoint)) return;
  const folder = dirname(endpoint);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    // EEXIST: a file or a dangling link is in the way; the check below says which.
    if (codeOf(error) !== 'EEXIST') {
      throw refused(
        folder,
        `cannot be made (${codeOf(error) ?? error})`,
        'Choose another place with --socket or SKYLINEDB_SOCKET.',
      );
    }
  }
  checkSocketFolder(endpoint, uid);
}

/**
 * Checks the folder and, where there is one, the socket.
 * @param uid the caller's user id
 * @returns false when the folder does not exist: no daemon has ever listened there
 * @throws SkylineError `NO_DAEMON` when somebody else could have a hand in it
 */
export function checkSocketFolder(endpoint: string, uid: number): boolean {
  if (isPipe(endpoint)) return true;
  const folder = dirname(endpoint);
  const stat = lstat(folder);
  if (stat === undefined) return false;
  if (stat.isSymbolicLink()) {
    throw refused(
      folder,
      'is a symbolic link',
      'Remove it, or name the real folder with --socket or SKYLINEDB_SOCKET.',
    );
  }
  if (!stat.isDirectory())
    throw refused(folder, 'is not a folder', 'Remove it, or choose another place with --socket.');
  if (stat.uid !== uid) {
    throw refused(
      folder,
      `belongs to user ${stat.uid}, not to you (${uid})`,
      'Choose a folder of your own with --socket or SKYLINEDB_SOCKET.',
    );
  }
  if ((stat.mode & 0o077) !== 0) {
    const mode = (stat.mode & 0o777).toString(8).padStart(4, '0');
    throw refused(
      folder,
      `is open to others (mode ${mode})`,
      `Run: chmod 700 '${folder}', or choose a folder of your own with --socket.`,
    );
  }
  const socket = lstat(endpoint);
  if (socket !== undefined && socket.uid !== uid) {
    throw refused(endpoint, `belongs to user ${socket.uid}, not to you (${uid})`, 'Remove it.');
  }
  if (socket !== undefined && !socket.isSocket()) {
    throw refused(
      endpoint,
      'is not a socket',
      'Remove it, or choose another place with --socket or SKYLINEDB_SOCKET.',
    );
  }
  return true;
}

function lstat(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw refused(
      path,
      `cannot be looked at (${code ?? error})`,
      'Choose another place with --socket or SKYLINEDB_SOCKET.',
    );
  }
}

function refused(path: string, why: string, remedy: string): SkylineError {
  return new SkylineError('NO_DAEMON', `Refusing the socket at ${path}: it ${why}. ${remedy}`, {
    retryable: false,
  });
}
