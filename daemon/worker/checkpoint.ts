import { statSync } from 'node:fs';
import type Database from 'better-sqlite3';
import type { CheckpointMode } from '../../protocol/messages.js';

/** The row that a checkpoint returns. Busy is not an error to SQLite: it must be read here. */
export interface CheckpointResult {
  readonly busy: boolean;
  /** Frames in the WAL. */
  readonly log: number;
  /** Frames that are in the main file. */
  readonly checkpointed: number;
}

/**
 * Runs a checkpoint. https://sqlite.org/pragma.html#pragma_wal_checkpoint
 * A database that is not in WAL mode has nothing to bring home: zero frames.
 */
export function checkpoint(db: Database.Database, mode: CheckpointMode | 'noop'): CheckpointResult {
  const [row] = db.pragma(`wal_checkpoint(${mode})`) as { busy: number; log: number; checkpointed: number }[];
  if (row === undefined) throw new Error('SQLite returned no row for wal_checkpoint');
  return { busy: row.busy !== 0, log: Math.max(0, row.log), checkpointed: Math.max(0, row.checkpointed) };
}

/** Bytes of the `-wal` file. stat is all that may be done to it through the file system. */
export function walBytes(path: string): number {
  return statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
}
