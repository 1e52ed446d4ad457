import { resolve } from 'node:path';
import { isBareName } from '../protocol/database-name.js';
import { decodeReply } from '../protocol/decode-reply.js';
import { invalidRequest } from '../protocol/errors.js';
import type { JsonObject } from '../protocol/frame.js';
import type {
  AdoptDirectoryReply,
  AdoptProgressEvent,
  AlterDatabaseReply,
  CreateDatabaseReply,
  DropDatabaseReply,
  ListDatabasesReply,
  PingReply,
  RenameDatabaseReply,
  RestoreDatabaseReply,
  StatusReply,
} from '../protocol/messages.js';
import type { Connection, RequestOptions, Unnumbered } from './connection.js';
import { closedClient, DaemonConnection } from './daemon-connection.js';
import { Database } from './database.js';
import { ask, given, type Settings, type TakeOptions, toWire, wireName } from './named.js';
import { type CheckedOptions, type ConnectOptions, checkOptions } from './options.js';
import { Route } from './route.js';
import { TransactionWay } from './transaction-way.js';

/** Connections for transactions that are kept without one. */
const MAX_SPARE = 4;

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
  await client.connection.connect();
  return client;
}

/** A connection to the daemon that comes back by itself. Keeps no process alive. */
export class Client {
  readonly #options: CheckedOptions;
  /** The one that all share, except transactions and what a worker answers itself. */
  readonly connection: DaemonConnection;
  readonly #routes = new Map<string, Route>();
  readonly #transactions = new Map<string, TransactionWay>();
  /** Connections for transactions: each has at most one open. Those that none has are kept for the next. */
  readonly #lent = new Set<Connection>();
  #spare: Connection[] = [];

