import type Database from 'better-sqlite3';
import { messageOf } from '../../protocol/errors.js';
import type { CheckpointMode, LockHolder, WalStatus } from '../../protocol/messages.js';
import { type CheckpointResult, checkpoint } from './checkpoint.js';
import { CheckpointThread, type FarCheckpoint } from './far-checkpoint.js';
import { Histogram } from './histogram.js';
import type { Notice } from './link.js';
import { walUsers } from './lock-holders.js';
import { LookPlan } from './look-plan.js';
import { OpenWal } from './open-wal.js';
import { isBusy } from './sqlite-errors.js';
import { CUT_BYTES } from './wal-cut.js';
import { WalEpisode } from './wal-episode.js';

/** Frames not yet in the main file over which a checkpoint runs in the next quiet moment (4 MiB of 4 KiB pages). */
const SOON_FRAMES = 1_000;
/** Commits that make a look in a quiet moment worth while. */
const QUIET_EVERY = 64;
/** Milliseconds between two tries while others are in the way: soon at first, since most readers leave by themselves. */
const RETRY_MS = 20;
const LATER_RETRY_MS = 100;
/** Milliseconds after which a checkpoint that still runs does get on: one that cannot ends at once. */
const GETS_ON_MS = 100;
/** The same, after a checkpoint that has failed: a full disk takes its time. */
const FAILED_RETRY_MS = 5_000;
/** Checkpoints of the thread, one after the other, that others' batches outrun. */
const MAX_VAIN = 3;
export interface CheckpointerOptions {
  readonly path: string;
  /** Bytes that the WAL should not exceed. */
  readonly walLimit: number;
  notice(notice: Notice): void;
  /** For tests. */
  readonly far?: FarCheckpoint;
  readonly holders?: (path: string) => LockHolder[];
}

/**
 * Decides when the WAL is brought into the main file, and keeps it within its limit: never as part of a commit, only between
 * groups of work. All checkpoints that nobody asked for happen through this one object.
 *
 * SQLite begins the WAL anew with the first write that finds all of it in the main file and no reader in it. So what keeps it
 * short is to bring it home often; where readers overlap without a gap, to hold up the writers for a moment; and where one
 * stays, there is nothing to do but to say who. What piles up meanwhile is too much for the time between two batches: it is
 * brought home by a thread, while batches go on.
 */
export class Checkpointer {
  /** Microseconds of each checkpoint that batches may have waited for. */
  readonly waits = new Histogram();
  readonly #options: CheckpointerOptions;
  readonly #episode: WalEpisode;
  #db: Database.Database | null = null;
  #wal: OpenWal | null = null;
  #commits = 0;
  #looks = new LookPlan();
  /** The last step was the copying of many frames. */
  #copied = false;
  /** When the thread was last told to run. */
  #farAt = 0;
  /** Checkpoints of the thread after which there was more to do than before. */
  #vain = 0;
  /** The number of commits at the last look in a quiet moment. */
  #quietLook = 0;
  /** Commits since the last checkpoint that brought everything home. */
  #pending = false;
  #scheduled = false;
  /** Commits ask for no checkpoint until then. */
  #notBefore = 0;
  #retry: NodeJS.Timeout | undefined;
  #done = 0;

