import { never } from '../protocol/errors.js';
import {
  type ClientInfo,
  type HelloRequest,
  type PingRequest,
  PROTOCOL_VERSION,
  type RoutedRequest,
  type ShutdownRequest,
  type StatusRequest,
} from '../protocol/messages.js';
import { VERSION } from '../protocol/transport/this-package.js';
import type { Config } from './config.js';
import type { DaemonFigures } from './daemon-figures.js';
import type { RoutedDatabase } from './database.js';
import type { Databases } from './databases.js';
import { lookAt } from './identity.js';
import type { Logger } from './log.js';

/** Requests about the daemon itself. So is a `Ping` that names no database. */
export type DaemonRequest = Extract<RoutedRequest, { type: 'Hello' | 'Shutdown' | 'Status' | 'Metrics' }>;

/** What the daemon's life decides. */
export interface DaemonHooks {
  /**
   * Finish what was accepted, close everything; the promise resolves before the process exits.
   * @throws SkylineError when the request's conditions do not hold: the daemon goes on
   */
  shutdown(request: ShutdownRequest): Promise<void>;
  /** Whether a newer client may ask for it now. */
  handOff(): boolean;
}

/** Carries out what is asked of the daemon itself. */
export class DaemonRequests {
  readonly #config: Config;
  readonly #databases: Databases;
  readonly #figures: DaemonFigures;
  readonly #log: Logger;
  readonly #hooks: DaemonHooks;
  /** What each client has said of itself, by its connection's lane. */
  readonly #said = new Map<number, ClientInfo>();

  constructor(config: Config, databases: Databases, figures: DaemonFigures, log: Logger, hooks: DaemonHooks) {
    this.#config = config;
    this.#databases = databases;
    this.#figures = figures;
    this.#log = log;
    this.#hooks = hooks;
  }

  /** What the client of this lane has said of itself. */
  readonly said = (lane: number): ClientInfo | undefined => this.#said.get(lane);

  /** The client of this lane has gone. */
  forget(lane: number): void {
    this.#said.delete(lane);
  }

  /**
   * @param lane the client's connection
   * @returns the reply's fields
   * @throws (the promise) SkylineError
   */
  answer(request: DaemonRequest | PingRequest, lane: number): object | Promise<object> {
    switch (request.type) {
      case 'Hello':
        return this.#hello(request, lane);
      case 'Shutdown':
        return this.#hooks.shutdown(request).then(() => ({}));
      case 'Status':
        return this.#status(request);
      case 'Metrics':
        return this.#figures.metrics();
      case 'Ping':
        return { version: VERSION, pid: process.pid, uptime_ms: this.#figures.uptime };
      default:
        return never(request);
    }
  }

  #hello(request: HelloRequest, lane: number): object {
    const client = clientOf(request);
    this.#said.set(lane, client);
    this.#log.info({ client, connection: lane }, 'hello');
    return {
      protocol: PROTOCOL_VERSION,
      version: VERSION,
      pid: process.pid,
      limits: this.#config.limits,
      hand_off: this.#hooks.handOff(),
      data_dir: this.#config.dataDir,
    };
  }

  async #status({ db, detail = false }: StatusRequest): Promise<object> {
    const chosen =
      db === undefined ? this.#databases.all().filter(({ left }) => !left) : [await this.#located(db)];
    return await this.#figures.status(chosen, detail, this.said);
  }

  /** The database, opened if nobody has asked yet where it stands. */
  async #located(db: string): Promise<RoutedDatabase> {
    await this.#databases.pending(db);
    const database = this.#databases.resolve(db);
    if (database.known === null && database.state === 'open' && lookAt(database.path) !== undefined)
      await database.order({ op: 'position' });
    return database;
  }
}

/** For the log, where a client's text must not take room without bound. */
function clientOf({ client = {} }: HelloRequest): object {
  return { ...client, name: client.name?.slice(0, 100), version: client.version?.slice(0, 100) };
}
