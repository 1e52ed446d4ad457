/** What holds a place in the pool: a database with its worker. */
export interface PoolMember {
  /** Nothing in hand: its worker may be closed to make room. */
  readonly idle: boolean;
  /** For choosing whose worker leaves: the least recently used. */
  readonly lastUsed: number;
  /** Lets the worker go; `left` follows. */
  retire(): void;
}

/**
 * Bounds the number of workers. Whoever needs one beyond it waits until the least recently used idle one has left.
 * A plain object: no processes, no timers.
 */
export class WorkerPool {
  readonly #max: number;
  readonly #onChange: () => void;
  readonly #members = new Set<PoolMember>();
  readonly #retiring = new Set<PoolMember>();
  readonly #queue: (() => void)[] = [];

  /**
   * @param max workers at once
   * @param onChange told when a worker has come or gone
   */
  constructor(max: number, onChange: () => void = () => undefined) {
    this.#max = max;
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#members.size;
  }

  /** Resolves when the member may have a worker. */
  async enter(member: PoolMember): Promise<void> {
    while (!this.#members.has(member)) {
      if (this.#members.size < this.#max) {
        this.#members.add(member);
        this.#onChange();
        return;
      }
      const turn = new Promise<void>((resolve) => this.#queue.push(resolve));
      this.makeRoom();
      await turn;
    }
  }

  /** The member's worker has gone. */
  left(member: PoolMember): void {
    this.#members.delete(member);
    this.#retiring.delete(member);
    this.#queue.shift()?.();
    this.#onChange();
  }

  /** Called when a member has become idle, too: somebody may be waiting for its place. */
  makeRoom(): void {
    if (this.#queue.length <= this.#retiring.size) return;
    let oldest: PoolMember | null = null;
    for (const member of this.#members) {
      if (!member.idle || this.#retiring.has(member)) continue;
      if (oldest === null || member.lastUsed < oldest.lastUsed) oldest = member;
    }
    if (oldest === null) return;
    this.#retiring.add(oldest);
    oldest.retire();
  }
}
