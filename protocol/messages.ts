/**
 * The whole protocol, as types. Version 1.
 *
 * Who speaks: a client opens the endpoint and sends requests; the daemon answers each with exactly one reply.
 * Some requests are followed by event frames before their reply (`Backup`, `ReplaceDatabase`: progress), `Subscribe` by
 * event frames behind it.
 * Both directions carry frames: a u32 little-endian byte length, then that many bytes of UTF-8 JSON (frame.ts).
 *
 * Who owes what: the daemon owes one reply per request. A reply carries its request's `id`; replies to requests
 * with an id may come in any order, requests without one are answered in the order in which they were sent.
 * Requests for one database on one connection are executed in the order sent. The client owes nothing; it may
 * hang up at any time. A frame that is no frame is answered by one error, and the connection ends.
 *
 * Only types live here. Decoding is in decode-*.ts, values in values.ts.
 */

/** Protocol version that `Hello` names. */
export const PROTOCOL_VERSION = 1;

/** A request's identity on its connection: echoed in the reply. */
export type RequestId = string | number;

// ── Values ──────────────────────────────────────────────────────────────────────────────────────────────────

/** INTEGER outside ±(2^53−1), in decimal. */
export interface WireInt {
  readonly $int: string;
}
/** REAL, where a plain number would be read as INTEGER; infinities and negative zero as strings. */
export interface WireReal {
  readonly $real: number | 'Infinity' | '-Infinity' | '-0';
}
/** BLOB in standard base64 with padding. */
export interface WireBlob {
  readonly $blob: string;
}
/** One SQLite value as JSON. */
export type WireValue = null | number | string | boolean | WireInt | WireReal | WireBlob;

/** Parameters by position, or by name (with or without the `:`, `@` or `$`). */
export type WireParams = readonly WireValue[] | { readonly [name: string]: WireValue };

// ── Requests ────────────────────────────────────────────────────────────────────────────────────────────────

interface RequestBase {
  readonly id?: RequestId;
}
interface DatabaseRequest extends RequestBase {
  /**
   * The database: its name in the catalog, or the path of its file, which has a dot or a slash. Relative paths belong to the
   * daemon's data directory. Default `data.db`.
   */
  readonly db?: string;
}

/** What a client says of itself. */
export interface ClientInfo {
  readonly name?: string;
  readonly pid?: number;
  readonly version?: string;
}
export interface HelloRequest extends RequestBase {
  readonly type: 'Hello';
  readonly protocol: number;
  readonly client?: ClientInfo;
}
export interface PingRequest extends DatabaseRequest {
  readonly type: 'Ping';
}
/** One SQL statement of a batch. */
export interface Statement {
  readonly sql: string;
  readonly params?: WireParams;
  /** Many sets of parameters: the statement runs once for each. Excludes `params`. */
  readonly param_sets?: readonly WireParams[];
  /** Makes the batch fail with `EXPECTATION_FAILED` unless it holds. */
  readonly expect?: { readonly rows_affected?: number };
}
export interface ExecBatchRequest extends DatabaseRequest {
  readonly type: 'ExecBatch';
  readonly stmts: readonly Statement[];
  /** `atomic` (default): all or nothing. `none`: each statement is its own transaction. */
  readonly tx?: 'atomic' | 'none';
  /** On disk before the reply, whatever the daemon's default. */
  readonly durable?: boolean;
  /** Compare-and-set: refused unless the database is at this rev (and epoch). */
  readonly expect_rev?: number;
  readonly expect_epoch?: number;
  /** Milliseconds after which the batch is given up. */
  readonly timeout_ms?: number;
  /** `Cancel` is to stop it also while it runs. */
  readonly cancellable?: boolean;
  /** `false` leaves the per-statement results out. */
  readonly results?: boolean;
  /** With `seq`: the batch is applied at most once, however often it is sent. 1 to 128 characters, unique to the client. */
  readonly session?: string;
  /** The batch's number in its session, from 1, rising. */
  readonly seq?: number;
  /** Every answer up to this `seq` has arrived: they need not be kept, and are never asked for again. */
  readonly acked?: number;
  /** The epoch of the session's earlier answers: in another file the batch is refused instead of run a second time. */
  readonly session_epoch?: number;
  /** The rev of the session's latest answer: an older copy in the file's place is told by it, where the epoch is the same. */
  readonly session_rev?: number;
  /** `true`: the reply is to tell `database`. What was told: in another database the batch is refused. */
  readonly session_database?: true | string;
  /** Answer with what is recorded of this `seq`. If there is nothing, it is given up: recorded as not applied. */
  readonly only_replay?: boolean;
}
/** What the router reads of an `ExecBatch`; the statements go to the worker unread. */
export type ExecBatchEnvelope = Pick<
  ExecBatchRequest,
  'type' | 'id' | 'db' | 'timeout_ms' | 'session' | 'only_replay' | 'cancellable'