  constructor(options: CheckpointerOptions) {
    this.#options = options;
    const { path, walLimit: limit, holders = walUsers } = options;
    this.#episode = new WalEpisode({
      limit,
      holders: () => holders(path),
      tell: (notice) => options.notice(notice),
    });
  }

  /** Checkpoints done so far. */
  get count(): number {
    return this.#done;
  }

  /** null while no file is open. */
  get status(): WalStatus | null {
    const seen = this.#guarded((wal) => ({ wal, ...wal.look() }));
    if (seen === undefined) return null;
    const { wal, log, checkpointed } = seen;
    const { path, walLimit, holders = walUsers } = this.#options;
    const getsOn = wal.far.running && performance.now() - this.#farAt > GETS_ON_MS;
    const sinceMs = getsOn ? null : this.#episode.lasts(performance.now());
    return {
      limit: walLimit,
      frames: log,
      pending: log - checkpointed,
      checkpoint_us: wal.took,
      blocked: sinceMs === null ? null : { since_ms: sinceMs, holders: holders(path) },
    };
  }

  /** The file is open. */
  opened(db: Database.Database): void {
    this.#db = db;
  }

  /** The file is about to be closed. */
  closing(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#episode.forget();
    void this.#wal?.far.end();
    this.#db = null;
    this.#wal = null;
    this.#looks = new LookPlan();
    this.#pending = false;
    this.#notBefore = 0;
    this.#vain = 0;
  }

  /** Resolves when no thread has the file open. */
  async alone(): Promise<void> {
    await this.#wal?.far.end();
  }

  /** After a commit: cheap, and never fails: the batch is applied, whatever becomes of a checkpoint. */
  committed(): void {
    this.#pending = true;
    this.#commits += 1;
    if (!this.#looks.isDue()) return;
    this.#guarded((wal) => {
      const { log, checkpointed } = wal.look();
      const left = wal.isLong(log) ? 0 : wal.pace.frames - (log - checkpointed);
      this.#looks.saw(log, left);
      if (left <= 0) this.#soon();
    });
  }

  /** In a moment without work. */
  quiet(): void {
    if (!this.#pending || this.#commits - this.#quietLook < QUIET_EVERY) return;
    this.#quietLook = this.#commits;
    this.#guarded((wal) => {
      const { log, checkpointed } = wal.look();
      if (log - checkpointed > SOON_FRAMES) this.#soon();
    });
  }

  /** After a longer time without work: leave the main file complete. */
  settled(): void {
    if (this.#pending) this.#work();
  }

  /** One that somebody has asked for. */
  run(mode: CheckpointMode): CheckpointResult {
    if (this.#db === null) return { busy: false, log: 0, checkpointed: 0 };
    const result = checkpoint(this.#db, mode);
    this.#count(result);
    return result;
  }

  /** When the answers of this turn have left (see gathered-writes.ts): a checkpoint must not keep them. */
  #soon(): void {
    if (this.#scheduled || performance.now() < this.#notBefore) return;
    this.#scheduled = true;
    setImmediate(() =>
      setImmediate(() => {
        this.#scheduled = false;
        this.#work();
      }),
    );
  }

  /** Somebody or something is in the way: not with every commit. */
  #later(ms: number): void {
    this.#notBefore = performance.now() + ms;
    this.#again(ms);
  }

  #again(ms: number): void {
    if (this.#retry !== undefined || this.#db === null) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#work();
    }, ms).unref();
  }

  /** One step, which takes no longer than a batch may wait. */
  #work(): void {
    this.#guarded((wal) => {
      if (wal.far.running || wal.db.inTransaction) return;
      const before = wal.look();
      const pending = pendingOf(before);
      if (wal.isTooMuch(pending)) {
        this.#far(wal, before);
        return;
      }
      const after = pending > 0 ? this.#run(wal, 'passive', before.checkpointed) : before;
      this.#judge(wal, after, after.checkpointed - before.checkpointed);
    });
  }

  /** The checkpoint of what is too much between two batches. */
  #far(wal: OpenWal, before: CheckpointResult): void {
    this.#farAt = performance.now();
    wal.far.run(before.checkpointed).then(
      (result) => {
        if (this.#wal !== wal) return;
        this.#count(result);
        this.#guarded(() => this.#farDone(wal, before, result));
      },
      (error: unknown) => {
        if (this.#wal === wal) this.#failed(error);
      },
    );
  }

  #farDone(wal: OpenWal, before: CheckpointResult, result: CheckpointResult): void {
    const now = wal.look();
    const left = pendingOf(now);
    if (result.busy || pendingOf(result) > 0) {
      this.#vain = 0;
      if (!wal.isTooMuch(left)) this.#soon();
      else if (wal.isLong(now.log) && wal.bytes(left) <= CUT_BYTES) this.#judge(wal, now, 0);
      else this.#blocked(wal, now.log);
      return;
    }
    this.#vain = left < pendingOf(before) ? 0 : this.#vain + 1;
    if (this.#vain >= MAX_VAIN && wal.isLong(now.log)) {
      // Batches come faster than it can work: the limit counts for more than that they wait.
      this.#vain = 0;
      this.#run(wal, 'passive', now.checkpointed);
    }
    this.#soon();
  }

  /** What to do about a WAL that a checkpoint of that many frames has left so. */
  #judge(wal: OpenWal, { log, checkpointed }: CheckpointResult, copied: number): void {
    const { size } = wal;
    if (!wal.isLong(log) && size <= this.#options.walLimit) {
      this.#episode.over(performance.now());
      if (log - checkpointed >= wal.pace.frames) this.#later(RETRY_MS);
      return;
    }
    // One thing at a time: batches have waited for the copying.
    this.#copied = !this.#copied && copied > wal.pace.tooMany / 8;
    if (this.#copied) {
      this.#again(0);
      return;
    }
    const begins = wal.cut.begin(
      wal.db,
      size,
      { commits: this.#commits, checkpointed },
      (mode) => this.#run(wal, mode, checkpointed).busy,
    );
    if (!begins) {
      this.#blocked(wal, log);
      return;
    }
    this.#episode.free();
    this.#again(LATER_RETRY_MS);
  }

  #blocked(wal: OpenWal, log: number): void {
    const now = performance.now();
    this.#episode.blocked(wal.bytes(log), now);
    this.#later((this.#episode.lasts(now) ?? 0) < 10 * LATER_RETRY_MS ? RETRY_MS : LATER_RETRY_MS);
  }

  #run(wal: OpenWal, mode: CheckpointMode, checkpointed: number): CheckpointResult {
    const result = wal.run(mode, checkpointed);
    this.#count(result);
    return result;
  }

  #count({ busy, log, checkpointed }: CheckpointResult): void {
    this.#done += 1;
    if (!busy && log === checkpointed) this.#pending = false;
  }

  /** Whatever fails here is no batch's matter. */
  #guarded<T>(work: (wal: OpenWal) => T): T | undefined {
    if (this.#db === null) return undefined;
    try {
      this.#wal ??= this.#open(this.#db);
      return work(this.#wal);
    } catch (error) {
      this.#failed(error);
      return undefined;
    }
  }

  #failed(error: unknown): void {
    if (!isBusy(error))
      this.#options.notice({ event: 'log', level: 'warn', message: `checkpoint: ${messageOf(error)}` });
    this.#later(FAILED_RETRY_MS);
  }

  #open(db: Database.Database): OpenWal {
    const { path, walLimit, far = new CheckpointThread(path) } = this.#options;
    return new OpenWal(db, path, walLimit, far, this.waits);
  }
}

function pendingOf({ log, checkpointed }: CheckpointResult): number {
  return log - checkpointed;
}
