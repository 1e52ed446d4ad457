import type { ClientConnection } from './client-connection.js';
import type { ClientJob, ParsedFrame } from './intake.js';
import { COUNTED_REPLY, unreadableError } from './link.js';
import type { Slot } from './open-requests.js';

interface JobHooks {
  /** So many bytes of replies have left for its side. */
  drained(lane: number, bytes: number): void;
  /** Its client wants it no more. */
  cancelled(job: ClientJob): void;
}

/** What came on an attached client's own connection. */
export class AttachedJob<Kind extends 'batch' | 'transaction', Frame extends Buffer | ParsedFrame> {
  readonly kind: Kind;
  readonly lane: number;
  readonly tag = 0;
  readonly alone = false;
  readonly frame: Frame;
  readonly bytes: number;
  readonly deadline: number;
  readonly received = performance.now();
  readonly #connection: ClientConnection;
  readonly #slot: Slot;
  readonly #hooks: JobHooks;

  constructor(
    kind: Kind,
    connection: ClientConnection,
    slot: Slot,
    frame: Frame,
    deadline: number,
    hooks: JobHooks,
  ) {
    this.kind = kind;
    this.lane = connection.lane;
    this.frame = frame;
    this.bytes = slot.bytes;
    this.deadline = deadline;
    this.#connection = connection;
    this.#slot = slot;
    this.#hooks = hooks;
  }

  cancel(): void {
    this.#hooks.cancelled(this as ClientJob);
  }

  settle(reply: string | Buffer, _rev: number, unreadable: boolean): void {
    if (unreadable) {
      this.#connection.answerError(this.#slot, unreadableError(reply));
      return;
    }
    const { length } = reply;
    const counted = typeof reply !== 'string' && length >= COUNTED_REPLY;
    const onFlushed = counted ? () => this.#hooks.drained(this.lane, length) : undefined;
    this.#connection.answer(this.#slot, reply, onFlushed);
  }
}