>;
/** Begins a transaction that stays open until `Commit`, `Rollback`, or the end of its lease or connection. */
export interface BeginTxRequest extends DatabaseRequest {
  readonly type: 'BeginTx';
  /** A consistent snapshot to read: it waits for nobody, and nobody for it. */
  readonly read?: boolean;
  /** Milliseconds without use after which the daemon rolls it back; at most what it was started with (`--tx-max`). */
  readonly lease_ms?: number;
  /** Milliseconds after which the daemon rolls it back in any case; as above. */
  readonly max_ms?: number;
  /** Milliseconds to wait for its turn. */
  readonly timeout_ms?: number;
  /** The commit is on disk before its reply, whatever the daemon's default. */
  readonly durable?: boolean;
  /** `false`: foreign keys are not enforced while it is open, and looked at before it is committed. */
  readonly foreign_keys?: boolean;
}
/** Runs statements inside a transaction that is open. All of them, or none: one that fails leaves the transaction as it was. */
export interface ExecRequest extends DatabaseRequest {
  readonly type: 'Exec';
  /** From the reply to `BeginTx`, on the same connection. */
  readonly tx: string;
  readonly stmts: readonly Statement[];
  readonly timeout_ms?: number;
  /** `Cancel` is to stop it also while it runs, which ends the transaction. */
  readonly cancellable?: boolean;
  readonly results?: boolean;
}
/** What the router reads of an `Exec`. */
export type ExecEnvelope = Pick<ExecRequest, 'type' | 'id' | 'db' | 'timeout_ms' | 'cancellable'>;
/** The fields of a session as in `ExecBatch`: with them, whether the transaction was committed can be asked afterwards. */
export interface CommitRequest
  extends DatabaseRequest,
    Pick<
      ExecBatchRequest,
      'session' | 'seq' | 'acked' | 'session_epoch' | 'session_rev' | 'session_database' | 'only_replay'
    > {
  readonly type: 'Commit';
  readonly tx: string;
}
export interface RollbackRequest extends DatabaseRequest {
  readonly type: 'Rollback';
  readonly tx: string;
}
/** Stops an `ExecBatch`, `BeginTx` or `Exec` of the same connection, which is answered all the same. */
export interface CancelRequest extends RequestBase {
  readonly type: 'Cancel';
  /** The request's `id`. */
  readonly target: RequestId;
}
export interface PrepareForMaintenanceRequest extends DatabaseRequest {
  readonly type: 'PrepareForMaintenance';
  readonly timeout_ms?: number;
}
export interface CloseDatabaseRequest extends DatabaseRequest {
  readonly type: 'CloseDatabase';
  readonly timeout_ms?: number;
}
export interface ReopenDatabaseRequest extends DatabaseRequest {
  readonly type: 'ReopenDatabase';
  /** The file may be gone for good: forget that it was closed. */
  readonly allow_missing?: boolean;
}
export interface ReplaceDatabaseRequest extends DatabaseRequest {
  readonly type: 'ReplaceDatabase';
  /** The file with the new contents. It is copied, never moved or changed. */
  readonly from: string;
  readonly timeout_ms?: number;
}
export interface BackupRequest extends DatabaseRequest {
  readonly type: 'Backup';
  readonly to: string;
  /** Replace `to` if it exists. */
  readonly overwrite?: boolean;
}
/** See https://sqlite.org/pragma.html#pragma_wal_checkpoint */
export type CheckpointMode = 'passive' | 'full' | 'restart' | 'truncate';
export interface CheckpointRequest extends DatabaseRequest {
  readonly type: 'Checkpoint';
  readonly mode?: CheckpointMode;
}
/** Asks for the way to the database's worker: one hop less. */
export interface AttachRequest extends DatabaseRequest {
  readonly type: 'Attach';
}
export interface StatusRequest extends DatabaseRequest {
  readonly type: 'Status';
  /** Tell all that was counted of each latency, not only its percentiles, and how many read each file. */
  readonly detail?: boolean;
}
/** The daemon's figures as Prometheus reads them. */
export interface MetricsRequest extends RequestBase {
  readonly type: 'Metrics';
}
/** Where a database stood: what the events behind it are asked for with. */
export interface Since {
  readonly epoch: number;
  readonly rev: number;
}
/** Asks for an event frame after each commit. */
export interface SubscribeRequest extends DatabaseRequest {
  readonly type: 'Subscribe';
  /** What came after this is told first. Default: where the database stands now. */
  readonly since?: Since;
  /** Only changes of these tables, in any letter case. Default: all. */
  readonly tables?: readonly string[];
}
export interface UnsubscribeRequest extends RequestBase {
  readonly type: 'Unsubscribe';
  readonly subscription: number;
}
export interface ShutdownRequest extends RequestBase {
  readonly type: 'Shutdown';
  /** Hand-off: refused unless the daemon's version is older than this one. */
  readonly if_older_than?: string;
  /** Milliseconds for what was accepted to be finished; after them the daemon goes on as if it had not been asked. */
  readonly timeout_ms?: number;
}