  /** Use {@link connect}. */
  constructor(options: CheckedOptions) {
    this.#options = options;
    this.connection = new DaemonConnection(options, () => {
      for (const route of this.#routes.values()) route.routerEnded();
    });
  }

  get endpoint(): string {
    return this.#options.endpoint;
  }

  /** What the daemon said of itself when the connection was made. */
  get daemon(): { readonly version: string; readonly pid: number } | null {
    return this.connection.hello;
  }

  /**
   * A database, by its name or its file. Opens nothing yet.
   * @param db a name that {@link createDatabase} has made (`stars`), or a path, which has a dot or a slash (`stars.db`,
   *   `./stars`). Relative paths belong to this process's working directory, as it is now
   */
  database(db: string): Database {
    if (typeof db !== 'string' || db === '')
      throw invalidRequest('A database is named by its name or file, for instance "data.db".');
    return new Database(this, asSent(db));
  }

  /** The daemon's data directory, once it has said so. */
  get dataDir(): string | undefined {
    return this.connection.hello?.data_dir;
  }

  /**
   * Makes a database with a name, in the daemon's data directory.
   * @throws SkylineError `DATABASE_EXISTS`, `INVALID_REQUEST` for a name that cannot be one
   */
  createDatabase(
    name: string,
    options: { ifNotExists?: boolean; settings?: Settings } = {},
  ): Promise<CreateDatabaseReply> {
    const { ifNotExists, settings } = options;
    const more = given({ if_not_exists: ifNotExists, settings: settings && toWire(settings) });
    return ask((message) => this.request(message), { type: 'CreateDatabase', name, ...more });
  }

  /**
   * Drops a database. Its file can be restored for 7 days.
   * @throws SkylineError `DATABASE_IN_USE` says who uses it; `DATABASE_NOT_FOUND`
   */
  dropDatabase(name: string, options: TakeOptions & { ifExists?: boolean } = {}): Promise<DropDatabaseReply> {
    const { ifExists, force, timeoutMs } = options;
    const more = given({ if_exists: ifExists, force, timeout_ms: timeoutMs });
    return ask((message) => this.#behind(name, message), { type: 'DropDatabase', name, ...more });
  }

  /**
   * Gives a database another name; it keeps its rev and epoch.
   * @throws SkylineError `DATABASE_IN_USE` says who uses it; `DATABASE_NOT_FOUND`, `DATABASE_EXISTS`
   */
  renameDatabase(name: string, to: string, options: TakeOptions = {}): Promise<RenameDatabaseReply> {
    const more = given({ force: options.force, timeout_ms: options.timeoutMs });
    return ask((message) => this.#behind(name, message), { type: 'RenameDatabase', name, to, ...more });
  }

  /** Brings the database back that was dropped last under this name. */
  restoreDatabase(name: string, options: { as?: string } = {}): Promise<RestoreDatabaseReply> {
    return ask((message) => this.request(message), {
      type: 'RestoreDatabase',
      name,
      ...given({ as: options.as }),
    });
  }

  /** Changes what a database has set differently from the daemon. */
  configureDatabase(
    name: string,
    settings: Settings,
    options: { reset?: readonly (keyof Settings)[] } = {},
  ): Promise<AlterDatabaseReply> {
    const more = given({ settings: toWire(settings), reset: options.reset?.map(wireName) });
    return ask((message) => this.#behind(name, message), { type: 'AlterDatabase', name, ...more });
  }

  /** Every database that has a name, and those that can be restored. */
  databases(): Promise<ListDatabasesReply> {
    return ask((message) => this.request(message), { type: 'ListDatabases' });
  }

  /**
   * Gives names to the SQLite files of a folder. None of them is changed or moved.
   * @param dir relative to this process's working directory
   */
  adopt(
    dir: string,
    options: { onProgress?: (event: AdoptProgressEvent) => void } = {},
  ): Promise<AdoptDirectoryReply> {
    const { onProgress } = options;
    return ask((message) => this.request(message, { onProgress }), {
      type: 'AdoptDirectory',
      dir: resolve(dir),
    });
  }

  /** Behind the batches for this database that were sent before, also where those went another way. */
  async #behind(name: string, message: Unnumbered): Promise<JsonObject> {
    const route = this.#routes.get(name);
    if (route?.isDirect === true) await route.settled();
    return await this.request(message);
  }

  /** The way of a database's batches: one for all who write it through this client, so that they keep their order. */
  route(db: string): Route {
    let route = this.#routes.get(db);
    if (route === undefined) {
      route = new Route(db, {
        router: () => this.connection.connect(),
        leaving: (connection) => this.connection.leave(connection),
        worker: (endpoint) => this.connection.connectWorker(endpoint),
        direct: this.#options.direct,
        exactlyOnce: this.#options.exactlyOnce,
      });
      this.#routes.set(db, route);
    }
    return route;
  }

  /** The way of a database's transactions. */
  transactions(db: string): TransactionWay {
    let way = this.#transactions.get(db);
    if (way === undefined) {
      way = new TransactionWay(db, {
        borrow: () => this.#borrow(),
        giveBack: (connection) => this.#giveBack(connection),
        settled: () => this.route(db).settled(),
        request: (message) => this.request(message),
        exactlyOnce: this.#options.exactlyOnce,
      });
      this.#transactions.set(db, way);
    }
    return way;
  }

  async ping(options: RequestOptions = {}): Promise<PingReply> {
    return decodeReply('Ping', await this.request({ type: 'Ping' }, options));
  }

  /** Figures of the daemon and of every database it knows, or of one. */
  async status(
    db?: string,
    options: RequestOptions & { readonly detail?: boolean } = {},
  ): Promise<StatusReply> {
    const { detail, ...rest } = options;
    const message = {
      type: 'Status' as const,
      ...(db === undefined ? {} : { db: asSent(db) }),
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
    this.connection.end();
  }

  /**
   * Sends one request of the protocol. A daemon that refuses because it is leaving has done nothing: its successor is asked.
   * @throws SkylineError
   */
  request(message: Unnumbered, options: RequestOptions = {}): Promise<JsonObject> {
    return this.connection.request(message, options);
  }

  /** Ends the connection; requests without an answer are rejected. Idempotent. */
  close(): void {
    this.connection.closed = true;
    for (const route of this.#routes.values()) route.close(closedClient());
    for (const connection of [...this.#lent, ...this.#spare]) connection.close();
    this.connection.end();
  }

  /** A connection that nobody else uses. */
  async #borrow(): Promise<Connection> {
    if (this.connection.closed) throw closedClient();
    this.#spare = this.#spare.filter(({ open }) => open);
    const connection = this.#spare.pop() ?? (await this.connection.open());
    this.#lent.add(connection);
    if (this.connection.closed) connection.close(closedClient());
    return connection;
  }

  #giveBack(connection: Connection): void {
    this.#lent.delete(connection);
    if (connection.open && this.#spare.length < MAX_SPARE && !this.connection.closed)
      this.#spare.push(connection);
    else connection.close();
  }
}

/** A path in full; a name, and what is neither, as it is: the daemon refuses that with a reason. */
function asSent(db: string): string {
  const special = isBareName(db) || db === ':memory:' || /^file:/i.test(db);
  return special ? db : resolve(db);
}
