import { catalogReplyDecoders } from './decode-catalog-reply.js';
import { isErrorCode, ProtocolError, SkylineError } from './errors.js';
import {
  asArray,
  asBoolean,
  asInteger,
  asObject,
  asString,
  field,
  oneOf,
  optional,
  unexpected,
} from './fields.js';
import type { JsonObject } from './frame.js';
import type {
  AdoptProgressEvent,
  AttachReply,
  BackupReply,
  BeginTxReply,
  ChangeEvent,
  CheckpointReply,
  ClientInfo,
  CloseDatabaseReply,
  CommitReply,
  DatabaseStatus,
  DatabaseWarning,
  ErrorDetails,
  ExecBatchReply,
  ExecReply,
  HelloReply,
  LockHolder,
  MetricsReply,
  Percentiles,
  PingDatabaseReply,
  PingReply,
  PrepareForMaintenanceReply,
  ProgressEvent,
  ReopenDatabaseReply,
  ReplaceDatabaseReply,
  ReplyOf,
  RequestId,
  ResetEvent,
  RollbackReply,
  ShutdownReply,
  StatementResult,
  StatusReply,
  SubscribeReply,
  TransactionStatus,
  UnsubscribeReply,
  WalEvent,
  WalStatus,
  WireInt,
  WireValue,
} from './messages.js';

/** A frame from the daemon, told apart: an answer to a request, or an event. */
export type Incoming =
  | { readonly kind: 'reply'; readonly id: RequestId | undefined; readonly body: JsonObject }
  | { readonly kind: 'error'; readonly id: RequestId | undefined; readonly error: SkylineError }
  | {
      readonly kind: 'progress';
      readonly id: RequestId | undefined;
      readonly event: ProgressEvent | AdoptProgressEvent;
    }
  | { readonly kind: 'subscription'; readonly event: ChangeEvent | ResetEvent | WalEvent }
  | { readonly kind: 'detached' }
  | { readonly kind: 'unknown' };

/**
 * Tells what a frame from the daemon is. Events of a kind this version does not know are `unknown`, not errors.
 * @throws ProtocolError `INVALID_REQUEST` when a known kind has a bad field
 */
export function decodeIncoming(object: JsonObject): Incoming {
  const id = replyId(object);
  const status = field(object, 'status');
  if (status === 'ok') return { kind: 'reply', id, body: object };
  if (status === 'error') return { kind: 'error', id, error: decodeError(object) };
  const event = field(object, 'event');
  switch (event) {
    case 'progress':
      return { kind: 'progress', id, event: decodeProgress(object, id) };
    case 'change':
      return { kind: 'subscription', event: decodeChange(object) };
    case 'reset':
      return { kind: 'subscription', event: { event, ...source(object), ...position(object) } };
    case 'wal':
      return { kind: 'subscription', event: decodeWalEvent(object) };
    case 'detached':
      return { kind: 'detached' };
    default:
  }
  if (typeof event === 'string') return { kind: 'unknown' };
  throw new ProtocolError('PROTOCOL_ERROR', 'The daemon sent a frame that is neither a reply nor an event.');
}

function replyId(object: JsonObject): RequestId | undefined {
  const id = field(object, 'id');
  if (id === undefined || typeof id === 'string' || typeof id === 'number') return id;
  throw unexpected('id', 'a number or a string', id);
}

function decodeProgress(object: JsonObject, id: RequestId | undefined): ProgressEvent | AdoptProgressEvent {
  const base = { event: 'progress' as const, ...(id === undefined ? {} : { id }) };
  if (field(object, 'files_total') !== undefined)
    return {
      ...base,
      files_done: integer(object, 'files_done'),
      files_total: integer(object, 'files_total'),
    };
  return {
    ...base,
    pages_done: integer(object, 'pages_done'),
    pages_total: integer(object, 'pages_total'),
  };
}

function decodeChange(object: JsonObject): ChangeEvent {
  return {
    event: 'change',
    ...source(object),
    ...position(object),
    ...optional(object, 'tables', (value, where) =>
      asArray(value, where).map((name) => asString(name, where)),
    ),
    ...optional(object, 'foreign', asTrue),
  };
}

