import type { RequestId } from '../../protocol/messages.js';
import type { IntakeBudget } from './intake-budget.js';

/** The place of one request's answer. Requests without an id are answered in the order in which they came. */
export interface Slot {
  readonly id: RequestId | undefined;
  readonly bytes: number;
  /** What is to be written for it, while an earlier one without an id has no answer yet. */
  held: { payload: string | Buffer; onFlushed: (() => void) | undefined }[] | null;
  done: boolean;
  /** What may follow when the answer is written, in its order. */
  after: (() => void) | null;
  /** What the client may cancel; null when that is nothing. */
  work: Cancellable | null;
  /** The requests without a complete answer, as a list: a Map would cost more than the rest of the slot. */
  older: Slot | null;
  newer: Slot | null;
}

/** A request that can be stopped, perhaps. It is answered all the same. */
export interface Cancellable {
  cancel(): void;
}

/**
 * One connection's requests without a complete answer, and the order in which their answers leave: of those with an id as they
 * come, of those without as they were asked for.
 */
export class OpenRequests {
  readonly #budget: IntakeBudget;
  readonly #write: (payload: string | Buffer, onFlushed: (() => void) | undefined) => void;
  /** Those without an id, oldest first. */
  readonly #ordered: Slot[] = [];
  /** The one that came last. */
  #newest: Slot | null = null;
  #count = 0;
  #bytes = 0;

  /**
   * @param budget shared with the other connections of the process
   * @param write sends a frame
   */
  constructor(
    budget: IntakeBudget,
    write: (payload: string | Buffer, onFlushed: (() => void) | undefined) => void,
  ) {
    this.#budget = budget;
    this.#write = write;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Opens the place of an answer. */
  open(id: RequestId | undefined, bytes: number): Slot {
    const older = this.#newest;
    const slot: Slot = { id, bytes, held: null, done: false, after: null, work: null, older, newer: null };
    if (older !== null) older.newer = slot;
    this.#newest = slot;
    this.#count += 1;
    this.#bytes += bytes;
    this.#budget.take(bytes);
    if (id === undefined) this.#ordered.push(slot);
    return slot;
  }

  /**
   * Cancels the request with this id that came before this one, if it can be.
   * @returns false when there is none
   */
  cancel(by: Slot, id: RequestId): boolean {
    for (let slot = by.older; slot !== null; slot = slot.older) {
      if (slot.id !== id) continue;
      slot.work?.cancel();
      return true;
    }
    return false;
  }

  /** A frame that belongs to this request. */
  put(slot: Slot, payload: string | Buffer, onFlushed: (() => void) | undefined): void {
    if (slot.id !== undefined || this.#ordered[0] === slot) {
      this.#write(payload, onFlushed);
      return;
    }
    slot.held ??= [];
    slot.held.push({ payload, onFlushed });
  }

  /** Its answer is complete. */
  close(slot: Slot): void {
    slot.done = true;
    const { older, newer } = slot;
    if (older !== null) older.newer = newer;
    if (newer !== null) newer.older = older;
    else this.#newest = older;
    slot.work = null;
    slot.older = null;
    slot.newer = null;
    this.#count -= 1;
    this.#bytes -= slot.bytes;
    this.#budget.give(slot.bytes);
    if (slot.id === undefined) this.#release();
    else slot.after?.();
  }

  /** Writes what had to wait for the oldest answer without an id. */
  #release(): void {
    for (;;) {
      const first = this.#ordered[0];
      if (first === undefined) return;
      const { held } = first;
      first.held = null;
      for (const { payload, onFlushed } of held ?? []) this.#write(payload, onFlushed);
      if (!first.done) return;
      this.#ordered.shift();
      first.after?.();
    }
  }
}