// Requests about the catalog: which databases have a name.

/** What a database has set differently from the instance. Left out: as the instance. */
export interface DatabaseSettings {
  readonly durability?: 'normal' | 'full';
  /** Bytes that its WAL should not exceed. */
  readonly wal_limit?: number;
  /** Bytes of the file that SQLite maps into memory: https://sqlite.org/pragma.html#pragma_mmap_size */
  readonly mmap_size?: number;
  /** Milliseconds without requests after which the file is closed; 0 for never. */
  readonly worker_idle_timeout_ms?: number;
  /** Milliseconds to wait for another program's write lock. */
  readonly busy_timeout_ms?: number;
  readonly max_statements?: number;
  readonly max_parameters?: number;
  readonly max_sql_bytes?: number;
  readonly max_result_bytes?: number;
}
interface NamedRequest extends RequestBase {
  /** 1 to 63 letters, digits, `_` and `-`; letter case does not tell names apart. */
  readonly name: string;
}
export interface CreateDatabaseRequest extends NamedRequest {
  readonly type: 'CreateDatabase';
  readonly if_not_exists?: boolean;
  readonly settings?: DatabaseSettings;
}
export interface AlterDatabaseRequest extends NamedRequest {
  readonly type: 'AlterDatabase';
  readonly settings?: DatabaseSettings;
  /** Settings that are to be the instance's again. */
  readonly reset?: readonly (keyof DatabaseSettings)[];
}
export interface DropDatabaseRequest extends NamedRequest {
  readonly type: 'DropDatabase';
  readonly if_exists?: boolean;
  /** End whatever can be ended of those who use it. */
  readonly force?: boolean;
  readonly timeout_ms?: number;
}
export interface RenameDatabaseRequest extends NamedRequest {
  readonly type: 'RenameDatabase';
  readonly to: string;
  readonly force?: boolean;
  readonly timeout_ms?: number;
}
export interface RestoreDatabaseRequest extends NamedRequest {
  readonly type: 'RestoreDatabase';
  /** Another name for it. */
  readonly as?: string;
}
export interface ListDatabasesRequest extends RequestBase {
  readonly type: 'ListDatabases';
}
/** Gives names to the SQLite files of a folder. */
export interface AdoptDirectoryRequest extends RequestBase {
  readonly type: 'AdoptDirectory';
  readonly dir: string;
}
export type CatalogRequest =
  | CreateDatabaseRequest
  | AlterDatabaseRequest
  | DropDatabaseRequest
  | RenameDatabaseRequest
  | RestoreDatabaseRequest
  | ListDatabasesRequest
  | AdoptDirectoryRequest;

