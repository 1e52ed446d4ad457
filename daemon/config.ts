import { resolve } from 'node:path';
import { resolveEndpoint, type Surroundings, stateFolder } from '../protocol/endpoint.js';
import type { Limits } from '../protocol/messages.js';
import { type CommandLine, readCommandLine } from './command-line.js';
import { type ConfigFile, readConfigFiles } from './config-file.js';
import { type Effective, settle, wrong } from './effective.js';
import { count } from './setting-kinds.js';
import type { LogLevel, Values } from './settings.js';

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
  /** Milliseconds without use, and in all, after which a client's transaction is rolled back. */
  readonly txLeaseMs: number;
  readonly txMaxMs: number;
  /** Workers forked ahead, for databases that nobody has asked for yet. */
  readonly spareWorkers: number;
  readonly durability: 'normal' | 'full';
  /** Where metrics are served on 127.0.0.1: 0 for any port that is free, null for nowhere. */
  readonly metricsPort: number | null;
  /** Databases with metrics of their own; the others' are summed. */
  readonly metricsDatabases: number;
  readonly limits: Limits;
  /** Milliseconds for a batch that does not say how many; 0 for no limit. */
  readonly batchTimeoutMs: number;
  /** Bytes of unanswered requests of all connections of a process together. */
  readonly maxIntakeBytes: number;
  readonly logLevel: LogLevel;
  /** Whether an older daemon at the endpoint is asked to leave. */
  readonly handOff: boolean;
  /** Descriptor on which whoever started the daemon waits for its first line; null for none. */
  readonly readyFd: number | null;
  /** The configuration files that there are, the strongest first. */
  readonly files: readonly string[];
  /** The settings as people write them, and where each comes from. */
  readonly effective: readonly Effective[];
}

/**
 * The daemon's configuration from its command line, its environment and its files.
 * @throws SkylineError `INVALID_REQUEST` that names the option, the variable, or the file and line
 */
export async function loadConfig(
  argv: readonly string[],
  around: Surroundings,
  cwd: string,
): Promise<Config> {
  const line = readCommandLine(argv);
  const { dataDir, stateDir } = placesOf(line, around, cwd);
  // The data directory's before the user's own.
  return makeConfig(line, around, cwd, await readConfigFiles([dataDir, stateDir]));
}

/** The same, with the files read: the strongest first. */
export function parseConfig(
  argv: readonly string[],
  around: Surroundings,
  cwd: string,
  files: readonly ConfigFile[] = [],
): Config {
  return makeConfig(readCommandLine(argv), around, cwd, files);
}

function placesOf({ dataDir }: CommandLine, around: Surroundings, cwd: string) {
  return {
    dataDir: resolve(cwd, dataDir ?? (around.env.SKYLINEDB_DATA_DIR || cwd)),
    stateDir: stateFolder(around),
  };
}

function makeConfig(
  line: CommandLine,
  around: Surroundings,
  cwd: string,
  files: readonly ConfigFile[],
): Config {
  const { flags } = line;
  const { values, effective } = settle(flags, around.env, files, cwd);
  return Object.freeze({
    ...placesOf(line, around, cwd),
    endpoint: resolveEndpoint(around, typeof flags.socket === 'string' ? flags.socket : undefined),
    roots: Object.freeze(values.root),
    idleTimeoutMs: values.idle_timeout,
    workerIdleTimeoutMs: values.worker_idle_timeout,
    busyTimeoutMs: values.busy_timeout,
    walLimit: values.wal_limit,
    sessionTtlMs: values.session_ttl,
    txLeaseMs: values.tx_lease,
    txMaxMs: values.tx_max,
    maxWorkers: values.max_workers,
    spareWorkers: values.spare_workers,
    durability: values.durability,
    metricsPort: values.metrics_port,
    metricsDatabases: values.metrics_databases,
    limits: limitsOf(values),
    batchTimeoutMs: values.batch_timeout,
    maxIntakeBytes: values.max_intake_bytes,
    logLevel: values.log_level,
    handOff: flags['hand-off'] === true,
    readyFd: readyFd(flags['ready-fd']),
    files: files.map(({ path }) => path),
    effective,
  });
}

/** @throws SkylineError `INVALID_REQUEST` for a limit that no frame could reach */
function limitsOf(values: Values): Limits {
  const { max_frame: maxFrame, max_result_bytes: maxResult } = values;
  // Room for the rest of the reply.
  const largestResult = Math.max(1024, maxFrame - 64 * 1024);
  if (maxResult !== null && maxResult > largestResult)
    throw wrong(`max_result_bytes must be at least 64KB less than max_frame (${maxFrame} bytes).`);
  return Object.freeze({
    max_frame: maxFrame,
    max_statements: values.max_statements,
    // SQLITE_MAX_VARIABLE_NUMBER: https://sqlite.org/limits.html
    max_parameters: 32_766,
    max_sql_bytes: Math.min(maxFrame, values.max_sql_bytes),
    max_result_bytes: maxResult ?? largestResult,
    max_in_flight: values.max_in_flight,
    max_session_result_bytes: values.max_session_result_bytes,
    max_sessions: values.max_sessions,
    max_connections: values.max_connections,
    max_subscriptions: values.max_subscriptions,
    max_daemon_subscriptions: values.max_daemon_subscriptions,
  });
}

function readyFd(text: unknown): number | null {
  if (typeof text !== 'string') return null;
  const kind = count(1, 1024);
  const fd = kind.parse(text, '');
  if (fd === undefined) throw wrong(`--ready-fd takes ${kind.takes}, but got "${text}".`);
  return fd;
}
