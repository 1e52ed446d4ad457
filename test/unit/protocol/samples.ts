import type { ErrorDetails, Limits, ReplyOf, RequestType } from '../../../protocol/messages.js';

/** Small enough that each limit can be passed in a test. */
export const LIMITS: Limits = {
  max_frame: 4096,
  max_statements: 3,
  max_parameters: 4,
  max_sql_bytes: 30,
  max_result_bytes: 4096,
  max_in_flight: 8,
  max_session_result_bytes: 64,
  max_sessions: 100,
  max_connections: 10,
  max_subscriptions: 2,
  max_daemon_subscriptions: 5,
};

/** The fields of a full request of each type, as the router reads them. */
export const requests: { readonly [Type in RequestType]: { readonly [name: string]: unknown } } = {
  Hello: { protocol: 1, client: { name: 'app', pid: 1, version: '0.1.0' } },
  Ping: { db: 'x.db' },
  ExecBatch: { db: 'x.db', timeout_ms: 10, session: 's', cancellable: true },
  BeginTx: {
    db: 'x.db',
    read: true,
    lease_ms: 1,
    max_ms: 60_000,
    timeout_ms: 10,
    durable: false,
    foreign_keys: false,
  },
  Exec: { db: 'x.db', timeout_ms: 10, cancellable: false },
  Commit: {
    db: 'x.db',
    tx: 't',
    session: 's',
    seq: 2,
    acked: 1,
    session_epoch: 1,
    session_rev: 0,
    session_database: '0b9c',
    only_replay: false,
  },
  Rollback: { db: 'x.db', tx: 't' },
  Cancel: { target: 5 },
  PrepareForMaintenance: { db: 'x.db', timeout_ms: 0 },
  CloseDatabase: { db: 'x.db', timeout_ms: 5000 },
  ReopenDatabase: { db: 'x.db', allow_missing: true },
  ReplaceDatabase: { db: 'x.db', from: 'new.db', timeout_ms: 5000 },
  Backup: { db: 'x.db', to: 'copy.db', overwrite: false },
  Checkpoint: { db: 'x.db', mode: 'truncate' },
  Attach: { db: 'x.db' },
  Shutdown: { if_older_than: '1.2.3-rc.1', timeout_ms: 2000 },
  Status: { db: 'x.db', detail: true },
  Metrics: {},
  CreateDatabase: {
    name: 'stars',
    if_not_exists: true,
    settings: { durability: 'full', wal_limit: 2_097_152 },
  },
  AlterDatabase: { name: 'stars', settings: { mmap_size: 0 }, reset: ['durability', 'wal_limit'] },
  DropDatabase: { name: 'stars', if_exists: true, force: false, timeout_ms: 10 },
  RenameDatabase: { name: 'stars', to: 'suns', force: true, timeout_ms: 10 },
  RestoreDatabase: { name: 'stars', as: 'suns' },
  ListDatabases: {},
  AdoptDirectory: { dir: '/d' },
  Subscribe: { db: 'x.db', since: { epoch: 1, rev: 40 }, tables: ['stars'] },
  Unsubscribe: { subscription: 1 },
};
export const requestTypes = Object.keys(requests) as RequestType[];

/** An ExecBatch with every field, within LIMITS. */
export const batch = {
  type: 'ExecBatch',
  id: 9,
  db: 'x.db',
  tx: 'none',
  durable: true,
  expect_rev: 0,
  expect_epoch: 3,
  timeout_ms: 50,
  results: false,
  session: 's',
  seq: 7,
  acked: 6,
  session_epoch: 3,
  session_rev: 4,
  session_database: '0b9c',
  only_replay: true,
  stmts: [
    { sql: 'SELECT ?', params: [null, { $int: '1' }, 'a'], expect: { rows_affected: 0 } },
    { sql: 'SELECT :a', params: { ':a': 1.5 } },
    { sql: 'SELECT ?', param_sets: [[1], { a: 2 }] },
  ],
};