export type Request =
  | HelloRequest
  | PingRequest
  | ExecBatchRequest
  | BeginTxRequest
  | ExecRequest
  | CommitRequest
  | RollbackRequest
  | CancelRequest
  | PrepareForMaintenanceRequest
  | CloseDatabaseRequest
  | ReopenDatabaseRequest
  | ReplaceDatabaseRequest
  | BackupRequest
  | CheckpointRequest
  | AttachRequest
  | StatusRequest
  | MetricsRequest
  | SubscribeRequest
  | UnsubscribeRequest
  | ShutdownRequest
  | CatalogRequest;

export type RequestType = Request['type'];

/** A request as the router sees it. */
export type RoutedRequest =
  | Exclude<Request, ExecBatchRequest | ExecRequest>
  | ExecBatchEnvelope
  | ExecEnvelope;

// ── Replies ─────────────────────────────────────────────────────────────────────────────────────────────────

interface ReplyBase {
  readonly status: 'ok';
  readonly id?: RequestId;
}

/** What the daemon accepts at most. Over a limit, the error names it. */
export interface Limits {
  /** Bytes of one frame, both directions. */
  readonly max_frame: number;
  readonly max_statements: number;
  readonly max_parameters: number;
  readonly max_sql_bytes: number;
  readonly max_result_bytes: number;
  /** Requests that one connection may have unanswered before the daemon stops reading from it. */
  readonly max_in_flight: number;
  /** Bytes of a batch's results up to which a session keeps them, to send them again. */
  readonly max_session_result_bytes: number;
  /** Sessions that a database keeps: the longest unused ones of more are forgotten. */
  readonly max_sessions: number;
  /** Connections at the daemon's endpoint, and at each worker's own. */
  readonly max_connections: number;
  /** Subscriptions that one connection may have. */
  readonly max_subscriptions: number;
  /** Subscriptions that all connections to the daemon may have together. */
  readonly max_daemon_subscriptions: number;
}
export interface HelloReply extends ReplyBase {
  readonly protocol: number;
  readonly version: string;
  readonly pid: number;
  /** A daemon of another version may have others. */
  readonly limits: Pick<Limits, 'max_frame'> & Partial<Limits>;
  /** Whether a newer client may ask it to leave now. Older daemons do not say, and mean no. */
  readonly hand_off?: boolean;
  /** Where named databases and the catalog are. Not told by daemons that know no names. */
  readonly data_dir?: string;
}
export interface PingReply extends ReplyBase {
  readonly version: string;
  readonly pid: number;
  readonly uptime_ms: number;
}
/** Where a database stands in its maintenance cycle. */
export type DatabaseState = 'open' | 'preparing' | 'closed';
export interface PingDatabaseReply extends ReplyBase {
  readonly version: string;
  readonly db_path: string;
  readonly exists: boolean;
  readonly state: DatabaseState;
  readonly rev: number;
  readonly epoch: number;
}
export interface StatementResult {
  readonly rows_affected: number;
  /** Present when the statement inserted at least one row. A {@link WireInt} beyond ±(2^53−1). */
  readonly last_insert_rowid?: number | WireInt;
  readonly columns?: readonly string[];
  readonly rows?: readonly (readonly WireValue[])[];
}
export interface ExecBatchReply extends ReplyBase {
  readonly rev: number;
  readonly epoch: number;
  readonly rows_affected: number;
  /** One per statement; left out when the request said `results: false`. */
  readonly results?: readonly StatementResult[];
  /** The database's own id, for `session_database: true`. Copies of the file have the same. */
  readonly database?: string;
  /** The batch was applied before; this is what was answered, or would have been, then. */
  readonly replayed?: true;
  /** With `replayed`: there were results, too large to be kept. */
  readonly results_omitted?: true;
}
export interface BeginTxReply extends ReplyBase {
  /** Its name for `Exec`, `Commit` and `Rollback`, on this connection only. */
  readonly tx: string;
  /** The database's own id, if it has one already. Copies of the file have the same. */
  readonly database?: string;
  /** Where the database stands: what the transaction sees, until it writes. */
  readonly rev: number;
  readonly epoch: number;
  readonly lease_ms: number;
  readonly max_ms: number;
}
/** `rev` and `epoch` are those of its `BeginTx`. */
export interface ExecReply extends ReplyBase {
  readonly rev: number;
  readonly epoch: number;
  readonly rows_affected: number;
  readonly results?: readonly StatementResult[];
}
export interface CommitReply extends ReplyBase {
  readonly rev: number;
  readonly epoch: number;
  /** Sum over its `Exec`s. */
  readonly rows_affected: number;
  /** It was committed before; this is what was answered, or would have been, then. */
  readonly replayed?: true;
}
export interface RollbackReply extends ReplyBase {
  readonly rev: number;
  readonly epoch: number;
}
export interface CancelReply extends ReplyBase {
  /** Whether the request had no answer yet. What becomes of it, its own answer says. */
  readonly in_flight: boolean;
}
export interface PrepareForMaintenanceReply extends ReplyBase {
  readonly checkpointed: true;
}
export interface CloseDatabaseReply extends ReplyBase {
  readonly closed: true;
}
export interface ReopenDatabaseReply extends ReplyBase {
  readonly reopened: boolean;
  readonly rev: number;
  readonly epoch: number;
}
export interface ReplaceDatabaseReply extends ReplyBase {
  readonly replaced: true;
  readonly rev: number;
  readonly epoch: number;
  /** Where the old file is kept. */
  readonly backup: string;
}
export interface BackupReply extends ReplyBase {
  readonly pages: number;
  readonly bytes: number;
}
export interface CheckpointReply extends ReplyBase {
  /** Frames in the WAL. */
  readonly log: number;
  /** Frames of it that are in the main file. */
  readonly checkpointed: number;
  /** True when a reader or a writer kept the checkpoint from finishing. */
  readonly busy: boolean;
}
export interface AttachReply extends ReplyBase {
  /** The worker's own socket: it takes this database's `ExecBatch`, `Ping` and `Checkpoint`. */
  readonly endpoint: string;
  readonly db_path: string;
  readonly rev: number;
  readonly epoch: number;
}
/** How the write-ahead log stands. */
export interface WalStatus {
  /** Bytes that it should not exceed. */
  readonly limit: number;
  /** Frames in it: pages that were written. */
  readonly frames: number;
  /** Those of them that are not in the main file yet. */
  readonly pending: number;
  /** How long the checkpoints that nobody asked for have kept batches waiting; null before the first. */
  readonly checkpoint_us: { readonly last: number; readonly longest: number } | null;
  /** Others keep it beyond its limit; null while nobody does. `holders` is empty where the system does not tell who. */
  readonly blocked: { readonly since_ms: number; readonly holders: readonly LockHolder[] } | null;
}
/** A transaction that is open. */
export interface TransactionStatus {
  readonly read: boolean;
  /** Milliseconds since it has begun. */
  readonly since_ms: number;
  /** Milliseconds since it was last used. */
  readonly idle_ms: number;
  /** Whose it is, as far as its connection has said in `Hello`. */
  readonly client?: ClientInfo;
}
/** Half, 99, and 99.9 of 100 were no larger, to one in thirty; and the largest. */
export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}
/** A database's figures. What is counted is counted since the daemon began. */
/** Something about a database that a person should know. Programs match `code`. */
export interface DatabaseWarning {
  readonly code: string;
  readonly message: string;
}
export interface DatabaseStatus {
  /** Left out for a database without one. */
  readonly name?: string;
  readonly db_path: string;
  readonly state: DatabaseState;
  readonly rev: number;
  readonly epoch: number;
  /** null while no worker serves it. */
  readonly worker_pid: number | null;
  /** Batches accepted and not yet answered. */
  readonly queue_depth: number;
  /** Clients that are attached to its worker. */
  readonly clients: number;
  /** With `detail`: processes inside a read transaction, where the system tells. */
  readonly readers?: number;
  readonly wal_bytes: number;
  /** Left out while no worker has the file open. */
  readonly wal?: WalStatus;
  /** Those that are open, the one that writes first. Left out when there are none. */
  readonly transactions?: readonly TransactionStatus[];
  readonly counters: {
    readonly batches: number;
    readonly failed: number;
    readonly commits: number;
    readonly checkpoints: number;
    readonly worker_restarts: number;
    /** Errors that its worker has sent to clients. */
    readonly errors: { readonly [code: string]: number };
  };
  /** From a batch's arrival at the worker to its answer; null before the first. */
  readonly latency_us:
    | (Percentiles & {
        /** With `detail`: `[microseconds, batches]`, how many took so long at most and longer than the one before. */
        readonly buckets?: readonly (readonly [us: number, batches: number])[];
      })
    | null;
  /** The part of it before the batch's group was begun. */
  readonly queue_us: Percentiles | null;
  /** Transactions up to their COMMIT, and the COMMIT of those that wrote. */
  readonly execute_us: Percentiles | null;
  readonly commit_us: Percentiles | null;
  /** Batches that were done together. */
  readonly group_batches: Percentiles | null;
  /** How long the checkpoints that nobody asked for have kept batches waiting at most. */
  readonly checkpoint_wait_us: Percentiles | null;
  /** True when the worker was too busy to answer and the figures are the last known ones. */
  readonly stale: boolean;
  /** Left out while there are none. */
  readonly warnings?: readonly DatabaseWarning[];
}
export interface StatusReply extends ReplyBase {
  readonly version: string;
  readonly pid: number;
  readonly uptime_ms: number;
  readonly endpoint: string;
  readonly data_dir: string;
  readonly state_dir: string;
  readonly connections: number;
  /** Left out by a daemon from before there were any. */
  readonly subscriptions?: number;
  readonly workers: number;
  /** Processes that serve nothing yet. */
  readonly spare_workers: number;
  readonly requests: number;
  /** Errors that the router has sent to clients. */
  readonly errors: { readonly [code: string]: number };
  /** Where metrics are served on 127.0.0.1; null for nowhere. */
  readonly metrics_port: number | null;
  readonly databases: readonly DatabaseStatus[];
}
export interface MetricsReply extends ReplyBase {
  readonly content_type: string;
  readonly text: string;
}
/** The subscription's events come behind it. */
export interface SubscribeReply extends ReplyBase {
  /** Its number on this connection. */
  readonly subscription: number;
  readonly db_path: string;
  /** Where the database stands: without `since`, every change after this is told. */
  readonly rev: number;
  readonly epoch: number;
}
export interface UnsubscribeReply extends ReplyBase {}
export interface ShutdownReply extends ReplyBase {}

