/** Milliseconds for which a checkpoint may keep batches waiting, as far as SQLite and the disk allow. */
const STALL_MS = 50;
/** What a checkpoint is planned to take: a disk is not equally fast at all times. */
const PLANNED_MS = 0.4 * STALL_MS;
/** The plan before anything was measured, and the shortest: with fewer the syncs take the time, and more of them do not help. */
const MIN_FRAMES = 1_000;
/** Bytes of WAL beyond which nothing is gained by waiting longer. */
const MAX_BYTES = 16 * 1024 * 1024;
/** Checkpoints of fewer frames say nothing about the disk. */
const TELLING_FRAMES = 100;

/**
 * How many frames may wait for a checkpoint. SQLite cannot stop one half way, so the only way to keep it short is to begin
 * in time: how long a frame takes is measured, and the number follows.
 */
export class CheckpointPace {
  readonly #cap: number;
  readonly #most: number;
  #msPerFrame = PLANNED_MS / MIN_FRAMES;

  /** @param walLimit bytes: four of these checkpoints must fit in */
  constructor(walLimit: number, frameBytes: number) {
    this.#cap = Math.max(1, Math.floor(MAX_BYTES / frameBytes));
    this.#most = Math.max(1, Math.min(this.#cap, Math.floor(walLimit / 4 / frameBytes)));
  }

  /** Frames for which it is time. */
  get frames(): number {
    return Math.min(this.#most, this.#planned);
  }

  /** More than this cannot be done within the time that batches may wait. */
  get tooMany(): number {
    return 1.5 * this.#planned;
  }

  get #planned(): number {
    return Math.min(this.#cap, Math.max(MIN_FRAMES, Math.floor(PLANNED_MS / this.#msPerFrame)));
  }

  /** Slower is believed at once, faster by and by. */
  measured(frames: number, ms: number): void {
    if (frames < TELLING_FRAMES) return;
    const now = ms / frames;
    this.#msPerFrame = Math.max(now, (3 * this.#msPerFrame + now) / 4);
  }
}
