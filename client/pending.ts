import { SkylineError } from '../protocol/errors.js';
import type { JsonObject } from '../protocol/frame.js';
import { stopped } from './cancel.js';
import type { Connection, Waiter } from './connection.js';

/** Where a database stood by an answer, and which one it was, once that was told. */
export interface Seen {
  readonly epoch: number;
  readonly rev: number;
  readonly database: string | null;
}

/** Whoever sends batches, and hears what becomes of them. */
export interface Sender {
  answered(pending: Pending, reply: JsonObject): void;
  refused(pending: Pending, error: unknown): void;
}

/** A batch whose answer the caller waits for. */
export class Pending implements Waiter {
  /** The batch's fields as JSON text, without what the route adds to them. */
  readonly body: string;
  /** Its number in the session. */
  readonly seq: number;
  /** On performance.now()'s clock. */
  readonly deadline: number;
  /** Settles with the caller's result. */
  readonly answer: Promise<unknown>;
  /** The session in which it was sent first: only there the daemon knows it again. */
  session: string | null = null;
  /** Where it was sent last, and has no answer yet; and its id there. */
  way: Connection | null = null;
  id = 0;
  /** It was sent on a way that ended before the answer. */
  perhapsApplied = false;
  /** The file that was there then: nowhere else it is to be applied. */
  seen: Seen | null = null;
  /** Its signal has aborted: it is not to be run any more, and what is to be said if it was not. */
  stopped: SkylineError | null = null;
  /** The daemon has given it up without knowing what became of it: its record tells. */
  givenUp: SkylineError | null = null;
  /** It was sent last to be told what became of it, not to be run. */
  asked = false;
  /** Times that it was sent again. */
  repeats = 0;
  /** What is to be done when it has settled. */
  onSettled: (() => void) | null = null;
  readonly #sender: Sender;
  readonly #decode: (reply: JsonObject) => unknown;
  #settle!: (result: unknown) => void;
  #fail!: (error: unknown) => void;

  /** @param decode makes the caller's result of the reply */
  constructor(
    sender: Sender,
    body: string,
    seq: number,
    deadline: number,
    decode: (reply: JsonObject) => unknown,
  ) {
    this.#sender = sender;
    this.body = body;
    this.seq = seq;
    this.deadline = deadline;
    this.#decode = decode;
    this.answer = new Promise((resolve, reject) => {
      this.#settle = resolve;
      this.#fail = reject;
    });
  }

  /** What is known of it if it gets no answer any more. */
  get outcome(): 'not_applied' | 'unknown' {
    return this.way !== null || this.perhapsApplied ? 'unknown' : 'not_applied';
  }

  /** The connection has its answer. */
  resolve(reply: JsonObject): void {
    this.#sender.answered(this, reply);
  }

  /** The connection has no answer for it, or a bad one. */
  reject(error: unknown): void {
    this.#sender.refused(this, error);
  }

  /** The caller gets the reply. */
  succeed(reply: JsonObject): void {
    this.onSettled?.();
    try {
      this.#settle(this.#decode(reply));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The caller gets an error. */
  fail(error: unknown): void {
    this.onSettled?.();
    this.#fail(error);
  }
}

/** Refusals behind which the daemon had looked whether the batch was applied before. */
const LOOKED: ReadonlySet<string> = new Set([
  'SQL_ERROR',
  'STATEMENT_NOT_ALLOWED',
  'EXPECTATION_FAILED',
  'INVALID_REQUEST',
  'RESULT_TOO_LARGE',
]);

/** What the caller is told of a batch that the daemon has refused. */
export function explain(pending: Pending, error: unknown): unknown {
  const known = allSendings(pending, error);
  const { stopped: abort } = pending;
  if (abort === null || !(known instanceof SkylineError) || known.code !== 'CANCELLED') return known;
  return stopped(known.outcome, abort.cause, known.details);
}

/** `not_applied` speaks of the last sending: what became of those before is known only where the daemon has looked. */
function allSendings({ perhapsApplied, givenUp, asked }: Pending, error: unknown): unknown {
  if (!perhapsApplied || !(error instanceof SkylineError) || error.outcome !== 'not_applied') return error;
  const { code, message, details } = error;
  const otherFile = code === 'SESSION_CONFLICT' && details.expected !== undefined;
  // Nothing is recorded, or later batches are: it was not applied, and never will be.
  if (asked && (code === 'TIMEOUT' || (code === 'SESSION_CONFLICT' && !otherFile)))
    return givenUp === null
      ? error
      : new SkylineError(givenUp.code, givenUp.message, { details: givenUp.details, cause: givenUp });
  if (LOOKED.has(code) || details.replayed === true || (code === 'SESSION_CONFLICT' && !otherFile))
    return error;
  return new SkylineError(code, `${message} Whether it was applied when it was sent before is unknown.`, {
    outcome: 'unknown',
    retryable: false,
    details,
    cause: error,
  });
}