/** A database of the catalog. */
export interface NamedDatabase {
  readonly name: string;
  readonly id: string;
  readonly db_path: string;
  /** The user who made it. */
  readonly owner: string;
  /** Times are ISO 8601, in UTC. */
  readonly created: string;
  /** null before the first use. */
  readonly last_used: string | null;
  /** Bytes of its file and WAL; null when the file is missing. */
  readonly size: number | null;
  readonly settings: DatabaseSettings;
}
/** A database that can be restored. */
export interface DroppedDatabase {
  readonly name: string;
  readonly id: string;
  readonly dropped: string;
  /** When it is removed for good. */
  readonly until: string;
  readonly size: number | null;
}
export interface CreateDatabaseReply extends ReplyBase {
  /** False: it was there already (`if_not_exists`). */
  readonly created: boolean;
  readonly name: string;
  readonly database_id: string;
  readonly db_path: string;
}
export interface AlterDatabaseReply extends ReplyBase {
  readonly name: string;
  readonly settings: DatabaseSettings;
  /** False while somebody is at work: then they count from the next opening of the file. */
  readonly in_effect: boolean;
}
export interface DropDatabaseReply extends ReplyBase {
  /** False: there was none (`if_exists`). */
  readonly dropped: boolean;
  /** Until when it can be restored. */
  readonly until?: string;
  /** Its file lies outside of the data directory and was left where it is. */
  readonly file_kept?: string;
}
export interface RenameDatabaseReply extends ReplyBase {
  readonly name: string;
  readonly db_path: string;
  readonly rev: number;
  readonly epoch: number;
}
export interface RestoreDatabaseReply extends ReplyBase {
  readonly name: string;
  readonly db_path: string;
  readonly rev: number;
  readonly epoch: number;
}
export interface ListDatabasesReply extends ReplyBase {
  readonly data_dir: string;
  readonly databases: readonly NamedDatabase[];
  readonly dropped: readonly DroppedDatabase[];
}
export interface AdoptDirectoryReply extends ReplyBase {
  readonly adopted: readonly { readonly name: string; readonly db_path: string }[];
  readonly skipped: readonly { readonly file: string; readonly reason: string }[];
}

