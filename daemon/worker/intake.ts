import { decodeExecBatch } from '../../protocol/decode-request.js';
import { ProtocolError } from '../../protocol/errors.js';
import { decodeText, type JsonObject, parseObject } from '../../protocol/frame.js';
import type { ErrorReply, Limits, RequestId } from '../../protocol/messages.js';
import { FrameText } from '../../protocol/values.js';
import { type CheckedBatch, Guard } from './batch.js';
import { isGroupable } from './execute.js';
import { Lanes } from './lanes.js';
import type { Order } from './link.js';

/** A client's batch, as it came. */
export interface BatchJob {
  readonly kind: 'batch';
  readonly lane: number;
  /** The router's number for it; 0 when it came from an attached client. */
  readonly tag: number;
  /** The frame's bytes, or what they say if somebody has looked already. */
  readonly frame: Buffer | ParsedFrame;
  readonly bytes: number;
  /** On the machine's monotonic clock; 0 for none. */
  readonly deadline: number;
  /** On performance.now()'s clock. */
  readonly received: number;
  /**
   * @param rev where the database stands right after it
   * @param unreadable its frame cannot be read, or came behind such a one: the connection must end
   */
  settle(reply: Buffer, rev: number, unreadable: boolean): void;
}

/** A client's frame whose JSON has been parsed. */
export interface ParsedFrame {
  readonly text: string;
  readonly object: JsonObject;
}

/** What became of an order. */
export type OrderAnswer = { readonly ok: JsonObject } | { readonly error: ErrorReply };

/** Something else to do: for the router, or for a client. */
export interface OrderJob {
  readonly kind: 'order';
  readonly lane: number;
  readonly order: Order;
  settle(answer: OrderAnswer, rev: number): void;
  /** A frame for the client, before the answer. */
  event(payload: Buffer): void;
}

export type Job = BatchJob | OrderJob;

/** A batch as far as it can be looked at before it runs. */
export interface Prepared {
  readonly job: BatchJob;
  readonly id: RequestId | undefined;
  /** null when it was refused. */
  readonly batch: CheckedBatch | null;
  readonly refusal: unknown;
}

/** Batches, and bytes of requests, that share a transaction at most. */
const GROUP_BATCHES = 512;
const GROUP_BYTES = 1024 * 1024;

/** What waits to be done, and what of it may be done together. A plain object: no I/O. */
export class Intake {
  readonly lanes = new Lanes<Job>();
  readonly #guard = new Guard();
  readonly #limits: Limits;
  /** Connections that have sent what cannot be read: what comes behind it is not carried out. */
  readonly #broken = new Set<number>();
  /** Taken from the lanes, but to be done by itself. */
  #held: Job | undefined;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** @param all also for clients that do not read their answers, because everything must be finished */
  next(all: boolean): Job | undefined {
    const held = this.#held;
    this.#held = undefined;
    return held ?? this.lanes.next(all) ?? undefined;
  }

  /** Collects what may share a transaction, one job of each connection in turn. What may not is next, by itself. */
  gather(first: BatchJob, all: boolean): Prepared[] {
    const group: Prepared[] = [];
    let bytes = 0;
    let job: Job | null = first;
    while (job !== null) {
      const prepared = job.kind === 'batch' ? this.#prepare(job) : null;
      const alone = prepared === null || (prepared.batch !== null && !isGroupable(prepared.batch));
      if (prepared === null || (alone && group.length > 0)) {
        this.#held = job;
        break;
      }
      group.push(prepared);
      bytes += prepared.job.bytes;
      if (alone || bytes > GROUP_BYTES || group.length >= GROUP_BATCHES) break;
      job = this.lanes.next(all);
    }
    for (const lane of this.#broken) if (!this.lanes.has(lane)) this.#broken.delete(lane);
    return group;
  }

  /** Decodes a batch and asks the guard. */
  #prepare(job: BatchJob): Prepared {
    let id: RequestId | undefined;
    try {
      if (this.#broken.has(job.lane)) throw behindBroken();
      const { text, object } = Buffer.isBuffer(job.frame) ? parse(job.frame) : job.frame;
      // It was checked where it arrived.
      id = object.id as RequestId | undefined;
      const request = decodeExecBatch(object, this.#limits);
      return { job, id, batch: this.#guard.check(request, new FrameText(text)), refusal: null };
    } catch (error) {
      if (error instanceof ProtocolError && error.fatal) this.#broken.add(job.lane);
      return { job, id, batch: null, refusal: error };
    }
  }
}

/** @throws ProtocolError `PROTOCOL_ERROR` */
function parse(payload: Buffer): ParsedFrame {
  const text = decodeText(payload);
  return { text, object: parseObject(text) };
}

function behindBroken(): ProtocolError {
  return new ProtocolError('PROTOCOL_ERROR', 'A frame arrived behind one that could not be read.');
}