const database: ReplyOf['Status']['databases'][number] = {
  db_path: '/d/x.db',
  state: 'preparing',
  rev: 4,
  epoch: 1,
  worker_pid: 12,
  queue_depth: 0,
  clients: 1,
  readers: 2,
  wal_bytes: 4152,
  wal: {
    limit: 67_108_864,
    frames: 1,
    pending: 0,
    checkpoint_us: { last: 900, longest: 12_000 },
    blocked: { since_ms: 700, holders: [{ pid: 31, command: 'node report.mjs' }, { pid: 32 }] },
  },
  transactions: [
    { read: false, since_ms: 900, idle_ms: 12, client: { name: 'app' } },
    { read: true, since_ms: 0, idle_ms: 0 },
  ],
  counters: {
    batches: 5,
    failed: 1,
    commits: 3,
    checkpoints: 2,
    worker_restarts: 0,
    errors: { SQL_ERROR: 1 },
  },
  latency_us: {
    p50: 30,
    p99: 90,
    p999: 200,
    max: 4000,
    buckets: [
      [30, 4],
      [4095, 1],
    ],
  },
  queue_us: { p50: 3, p99: 9, p999: 20, max: 400 },
  execute_us: { p50: 20, p99: 60, p999: 100, max: 2000 },
  commit_us: { p50: 10, p99: 30, p999: 80, max: 1000 },
  group_batches: { p50: 1, p99: 2, p999: 2, max: 2 },
  checkpoint_wait_us: null,
  stale: false,
  warnings: [{ code: 'NETWORK_FILE_SYSTEM', message: 'far away' }],
};
/** A reply of each kind, with every field. */
export const replies: ReplyOf = {
  Hello: { status: 'ok', protocol: 1, version: '0.1.0', pid: 7, limits: LIMITS, hand_off: true },
  Ping: { status: 'ok', version: '0.1.0', pid: 7, uptime_ms: 0 },
  PingDatabase: {
    status: 'ok',
    version: '0.1.0',
    db_path: '/d/x.db',
    exists: false,
    state: 'open',
    rev: 0,
    epoch: 0,
  },
  ExecBatch: {
    status: 'ok',
    rev: 2,
    epoch: 1,
    rows_affected: 3,
    replayed: true,
    results_omitted: true,
    results: [
      { rows_affected: 1, last_insert_rowid: -5 },
      { rows_affected: 1, last_insert_rowid: { $int: '9007199254740993' } },
      {
        rows_affected: 0,
        columns: ['a', 'a'],
        rows: [
          [1, null],
          [{ $blob: '' }, 'x'],
        ],
      },
    ],
  },
  BeginTx: { status: 'ok', tx: 't', database: '0b9c', rev: 4, epoch: 1, lease_ms: 5000, max_ms: 60_000 },
  Exec: { status: 'ok', rev: 4, epoch: 1, rows_affected: 1, results: [{ rows_affected: 1 }] },
  Commit: { status: 'ok', rev: 5, epoch: 1, rows_affected: 1, replayed: true },
  Rollback: { status: 'ok', rev: 4, epoch: 1 },
  PrepareForMaintenance: { status: 'ok', checkpointed: true },
  CloseDatabase: { status: 'ok', closed: true },
  ReopenDatabase: { status: 'ok', reopened: false, rev: 1, epoch: 2 },
  ReplaceDatabase: { status: 'ok', replaced: true, rev: 1, epoch: 2, backup: '/d/x.db.old' },
  Backup: { status: 'ok', pages: 3, bytes: 12288 },
  Checkpoint: { status: 'ok', log: 4, checkpointed: 4, busy: false },
  Attach: { status: 'ok', endpoint: '/tmp/skylinedb-1/v1.sock.w8', db_path: '/d/x.db', rev: 4, epoch: 1 },
  Status: {
    status: 'ok',
    version: '0.1.0',
    pid: 7,
    uptime_ms: 12,
    endpoint: '/tmp/skylinedb-1/v1.sock',
    data_dir: '/d',
    state_dir: '/s',
    connections: 1,
    subscriptions: 2,
    workers: 1,
    spare_workers: 1,
    requests: 9,
    errors: { INVALID_REQUEST: 2 },
    metrics_port: 9464,
    databases: [database, { ...database, state: 'closed', worker_pid: null, latency_us: null, stale: true }],
  },
  Metrics: { status: 'ok', content_type: 'text/plain', text: '# HELP' },
  Subscribe: { status: 'ok', subscription: 1, db_path: '/d/x.db', rev: 4, epoch: 1 },
  Unsubscribe: { status: 'ok' },
  Cancel: { status: 'ok', in_flight: true },
  Shutdown: { status: 'ok' },
  CreateDatabase: { status: 'ok', created: true, name: 'stars', database_id: 'u', db_path: '/d/stars.db' },
  AlterDatabase: { status: 'ok', name: 'stars', settings: {}, in_effect: true },
  DropDatabase: { status: 'ok', dropped: true, until: '2026-08-01T00:00:00.000Z', file_kept: '/d/stars.db' },
  RenameDatabase: { status: 'ok', name: 'suns', db_path: '/d/suns.db', rev: 1, epoch: 2 },
  RestoreDatabase: { status: 'ok', name: 'suns', db_path: '/d/suns.db', rev: 1, epoch: 2 },
  ListDatabases: {
    status: 'ok',
    data_dir: '/d',
    databases: [
      {
        name: 'stars',
        id: 'u',
        db_path: '/d/stars.db',
        owner: 'ada',
        created: '2026-08-01T00:00:00.000Z',
        last_used: null,
        size: 8192,
        settings: {},
      },
    ],
    dropped: [
      {
        name: 'moons',
        id: 'v',
        dropped: '2026-08-01T00:00:00.000Z',
        until: '2026-08-08T00:00:00.000Z',
        size: null,
      },
    ],
  },
  AdoptDirectory: {
    status: 'ok',
    adopted: [{ name: 'stars', db_path: '/d/stars.db' }],
    skipped: [{ file: 'x.txt', reason: 'it is no SQLite database' }],
  },
};
export const replyNames = Object.keys(replies) as (keyof ReplyOf)[];