/** The reply that belongs to each request. */
export interface ReplyOf {
  Hello: HelloReply;
  Ping: PingReply;
  PingDatabase: PingDatabaseReply;
  ExecBatch: ExecBatchReply;
  BeginTx: BeginTxReply;
  Exec: ExecReply;
  Commit: CommitReply;
  Rollback: RollbackReply;
  Cancel: CancelReply;
  PrepareForMaintenance: PrepareForMaintenanceReply;
  CloseDatabase: CloseDatabaseReply;
  ReopenDatabase: ReopenDatabaseReply;
  ReplaceDatabase: ReplaceDatabaseReply;
  Backup: BackupReply;
  Checkpoint: CheckpointReply;
  Attach: AttachReply;
  Status: StatusReply;
  Metrics: MetricsReply;
  Subscribe: SubscribeReply;
  Unsubscribe: UnsubscribeReply;
  Shutdown: ShutdownReply;
  CreateDatabase: CreateDatabaseReply;
  AlterDatabase: AlterDatabaseReply;
  DropDatabase: DropDatabaseReply;
  RenameDatabase: RenameDatabaseReply;
  RestoreDatabase: RestoreDatabaseReply;
  ListDatabases: ListDatabasesReply;
  AdoptDirectory: AdoptDirectoryReply;
}

