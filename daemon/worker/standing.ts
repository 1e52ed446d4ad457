import type { Notice, Position } from './link.js';
import type { Tables } from './written-tables.js';

/** Where a database stands. What the router hears of that comes from here: another identity, and each commit while it watches. */
export class Standing {
  readonly #notice: (notice: Notice) => void;
  #position: Position;
  #commits = 0;

  /** @param notice told whenever identity or epoch have changed, and of what is committed */
  constructor(position: Position, notice: (notice: Notice) => void) {
    this.#position = position;
    this.#notice = notice;
  }

  get position(): Position {
    return this.#position;
  }

  /** Commits that have moved it. */
  get commits(): number {
    return this.#commits;
  }

  moveTo(position: Position, told = position.rev): void {
    const { id, epoch } = this.#position;
    this.#position = position;
    if (position.id !== id || position.epoch !== epoch)
      this.#notice({ event: 'opened', position: { ...position, rev: told } });
  }

  /** A transaction is committed. */
  committed(position: Position): void {
    const { rev } = this.#position;
    if (position !== this.#position) this.#commits += 1;
    // The rev is not told before the answers tell it: the router takes it for what has been answered.
    this.moveTo(position, rev);
  }

  /**
   * Tells what has changed.
   * @param tables what was written to, for each new rev up to the position
   * @param foreign another program has written something before
   */
  tellChanges(tables: readonly Tables[], foreign: boolean): void {
    if (tables.length === 0 && !foreign) return;
    const { epoch, rev } = this.#position;
    this.#notice({ event: 'committed', epoch, first: rev - tables.length + 1, foreign, tables });
  }
}
