import { usableId } from '../../protocol/decode-request.js';
import { messageOf, ProtocolError, toErrorReply } from '../../protocol/errors.js';
import { decodeText } from '../../protocol/frame.js';
import type { ErrorReply, RequestId } from '../../protocol/messages.js';
import { type BatchJob, type Job, ParsedFrame, type TransactionJob } from './intake.js';
import type { Lanes } from './lanes.js';
import { COUNTED_REPLY, type Notice } from './link.js';
import type { Metrics } from './metrics.js';

/** What a client's request has come to, and where the database stands right after it. */
export type Answer = { readonly rev: number } & ({ readonly reply: string } | { readonly error: unknown });

/** Most bytes that a UTF-16 unit takes as UTF-8. */
const UTF8_BYTES = 3;

/** Answers clients' requests, and counts the answers: large ones until they have left, errors by their codes. */
export class Answers {
  readonly #lanes: Lanes<Job>;
  readonly #metrics: Metrics;
  readonly #notice: (notice: Notice) => void;

  /** @param notice told what nobody expects to happen */
  constructor(lanes: Lanes<Job>, metrics: Metrics, notice: (notice: Notice) => void) {
    this.#lanes = lanes;
    this.#metrics = metrics;
    this.#notice = notice;
  }

  /**
   * Answers a batch.
   * @param begun when its group was begun, on performance.now()'s clock, as is `now`
   */
  batch(job: BatchJob, answer: Answer, id: RequestId | undefined, begun: number, now: number): void {
    this.give(job, answer, id);
    this.#metrics.answered(job.received, begun, now, 'error' in answer);
  }

  give(job: BatchJob | TransactionJob, answer: Answer, id: RequestId | undefined): void {
    const failed = 'error' in answer;
    const unreadable = failed && answer.error instanceof ProtocolError && answer.error.fatal;
    // The router ends that connection with an error of its own.
    const text = failed ? this.#errorReply(answer.error, id, !unreadable) : answer.reply;
    const payload = text.length * UTF8_BYTES < COUNTED_REPLY ? text : Buffer.from(text);
    if (typeof payload !== 'string' && payload.length >= COUNTED_REPLY)
      this.#lanes.sent(job.lane, payload.length);
    job.settle(payload, answer.rev, unreadable);
  }

  /** The same for a request of which nothing but its frame was looked at. */
  refuse(job: BatchJob | TransactionJob, error: unknown, rev: number): void {
    this.give(job, { error, rev }, idOf(job));
  }

  /** The error as it is sent. What is the daemon's own fault is logged with its stack. */
  failure(error: unknown, id: RequestId | undefined): ErrorReply {
    const reply = toErrorReply(error, id);
    if (reply.code === 'INTERNAL') {
      this.#notice({
        event: 'log',
        level: 'error',
        message: messageOf(error),
        stack: error instanceof Error ? error.stack : undefined,
      });
    }
    return reply;
  }

  #errorReply(error: unknown, id: RequestId | undefined, counted: boolean): string {
    const reply = this.failure(error, id);
    if (counted) this.#metrics.error(reply.code);
    return JSON.stringify(reply);
  }
}

/** Of a batch nobody has looked at its frame so far; the router, whose own clock may be behind, needs the id as well. */
function idOf({ frame }: BatchJob | TransactionJob): RequestId | undefined {
  try {
    const parsed = frame instanceof ParsedFrame ? frame : new ParsedFrame(decodeText(frame));
    return usableId(parsed.object);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return undefined;
  }
}
