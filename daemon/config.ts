import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { resolveEndpoint, type Surroundings, stateFolder } from '../protocol/endpoint.js';
import { messageOf, SkylineError } from '../protocol/errors.js';
import { DEFAULT_MAX_FRAME } from '../protocol/frame.js';
import type { Limits } from '../protocol/messages.js';

/** Everything that can be set, checked once at the door and then fixed. */
export interface Config {
  readonly endpoint: string;
  /** Relative database names belong here. */
  readonly dataDir: string;
  readonly stateDir: string;
  /** Resolved folders outside of which no database is served; empty for no limit. */
  readonly roots: readonly string[];
  /** Milliseconds; 0 for never. */
  readonly idleTimeoutMs: number;
  readonly workerIdleTimeoutMs: number;
  readonly busyTimeoutMs: number;
  readonly maxWorkers: number;
  /** Bytes that a database's WAL should not exceed. */
  readonly walLimit: number;
  /** Milliseconds after its last batch until a session's outcomes are forgotten; 0 for never. */
  readonly sessionTtlMs: number;
  /** Workers forked ahead, for databases that nobody has asked for yet. */
  readonly spareWorkers: number;
  /** Where metrics are served on 127.0.0.1: 0 for any port that is free, null for nowhere. */
  readonly metricsPort: number | null;
  /** Databases with metrics of their own; the others' are summed. */
  readonly metricsDatabases: number;
  readonly durability: 'normal' | 'full';
  readonly limits: Limits;
  readonly logLevel: LogLevel;
  /** Whether an older daemon at the endpoint is asked to leave. */
  readonly handOff: boolean;
  /** Descriptor on which whoever started the daemon waits for its first line; null for none. */
  readonly readyFd: number | null;
}

const DEFAULT_WAL_LIMIT = 64 * 1024 * 1024;

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const DAEMON_HELP = `Usage: skylinedb-daemon [options] [DIR]

Serves SQLite databases to many processes. Clients start it by themselves; start it by hand to see its log.
DIR is the data directory, where relative database names belong (default: SKYLINEDB_DATA_DIR, else this folder).

Options:
  --socket PATH               where to listen (default: SKYLINEDB_SOCKET, else the user's own place)
  --root DIR                  serve only databases below DIR (repeatable)
  --durability normal|full    normal: safe against crashes of programs; full: also against power loss, each commit
                              (default: normal)
  --idle-timeout TIME         leave after this long without clients and workers (default: 30m; 0: never)
  --worker-idle-timeout TIME  close a database after this long without requests (default: 5m; 0: never)
  --busy-timeout TIME         how long to wait for another program's write lock (default: 5s)
  --session-ttl TIME          how long the outcomes of a client that has gone are kept (default: 7d; 0: for ever)
  --wal-limit SIZE            what a write-ahead log may grow to, as far as readers allow, in bytes, or with KB, MB
                              (default: 64MB)
  --max-workers N             databases open at once (default: 64)
  --spare-workers N           processes started ahead for databases to come (default: 1; 0: none)
  --metrics-port PORT         serve metrics for Prometheus at http://127.0.0.1:PORT/metrics, to every user of this
                              machine; 0: any free port, which Status tells (default: not at all)
  --metrics-databases N       databases with metrics of their own, the busiest ones; the others are summed
                              (default: 20)
  --max-frame SIZE            largest message in bytes, or with KB, MB (default: 16MB)
  --log-level LEVEL           ${LOG_LEVELS.join(', ')} (default: info)
  --hand-off                  ask an older daemon that runs to leave, and take its place
  --ready-fd N                say on descriptor N, in one line of JSON, that the daemon is ready or why it is not
  --version, --help

Example: skylinedb-daemon --durability full --root ~/data ~/data
`;

/**
 * The daemon's configuration from its command line and environment.
 * @throws SkylineError `INVALID_REQUEST` that names the option
 */
