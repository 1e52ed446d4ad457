import type { Socket } from 'node:net';
import { ProtocolError, toErrorReply } from '../../protocol/errors.js';
import { FrameDecoder, HEADER_BYTES } from '../../protocol/frame.js';
import type { ErrorCode, ErrorReply, Limits, RequestId, WorkingEvent } from '../../protocol/messages.js';
import { GatheredWrites } from '../../protocol/transport/gathered-writes.js';
import type { ByteStream } from '../../protocol/transport/node-ipc.js';
import type { IntakeBudget } from './intake-budget.js';
import { OpenRequests, type Slot } from './open-requests.js';

/** Bytes that may wait to be written to a client before nothing more is read from it. */
const OUTPUT_MARK = 1024 * 1024;
/** Bytes up to which events are added to them: less, so that a client that reads too few of them is still listened to. */
const EVENT_MARK = 256 * 1024;
/** How long a client may take to end its side after ours, in milliseconds. */
const LINGER_MS = 2_000;

/**
 * Milliseconds between two signs of life to a client that has ended its side and still waits. Whether it reads, or has gone
 * altogether, only writing tells.
 */
const WORKING_MS = 1_000;
const WORKING = JSON.stringify({ event: 'working' } satisfies WorkingEvent);

/** Copied wherever it is written. */
const header = Buffer.alloc(HEADER_BYTES);

export interface ConnectionHooks {
  /** One frame's payload. Whatever it throws ends the connection with an error frame. */
  frame(payload: Buffer): void;
  /** The client is answered with this error. */
  refused(code: ErrorCode): void;
  /** The client has ended its side, and everything that it had sent is taken: nothing more will come. */
  ended(): void;
  closed(): void;
}

/**
 * One client's connection: frames in, answers out, in the order that the protocol promises. Reads only while the client
 * takes its answers and has not too much in flight, so that no client can fill the daemon's memory.
 */
export class ClientConnection {
  readonly lane: number;
  readonly #socket: Socket;
  readonly #output: GatheredWrites;
  readonly #limits: Limits;
  readonly #budget: IntakeBudget;
  readonly #hooks: ConnectionHooks;
  readonly #decoder: FrameDecoder;
  readonly #requests: OpenRequests;
  readonly #wake = () => this.#pump();
  readonly #waitForRoom: (() => void)[] = [];
  #paused = false;
  #pumping = false;
  /** The client has sent all it will send. */
  #ended = false;
  #toldEnded = false;
  #working: NodeJS.Timeout | undefined;
  /** No whole frame waits in the decoder. */
  #emptied = true;
  /** The daemon leaves: nothing more is taken. */
  #finishing = false;
  #last: Buffer | null = null;
  #closed = false;
  /** The stream cannot be understood any more: the last frame to send. */
  #fatal: Buffer | null = null;

