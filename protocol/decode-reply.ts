import { catalogReplyDecoders } from './decode-catalog-reply.js';
import { decodeStatus } from './decode-status.js';
import {
  asArray,
  asBoolean,
  asObject,
  asString,
  field,
  flag,
  integer,
  optional,
  text,
  unexpected,
} from './fields.js';
import type { JsonObject } from './frame.js';
import type {
  AttachReply,
  BackupReply,
  BeginTxReply,
  CancelReply,
  CheckpointReply,
  CloseDatabaseReply,
  CommitReply,
  ExecBatchReply,
  ExecReply,
  HelloReply,
  MetricsReply,
  PingDatabaseReply,
  PingReply,
  PrepareForMaintenanceReply,
  ReopenDatabaseReply,
  ReplaceDatabaseReply,
  ReplyOf,
  RollbackReply,
  ShutdownReply,
  StatementResult,
  SubscribeReply,
  UnsubscribeReply,
  WireInt,
  WireValue,
} from './messages.js';
import { asTrue, ok, position, state } from './reply-fields.js';

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
  Cancel: (object): CancelReply => ({ ...ok(object), in_flight: flag(object, 'in_flight') }),
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
  Status: decodeStatus,
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
  ...catalogReplyDecoders,
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

function yes(object: JsonObject, name: string): true {
  return asTrue(field(object, name), name);
}
