import { posix, win32 } from 'node:path';
import { SkylineError } from './errors.js';

/**
 * Where things are. Pure: platform, environment and user come as parameters, so that each platform's rules can be
 * tested as data on any other.
 */
export interface Surroundings {
  readonly platform: NodeJS.Platform;
  readonly env: { readonly [name: string]: string | undefined };
  /** Numeric user id; -1 on Windows, which has none. */
  readonly uid: number;
  readonly home: string;
}

/** Bytes of `sun_path`, the terminating NUL included: unix(7), and sys/un.h of macOS. */
const MAX_SOCKET_PATH = { darwin: 104, other: 108 } as const;

export const WINDOWS_PIPE = '\\\\.\\pipe\\SkylineDBd-v1';

/** True for a Windows named pipe, which lives in no folder. */
export function isPipe(endpoint: string): boolean {
  return endpoint.startsWith('\\\\.\\pipe\\');
}

/**
 * The endpoint to use: the option, else `SKYLINEDB_SOCKET`, else the platform's place.
 * @param option what `--socket` said
 * @throws SkylineError `INVALID_REQUEST` when the path is longer than the platform takes
 */
export function resolveEndpoint(around: Surroundings, option?: string): string {
  const chosen = nonEmpty(option) ?? nonEmpty(around.env.SKYLINEDB_SOCKET);
  if (around.platform === 'win32') return chosen === undefined ? WINDOWS_PIPE : toPipe(chosen);
  const path = chosen === undefined ? defaultSocket(around) : posix.resolve(chosen);
  checkSocketPath(path, around.platform);
  return path;
}

/** On Windows a plain name or path becomes a pipe of that name: a socket there is always a pipe. */
function toPipe(name: string): string {
  return isPipe(name) ? name : `\\\\.\\pipe\\${name.replace(/^[\\/]+/, '').replace(/[\\/:]/g, '-')}`;
}

function defaultSocket(around: Surroundings): string {
  const runtime = absolute(around.env.XDG_RUNTIME_DIR);
  return posix.join(
    runtime === undefined ? `/tmp/skylinedb-${around.uid}` : posix.join(runtime, 'skylinedb'),
    'v1.sock',
  );
}

/**
 * Node cuts a socket path that is too long in silence: two long paths can meet in one socket.
 * @throws SkylineError `INVALID_REQUEST`
 */
export function checkSocketPath(path: string, platform: NodeJS.Platform): void {
  if (isPipe(path)) return;
  const max = platform === 'darwin' ? MAX_SOCKET_PATH.darwin : MAX_SOCKET_PATH.other;
  const length = Buffer.byteLength(path) + 1;
  if (length > max) {
    throw new SkylineError(
      'INVALID_REQUEST',
      `The socket path has ${length} bytes with its end mark; this system takes ${max}: ${path}. Choose a shorter one with --socket or SKYLINEDB_SOCKET.`,
    );
  }
  if (path.includes('\0')) throw new SkylineError('INVALID_REQUEST', 'The socket path has a NUL character.');
}

/**
 * Where a worker of the daemon at this endpoint listens: beside it, in the folder that is its user's alone.
 * @param nth of the databases that the daemon has opened
 */
export function workerEndpoint(endpoint: string, pid: number, nth: number): string {
  return `${endpoint}.w${pid}-${nth}`;
}

/** The folder for logs and maintenance records: `SKYLINEDB_STATE_DIR`, else the platform's per-user state folder. */
export function stateFolder(around: Surroundings): string {
  return userFolder(around, 'SKYLINEDB_STATE_DIR', {
    windows: 'state',
    mac: ['Library', 'Logs', 'SkylineDB'],
    xdg: 'XDG_STATE_HOME',
    unix: ['.local', 'state'],
  });
}

/** The per-user data folder: where a daemon that a client started keeps databases with relative names. */
export function userDataFolder(around: Surroundings): string {
  return userFolder(around, 'SKYLINEDB_DATA_DIR', {
    windows: 'data',
    mac: ['Library', 'Application Support', 'SkylineDB'],
    xdg: 'XDG_DATA_HOME',
    unix: ['.local', 'share'],
  });
}

/** Per-user folders by platform: %LOCALAPPDATA% on Windows, ~/Library on macOS, the XDG base directories elsewhere. */
function userFolder(
  around: Surroundings,
  variable: string,
  places: { windows: string; mac: readonly string[]; xdg: string; unix: readonly string[] },
): string {
  const { resolve, join } = around.platform === 'win32' ? win32 : posix;
  const chosen = nonEmpty(around.env[variable]);
  if (chosen !== undefined) return resolve(chosen);
  switch (around.platform) {
    case 'win32':
      return join(
        nonEmpty(around.env.LOCALAPPDATA) ?? join(around.home, 'AppData', 'Local'),
        'SkylineDB',
        places.windows,
      );
    case 'darwin':
      return join(around.home, ...places.mac);
    default:
      return join(absolute(around.env[places.xdg]) ?? join(around.home, ...places.unix), 'skylinedb');
  }
}

/** The XDG base directory specification says to ignore relative paths. */
function absolute(value: string | undefined): string | undefined {
  return value?.startsWith('/') === true ? value : undefined;
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : value;
}
