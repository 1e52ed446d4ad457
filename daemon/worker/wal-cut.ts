import type Database from 'better-sqlite3';

/** Bytes by which the file is made shorter at a time: a file system takes a fifth of a second for 1 GiB. */
export const CUT_BYTES = 16 * 1024 * 1024;
/** Milliseconds without a commit after which it is cut in one go, however long it is. */
const IDLE_MS = 1_000;
/** Milliseconds for which writers are held up to let short readers leave, and between two such times, rising. */
const WAIT_MS = 40;
const WAIT_AGAIN_MS = 250;
const WAIT_AGAIN_MAX_MS = 30_000;

/** What tells whether anything changes from try to try. */
interface Progress {
  readonly commits: number;
  /** Frames that are in the main file: more where a reader has made room. */
  readonly checkpointed: number;
}

/** One checkpoint of this mode; true if it was busy. */
type Try = (mode: 'restart' | 'truncate') => boolean;

/**
 * Makes a WAL begin anew that has become long. Where readers overlap, there is no moment at which none uses it, unless
 * nothing is written for a while: readers that begin then read the main file alone, and are not in the way.
 */
export class WalCut {
  readonly #limit: number;
  #waitAt = 0;
  #waitPause = WAIT_AGAIN_MS;
  /** How far the main file was when the writers were last held up. */
  #checkpointed = -1;
  /** How many commits there were at the last try that found more than the one before, and when that was. */
  #commits = -1;
  #busyAt = 0;

  /** @param limit bytes that the file should not exceed */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * @param size bytes of the file
   * @returns whether it begins anew: with the next commit, or at once and cut to nothing
   */
  begin(db: Database.Database, size: number, { commits, checkpointed }: Progress, attempt: Try): boolean {
    const now = performance.now();
    if (commits !== this.#commits) {
      this.#commits = commits;
      this.#busyAt = now;
    }
    const whole = size <= 4 * CUT_BYTES || now - this.#busyAt > IDLE_MS;
    const mode = whole ? 'truncate' : 'restart';
    // The commit that begins a WAL anew cuts the file to this (https://sqlite.org/pragma.html#pragma_journal_size_limit).
    db.pragma(`journal_size_limit = ${Math.max(this.#limit, size - CUT_BYTES)}`);
    if (!attempt(mode)) return true;
    if (now < this.#waitAt) return false;
    // Where those in the way change, holding up the writers can help; where one stays, ever less so.
    const same = checkpointed === this.#checkpointed;
    this.#checkpointed = checkpointed;
    this.#waitPause = same ? Math.min(2 * this.#waitPause, WAIT_AGAIN_MAX_MS) : WAIT_AGAIN_MS;
    return !this.#busyAfterWait(db, mode, attempt);
  }

  #busyAfterWait(db: Database.Database, mode: 'restart' | 'truncate', attempt: Try): boolean {
    db.pragma(`busy_timeout = ${WAIT_MS}`);
    try {
      return attempt(mode);
    } finally {
      db.pragma('busy_timeout = 0');
      this.#waitAt = performance.now() + this.#waitPause;
    }
  }
}
