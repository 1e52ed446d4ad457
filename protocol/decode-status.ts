import { asClient } from './decode-client.js';
import {
  asArray,
  asInteger,
  asObject,
  asString,
  field,
  flag,
  integer,
  optional,
  orNull,
  text,
} from './fields.js';
import type { JsonObject } from './frame.js';
import type {
  DatabaseStatus,
  DatabaseWarning,
  Percentiles,
  StatusReply,
  TransactionStatus,
  WalStatus,
} from './messages.js';
import { holders, ok, position, state } from './reply-fields.js';

/** The figures of the daemon, and of each database. @throws ProtocolError `INVALID_REQUEST` */
export function decodeStatus(object: JsonObject): StatusReply {
  return {
    ...ok(object),
    version: text(object, 'version'),
    pid: integer(object, 'pid'),
    uptime_ms: integer(object, 'uptime_ms'),
    endpoint: text(object, 'endpoint'),
    data_dir: text(object, 'data_dir'),
    state_dir: text(object, 'state_dir'),
    connections: integer(object, 'connections'),
    ...optional(object, 'subscriptions', asInteger),
    workers: integer(object, 'workers'),
    spare_workers: integer(object, 'spare_workers'),
    requests: integer(object, 'requests'),
    errors: errorCounts(object),
    metrics_port: orNull(object, 'metrics_port', asInteger),
    databases: asArray(field(object, 'databases'), 'databases').map(decodeDatabaseStatus),
  };
}

function decodeDatabaseStatus(value: unknown): DatabaseStatus {
  const object = asObject(value, 'databases');
  const counters = asObject(field(object, 'counters'), 'counters');
  return {
    ...optional(object, 'name', asString),
    db_path: text(object, 'db_path'),
    state: state(object),
    ...position(object),
    worker_pid: orNull(object, 'worker_pid', asInteger),
    queue_depth: integer(object, 'queue_depth'),
    clients: integer(object, 'clients'),
    ...optional(object, 'readers', asInteger),
    wal_bytes: integer(object, 'wal_bytes'),
    ...optional(object, 'wal', decodeWal),
    ...optional(object, 'transactions', (list, where) => asArray(list, where).map(decodeTransaction)),
    counters: {
      batches: integer(counters, 'batches'),
      failed: integer(counters, 'failed'),
      commits: integer(counters, 'commits'),
      checkpoints: integer(counters, 'checkpoints'),
      worker_restarts: integer(counters, 'worker_restarts'),
      errors: errorCounts(counters),
    },
    latency_us: orNull(object, 'latency_us', decodeLatency),
    queue_us: orNull(object, 'queue_us', decodePercentiles),
    execute_us: orNull(object, 'execute_us', decodePercentiles),
    commit_us: orNull(object, 'commit_us', decodePercentiles),
    group_batches: orNull(object, 'group_batches', decodePercentiles),
    checkpoint_wait_us: orNull(object, 'checkpoint_wait_us', decodePercentiles),
    stale: flag(object, 'stale'),
    ...optional(object, 'warnings', (list, where) => asArray(list, where).map(asWarning)),
  };
}

function asWarning(value: unknown): DatabaseWarning {
  const object = asObject(value, 'warnings');
  return { code: text(object, 'code'), message: text(object, 'message') };
}

function decodeTransaction(value: unknown): TransactionStatus {
  const object = asObject(value, 'transactions');
  return {
    read: flag(object, 'read'),
    since_ms: integer(object, 'since_ms'),
    idle_ms: integer(object, 'idle_ms'),
    ...optional(object, 'client', asClient),
  };
}

function decodeWal(value: unknown, where: string): WalStatus {
  const object = asObject(value, where);
  return {
    limit: integer(object, 'limit'),
    frames: integer(object, 'frames'),
    pending: integer(object, 'pending'),
    checkpoint_us: orNull(object, 'checkpoint_us', decodeTook),
    blocked: orNull(object, 'blocked', decodeBlocked),
  };
}

function decodeTook(value: unknown, where: string): NonNullable<WalStatus['checkpoint_us']> {
  const object = asObject(value, where);
  return { last: integer(object, 'last'), longest: integer(object, 'longest') };
}

function decodeBlocked(value: unknown, where: string): NonNullable<WalStatus['blocked']> {
  const object = asObject(value, where);
  return {
    since_ms: integer(object, 'since_ms'),
    holders: holders(object),
  };
}

function decodeLatency(value: unknown, where: string): NonNullable<DatabaseStatus['latency_us']> {
  const object = asObject(value, where);
  return { ...decodePercentiles(value, where), ...optional(object, 'buckets', asBuckets) };
}

function asBuckets(value: unknown, where: string): [number, number][] {
  return asArray(value, where).map((bucket) => {
    const [us, batches] = asArray(bucket, where);
    return [asInteger(us, where), asInteger(batches, where)];
  });
}

/** By code: those of a newer daemon, too. */
function errorCounts(object: JsonObject): { [code: string]: number } {
  const entries = Object.entries(asObject(field(object, 'errors'), 'errors'));
  return Object.fromEntries(entries.map(([code, count]) => [code, asInteger(count, code)]));
}

function decodePercentiles(value: unknown, where: string): Percentiles {
  const object = asObject(value, where);
  return {
    p50: integer(object, 'p50'),
    p99: integer(object, 'p99'),
    p999: integer(object, 'p999'),
    max: integer(object, 'max'),
  };
}
