import { setTimeout as sleep } from 'node:timers/promises';
import { decodeReply } from '../protocol/decode-reply.js';
import { SkylineError } from '../protocol/errors.js';
import type { JsonObject } from '../protocol/frame.js';
import type { BeginTxReply, CommitReply } from '../protocol/messages.js';
import { aborted, type Connection, type Unnumbered } from './connection.js';
import { newSessionName } from './session-name.js';

/** What the transactions of one database need of their client. */
export interface TransactionHooks {
  /** A connection that no other transaction uses. */
  borrow(): Promise<Connection>;
  giveBack(connection: Connection): void;
  /** Resolves when the batches that were sent before are answered. */
  settled(): Promise<void>;
  /** Asks the daemon, whichever runs. */
  request(message: Unnumbered): Promise<JsonObject>;
  readonly exactlyOnce: boolean;
}

/** By what a commit is known again. */
export interface CommitNumbers {
  readonly session: string;
  readonly seq: number;
  readonly acked: number;
}

/** Times that it is asked what became of a commit, and milliseconds in between. */
const MAX_ASKS = 20;
const ASK_AGAIN_MS = 50;

/**
 * The way of one database's transactions through one client: those that write one after the other, as they were begun, so
 * that a client with many of them takes no more turns in the daemon's queue than one with few.
 */
export class TransactionWay {
  readonly db: string;
  readonly hooks: TransactionHooks;
  #last: Promise<void> = Promise.resolve();
  /** Not that of the batches: those that wait for a transaction have lower numbers than its commit. */
  readonly #session = newSessionName();
  #seq = 0;

  constructor(db: string, hooks: TransactionHooks) {
    this.db = db;
    this.hooks = hooks;
  }

  /**
   * Resolves when it is the caller's turn to write.
   * @returns to be called when it is over
   * @throws SkylineError `ABORTED`
   */
  async turn(signal: AbortSignal | undefined): Promise<() => void> {
    const before = this.#last;
    let done: () => void = () => undefined;
    this.#last = new Promise((resolve) => {
      done = resolve;
    });
    try {
      await unlessAborted(before, signal);
    } catch (error) {
      // Whoever waits behind waits for those before.
      void before.then(done);
      throw error;
    }
    return done;
  }

  /** For the next commit: the one before has its answer, or nobody will ask for it any more. */
  numbers(): CommitNumbers | null {
    if (!this.hooks.exactlyOnce) return null;
    this.#seq += 1;
    return { session: this.#session, seq: this.#seq, acked: this.#seq - 1 };
  }

  /**
   * What became of a commit whose answer is lost.
   * @param seen its beginning: where the database stood then
   * @returns its reply; null when it was not applied, and never will be
   * @throws SkylineError `outcome: "unknown"`
   */
  async ask(numbers: CommitNumbers, seen: BeginTxReply, lost: unknown): Promise<CommitReply | null> {
    const { epoch, rev, database } = seen;
    const which = database === undefined ? {} : { session_database: database };
    const file = { session_epoch: epoch, session_rev: rev, ...which };
    const message = {
      type: 'Commit',
      db: this.db,
      tx: seen.tx,
      ...numbers,
      ...file,
      only_replay: true,
    } as const;
    for (let asked = 1; ; asked += 1) {
      try {
        return decodeReply('Commit', await this.hooks.request(message));
      } catch (error) {
        if (tells(error)) return null;
        if (asked >= MAX_ASKS || !mayPass(error)) throw unknown(error, lost);
        await sleep(ASK_AGAIN_MS);
      }
    }
  }
}

/** The daemon has looked: it was not applied. In another file than the transaction's it knows nothing. */
function tells(error: unknown): boolean {
  if (!(error instanceof SkylineError) || error.outcome !== 'not_applied') return false;
  return (
    error.code === 'TX_EXPIRED' || (error.code === 'SESSION_CONFLICT' && error.details.expected === undefined)
  );
}

function mayPass(error: unknown): boolean {
  return (
    error instanceof SkylineError &&
    ['CONNECTION_LOST', 'WORKER_CRASHED', 'SHUTTING_DOWN'].includes(error.code)
  );
}

function unknown(error: unknown, lost: unknown): SkylineError {
  const code = lost instanceof SkylineError ? lost.code : 'CONNECTION_LOST';
  const why = error instanceof Error ? error.message : String(error);
  return new SkylineError(
    code,
    `Whether the transaction was committed is unknown: the answer is lost, and it could not be asked. ${why} Look before you do it again.`,
    { outcome: 'unknown', cause: error },
  );
}

/** @throws SkylineError `ABORTED` as soon as the signal says so */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  let onAbort: () => void = () => undefined;
  const abort = new Promise<never>((_, reject) => {
    onAbort = () => reject(aborted('not_applied', signal.reason));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, abort]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