// ── Events ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Sent while a `Backup` or a `ReplaceDatabase` copies, before its reply; `id` is the request's. */
export interface ProgressEvent {
  readonly event: 'progress';
  readonly id?: RequestId;
  readonly pages_done: number;
  readonly pages_total: number;
}

/** Sent while an `AdoptDirectory` looks at files. */
export interface AdoptProgressEvent {
  readonly event: 'progress';
  readonly id?: RequestId;
  readonly files_done: number;
  readonly files_total: number;
}
/** What every event of a subscription has. */
interface SubscriptionEvent {
  readonly subscription: number;
  /** The database's file, as `db_path` elsewhere. */
  readonly db: string;
}
/** Something was committed, and can be read. */
export interface ChangeEvent extends SubscriptionEvent {
  readonly event: 'change';
  readonly epoch: number;
  readonly rev: number;
  /** The tables that were written to; none is possible. Left out where they are not known: any may have changed. */
  readonly tables?: readonly string[];
  /** Another program has written past the daemon; `rev` is what it was before. */
  readonly foreign?: true;
}
/** What came before is not known any more, or never was one history with this: read afresh. */
export interface ResetEvent extends SubscriptionEvent {
  readonly event: 'reset';
  readonly epoch: number;
  readonly rev: number;
}
/** Others keep the WAL beyond its limit, or do so no more. */
export type WalEvent = SubscriptionEvent & { readonly event: 'wal'; readonly limit: number } & (
    | {
        readonly blocked: true;
        readonly wal_bytes: number;
        /** Empty where the system does not tell. */
        readonly holders: readonly LockHolder[];
      }
    | {
        readonly blocked: false;
        /** At its longest. */
        readonly wal_bytes: number;
        /** For how long it was so. */
        readonly lasted_ms: number;
      }
  );

