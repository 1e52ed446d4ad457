/** `skylinedb`: the client library. */
export {
  type ClientErrorCode,
  type FailureDetails,
  ProtocolError,
  SkylineError,
} from '../protocol/errors.js';
export type {
  AdoptDirectoryReply,
  AdoptProgressEvent,
  AlterDatabaseReply,
  BackupReply,
  CheckpointMode,
  CheckpointReply,
  CreateDatabaseReply,
  DatabaseSettings,
  DatabaseState,
  DatabaseStatus,
  DropDatabaseReply,
  DroppedDatabase,
  ErrorCode,
  ErrorDetails,
  ListDatabasesReply,
  LockHolder,
  NamedDatabase,
  Outcome,
  PingDatabaseReply,
  PingReply,
  ProgressEvent,
  RenameDatabaseReply,
  ReopenDatabaseReply,
  ReplaceDatabaseReply,
  RestoreDatabaseReply,
  StatusReply,
  TransactionStatus,
} from '../protocol/messages.js';
export { real, type SqlInput, type SqlOutput } from '../protocol/values.js';
export type { BatchOptions, BatchResult, BatchStatement, ExecResult, Row, SqlParams } from './batch.js';
export type { TransactionOptions } from './begin.js';
export { Client, connect } from './client.js';
export type { RequestOptions } from './connection.js';
export { Database, type MaintenanceOptions } from './database.js';
export type { LoadTarget } from './insert-rows.js';
export type { LiveOptions } from './live.js';
export type { LoadOptions, LoadProgress, LoadResult } from './load.js';
export type { Settings, TakeOptions } from './named.js';
export type { ConnectOptions } from './options.js';
export { Reader, type ReaderOptions } from './reader.js';
export { Statements } from './statements.js';
export type { TransactOptions } from './transact.js';
export { type CommitResult, type StepOptions, Transaction, type TransactionState } from './transaction.js';
export { type Change, type WalChange, Watch, type WatchOptions } from './watch.js';
