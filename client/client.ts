import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeReply } from '../protocol/decode-reply.js';
import { invalidRequest, SkylineError } from '../protocol/errors.js';
import type { JsonObject } from '../protocol/frame.js';
import { type HelloReply, type PingReply, PROTOCOL_VERSION, type StatusReply } from '../protocol/messages.js';
import { VERSION } from '../protocol/transport/this-package.js';
import { Connection, connectionLost, type RequestOptions, type Unnumbered } from './connection.js';
import { Database } from './database.js';
import { handOff, mayHandOff, warnOfOldDaemon } from './hand-off.js';
import { type CheckedOptions, type ConnectOptions, checkOptions } from './options.js';
import { reachDaemon, tryConnect } from './reach.js';
import { Route } from './route.js';

/** Milliseconds between two looks at whether a leaving daemon has gone. */
const LEAVING_POLL_MS = 20;

/**
 * Connects to the daemon of this user, starting it when there is none.
 *
 * @example
 * const skyline = await connect();
 * const db = skyline.database('stars.db');
 * await db.run('INSERT INTO stars (name) VALUES (?)', ['Sirius']);
 *
 * @throws SkylineError `NO_DAEMON` with the reason, `VERSION_MISMATCH`, `INVALID_REQUEST` for an option
 */
export async function connect(options: ConnectOptions = {}): Promise<Client> {
  const client = new Client(checkOptions(options));
  await client.connect();
  return client;
}

/** A connection to the daemon that comes back by itself. Keeps no process alive. */
export class Client {
  readonly #options: CheckedOptions;
  #connection: Connection | null = null;
  #connecting: Promise<Connection> | null = null;
  #hello: HelloReply | null = null;
  readonly #routes = new Map<string, Route>();
  #closed = false;

  /** Use {@link connect}. */
  constructor(options: CheckedOptions) {
    this.#options = options;
  }

  get endpoint(): string {
    return this.#options.endpoint;
  }

  /** What the daemon said of itself when the connection was made. */
  get daemon(): { readonly version: string; readonly pid: number } | null {
    return this.#hello;
  }

  /**
   * A database, by its file. Opens nothing yet.
   * @param file relative paths belong to this process's working directory, as it is now
   */
  database(file: string): Database {
    if (typeof file !== 'string' || file === '')
      throw invalidRequest('A database is named by its file, for instance "data.db".');
    // Names that are no paths go to the daemon as they are, to be refused with a reason.
    const special = file === ':memory:' || /^file:/i.test(file);
    return new Database(this, special ? file : resolve(file));
  }

  /** The way of a database's batches: one for all who write it through this client, so that they keep their order. */
  route(db: string): Route {
    let route = this.#routes.get(db);
    if (route === undefined) {
      route = new Route(db, {
        router: () => this.connect(),
        leaving: (connection) => this.#leave(connection),
        worker: (endpoint) => this.#connectWorker(endpoint),
        direct: this.#options.direct,
        exactlyOnce: this.#options.exactlyOnce,
      });
      this.#routes.set(db, route);
    }
    return route;
  }

  async ping(options: RequestOptions = {}): Promise<PingReply> {
    return decodeReply('Ping', await this.request({ type: 'Ping' }, options));
  }

  /** Figures of the daemon and of every database it knows, or of one. */
  async status(
    file?: string,
    options: RequestOptions & { readonly detail?: boolean } = {},
  ): Promise<StatusReply> {
    const { detail, ...rest } = options;
    const message = {
      type: 'Status' as const,
      ...(file === undefined ? {} : { db: resolve(file) }),
      ...(detail === undefined ? {} : { detail }),
    };
    return decodeReply('Status', await this.request(message, rest));
  }

  /**
   * The daemon's figures as text that Prometheus reads
   * (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).
   */
  async metrics(options: RequestOptions = {}): Promise<string> {
    return decodeReply('Metrics', await this.request({ type: 'Metrics' }, options)).text;
  }

  /** Ends the daemon once everything that it has accepted is finished. This client starts a new one with its next request. */
  async shutdown(options: RequestOptions = {}): Promise<void> {
    decodeReply('Shutdown', await this.request({ type: 'Shutdown' }, options));
    this.#connection?.close();
    this.#connection = null;
  }

  /**
   * Sends one request of the protocol. A daemon that refuses because it is leaving has done nothing: its successor is asked.
   * @throws SkylineError
   */
  async request(message: Unnumbered, options: RequestOptions = {}): Promise<JsonObject> {
    const until = performance.now() + this.#options.startTimeoutMs;
    for (;;) {
      const connection = this.#connection?.open === true ? this.#connection : await this.connect();
      try {
        return await connection.request(message, options);
      } catch (error) {
        const leaving = error instanceof SkylineError && error.code === 'SHUTTING_DOWN';
        if (!leaving || !this.#options.autoStart || performance.now() > until) throw error;
        this.#leave(connection);
      }
    }
  }

  /** Makes the connection, unless there is one. */
  async connect(): Promise<Connection> {
    if (this.#closed) throw closedClient();
    if (this.#connection?.open === true) return this.#connection;
    this.#connecting ??= this.#open().finally(() => {
      this.#connecting = null;
    });
    return await this.#connecting;
  }

  /** Ends the connection; requests without an answer are rejected. Idempotent. */
  close(): void {
    this.#closed = true;
    for (const route of this.#routes.values()) route.close(closedClient());
    this.#connection?.close();
    this.#connection = null;
  }

  /** Not closed: what it has accepted is still answered there, and then the daemon ends it. */
  #leave(connection: Connection): void {
    if (this.#connection === connection) this.#connection = null;
  }

  async #connectWorker(endpoint: string): Promise<Connection> {
    const stream = await tryConnect(endpoint);
    if (stream === null) throw connectionLost('its worker has left');
    const connection = new Connection(stream);
    if (this.#hello !== null) connection.maxFrame = this.#hello.limits.max_frame;
    return connection;
  }

  async #open(): Promise<Connection> {
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
        if (this.#closed) throw closedClient();
        if (!handedOff && mayHandOff(this.#hello, this.#options) && performance.now() < until) {
          handedOff = await handOff(this.#options, until - performance.now());
          connection.close();
          continue;
        }
        warnOfOldDaemon(this.#hello);
        connection.maxFrame = this.#hello.limits.max_frame;
        this.#connection = connection;
        connection.onClose(() => {
          for (const route of this.#routes.values()) route.routerEnded();
        });
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

function closedClient(): SkylineError {
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
