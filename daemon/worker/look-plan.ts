/** Commits between two looks, at most. */
const LOOK_EVERY = 8;

/**
 * After which commit to look at the WAL's length. A look takes a microsecond, which is much beside the smallest commits; and
 * a few large commits may bring more than is to be found.
 */
export class LookPlan {
  #left = 1;
  #commits = 0;
  #log = 0;

  /** @returns whether to look after this commit */
  isDue(): boolean {
    this.#commits += 1;
    this.#left -= 1;
    if (this.#left > 0) return false;
    this.#left = LOOK_EVERY;
    return true;
  }

  /**
   * What the look has seen.
   * @param log frames in the WAL
   * @param left frames until it is time for a checkpoint; none: look again with the next commit
   */
  saw(log: number, left: number): void {
    const brought = log - this.#log;
    // It has begun anew: nothing is known of how much they bring.
    if (left <= 0 || brought < 0) this.#left = 1;
    else {
      const each = Math.max(1, brought / this.#commits);
      this.#left = Math.min(LOOK_EVERY, Math.max(1, Math.floor(left / each / 2)));
    }
    this.#log = log;
    this.#commits = 0;
  }
}
