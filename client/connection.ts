import type { Socket } from 'node:net';
import { decodeIncoming } from '../protocol/decode-incoming.js';
import { decodeReply } from '../protocol/decode-reply.js';
import { digits } from '../protocol/digits.js';
import { messageOf, SkylineError } from '../protocol/errors.js';
import {
  decodeText,
  FrameDecoder,
  frameTooLarge,
  HEADER_BYTES,
  type JsonObject,
  parseObject,
} from '../protocol/frame.js';
import type {
  AdoptProgressEvent,
  ChangeEvent,
  ProgressEvent,
  Request,
  ResetEvent,
  SubscribeReply,
  WalEvent,
} from '../protocol/messages.js';
import { GatheredWrites } from '../protocol/transport/gathered-writes.js';
import type { ByteStream } from '../protocol/transport/node-ipc.js';
import { cancel } from './cancel.js';

/** A request without the id, which the connection gives it. */
export type Unnumbered = Request extends infer R ? (R extends Request ? Omit<R, 'id'> : never) : never;

/** Which of them comes is the request's matter. */
type AnyProgress = ProgressEvent | AdoptProgressEvent;

/** Whoever waits for an answer. */
export interface Waiter {
  resolve(body: JsonObject): void;
  reject(error: unknown): void;
  readonly progress?: ((event: AnyProgress) => void) | undefined;
}

/** Whoever has subscribed. */
export interface Listener {
  event(event: ChangeEvent | ResetEvent | WalEvent): void;
  /** The connection has ended: nothing more comes. */
  ended(): void;
}

/** What may be said about one request. */
export interface RequestOptions {
  /** Gives up waiting. Whether the request was carried out is then unknown. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds to wait for the answer. */
  readonly timeoutMs?: number | undefined;
  readonly onProgress?: ((event: ProgressEvent & AdoptProgressEvent) => void) | undefined;
}

/** Copied wherever it is written. */
const header = Buffer.alloc(HEADER_BYTES);

/** Replies can be as large as the daemon's `--max-frame` allows; it says so in Hello. */
const MAX_REPLY = 1024 * 1024 * 1024;

/**
 * One connection to the daemon: numbers requests, pairs answers with them. It has one end, `close`, which settles
 * whoever still waits; it never connects again. It keeps the process alive only while somebody waits.
 */
export class Connection {
  readonly #socket: Socket;
  readonly #decoder = new FrameDecoder(MAX_REPLY);
  readonly #waiters = new Map<number, Waiter>();
  readonly #output: GatheredWrites;
  readonly #subscriptions = new Map<number, Listener>();
  /** Those who wait for an event. */
  #holds = 0;
  #nextId = 1;
  #maxFrame = Number.POSITIVE_INFINITY;
  #closedBy: SkylineError | null = null;
  #onClose: () => void = () => undefined;

