import type Database from 'better-sqlite3';
import type { RequestId } from '../../protocol/messages.js';
import { backup, discard, type OnProgress, stage } from './copy.js';
import type { Order } from './link.js';
import { idField } from './reply.js';

/** Milliseconds between two progress events. */
const PROGRESS_MS = 50;

/** The copies that a worker makes beside its batches: what is under way, and what must not be left behind. */
export class Copies {
  /** Files that nobody else removes when the router has died. */
  readonly #unfinished = new Set<string>();
  readonly #running = new Set<Promise<unknown>>();

  /** Whether one is being made. */
  get busy(): boolean {
    return this.#running.size > 0;
  }

  /** Keeps count of work that goes on while others are served. Never rejects when the work does not. */
  follow(work: Promise<void>): void {
    const running = work.finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Resolves when none is being made any more. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  /** @param send takes the events' text */
  async backup(
    source: Database.Database,
    order: Extract<Order, { op: 'backup' }>,
    send: (event: string) => void,
  ) {
    this.#unfinished.add(order.partial);
    try {
      return await backup(source, order, progress(order.id, send));
    } finally {
      this.#unfinished.delete(order.partial);
    }
  }

  /** @param send takes the events' text */
  async stage(order: Extract<Order, { op: 'stage' }>, send: (event: string) => void): Promise<void> {
    this.#unfinished.add(order.staged);
    await stage(order.from, order.staged, progress(order.id, send));
  }

  /** Nobody wants them any more. */
  discard(): void {
    for (const path of this.#unfinished) discard(path);
  }
}

function progress(id: RequestId | undefined, send: (event: string) => void): OnProgress {
  let last = 0;
  return (done, total) => {
    const now = performance.now();
    if (done < total && now - last < PROGRESS_MS) return;
    last = now;
    send(`{"event":"progress"${idField(id)},"pages_done":${done},"pages_total":${total}}`);
  };
}
