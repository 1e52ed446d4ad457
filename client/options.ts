import { resolveEndpoint } from '../protocol/endpoint.js';
import { invalidRequest } from '../protocol/errors.js';
import { surroundings } from '../protocol/transport/this-package.js';

/** How to reach the daemon. All of it is optional. */
export interface ConnectOptions {
  /** The endpoint; default: `SKYLINEDB_SOCKET`, else the user's own place. */
  readonly socket?: string;
  /** Whether to start a daemon when none runs. Default true. */
  readonly autoStart?: boolean;
  /** Milliseconds to wait for a daemon to start. Default 10 000. */
  readonly startTimeoutMs?: number;
  /** Further arguments for a daemon that this client starts, such as `['--durability', 'full']`. */
  readonly daemonArgs?: readonly string[];
  /** Whether batches go straight to the database's process once the daemon has told the way. Default true. */
  readonly direct?: boolean;
  /**
   * Whether each batch is numbered, so that the daemon knows it again: after a lost connection or a killed process it is sent
   * again by itself, and is applied once. Default true.
   */
  readonly exactlyOnce?: boolean;
  /**
   * Whether a daemon older than this client is asked to leave, so that this client's own takes its place: `auto` where a
   * client had started it. Nothing that was accepted is lost. Default: `SKYLINEDB_HAND_OFF`, else `auto`.
   */
  readonly handOff?: 'auto' | 'never';
  /** The application's name, for the daemon's log. */
  readonly name?: string;
}

/** Options as the library uses them: checked, complete and fixed. */
export interface CheckedOptions {
  readonly endpoint: string;
  readonly autoStart: boolean;
  readonly startTimeoutMs: number;
  readonly daemonArgs: readonly string[];
  readonly direct: boolean;
  readonly exactlyOnce: boolean;
  readonly handOff: 'auto' | 'never';
  readonly name: string;
}

/**
 * Checks the options once, at the door.
 * @throws SkylineError `INVALID_REQUEST` naming the option
 */
export function checkOptions(options: ConnectOptions): CheckedOptions {
  const { socket, autoStart = true, startTimeoutMs = 10_000, daemonArgs = [], name = 'skylinedb' } = options;
  const { direct = true, exactlyOnce = true } = options;
  const { handOff = process.env.SKYLINEDB_HAND_OFF || 'auto' } = options;
  if (socket !== undefined && (typeof socket !== 'string' || socket === '')) throw wrong('socket', 'a path');
  if (typeof autoStart !== 'boolean') throw wrong('autoStart', 'true or false');
  if (typeof direct !== 'boolean') throw wrong('direct', 'true or false');
  if (typeof exactlyOnce !== 'boolean') throw wrong('exactlyOnce', 'true or false');
  if (handOff !== 'auto' && handOff !== 'never')
    throw wrong('handOff', '"auto" or "never", and so must SKYLINEDB_HAND_OFF');
  if (!Number.isFinite(startTimeoutMs) || startTimeoutMs < 0)
    throw wrong('startTimeoutMs', 'a number of milliseconds');
  if (!Array.isArray(daemonArgs) || daemonArgs.some((arg) => typeof arg !== 'string'))
    throw wrong('daemonArgs', 'an array of strings');
  if (typeof name !== 'string') throw wrong('name', 'a string');
  return Object.freeze({
    endpoint: resolveEndpoint(surroundings(), socket),
    autoStart,
    startTimeoutMs,
    daemonArgs: Object.freeze([...daemonArgs]),
    direct,
    exactlyOnce,
    handOff,
    name,
  });
}

function wrong(option: string, expected: string): Error {
  return invalidRequest(`The option "${option}" must be ${expected}.`);
}
