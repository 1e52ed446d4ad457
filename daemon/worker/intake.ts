import { decodeExecBatch } from '../../protocol/decode-exec-batch.js';
import { usableId } from '../../protocol/decode-request.js';
import { ProtocolError, SkylineError } from '../../protocol/errors.js';
import { decodeShallow, type JsonObject, parseObject } from '../../protocol/frame.js';
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
  /** It shares a transaction with none. */
  readonly alone: boolean;
  /** The frame's bytes, of which no more than the envelope was read, or all that they say. */
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
  settle(reply: string | Buffer, rev: number, unreadable: boolean): void;
}

/** A client's request about a transaction of its own. */
export interface TransactionJob extends Omit<BatchJob, 'kind' | 'frame'> {
  readonly kind: 'transaction';
  readonly frame: ParsedFrame;
}

/** A client's frame whose JSON has been parsed. */
export class ParsedFrame extends FrameText {
  readonly object: JsonObject;

  /** @throws ProtocolError `PROTOCOL_ERROR` */
  constructor(text: string) {
    super(text);
    this.object = parseObject(text);
  }
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

/** What a client has sent to be done. */
export type ClientJob = BatchJob | TransactionJob;
export type Job = ClientJob | OrderJob;

/** A batch that is to be executed. */
export interface Executable {
  readonly job: BatchJob;
  readonly batch: CheckedBatch;
  /** The job's. */
  readonly deadline: number;
}

/** A batch that cannot be. */
export interface Refused {
  readonly job: BatchJob;
  readonly id: RequestId | undefined;
  readonly error: unknown;
}

/** What is done together. */
export interface Group {
  readonly work: Executable[];
  readonly refused: Refused[];
}

/** Batches, and bytes of requests, that share a transaction at most. */
const GROUP_BATCHES = 512;
const GROUP_BYTES = 1024 * 1024;

/** What waits to be done, and what of it may be done together. A plain object: no I/O. */
export class Intake {
  readonly lanes = new Lanes<Job>();
  readonly #guard = new Guard();
  readonly #limits: Limits;
  readonly #onlyWriter: number | undefined;
  /** Connections that have sent what cannot be read: what comes behind it is not carried out. */
  readonly #broken = new Set<number>();
  /** Taken from the lanes, but to be done by itself. */
  #held: Job | undefined;

  /** @param onlyWriter the one lane whose batches may write; undefined for all */
  constructor(limits: Limits, onlyWriter?: number) {
    this.#limits = limits;
    this.#onlyWriter = onlyWriter;
  }

  /** @param all also for clients that do not read their answers, because everything must be finished */
  next(all: boolean): Job | undefined {
    const held = this.#held;
    this.#held = undefined;
    return held ?? this.lanes.next(all) ?? undefined;
  }

  /** What may be done although a client has the writer for itself: nothing that could see, or wait for, what it does. */
  nextBeside(): Job | undefined {
    const held = this.#held;
    if (held === undefined || !goesBeside(held)) return this.lanes.takeFirst(goesBeside);
    this.#held = undefined;
    return held;
  }

  /** Takes out the clients' requests whose time is over. */
  takeLate(now: number): ClientJob[] {
    return this.#takeOut((job) => job.deadline > 0 && now >= job.deadline);
  }

  /** Takes out what a client wants no more, if it waits here. */
  takeCancelled(lane: number, isCancelled: (job: ClientJob) => boolean): ClientJob[] {
    return this.#takeOut(isCancelled, lane);
  }

  #takeOut(isWanted: (job: ClientJob) => boolean, lane?: number): ClientJob[] {
    const wanted = (job: Job): job is ClientJob => job.kind !== 'order' && isWanted(job);
    const held = this.#held;
    const taken = this.lanes.takeOut(wanted, lane);
    if (held === undefined || !wanted(held)) return taken;
    this.#held = undefined;
    return [held, ...taken];
  }

  /** Takes out the transactions of attached clients that have not begun. */
  takeAttachedBegins(): TransactionJob[] {
    return this.lanes.takeOut(
      (job): job is TransactionJob =>
        job.kind === 'transaction' && job.tag === 0 && job.frame.object.type === 'BeginTx',
    );
  }

  /** Gives back what was gathered and could not be executed: it comes again in its order. */
  putBack(jobs: readonly Job[]): void {
    this.lanes.putBack(this.#held === undefined ? jobs : [...jobs, this.#held]);
    this.#held = undefined;
  }

  /** Collects what may share a transaction, one job of each connection in turn. What may not is next, by itself. */
  gather(first: BatchJob, all: boolean): Group {
    const group: Group = { work: [], refused: [] };
    let bytes = 0;
    let count = 0;
    let job: Job | null = first;
    while (job !== null) {
      if (job.kind !== 'batch') {
        this.#held = job;
        break;
      }
      const one = this.#prepare(job);
      if ('error' in one) group.refused.push(one);
      else {
        const alone = job.alone || !isGroupable(one.batch);
        if (alone && count > 0) {
          this.#held = job;
          break;
        }
        group.work.push(one);
        if (alone) break;
      }
      bytes += job.bytes;
      count += 1;
      if (bytes > GROUP_BYTES || count >= GROUP_BATCHES) break;
      job = this.lanes.next(all);
    }
    for (const lane of this.#broken) if (!this.lanes.has(lane)) this.#broken.delete(lane);
    return group;
  }

  /** Decodes a batch and asks the guard. */
  #prepare(job: BatchJob): Executable | Refused {
    let id: RequestId | undefined;
    try {
      if (this.#broken.has(job.lane)) throw behindBroken();
      const frame = job.frame instanceof ParsedFrame ? job.frame : new ParsedFrame(decodeShallow(job.frame));
      id = usableId(frame.object);
      const batch = this.#guard.check(decodeExecBatch(frame.object, this.#limits), frame);
      if (batch.mayWrite && this.#onlyWriter !== undefined && job.lane !== this.#onlyWriter) throw notYours();
      return { job, batch, deadline: job.deadline };
    } catch (error) {
      if (error instanceof ProtocolError && error.fatal) this.#broken.add(job.lane);
      return { job, id, error };
    }
  }
}

/** The catalog is written by the router alone. */
export function notYours(): SkylineError {
  return new SkylineError(
    'DATABASE_READONLY',
    'This is the catalog of named databases: it can be read, and is changed by CreateDatabase, RenameDatabase and the like alone.',
  );
}

function goesBeside(job: Job): boolean {
  if (job.kind === 'order') return ['position', 'listen', 'watch'].includes(job.order.op);
  return job.kind === 'transaction' && job.frame.object.type === 'BeginTx' && job.frame.object.read === true;
}

function behindBroken(): ProtocolError {
  return new ProtocolError('PROTOCOL_ERROR', 'A frame arrived behind one that could not be read.');
}