export function parseConfig(argv: readonly string[], around: Surroundings, cwd: string): Config {
  const { values, positionals } = parse(argv);
  if (positionals.length > 1) throw usage(`one data directory at most, but got ${positionals.join(', ')}`);
  const data = positionals[0] ?? (around.env.SKYLINEDB_DATA_DIR || cwd);
  const maxFrame = size('--max-frame', values['max-frame'], DEFAULT_MAX_FRAME);
  return Object.freeze({
    endpoint: resolveEndpoint(around, values.socket),
    dataDir: resolve(cwd, data),
    stateDir: stateFolder(around),
    roots: Object.freeze((values.root ?? []).map((root) => resolve(cwd, root))),
    idleTimeoutMs: duration('--idle-timeout', values['idle-timeout'], 30 * 60_000),
    workerIdleTimeoutMs: duration('--worker-idle-timeout', values['worker-idle-timeout'], 5 * 60_000),
    busyTimeoutMs: duration('--busy-timeout', values['busy-timeout'], 5_000),
    walLimit: size('--wal-limit', values['wal-limit'], DEFAULT_WAL_LIMIT, 1024 * 1024),
    sessionTtlMs: duration('--session-ttl', values['session-ttl'], 7 * DAY_MS, MAX_AGE_MS),
    maxWorkers: whole('--max-workers', values['max-workers'], 64, 1, 4096),
    spareWorkers: whole('--spare-workers', values['spare-workers'], 1, 0, 64),
    metricsPort:
      values['metrics-port'] === undefined
        ? null
        : whole('--metrics-port', values['metrics-port'], 0, 0, 65_535),
    metricsDatabases: whole('--metrics-databases', values['metrics-databases'], 20, 0, 1000),
    durability: word('--durability', values.durability, ['normal', 'full'], 'normal'),
    limits: Object.freeze({
      max_frame: maxFrame,
      max_statements: 10_000,
      // SQLITE_MAX_VARIABLE_NUMBER: https://sqlite.org/limits.html
      max_parameters: 32_766,
      max_sql_bytes: Math.min(maxFrame, 1_000_000),
      // Room for the rest of the reply.
      max_result_bytes: Math.max(1024, maxFrame - 64 * 1024),
      max_in_flight: 1024,
      max_session_result_bytes: 64 * 1024,
    }),
    logLevel: word('--log-level', values['log-level'], LOG_LEVELS, 'info'),
    handOff: values['hand-off'] ?? false,
    readyFd: values['ready-fd'] === undefined ? null : whole('--ready-fd', values['ready-fd'], 3, 1, 1024),
  });
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        socket: { type: 'string' },
        root: { type: 'string', multiple: true },
        durability: { type: 'string' },
        'idle-timeout': { type: 'string' },
        'worker-idle-timeout': { type: 'string' },
        'busy-timeout': { type: 'string' },
        'session-ttl': { type: 'string' },
        'wal-limit': { type: 'string' },
        'max-workers': { type: 'string' },
        'spare-workers': { type: 'string' },
        'metrics-port': { type: 'string' },
        'metrics-databases': { type: 'string' },
        'max-frame': { type: 'string' },
        'log-level': { type: 'string' },
        'hand-off': { type: 'boolean' },
        'ready-fd': { type: 'string' },
      },
    });
  } catch (error) {
    throw usage(messageOf(error));
  }
}

const DAY_MS = 24 * 60 * 60 * 1000;
const UNITS: { readonly [unit: string]: number } = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: DAY_MS };
/** setTimeout cuts anything longer to 1 ms (https://nodejs.org/api/timers.html#settimeoutcallback-delay-args). */
const MAX_DURATION_MS = 2 ** 31 - 1;
/** For what is compared with a date and sets no timer. */
const MAX_AGE_MS = 3650 * DAY_MS;

/** A duration as people write it: `7d`, `30m`, `5s`, `250ms`, `0`; a plain number is milliseconds. */
export function duration(
  option: string,
  text: string | undefined,
  fallback: number,
  max = MAX_DURATION_MS,
): number {
  if (text === undefined) return fallback;
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
  // Up, not off: 0 would mean never.
  const value = match === null ? Number.NaN : Math.ceil(Number(match[1]) * (UNITS[match[2] ?? 'ms'] ?? 1));
  if (Number.isNaN(value) || value > max)
    throw usage(`${option} takes a time such as 30m, 5s, 250ms or 0, but got "${text}"`);
  return value;
}

function size(option: string, text: string | undefined, fallback: number, min = 1024): number {
  if (text === undefined) return fallback;
  const match = /^(\d+)(KB|MB)?$/i.exec(text);
  const unit = { KB: 1024, MB: 1024 * 1024 }[(match?.[2] ?? '').toUpperCase()] ?? 1;
  const value = match === null ? Number.NaN : Number(match[1]) * unit;
  if (!(value >= min && value <= 1024 * 1024 * 1024))
    throw usage(`${option} takes a size from ${min / 1024}KB to 1024MB, but got "${text}"`);
  return value;
}

function whole(option: string, text: string | undefined, fallback: number, min: number, max: number): number {
  if (text === undefined) return fallback;
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max))
    throw usage(`${option} takes a whole number from ${min} to ${max}, but got "${text}"`);
  return value;
}

function word<const Word extends string>(
  option: string,
  text: string | undefined,
  words: readonly Word[],
  fallback: Word,
): Word {
  if (text === undefined) return fallback;
  const found = words.find((one) => one === text);
  if (found === undefined) throw usage(`${option} takes ${words.join(' or ')}, but got "${text}"`);
  return found;
}

function usage(what: string): SkylineError {
  return new SkylineError('INVALID_REQUEST', `skylinedb-daemon: ${what}. See skylinedb-daemon --help.`);
}