function decodeWalEvent(object: JsonObject): WalEvent {
  const common = {
    event: 'wal' as const,
    ...source(object),
    limit: integer(object, 'limit'),
    wal_bytes: integer(object, 'wal_bytes'),
  };
  return flag(object, 'blocked')
    ? { ...common, blocked: true, holders: asArray(field(object, 'holders'), 'holders').map(asHolder) }
    : { ...common, blocked: false, lasted_ms: integer(object, 'lasted_ms') };
}

function source(object: JsonObject): { subscription: number; db: string } {
  return { subscription: integer(object, 'subscription'), db: text(object, 'db') };
}

function decodeError(object: JsonObject): SkylineError {
  const code = text(object, 'code');
  const details: ErrorDetails = {
    ...optional(object, 'sqlite_code', asString),
    ...optional(object, 'statement_index', asInteger),
    ...optional(object, 'parameter_set', asInteger),
    ...optional(object, 'parameter', asParameter),
    ...optional(object, 'applied', asInteger),
    ...optional(object, 'limit', asString),
    ...optional(object, 'limit_value', asInteger),
    ...optional(object, 'holders', (value, where) => asArray(value, where).map(asHolder)),
    ...optional(object, 'expected', asInteger),
    ...optional(object, 'actual', asInteger),
    ...optional(object, 'tx_ended', asTrue),
    ...optional(object, 'replayed', asTrue),
  };
  // A newer daemon may know more codes: the message still says what happened.
  return new SkylineError(isErrorCode(code) ? code : 'INTERNAL', text(object, 'message'), {
    outcome: oneOf(['not_applied', 'unknown', 'partial'])(field(object, 'outcome'), 'outcome'),
    retryable: asBoolean(field(object, 'retryable'), 'retryable'),
    details,
  });
}

function asParameter(value: unknown, where: string): number | string {
  return typeof value === 'string' ? value : asInteger(value, where);
}

function asHolder(value: unknown): LockHolder {
  const object = asObject(value, 'holders');
  return { pid: integer(object, 'pid'), ...optional(object, 'command', asString) };
}

type ReplyDecoders = { readonly [Name in keyof ReplyOf]: (object: JsonObject) => ReplyOf[Name] };

