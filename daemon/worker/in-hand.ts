import type { BatchJob, TransactionJob } from './intake.js';
import { LinkKind, type Outlet, USED_MS } from './link.js';
import type { ServedDatabase } from './served-database.js';
import type { TransactionDesk } from './transaction-desk.js';

/**
 * What the router must know before it happens: which requests are in hand (if the worker dies, their outcome is open), and
 * what runs until when (the router stops what is past its deadline; this thread's own clock does not run then).
 */
export class InHand {
  readonly #outlet: Outlet;
  readonly #database: ServedDatabase;
  readonly #desk: TransactionDesk;
  /** The router has been told of a deadline that may have no meaning any more. */
  #watched = false;
  /** When the router has last heard that attached clients are at work, on performance.now()'s clock. */
  #usedAt = Number.NEGATIVE_INFINITY;

  constructor(outlet: Outlet, database: ServedDatabase, desk: TransactionDesk) {
    this.#outlet = outlet;
    this.#database = database;
    this.#desk = desk;
  }

  /**
   * Tells the router what of it is in hand from now on, and that attached clients are at work.
   * @returns until it can know; undefined when it can already
   */
  taken(group: readonly { readonly job: BatchJob | TransactionJob }[]): Promise<void> | undefined {
    let attached = 0;
    for (const { job } of group) if (job.tag === 0) attached += 1;
    if (attached < group.length) {
      const routed = group.filter(({ job }) => job.tag > 0);
      const tags = Buffer.allocUnsafe(4 * routed.length);
      for (const [index, { job }] of routed.entries()) tags.writeUInt32LE(job.tag, 4 * index);
      const rev = this.#database.isOpen ? this.#database.position.rev : -1;
      this.#outlet.send(LinkKind.Started, 0, 0, rev, tags);
    }
    if (attached > 0) this.#used();
    return this.#outlet.flushed();
  }

  /**
   * Tells the router which batch runs, where that matters: it stops the one that is past its deadline and no other.
   * @returns until it can know; undefined when it can already
   */
  running(job: BatchJob | TransactionJob | undefined): Promise<void> | undefined {
    const deadline = job?.deadline ?? 0;
    if (deadline === 0 && !this.#watched) return undefined;
    this.#watched = deadline > 0;
    const until = this.#watched ? deadline : this.#desk.watchedUntil;
    this.#outlet.send(LinkKind.Running, this.#watched ? (job?.tag ?? 0) : 0, 0, until);
    return this.#outlet.flushed();
  }

  /** What was in hand is done. */
  done(): void {
    if (this.#watched) void this.running(undefined);
  }

  /** A client has the writer for itself: a step of it that does not end is stopped by the router. */
  writerTaken(): void {
    this.#watched = false;
    this.#outlet.send(LinkKind.Running, 0, 0, this.#desk.watchedUntil);
  }

  /** It has it no more. */
  writerFree(): void {
    this.#outlet.send(LinkKind.Running, 0, 0, 0);
  }

  #used(): void {
    const now = performance.now();
    if (now - this.#usedAt < USED_MS) return;
    this.#usedAt = now;
    this.#outlet.notice({ event: 'used' });
  }
}
