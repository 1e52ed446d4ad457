import type Database from 'better-sqlite3';
import type { CheckpointMode, WalStatus } from '../../protocol/messages.js';
import { type CheckpointResult, checkpoint, walBytes } from './checkpoint.js';
import { CheckpointPace } from './checkpoint-pace.js';
import type { FarCheckpoint } from './far-checkpoint.js';
import type { Histogram } from './histogram.js';
import { WalCut } from './wal-cut.js';

/** What precedes all pages in the WAL, and each of them (https://sqlite.org/fileformat2.html#walformat). */
const WAL_HEADER = 32;
const FRAME_HEADER = 24;

/** The WAL of an open file: how it stands, how long it is, and how long its checkpoints take. */
export class OpenWal {
  readonly db: Database.Database;
  readonly far: FarCheckpoint;
  readonly pace: CheckpointPace;
  readonly cut: WalCut;
  readonly #path: string;
  readonly #limit: number;
  readonly #waits: Histogram;
  readonly #frameBytes: number;
  readonly #noop: Database.Statement<[], [busy: number, log: number, checkpointed: number]>;
  #took: { last: number; longest: number } | null = null;

  /**
   * @param limit bytes that it should not exceed
   * @param waits where the microseconds of each checkpoint between two batches are counted
   */
  constructor(db: Database.Database, path: string, limit: number, far: FarCheckpoint, waits: Histogram) {
    this.db = db;
    this.far = far;
    this.#path = path;
    this.#limit = limit;
    this.#waits = waits;
    this.#frameBytes = FRAME_HEADER + (db.pragma('page_size', { simple: true }) as number);
    this.pace = new CheckpointPace(limit, this.#frameBytes);
    this.cut = new WalCut(limit);
    this.#noop = db.prepare<[], [number, number, number]>('PRAGMA wal_checkpoint(NOOP)').raw(true);
  }

  /** How long the checkpoints have taken that batches may have waited for, in microseconds. */
  get took(): WalStatus['checkpoint_us'] {
    return this.#took && { last: micros(this.#took.last), longest: micros(this.#took.longest) };
  }

  /** Where it stands: a microsecond, and right also after it has begun anew, when the file's length is not. */
  look(): CheckpointResult {
    const [, log = 0, checkpointed = 0] = this.#noop.get() ?? [];
    return { busy: false, log: Math.max(0, log), checkpointed: Math.max(0, checkpointed) };
  }

  /** What a number of frames takes. */
  bytes(frames: number): number {
    return frames === 0 ? 0 : WAL_HEADER + frames * this.#frameBytes;
  }

  /** The file's length, of which less may be in use. */
  get size(): number {
    return walBytes(this.#path);
  }

  /** Half of what it may have: there must be room for what comes until it is short again. */
  isLong(frames: number): boolean {
    return this.bytes(frames) > this.#limit / 2;
  }

  /** More than one checkpoint may bring home between two batches. */
  isTooMuch(frames: number): boolean {
    return frames > this.pace.tooMany;
  }

  /** A checkpoint between two batches. */
  run(mode: CheckpointMode, checkpointed: number): CheckpointResult {
    const start = performance.now();
    const result = checkpoint(this.db, mode);
    const ms = performance.now() - start;
    this.#waits.record(ms * 1000);
    this.#took = { last: ms, longest: Math.max(this.#took?.longest ?? 0, ms) };
    if (mode === 'passive') this.pace.measured(result.checkpointed - checkpointed, ms);
    return result;
  }
}

function micros(ms: number): number {
  return Math.round(ms * 1000);
}
