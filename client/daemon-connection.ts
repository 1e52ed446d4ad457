import { setTimeout as sleep } from 'node:timers/promises';
import { decodeReply } from '../protocol/decode-reply.js';
import { SkylineError } from '../protocol/errors.js';
import type { JsonObject } from '../protocol/frame.js';
import { type HelloReply, PROTOCOL_VERSION } from '../protocol/messages.js';
import { VERSION } from '../protocol/transport/this-package.js';
import {
  Connection,
  connectionLost,
  type Listener,
  type RequestOptions,
  type Unnumbered,
} from './connection.js';
import { handOff, mayHandOff, warnOfOldDaemon } from './hand-off.js';
import type { CheckedOptions } from './options.js';
import { reachDaemon, tryConnect } from './reach.js';

/** Milliseconds between two looks at whether a leaving daemon has gone. */
const LEAVING_POLL_MS = 20;

/** The connection to the daemon, which comes back by itself: another daemon may be at its other end then. */
export class DaemonConnection {
  readonly #options: CheckedOptions;
  readonly #ended: () => void;
  #current: Connection | null = null;
  #connecting: Promise<Connection> | null = null;
  #hello: HelloReply | null = null;
  /** The client is closed: no connection is made any more. */
  closed = false;

  /** @param ended told when a connection has ended */
  constructor(options: CheckedOptions, ended: () => void) {
    this.#options = options;
    this.#ended = ended;
  }

  /** What the daemon said of itself when the connection was made. */
  get hello(): HelloReply | null {
    return this.#hello;
  }

  /** Whether a missing daemon is started. */
  get autoStart(): boolean {
    return this.#options.autoStart;
  }

  /**
   * Sends one request of the protocol. A daemon that refuses because it is leaving has done nothing: its successor is asked.
   * @throws SkylineError
   */
  request(message: Unnumbered, options: RequestOptions = {}): Promise<JsonObject> {
    return this.#ask((connection) => connection.request(message, options));
  }

  /**
   * Subscribes on this connection. A daemon that is leaving is followed by its successor.
   * @returns with it the process that tells
   * @throws SkylineError
   */
  subscribe(message: Unnumbered, listener: Listener) {
    return this.#ask(async (connection) => {
      const daemon = this.#hello?.pid ?? 0;
      return { connection, reply: await connection.subscribe(message, listener), daemon };
    });
  }

  async #ask<T>(send: (connection: Connection) => Promise<T>): Promise<T> {
    const until = performance.now() + this.#options.startTimeoutMs;
    for (;;) {
      const connection = this.#current?.open === true ? this.#current : await this.connect();
      try {
        return await send(connection);
      } catch (error) {
        const leaving = error instanceof SkylineError && error.code === 'SHUTTING_DOWN';
        if (!leaving || !this.#options.autoStart || performance.now() > until) throw error;
        this.leave(connection);
      }
    }
  }

  /** Makes the connection, unless there is one. */
  async connect(): Promise<Connection> {
    if (this.closed) throw closedClient();
    if (this.#current?.open === true) return this.#current;
    this.#connecting ??= this.open()
      .then((connection) => {
        this.#current = connection;
        connection.onClose(this.#ended);
        return connection;
      })
      .finally(() => {
        this.#connecting = null;
      });
    return await this.#connecting;
  }

  /** Ends it; the next request makes another one, unless the client is closed. */
  end(): void {
    this.#current?.close();
    this.#current = null;
  }

  /** Not closed: what it has accepted is still answered there, and then the daemon ends it. */
  leave(connection: Connection): void {
    if (this.#current === connection) this.#current = null;
  }

  /**
   * A connection past the router, to a database's worker.
   * @throws SkylineError `CONNECTION_LOST` when nobody listens there any more
   */
  async connectWorker(endpoint: string): Promise<Connection> {
    const stream = await tryConnect(endpoint);
    if (stream === null) throw connectionLost('its worker has left');
    const connection = new Connection(stream);
    if (this.#hello !== null) connection.maxFrame = this.#hello.limits.max_frame;
    return connection;
  }

  /** A connection that nobody else uses. */
  async open(): Promise<Connection> {
    const until = performance.now() + this.#options.startTimeoutMs;
    let handedOff = false;
    let refusal: SkylineError | null = null;
    for (;;) {
      const connection = new Connection(await reachDaemon(this.#options));
      try {
        // Its answer shows that the daemon is there to stay: a leaving one refuses, and then nothing was sent yet.
        const client = { name: this.#options.name, pid: process.pid, version: VERSION };
        const hello = { type: 'Hello' as const, protocol: PROTOCOL_VERSION, client };
        const timeoutMs = Math.max(1, Math.ceil(until - performance.now()));
        this.#hello = decodeReply('Hello', await connection.request(hello, { timeoutMs }));
        if (this.closed) throw closedClient();
        if (!handedOff && mayHandOff(this.#hello, this.#options) && performance.now() < until) {
          handedOff = await handOff(this.#options, until - performance.now());
          connection.close();
          continue;
        }
        warnOfOldDaemon(this.#hello);
        connection.maxFrame = this.#hello.limits.max_frame;
        return connection;
      } catch (error) {
        connection.close();
        const passing = error instanceof SkylineError && PASSING.has(error.code);
        // The last try has hardly any time: what the others met says more.
        if (!passing || performance.now() > until)
          throw explain(isTimeout(error) ? (refusal ?? error) : error);
        refusal = error;
        // A leaving daemon may have long work to finish: ask now and then, not all the time.
        await sleep(LEAVING_POLL_MS);
      }
    }
  }
}

/** The daemon leaves, or has gone, or has too many clients just now. */
const PASSING: ReadonlySet<string> = new Set(['SHUTTING_DOWN', 'CONNECTION_LOST', 'QUEUE_FULL']);

function isTimeout(error: unknown): boolean {
  return error instanceof SkylineError && error.code === 'TIMEOUT';
}

/** The error of everything that is asked of a closed client. */
export function closedClient(): SkylineError {
  return new SkylineError('ABORTED', 'This client is closed. Call connect() for a new one.', {
    retryable: false,
  });
}

/** A daemon of another version may be why it cannot be understood. */
function explain(error: unknown): unknown {
  if (isTimeout(error)) {
    return new SkylineError(
      'NO_DAEMON',
      'Something listens at the endpoint and does not answer. If it is a daemon that hangs, end its process; its log is in the state folder.',
      { cause: error },
    );
  }
  if (!(error instanceof SkylineError) || error.code !== 'VERSION_MISMATCH') return error;
  return new SkylineError('VERSION_MISMATCH', `${error.message} This client is skylinedb ${VERSION}.`, {
    cause: error,
  });
}
