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
  /** In the order in which they came. */
  readonly #queue = new Map<PoolMember, { readonly turn: Promise<void>; readonly come: () => void }>();

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

  /** Whether somebody waits for a place: whoever leaves need not end its process. */
  get wanted(): boolean {
    return this.#queue.size > 0;
  }

  /** Resolves when the member may have a worker. */
  async enter(member: PoolMember): Promise<void> {
    if (this.#members.has(member)) return;
    if (this.#members.size < this.#max) {
      this.#members.add(member);
      this.#onChange();
      return;
    }
    if (!this.#queue.has(member)) {
      let come: () => void = () => undefined;
      const turn = new Promise<void>((resolve) => {
        come = resolve;
      });
      this.#queue.set(member, { turn, come });
      this.makeRoom();
    }
    await this.#queue.get(member)?.turn;
  }

  /** The member's worker has gone. Its place is at once that of whoever has waited longest. */
  left(member: PoolMember): void {
    if (!this.#members.delete(member)) return;
    this.#retiring.delete(member);
    const [next] = this.#queue;
    if (next !== undefined) {
      const [waiting, { come }] = next;
      this.#queue.delete(waiting);
      this.#members.add(waiting);
      come();
    }
    this.#onChange();
  }

  /** Called when a member has become idle, too: somebody may be waiting for its place. */
  makeRoom(): void {
    if (this.#queue.size <= this.#retiring.size) return;
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