  /** @param budget shared with the other connections of the process */
  constructor(
    lane: number,
    stream: ByteStream,
    limits: Limits,
    budget: IntakeBudget,
    hooks: ConnectionHooks,
  ) {
    this.lane = lane;
    this.#socket = stream.socket;
    this.#output = new GatheredWrites(stream.socket);
    this.#limits = limits;
    this.#budget = budget;
    this.#requests = new OpenRequests(budget, (payload, onFlushed) => this.#write(payload, onFlushed));
    this.#hooks = hooks;
    this.#decoder = new FrameDecoder(limits.max_frame);
    // A client may end its side after its last request and still get the answers.
    this.#socket.allowHalfOpen = true;
    stream.onData((chunk) => {
      // After the last frame of ours nothing is looked at any more, and must not be kept either.
      if (this.#fatal !== null || this.#socket.writableEnded) return;
      this.#decoder.push(chunk);
      this.#emptied = false;
      this.#pump();
    });
    this.#socket.on('drain', () => {
      this.#pump();
      if (this.hasRoom) for (const callback of this.#waitForRoom.splice(0)) callback();
    });
    this.#socket.on('end', () => {
      // May come while there is no room for what came before it.
      this.#ended = true;
      this.#endWhenDone();
      if (this.#requests.count > 0 && !this.#closed)
        this.#working = setInterval(() => this.#signOfLife(), WORKING_MS).unref();
    });
    this.#socket.on('close', () => this.#end());
  }

  /** Requests without a complete answer. */
  get inFlight(): number {
    return this.#requests.count;
  }

  /** Opens the place of an answer. */
  accept(id: RequestId | undefined, bytes: number): Slot {
    return this.#requests.open(id, bytes);
  }

  /**
   * Cancels the request with this id that came before this one, if it can be.
   * @returns false when there is none without its answer
   */
  cancel(by: Slot, id: RequestId): boolean {
    return this.#requests.cancel(by, id);
  }

  /** Sends an event frame before the request's answer. */
  event(slot: Slot, payload: Buffer): void {
    this.#requests.put(slot, payload, undefined);
  }

  /**
   * Sends the answer.
   * @param onFlushed called when its bytes have left for the client, or the client has gone
   */
  answer(slot: Slot, payload: string | Buffer, onFlushed?: () => void): void {
    if (slot.done) return;
    this.#requests.put(slot, payload, onFlushed);
    this.#finish(slot);
  }

  /** @param after called when the answer is written, behind those that come before it */
  answerJson(slot: Slot, reply: object, after: (() => void) | null = null): void {
    slot.after = after;
    this.answer(slot, JSON.stringify(reply));
  }

  /** Sends an event that belongs to no request. */
  send(event: string): void {
    this.#write(event, undefined);
  }

  /** Whether the client takes its events: more of them would only pile up here. */
  get hasRoom(): boolean {
    return this.#output.length <= EVENT_MARK;
  }

  /** Calls back once, when there is room for events again. Never, if the connection ends before. */
  whenRoom(callback: () => void): void {
    this.#waitForRoom.push(callback);
  }

  /** A fatal ProtocolError is no answer to this request: it ends the connection when the others are answered. */
  answerError(slot: Slot, error: unknown): void {
    if (!(error instanceof ProtocolError && error.fatal)) {
      this.answerFailure(slot, toErrorReply(error, slot.id));
    } else if (!slot.done) {
      this.#breakOff(error);
      this.#finish(slot);
    }
  }

  /** Sends an error frame as the answer. */
  answerFailure(slot: Slot, error: ErrorReply): void {
    if (!slot.done) this.#hooks.refused(error.code);
    this.answerJson(slot, error);
  }

  /**
   * Takes nothing more, and ends the connection when everything that was accepted is answered.
   * @param last a frame to send then
   */
  finish(last: Buffer | null = null): void {
    if (this.#finishing) return;
    this.#finishing = true;
    this.#last = last;
    this.#endWhenDone();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Its answer is complete. */
  #finish(slot: Slot): void {
    this.#requests.close(slot);
    // Whether there is room again is looked at only where something waits for it.
    if (!this.#emptied || this.#paused) this.#pump();
    this.#endWhenDone();
  }

  /** Nothing more is looked at; the first error is the one that is told. */
  #breakOff(error: unknown): void {
    if (this.#fatal === null) {
      const reply = toErrorReply(error);
      this.#hooks.refused(reply.code);
      this.#fatal = Buffer.from(JSON.stringify(reply));
    }
    this.#socket.pause();
    this.#paused = true;
  }

  #write(payload: string | Buffer, onFlushed: (() => void) | undefined): void {
    if (this.#closed || !this.#socket.writable) {
      onFlushed?.();
      return;
    }
    if (typeof payload === 'string' && onFlushed === undefined) {
      this.#output.writeFrame(header, payload);
      return;
    }
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
    header.writeUInt32LE(bytes.length, 0);
    this.#output.write(header);
    this.#output.write(bytes, onFlushed);
  }

  /** Takes frames as long as there is room for them. */
  #pump(): void {
    if (this.#pumping || this.#fatal !== null || this.#closed) return;
    this.#pumping = true;
    try {
      while (this.#hasIntakeRoom() && !this.#finishing && this.#fatal === null) {
        const payload = this.#decoder.next();
        this.#emptied = payload === null;
        if (payload === null) break;
        this.#hooks.frame(payload);
      }
    } catch (error) {
      this.#breakOff(error);
    } finally {
      this.#pumping = false;
    }
    this.#endWhenDone();
    this.#flow();
  }

  #hasIntakeRoom(): boolean {
    if (this.#requests.count > 0 && this.#budget.isFull) {
      this.#budget.wait(this.#wake);
      return false;
    }
    return (
      this.#requests.count < this.#limits.max_in_flight &&
      this.#requests.bytes <= 2 * this.#limits.max_frame &&
      this.#output.length <= OUTPUT_MARK
    );
  }

  #flow(): void {
    if (this.#fatal !== null || this.#closed) return;
    const pause = !this.#hasIntakeRoom();
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.#socket.pause();
    else this.#socket.resume();
  }

  #signOfLife(): void {
    // Once more would not tell more, while it does not read.
    if (this.#output.length === 0) this.send(WORKING);
  }

  #endWhenDone(): void {
    if (this.#ended && this.#emptied && !this.#toldEnded) {
      this.#toldEnded = true;
      this.#hooks.ended();
    }
    if (this.#requests.count > 0 || this.#closed || this.#pumping) return;
    if (this.#fatal !== null) {
      this.#write(this.#fatal, undefined);
      this.#stop();
    } else if (this.#finishing || (this.#ended && this.#emptied)) {
      if (this.#last !== null && !this.#socket.writableEnded) this.#write(this.#last, undefined);
      this.#stop();
    }
  }

  /** Everything is answered: our side ends. What the client still sends is thrown away. */
  #stop(): void {
    if (this.#socket.writableEnded) return;
    clearInterval(this.#working);
    this.#output.flush();
    this.#socket.resume();
    // Closing while the client still sends breaks its pipe, perhaps before it has read our last frame. The socket
    // closes by itself when both sides have ended.
    this.#socket.end(() => {
      const timer = setTimeout(() => this.#socket.destroy(), LINGER_MS);
      this.#socket.once('close', () => clearTimeout(timer));
    });
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#working);
    this.#budget.forget(this.#wake);
    this.#hooks.closed();
  }
}
