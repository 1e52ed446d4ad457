import { setTimeout as sleep } from 'node:timers/promises';
import { invalidRequest, SkylineError } from '../protocol/errors.js';
import type {
  ChangeEvent,
  LockHolder,
  ResetEvent,
  Since,
  SubscribeReply,
  WalEvent,
} from '../protocol/messages.js';
import type { Connection, Listener } from './connection.js';

/** What was changed. */
export interface Change {
  readonly epoch: number;
  /** The change's own; with `foreign` and `reset` where the database stands. */
  readonly rev: number;
  /** The tables that were written to. Left out where they are not known: any may have changed. */
  readonly tables?: readonly string[];
  /** Another program has written past the daemon. */
  readonly foreign?: true;
  /** What came before is not known any more: read afresh. */
  readonly reset?: true;
}

/** Others keep the WAL beyond its limit (bytes), or do so no more. */
export type WalChange =
  | {
      readonly blocked: true;
      readonly walBytes: number;
      readonly limit: number;
      /** Empty where the system does not tell. */
      readonly holders: readonly LockHolder[];
    }
  | {
      readonly blocked: false;
      /** At its longest. */
      readonly walBytes: number;
      readonly limit: number;
      /** Milliseconds for which it was so. */
      readonly lastedMs: number;
    };

export interface WatchOptions {
  /** Only changes of these tables, and those of which the tables are not known. Default: all. */
  readonly tables?: readonly string[] | undefined;
  /** What came after this is told first. Default: where the database stands when {@link Watch.ready} resolves. */
  readonly since?: Since | undefined;
  /** Ends the iteration, without an error. */
  readonly signal?: AbortSignal | undefined;
  readonly onWal?: ((wal: WalChange) => void) | undefined;
  /** The daemon has ended, or is there again. */
  readonly onConnection?: ((connected: boolean) => void) | undefined;
}

/** What a watch needs of its client. */
export interface WatchHooks {
  /** Subscribes on the connection to the daemon, made (and the daemon started) if need be. */
  subscribe(
    message: { type: 'Subscribe'; db: string; since?: Since; tables?: readonly string[] },
    listener: Listener,
  ): Promise<{
    readonly connection: Connection;
    readonly reply: SubscribeReply;
    readonly daemon: number;
  }>;
  /** Whether a missing daemon is started; otherwise it is waited for. */
  readonly autoStart: boolean;
}

/** Changes that wait to be read. Of more only the last is told, as a reset. */
const MAX_WAITING = 1_000;
/** Milliseconds between two attempts to subscribe again. */
const AGAIN_MS = 100;

/**
 * The changes of one database, one after the other. It subscribes at once, and again after whatever ends (a killed worker, a
 * killed daemon), from where it was. Keeps the process alive only while somebody waits for the next one.
 */
export class Watch implements AsyncIterableIterator<Change> {
  /** Resolves when changes are being told, or the watch has ended; rejects with what {@link next} does. */
  readonly ready: Promise<void>;
  readonly #db: string;
  readonly #options: WatchOptions;
  readonly #hooks: WatchHooks;
  readonly #waiting: Change[] = [];
  readonly #takers: { resolve(result: IteratorResult<Change>): void; reject(error: unknown): void }[] = [];
  /** How far it has been told. */
  #since: Since | undefined;
  /** The process that has told it. */
  #daemon: number | null = null;
  #connection: Connection | null = null;
  #subscription = 0;
  /** The connection that is kept from letting the process end. */
  #held: Connection | null = null;
  #ended = false;
  #failure: unknown = null;
  #onReady: (error: unknown) => void = () => undefined;
  #onLost: () => void = () => undefined;
  readonly #onAbort = () => this.#end();