const decoders: ReplyDecoders = {
  Hello: (object): HelloReply => {
    const limits = asObject(field(object, 'limits'), 'limits');
    return {
      ...ok(object),
      protocol: integer(object, 'protocol'),
      version: text(object, 'version'),
      pid: integer(object, 'pid'),
      limits: decodeLimits(limits),
      ...optional(object, 'hand_off', asBoolean),
      ...optional(object, 'data_dir', asString),
    };
  },
  Ping: (object): PingReply => ({
    ...ok(object),
    version: text(object, 'version'),
    pid: integer(object, 'pid'),
    uptime_ms: integer(object, 'uptime_ms'),
  }),
  PingDatabase: (object): PingDatabaseReply => ({
    ...ok(object),
    version: text(object, 'version'),
    db_path: text(object, 'db_path'),
    exists: flag(object, 'exists'),
    state: state(object),
    ...position(object),
  }),
  ExecBatch: (object): ExecBatchReply => ({
    ...ok(object),
    ...position(object),
    rows_affected: integer(object, 'rows_affected'),
    ...optional(object, 'results', (value, where) => asArray(value, where).map(decodeResult)),
    ...optional(object, 'database', asString),
    ...optional(object, 'replayed', asTrue),
    ...optional(object, 'results_omitted', asTrue),
  }),
  BeginTx: (object): BeginTxReply => ({
    ...ok(object),
    ...position(object),
    tx: text(object, 'tx'),
    ...optional(object, 'database', asString),
    lease_ms: integer(object, 'lease_ms'),
    max_ms: integer(object, 'max_ms'),
  }),
  Exec: (object): ExecReply => ({
    ...ok(object),
    ...position(object),
    rows_affected: integer(object, 'rows_affected'),
    ...optional(object, 'results', (value, where) => asArray(value, where).map(decodeResult)),
  }),
  Commit: (object): CommitReply => ({
    ...ok(object),
    ...position(object),
    rows_affected: integer(object, 'rows_affected'),
    ...optional(object, 'replayed', asTrue),
  }),
  Rollback: (object): RollbackReply => ({ ...ok(object), ...position(object) }),
  PrepareForMaintenance: (object): PrepareForMaintenanceReply => ({
    ...ok(object),
    checkpointed: yes(object, 'checkpointed'),
  }),
  CloseDatabase: (object): CloseDatabaseReply => ({ ...ok(object), closed: yes(object, 'closed') }),
  ReopenDatabase: (object): ReopenDatabaseReply => ({
    ...ok(object),
    ...position(object),
    reopened: flag(object, 'reopened'),
  }),
  ReplaceDatabase: (object): ReplaceDatabaseReply => ({
    ...ok(object),
    ...position(object),
    replaced: yes(object, 'replaced'),
    backup: text(object, 'backup'),
  }),
  Backup: (object): BackupReply => ({
    ...ok(object),
    pages: integer(object, 'pages'),
    bytes: integer(object, 'bytes'),
  }),
  Checkpoint: (object): CheckpointReply => ({
    ...ok(object),
    log: integer(object, 'log'),
    checkpointed: integer(object, 'checkpointed'),
    busy: flag(object, 'busy'),
  }),
  Attach: (object): AttachReply => ({
    ...ok(object),
    ...position(object),
    endpoint: text(object, 'endpoint'),
    db_path: text(object, 'db_path'),
  }),
  Status: (object): StatusReply => {
    const port = field(object, 'metrics_port');
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
      metrics_port: port === null ? null : asInteger(port, 'metrics_port'),
      databases: asArray(field(object, 'databases'), 'databases').map(decodeDatabaseStatus),
    };
  },
  Metrics: (object): MetricsReply => ({
    ...ok(object),
    content_type: text(object, 'content_type'),
    text: text(object, 'text'),
  }),
  Subscribe: (object): SubscribeReply => ({
    ...ok(object),
    ...position(object),
    subscription: integer(object, 'subscription'),
    db_path: text(object, 'db_path'),
  }),
  Unsubscribe: (object): UnsubscribeReply => ok(object),
  Shutdown: (object): ShutdownReply => ok(object),
  CreateDatabase: (object) => ({ ...ok(object), ...catalogReplyDecoders.CreateDatabase(object) }),
  AlterDatabase: (object) => ({ ...ok(object), ...catalogReplyDecoders.AlterDatabase(object) }),
  DropDatabase: (object) => ({ ...ok(object), ...catalogReplyDecoders.DropDatabase(object) }),
  RenameDatabase: (object) => ({ ...ok(object), ...catalogReplyDecoders.RenameDatabase(object) }),
  RestoreDatabase: (object) => ({ ...ok(object), ...catalogReplyDecoders.RestoreDatabase(object) }),
  ListDatabases: (object) => ({ ...ok(object), ...catalogReplyDecoders.ListDatabases(object) }),
  AdoptDirectory: (object) => ({ ...ok(object), ...catalogReplyDecoders.AdoptDirectory(object) }),
};

/**
 * The fields of a reply, checked one by one.
 * @throws ProtocolError `INVALID_REQUEST` when the daemon sent something else than the protocol says
 */
export function decodeReply<Name extends keyof ReplyOf>(name: Name, object: JsonObject): ReplyOf[Name] {
  return decoders[name](object);
}

/** Whatever this daemon limits: another version's names are no error. */
function decodeLimits(object: JsonObject): HelloReply['limits'] {
  const limits = Object.keys(object).map((name) => [name, integer(object, name)]);
  return { ...Object.fromEntries(limits), max_frame: integer(object, 'max_frame') };
}

function decodeResult(value: unknown): StatementResult {
  const object = asObject(value, 'results');
  return {
    rows_affected: integer(object, 'rows_affected'),
    ...optional(object, 'last_insert_rowid', asRowid),
    ...optional(object, 'columns', (columns, where) =>
      asArray(columns, where).map((column) => asString(column, where)),
    ),
    // The cells are checked where they are turned into values: once, not twice.
    ...optional(object, 'rows', (rows, where) =>
      asArray(rows, where).map((row) => asArray(row, where) as readonly WireValue[]),
    ),
  };
}

function asRowid(value: unknown, where: string): number | WireInt {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  const digits = asString(field(asObject(value, where), '$int'), where);
  if (!/^-?\d{1,20}$/.test(digits)) throw unexpected(where, 'a 64-bit integer', digits);
  return { $int: digits };
}

