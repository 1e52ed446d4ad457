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

/** Frames not yet in the main file over which a checkpoint runs in the next quiet moment (4 MiB of 4 KiB pages). */
const SOON_FRAMES = 1_000;
/** Frames over which it runs even under load. */
const NOW_FRAMES = 8_000;
/** Commits between two looks at the WAL's length. */
const LOOK_EVERY = 64;

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

/**
 * Decides when the WAL is brought into the main file: never as part of a commit, only between groups of work. All
 * checkpoints that nobody asked for happen through this one object.
 */
export class Checkpointer {
  readonly #db: Database.Database;
  #commits = 0;
  /** The number of commits at the last look in a quiet moment. */
  #quietLook = 0;
  /** Commits since the last checkpoint that brought everything home. */
  #pending = false;
  #done = 0;

  constructor(db: Database.Database) {
    this.#db = db;
  }

  /** Checkpoints done so far. */
  get count(): number {
    return this.#done;
  }

  /** After a commit: cheap, and long work only when the WAL has grown far beyond what it should be. */
  committed(): void {
    this.#pending = true;
    this.#commits += 1;
    if (this.#commits % LOOK_EVERY === 0 && this.#frames() > NOW_FRAMES) this.run('passive');
  }

  /** In a moment without work. */
  quiet(): void {
    if (!this.#pending || this.#commits - this.#quietLook < LOOK_EVERY) return;
    this.#quietLook = this.#commits;
    if (this.#frames() > SOON_FRAMES) this.run('passive');
  }

  /** After a longer time without work: leave the main file complete. */
  settled(): void {
    if (this.#pending) this.run('passive');
  }

  run(mode: CheckpointMode): CheckpointResult {
    const result = checkpoint(this.#db, mode);
    this.#done += 1;
    if (!result.busy && result.log === result.checkpointed) this.#pending = false;
    return result;
  }

  #frames(): number {
    const { log, checkpointed } = checkpoint(this.#db, 'noop');
    return log - checkpointed;
  }
}