  /**
   * Use {@link Database.watch}.
   * @throws SkylineError `INVALID_REQUEST` for an option
   */
  constructor(db: string, options: WatchOptions, hooks: WatchHooks) {
    const { tables, since, signal } = options;
    if (tables !== undefined && !Array.isArray(tables))
      throw invalidRequest('"tables" must be an array of names.');
    if (since !== undefined && !(Number.isSafeInteger(since.epoch) && Number.isSafeInteger(since.rev)))
      throw invalidRequest('"since" must have a whole "epoch" and "rev", as changes have.');
    this.#db = db;
    this.#options = options;
    this.#hooks = hooks;
    this.#since = since && { epoch: since.epoch, rev: since.rev };
    this.ready = new Promise((resolve, reject) => {
      this.#onReady = (error) => (error === null ? resolve() : reject(error));
    });
    // Who does not ask for it hears of it by next().
    this.ready.catch(() => undefined);
    if (signal?.aborted === true) this.#end();
    else {
      signal?.addEventListener('abort', this.#onAbort, { once: true });
      void this.#run();
    }
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** @throws SkylineError why it cannot be watched (any more) */
  next(): Promise<IteratorResult<Change>> {
    const change = this.#waiting.shift();
    if (change !== undefined) return Promise.resolve({ done: false, value: change });
    if (this.#failure !== null) {
      const error = this.#failure;
      this.#failure = null;
      return Promise.reject(error);
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#takers.push({ resolve, reject });
      this.#hold();
    });
  }

  /** Ends it. Idempotent. */
  return(): Promise<IteratorResult<Change>> {
    this.#waiting.length = 0;
    this.#end();
    return Promise.resolve({ done: true, value: undefined });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** What waits already, without waiting for more. */
  takeAll(): Change[] {
    return this.#waiting.splice(0);
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    let told = false;
    while (!this.#ended) {
      try {
        const lost = new Promise<void>((resolve) => {
          this.#onLost = resolve;
        });
        await this.#subscribe();
        if (told) this.#options.onConnection?.(true);
        told = true;
        this.#onReady(null);
        this.#hold();
        await lost;
        if (!this.#ended) this.#options.onConnection?.(false);
      } catch (error) {
        if (!this.#passes(error, told)) {
          this.#fail(error);
          return;
        }
        await sleep(AGAIN_MS);
      }
    }
  }

  async #subscribe(): Promise<void> {
    const { tables } = this.#options;
    const since = this.#since;
    let early: (ChangeEvent | ResetEvent | WalEvent)[] | null = [];
    const listener: Listener = {
      // What comes before it is known whether this is another daemon waits.
      event: (event) => (early === null ? this.#hear(event) : early.push(event)),
      ended: () => this.#lost(),
    };
    const message = {
      type: 'Subscribe' as const,
      db: this.#db,
      ...(tables && { tables }),
      ...(since && { since }),
    };
    const { connection, reply, daemon } = await this.#hooks.subscribe(message, listener);
    const { subscription, epoch, rev } = reply;
    if (this.#ended) {
      connection.unsubscribe(subscription);
      return;
    }
    this.#connection = connection;
    this.#subscription = subscription;
    const events = early;
    early = null;
    // A new daemon does not know what other programs have written before it.
    const another =
      this.#daemon !== null && this.#daemon !== daemon && since?.epoch === epoch && since.rev === rev;
    this.#daemon = daemon;
    if (another) this.#tell({ epoch, rev, reset: true });
    this.#since ??= { epoch, rev };
    for (const event of events) this.#hear(event);
    if (!connection.open) this.#lost();
  }

  #hear(event: ChangeEvent | ResetEvent | WalEvent): void {
    if (this.#ended) return;
    switch (event.event) {
      case 'change': {
        const { epoch, rev, tables, foreign } = event;
        this.#tell({ epoch, rev, ...(tables && { tables }), ...(foreign && { foreign }) });
        return;
      }
      case 'reset':
        this.#tell({ epoch: event.epoch, rev: event.rev, reset: true });
        return;
      case 'wal':
        this.#options.onWal?.(walChange(event));
        return;
      default:
        event satisfies never;
    }
  }

  #tell(change: Change): void {
    this.#since = { epoch: change.epoch, rev: change.rev };
    const taker = this.#takers.shift();
    if (taker !== undefined) {
      taker.resolve({ done: false, value: change });
      this.#hold();
      return;
    }
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push(change);
    else this.#waiting.splice(0, this.#waiting.length, { epoch: change.epoch, rev: change.rev, reset: true });
  }

  #lost(): void {
    this.#connection = null;
    this.#hold();
    this.#onLost();
  }

  /** Whether to try again: what has just ended, or what the daemon itself calls passing. */
  #passes(error: unknown, told: boolean): boolean {
    if (!(error instanceof SkylineError)) return false;
    if (error.code === 'CONNECTION_LOST' || error.code === 'SHUTTING_DOWN' || error.code === 'WORKER_CRASHED')
      return true;
    if (error.code === 'NO_DAEMON') return told && !this.#hooks.autoStart;
    return told && error.retryable;
  }

  #fail(error: unknown): void {
    // A client that was closed is no fault of the watch.
    if (error instanceof SkylineError && error.code === 'ABORTED') {
      this.#end();
      return;
    }
    const taker = this.#takers.shift();
    if (taker === undefined) this.#failure = error;
    else taker.reject(error);
    this.#onReady(error);
    this.#end();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#connection?.unsubscribe(this.#subscription);
    for (const taker of this.#takers.splice(0)) taker.resolve({ done: true, value: undefined });
    this.#lost();
    this.#onReady(null);
  }

  /** Whoever waits for the next one must not find the process gone. */
  #hold(): void {
    const wanted = this.#takers.length > 0 ? this.#connection : null;
    if (wanted === this.#held) return;
    this.#held?.release();
    wanted?.hold();
    this.#held = wanted;
  }
}

function walChange(event: WalEvent): WalChange {
  const { wal_bytes: walBytes, limit } = event;
  return event.blocked
    ? { blocked: true, walBytes, limit, holders: event.holders }
    : { blocked: false, walBytes, limit, lastedMs: event.lasted_ms };
}