/** An error frame; `details` are its optional fields. */
export const failure = {
  status: 'error',
  id: 3,
  code: 'BUSY',
  message: 'm',
  retryable: true,
  outcome: 'not_applied',
};
export const details: Required<ErrorDetails> = {
  sqlite_code: 'SQLITE_CONSTRAINT_UNIQUE',
  statement_index: 0,
  parameter_set: 7,
  parameter: 'a',
  applied: 2,
  limit: 'max_frame',
  limit_value: 9,
  holders: [{ pid: 4 }, { pid: 5, command: 'sqlite3 x.db' }],
  expected: 1,
  actual: 0,
  tx_ended: true,
  replayed: true,
};

/** The steps into a message. */
export type Path = readonly (string | number)[];

/** Every place in a message, except inside of rows: cells are checked where they become values. */
export function places(value: unknown, path: Path = []): [Path, unknown][] {
  const inside =
    typeof value !== 'object' || value === null || path.at(-2) === 'rows'
      ? []
      : Object.entries(value).flatMap(([key, item]) =>
          places(item, [...path, Array.isArray(value) ? Number(key) : key]),
        );
  return path.length === 0 ? inside : [[path, value], ...inside];
}

/** The message with one place changed; undefined removes it. */
export function changed(sample: unknown, [step, ...rest]: Path, value: unknown): object {
  const copy = structuredClone(sample) as Record<string | number, unknown>;
  if (step !== undefined) copy[step] = rest.length === 0 ? value : changed(copy[step], rest, value);
  return copy;
}