  constructor(stream: ByteStream) {
    this.#socket = stream.socket;
    // All requests that one callback of the application sends leave in one system call.
    this.#output = new GatheredWrites(stream.socket, process.nextTick);
    stream.onData((chunk) => this.#read(chunk));
    this.#socket.on('close', () => this.close(connectionLost('the daemon ended it, or died')));
    this.#socket.unref();
  }

  /** @param hook called once, when the connection has ended for whatever reason */
  onClose(hook: () => void): void {
    this.#onClose = hook;
  }

  get open(): boolean {
    return this.#closedBy === null;
  }

  /** The daemon's bound of one frame, from its Hello. */
  set maxFrame(bytes: number) {
    this.#maxFrame = bytes;
  }

  /**
   * Sends a request and waits for its answer. Requests may be sent without waiting for earlier ones.
   * @throws SkylineError the daemon's; `CONNECTION_LOST`, `ABORTED`, `TIMEOUT` with the outcome unknown once it was sent
   */
  request(message: Unnumbered, options: RequestOptions = {}): Promise<JsonObject> {
    return this.requestText(JSON.stringify(message).slice(0, -1), options);
  }

  /**
   * The same for a request whose fields are JSON text already.
   * @param message without its closing brace
   * @param cancels the daemon is to stop it when it is aborted: then its answer is waited for a little longer
   */
  requestText(message: string, options: RequestOptions = {}, cancels = false): Promise<JsonObject> {
    const { signal, timeoutMs, onProgress } = options;
    if (signal?.aborted === true) return Promise.reject(aborted('not_applied', signal.reason));
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      let endWait: () => void = () => undefined;
      const giveUp = () => this.#take(id)?.reject(aborted('unknown', signal?.reason));
      const onAbort = () => {
        if (cancels) endWait = cancel(this, id, giveUp);
        else giveUp();
      };
      const done = () => {
        clearTimeout(timer);
        endWait();
        signal?.removeEventListener('abort', onAbort);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const id = this.post(message, {
        resolve: (body) => {
          done();
          resolve(body);
        },
        reject: (error) => {
          done();
          reject(error);
        },
        progress: onProgress as Waiter['progress'],
      });
      if (timeoutMs !== undefined && this.#waiters.has(id))
        timer = setTimeout(() => this.#take(id)?.reject(noAnswer(timeoutMs, 'unknown')), timeoutMs);
    });
  }

  /**
   * Sends a request; the waiter gets its answer, or at once why it cannot be sent.
   * @param message JSON text of an object with the request's fields, without its closing brace
   * @returns the request's id
   */
  post(message: string, waiter: Waiter): number {
    const id = this.#nextId;
    this.#nextId += 1;
    if (this.#closedBy !== null) {
      waiter.reject(notSent(this.#closedBy));
      return id;
    }
    const text = `${message},"id":${digits(id)}}`;
    // A UTF-16 unit is at most three bytes: most requests need no count.
    if (text.length * 3 > this.#maxFrame && Buffer.byteLength(text) > this.#maxFrame) {
      waiter.reject(frameTooLarge(Buffer.byteLength(text), this.#maxFrame));
      return id;
    }
    this.#waiters.set(id, waiter);
    if (this.#waiters.size === 1) this.#socket.ref();
    this.#output.writeFrame(header, text);
    return id;
  }

  /**
   * Subscribes, and has the listener hear of each event: none comes before it listens.
   * @throws SkylineError
   */
  subscribe(message: Unnumbered, listener: Listener): Promise<SubscribeReply> {
    return new Promise((resolve, reject) => {
      this.post(JSON.stringify(message).slice(0, -1), {
        // At once, not in a promise's time: the first event may be in the same chunk of bytes.
        resolve: (body) => {
          try {
            const reply = decodeReply('Subscribe', body);
            this.#subscriptions.set(reply.subscription, listener);
            resolve(reply);
          } catch (error) {
            reject(error);
          }
        },
        reject,
        progress: undefined,
      });
    });
  }

  /** The listener hears no more. */
  unsubscribe(subscription: number): void {
    if (!this.#subscriptions.delete(subscription)) return;
    this.request({ type: 'Unsubscribe', subscription }).catch(() => undefined);
  }

  /** Keeps the process alive while somebody waits for an event. Call {@link release} as often. */
  hold(): void {
    this.#holds += 1;
    this.#socket.ref();
  }

  release(): void {
    this.#holds -= 1;
    if (this.#holds === 0 && this.#waiters.size === 0) this.#socket.unref();
  }

  /** Ends the connection. Idempotent; the first cause is what every waiter gets. */
  close(cause: SkylineError = connectionLost('this client closed it')): void {
    if (this.#closedBy !== null) return;
    this.#closedBy = cause;
    this.#socket.destroy();
    for (const id of [...this.#waiters.keys()]) this.#take(id)?.reject(cause);
    this.#onClose();
    for (const listener of this.#subscriptions.values()) listener.ended();
    this.#subscriptions.clear();
  }

  #read(chunk: Buffer): void {
    this.#decoder.push(chunk);
    try {
      for (let payload = this.#decoder.next(); payload !== null; payload = this.#decoder.next()) {
        this.#dispatch(parseObject(decodeText(payload)));
      }
    } catch (error) {
      this.close(connectionLost(`the daemon sent something else than protocol 1: ${messageOf(error)}`));
    }
  }

  #dispatch(object: JsonObject): void {
    // Nearly all of them; what else there is is told apart below.
    if (object.status === 'ok' && typeof object.id === 'number') {
      this.#take(object.id)?.resolve(object);
      return;
    }
    const incoming = decodeIncoming(object);
    const id = 'id' in incoming && typeof incoming.id === 'number' ? incoming.id : undefined;
    switch (incoming.kind) {
      case 'reply':
        if (id !== undefined) this.#take(id)?.resolve(incoming.body);
        return;
      case 'error':
        // Without an id it is about the stream itself: the daemon ends the connection after it.
        if (id === undefined) this.close(incoming.error);
        else this.#take(id)?.reject(incoming.error);
        return;
      case 'progress':
        if (id !== undefined) this.#progress(id, incoming.event);
        return;
      case 'subscription':
        this.#subscriptions.get(incoming.event.subscription)?.event(incoming.event);
        return;
      case 'detached':
        this.close(detached());
        return;
      case 'unknown':
        return;
      default:
        incoming satisfies never;
    }
  }

  /** What the application's callback throws is the answer to its own request, and no fault of the stream. */
  #progress(id: number, event: AnyProgress): void {
    try {
      this.#waiters.get(id)?.progress?.(event);
    } catch (error) {
      this.#take(id)?.reject(error);
    }
  }

  #take(id: number): Waiter | undefined {
    const waiter = this.#waiters.get(id);
    if (this.#waiters.delete(id) && this.#waiters.size === 0 && this.#holds === 0) this.#socket.unref();
    return waiter;
  }
}

export function connectionLost(why: string, cause?: unknown): SkylineError {
  return new SkylineError(
    'CONNECTION_LOST',
    `The connection to the daemon is gone: ${why}. Whether the request was carried out is unknown: look before you send it again.`,
    { outcome: 'unknown', ...(cause === undefined ? {} : { cause }) },
  );
}

/** A worker's last word: what it has not answered it has not begun. */
function detached(): SkylineError {
  return new SkylineError(
    'CONNECTION_LOST',
    'The worker has sent its clients back to the daemon. The request was not carried out: send it there.',
    { outcome: 'not_applied' },
  );
}

/** The same cause for a request that never left this process. */
function notSent(cause: SkylineError): SkylineError {
  return new SkylineError(
    cause.code,
    'The connection to the daemon was closed before the request was sent.',
    { outcome: 'not_applied', cause },
  );
}

export function noAnswer(timeoutMs: number, outcome: 'not_applied' | 'unknown'): SkylineError {
  const what = outcome === 'unknown' ? 'Whether the request was carried out is unknown' : 'It was not sent';
  return new SkylineError('TIMEOUT', `The daemon did not answer within ${timeoutMs} ms. ${what}.`, {
    outcome,
  });
}

export function aborted(outcome: 'not_applied' | 'unknown', reason: unknown): SkylineError {
  const what =
    outcome === 'unknown' ? 'after it was sent: whether it was carried out is unknown' : 'before it was sent';
  return new SkylineError('ABORTED', `The request was aborted ${what}.`, {
    outcome,
    retryable: false,
    cause: reason,
  });
}