/** A sign of life to a client that has shut its sending half and has not got all answers yet. */
export interface WorkingEvent {
  readonly event: 'working';
}

/**
 * A worker's last frame to a client that is attached to it: what has no answer by now was not executed, and belongs to the
 * daemon's endpoint. Without this frame before the end, the worker died.
 */
export interface DetachedEvent {
  readonly event: 'detached';
}

// ── Errors ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Programs match these; the message is for people. */
export const ERROR_CODES = [
  'PROTOCOL_ERROR',
  'FRAME_TOO_LARGE',
  'INVALID_REQUEST',
  'VERSION_MISMATCH',
  'DATABASE_NOT_FOUND',
  'DATABASE_NOT_ALLOWED',
  'NOT_A_DATABASE',
  'DATABASE_CORRUPT',
  'DATABASE_READONLY',
  'DATABASE_PREPARING',
  'DATABASE_CLOSED',
  'DATABASE_EXISTS',
  'DATABASE_IN_USE',
  'SQL_ERROR',
  'STATEMENT_NOT_ALLOWED',
  'EXPECTATION_FAILED',
  'BUSY',
  'CHECKPOINT_BUSY',
  'DISK_FULL',
  'IO_ERROR',
  'TIMEOUT',
  'CANCELLED',
  'QUEUE_FULL',
  'WORKER_CRASHED',
  'RESULT_TOO_LARGE',
  'SESSION_CONFLICT',
  'TX_EXPIRED',
  'SHUTTING_DOWN',
  'INTERNAL',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

/**
 * What became of the request: nothing of it was applied, part of it was (`tx: "none"`), or the daemon cannot know.
 */
export type Outcome = 'not_applied' | 'unknown' | 'partial';

/** A process that stands in the way. */
export interface LockHolder {
  readonly pid: number;
  /** Its command line, where the system tells. */
  readonly command?: string;
}

export interface ErrorDetails {
  /** SQLite's extended result code, such as `SQLITE_CONSTRAINT_UNIQUE`. */
  readonly sqlite_code?: string;
  /** Which statement of the batch, from 0. */
  readonly statement_index?: number;
  /** Which of the statement's `param_sets`, from 0. */
  readonly parameter_set?: number;
  /** Which parameter of the statement: its position from 0, or its name. */
  readonly parameter?: number | string;
  /** With `partial`: how many statements were applied. */
  readonly applied?: number;
  /** The limit that was passed, by its name in `Hello`'s limits. */
  readonly limit?: string;
  readonly limit_value?: number;
  /** With `CHECKPOINT_BUSY`, `BUSY` and `DATABASE_IN_USE`: who holds the lock, where the system tells. */
  readonly holders?: readonly LockHolder[];
  /** With `EXPECTATION_FAILED`; with `SESSION_CONFLICT` the epochs, where they differ. */
  readonly expected?: number;
  readonly actual?: number;
  /** The failure has ended the transaction it was in: nothing of that is applied. */
  readonly tx_ended?: true;
  /** The batch had failed before; this is what was answered, or would have been, then. */
  readonly replayed?: true;
}

export interface ErrorReply extends ErrorDetails {
  readonly status: 'error';
  readonly id?: RequestId;
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryable: boolean;
  readonly outcome: Outcome;
}
