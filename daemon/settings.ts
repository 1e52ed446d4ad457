import { DEFAULT_MAX_FRAME } from '../protocol/frame.js';
import { count, duration, folders, type Kind, MAX_AGE_MS, orNone, size, word } from './setting-kinds.js';

/** The transport takes some more, so that those over it can be told. */
const MAX_CONNECTIONS = 16_000;

/** One thing that can be set. */
export interface Setting<T> {
  readonly kind: Kind<T>;
  readonly fallback: T;
  /** What it does, for the help and the documentation. */
  readonly help: string;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * Everything that can be set, in one table: `wal_limit` here is `wal_limit` in the configuration file, `--wal-limit` on the
 * command line and `SKYLINEDB_WAL_LIMIT` in the environment. Help and documentation are made of it, too.
 */
export const SETTINGS = {
  root: setting(folders(), [], 'serve only databases below DIR (repeatable)'),
  durability: setting(
    word(['normal', 'full']),
    'normal',
    'normal: safe against crashes of programs; full: also against power loss, each commit',
  ),
  idle_timeout: setting(
    duration(),
    30 * 60_000,
    'leave after this long without clients and workers; 0: never',
  ),
  worker_idle_timeout: setting(
    duration(),
    5 * 60_000,
    'close a database after this long without requests; 0: never',
  ),
  busy_timeout: setting(duration(), 5_000, "how long to wait for another program's write lock"),
  session_ttl: setting(
    duration({ max: MAX_AGE_MS }),
    7 * 24 * 3_600_000,
    'how long the outcomes of a client that has gone are kept; 0: for ever',
  ),
  tx_lease: setting(
    duration({ min: 1 }),
    5_000,
    "roll back a client's transaction that it does not use for this long, unless it asks for another time",
  ),
  tx_max: setting(
    duration({ min: 1 }),
    60_000,
    "the longest that a client's transaction may take: all others who write wait for it",
  ),
  wal_limit: setting(
    size({ min: 1024 ** 2 }),
    64 * 1024 ** 2,
    'what a write-ahead log may grow to, as far as readers allow',
  ),
  max_workers: setting(count(1, 4096), 64, 'databases open at once'),
  spare_workers: setting(count(0, 64), 1, 'processes started ahead for databases to come; 0: none'),
  max_frame: setting(size(), DEFAULT_MAX_FRAME, 'largest message'),
  metrics_port: setting<number | null>(
    orNone(count(0, 65_535), ''),
    null,
    'serve metrics for Prometheus at http://127.0.0.1:N/metrics, to every user of this machine; 0: any free port, which Status tells',
  ),
  metrics_databases: setting(
    count(0, 1000),
    20,
    'databases with metrics of their own, the busiest ones; the others are summed',
  ),
  batch_timeout: setting(
    duration(),
    0,
    'how long a batch may take that does not say so itself (timeout_ms); 0: as long as it takes',
  ),
  max_statements: setting(count(1, 1_000_000), 10_000, 'statements in a batch'),
  max_sql_bytes: setting(size({ min: 1 }), 1_000_000, 'bytes of one statement'),
  max_result_bytes: setting<number | null>(
    orNone(size(), ''),
    null,
    'bytes of all rows of a batch; without it, what fits into max_frame: 64KB less',
  ),
  max_in_flight: setting(
    count(1, 65_536),
    1024,
    'unanswered requests of a connection, over which nothing more is read from it',
  ),
  max_intake_bytes: setting(
    size({ min: 1024 ** 2 }),
    16 * 1024 ** 2,
    'bytes of unanswered requests of all connections together, over which nothing more is read from those that have any',
  ),
  max_session_result_bytes: setting(
    size({ min: 1, max: 1024 ** 2 }),
    64 * 1024,
    'bytes of an answer up to which a session keeps its results',
  ),
  max_sessions: setting(
    count(100, 1_000_000),
    10_000,
    'sessions that a database keeps; the longest unused ones of more are forgotten',
  ),
  max_connections: setting(
    count(1, MAX_CONNECTIONS),
    MAX_CONNECTIONS,
    "connections at the daemon's endpoint, and at each worker's own",
  ),
  max_subscriptions: setting(count(1, 10_000), 100, 'subscriptions that a connection may have'),
  max_daemon_subscriptions: setting(
    count(1, 100_000),
    1_000,
    'subscriptions that all connections to the daemon may have together',
  ),
  log_level: setting(word(LOG_LEVELS), 'info', `how much the log tells: ${LOG_LEVELS.join(', ')}`),
} as const;

export type SettingName = keyof typeof SETTINGS;
/** A value for each of them. */
export type Values = { readonly [Name in SettingName]: ValueOf<(typeof SETTINGS)[Name]> };
type ValueOf<S> = S extends Setting<infer T> ? T : never;

export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[];

function setting<T>(kind: Kind<T>, fallback: NoInfer<T>, help: string): Setting<T> {
  return { kind, fallback, help };
}

/** Its option on the command line, without the dashes. */
export function flagOf(name: SettingName): string {
  return name.replaceAll('_', '-');
}

/** Its variable in the environment. */
export function variableOf(name: SettingName): string {
  return `SKYLINEDB_${name.toUpperCase()}`;
}

/** Its default as people write it. */
export function fallbackOf(name: SettingName): string {
  const { kind, fallback } = SETTINGS[name] as Setting<unknown>;
  return kind.format(fallback);
}