function decodeDatabaseStatus(value: unknown): DatabaseStatus {
  const object = asObject(value, 'databases');
  const counters = asObject(field(object, 'counters'), 'counters');
  const latency = field(object, 'latency_us');
  const worker = field(object, 'worker_pid');
  return {
    ...optional(object, 'name', asString),
    db_path: text(object, 'db_path'),
    state: state(object),
    ...position(object),
    worker_pid: worker === null ? null : asInteger(worker, 'worker_pid'),
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
    latency_us: latency === null ? null : decodeLatency(asObject(latency, 'latency_us')),
    queue_us: percentiles(object, 'queue_us'),
    execute_us: percentiles(object, 'execute_us'),
    commit_us: percentiles(object, 'commit_us'),
    group_batches: percentiles(object, 'group_batches'),
    checkpoint_wait_us: percentiles(object, 'checkpoint_wait_us'),
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
    ...optional(object, 'client', decodeClient),
  };
}

function decodeClient(value: unknown, where: string): ClientInfo {
  const client = asObject(value, where);
  return {
    ...optional(client, 'name', asString),
    ...optional(client, 'pid', asInteger),
    ...optional(client, 'version', asString),
  };
}

function decodeWal(value: unknown, where: string): WalStatus {
  const object = asObject(value, where);
  const took = field(object, 'checkpoint_us');
  const blocked = field(object, 'blocked');
  return {
    limit: integer(object, 'limit'),
    frames: integer(object, 'frames'),
    pending: integer(object, 'pending'),
    checkpoint_us: took === null ? null : decodeTook(asObject(took, 'checkpoint_us')),
    blocked: blocked === null ? null : decodeBlocked(asObject(blocked, 'blocked')),
  };
}

function decodeTook(object: JsonObject): NonNullable<WalStatus['checkpoint_us']> {
  return { last: integer(object, 'last'), longest: integer(object, 'longest') };
}

function decodeBlocked(object: JsonObject): NonNullable<WalStatus['blocked']> {
  return {
    since_ms: integer(object, 'since_ms'),
    holders: asArray(field(object, 'holders'), 'holders').map(asHolder),
  };
}

function decodeLatency(object: JsonObject): NonNullable<DatabaseStatus['latency_us']> {
  return { ...decodePercentiles(object), ...optional(object, 'buckets', asBuckets) };
}

function asBuckets(value: unknown, where: string): [number, number][] {
  return asArray(value, where).map((bucket) => {
    const [us, batches] = asArray(bucket, where);
    return [asInteger(us, where), asInteger(batches, where)];
  });
}

function percentiles(object: JsonObject, name: string): Percentiles | null {
  const value = field(object, name);
  return value === null ? null : decodePercentiles(asObject(value, name));
}

/** By code: those of a newer daemon, too. */
function errorCounts(object: JsonObject): { [code: string]: number } {
  const entries = Object.entries(asObject(field(object, 'errors'), 'errors'));
  return Object.fromEntries(entries.map(([code, count]) => [code, asInteger(count, code)]));
}

function decodePercentiles(object: JsonObject): Percentiles {
  return {
    p50: integer(object, 'p50'),
    p99: integer(object, 'p99'),
    p999: integer(object, 'p999'),
    max: integer(object, 'max'),
  };
}

function ok(object: JsonObject): { status: 'ok'; id?: RequestId } {
  const id = replyId(object);
  return { status: 'ok', ...(id === undefined ? {} : { id }) };
}

function integer(object: JsonObject, name: string): number {
  return asInteger(field(object, name), name);
}

function text(object: JsonObject, name: string): string {
  return asString(field(object, name), name);
}

function flag(object: JsonObject, name: string): boolean {
  return asBoolean(field(object, name), name);
}

function yes(object: JsonObject, name: string): true {
  return asTrue(field(object, name), name);
}

function asTrue(value: unknown, where: string): true {
  if (value !== true) throw unexpected(where, 'true', value);
  return value;
}

function state(object: JsonObject): DatabaseStatus['state'] {
  return oneOf(['open', 'preparing', 'closed'])(field(object, 'state'), 'state');
}

function position(object: JsonObject): { rev: number; epoch: number } {
  return { rev: integer(object, 'rev'), epoch: integer(object, 'epoch') };
}
