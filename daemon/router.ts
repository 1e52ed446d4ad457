import { decodeRequest, usableId } from '../protocol/decode-request.js';
import { readBatchEnvelope } from '../protocol/envelope.js';
import { never, ProtocolError, SkylineError, toErrorReply } from '../protocol/errors.js';
import { decodeText, parseObject } from '../protocol/frame.js';
import {
  type CatalogRequest,
  type ClientInfo,
  type HelloRequest,
  PROTOCOL_VERSION,
  type RoutedRequest,
  type ShutdownRequest,
  type StatusRequest,
  type SubscribeRequest,
} from '../protocol/messages.js';
import type { ByteStream } from '../protocol/transport/node-ipc.js';
import { VERSION } from '../protocol/transport/this-package.js';
import type { Job } from './batch-queue.js';
import { CatalogRequests } from './catalog-requests.js';
import type { Config } from './config.js';
import type { DaemonFigures } from './daemon-figures.js';
import type { RoutedDatabase } from './database.js';
import { type Asker, type DatabaseRequest, DatabaseRequests } from './database-requests.js';
import type { Databases } from './databases.js';
import type { Logger } from './log.js';
import type { Maintenance } from './maintenance.js';
import type { NamedDatabases } from './named-databases.js';
import { Subscriptions } from './subscriptions.js';
import { ROUTER_LANE } from './worker/attached-clients.js';
import { ClientConnection, type Slot } from './worker/client-connection.js';
import { IntakeBudget } from './worker/intake-budget.js';
import { COUNTED_REPLY, monotonicMs } from './worker/link.js';

/** What this client sends next for the same database has to wait for these: they decide whether it is open. */
const CHANGES_STATE: ReadonlySet<string> = new Set([
  'PrepareForMaintenance',
  'CloseDatabase',
  'ReopenDatabase',
  'ReplaceDatabase',
]);

/** What goes to the worker as it came, and what it is to the queue. */
const PASSED_ON = {
  ExecBatch: 'batch',
  BeginTx: 'begin',
  Exec: 'step',
  Commit: 'step',
  Rollback: 'step',
} as const;
type PassedOn = Extract<RoutedRequest, { type: keyof typeof PASSED_ON }>;

/** What the router cannot do by itself. */
export interface RouterHooks {
  /**
   * Finish what was accepted, close everything; the promise resolves before the process exits.
   * @throws SkylineError when the request's conditions do not hold: the daemon goes on
   */
  shutdown(request: ShutdownRequest): Promise<void>;
  /** Whether a newer client may ask for it now. */
  handOff(): boolean;
  /** Clients came or went. */
  activity(): void;
}

/** Takes each client's requests to whoever can answer them. */
export class Router {
  readonly #config: Config;
  readonly #databases: Databases;
  readonly #requests: DatabaseRequests;
  readonly #figures: DaemonFigures;
  readonly #catalogRequests: CatalogRequests;
  readonly #log: Logger;
  readonly #hooks: RouterHooks;
  readonly #connections = new Set<ClientConnection>();
  /** What each client has said of itself, by its connection's lane. */
  readonly #said = new Map<number, ClientInfo>();
  readonly #budget: IntakeBudget;
  readonly #subscriptions: Subscriptions;
  /** Connections with a request in progress that must be finished before their next one for the same database. */
  readonly #gates = new Map<ClientConnection, Map<RoutedDatabase, Promise<unknown>>>();
  /** Connections whose next request has to wait until it is known what names mean. */
  readonly #naming = new Map<ClientConnection, Promise<unknown>>();
  #nextLane = 1;
  #refusing = false;

  constructor(
    config: Config,
    databases: Databases,
    maintenance: Maintenance,
    named: NamedDatabases,
    figures: DaemonFigures,
    log: Logger,
    hooks: RouterHooks,
  ) {
    this.#config = config;
    this.#budget = new IntakeBudget(config.maxIntakeBytes);
    this.#databases = databases;
    this.#requests = new DatabaseRequests(databases, maintenance);
    this.#figures = figures;
    this.#catalogRequests = new CatalogRequests(databases, named);
    this.#subscriptions = new Subscriptions(config.limits);
    this.#log = log;
    this.#hooks = hooks;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** A client has connected. */
  connect(stream: ByteStream): void {
    const connection: ClientConnection = new ClientConnection(
      this.#nextLane,
      stream,
      this.#config.limits,
      this.#budget,
      {
        frame: (payload) => this.#frame(connection, payload),
        refused: (code) => this.#figures.error(code),
        ended: () => {
          for (const database of this.#databases.all()) database.laneEnded(connection.lane);
        },
        closed: () => {
          if (!this.#connections.has(connection)) return;
          this.#connections.delete(connection);
          this.#figures.connections = this.#connections.size;
          this.#gates.delete(connection);
          this.#naming.delete(connection);
          this.#said.delete(connection.lane);
          this.#subscriptions.closed(connection);
          for (const database of this.#databases.all()) database.laneClosed(connection.lane);
          this.#hooks.activity();
        },
      },
    );
    const { max_connections: most } = this.#config.limits;
    if (this.#connections.size >= most) {
      this.#figures.error('QUEUE_FULL');
      connection.finish(Buffer.from(JSON.stringify(toErrorReply(tooManyConnections(most)))));
      return;
    }
    this.#nextLane = this.#nextLane === ROUTER_LANE - 1 ? 1 : this.#nextLane + 1;
    this.#connections.add(connection);
    this.#figures.connections = this.#connections.size;
    this.#hooks.activity();
  }

  /** While it is set, requests are refused; those accepted before are finished. */
  set refusing(refusing: boolean) {
    this.#refusing = refusing;
    for (const database of this.#databases.all()) database.stopLooking(refusing);
  }

  /** Something that was accepted still waits for the catalog, or is at work on it. */
  get naming(): boolean {
    return this.#naming.size > 0 || this.#catalogRequests.atWork;
  }

  /** Ends all connections, each when its answers have left. */
  disconnect(): void {
    for (const connection of this.#connections) connection.finish();
  }

  destroy(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  /** @throws ProtocolError when the stream cannot be understood any more */
  #frame(connection: ClientConnection, payload: Buffer): void {
    // A batch's statements stay unread: whether all of it is JSON is found where it is executed.
    const request = readBatchEnvelope(payload) ?? this.#parse(connection, payload);
    this.#figures.requests += 1;
    if (request === null) return;
    const slot = connection.accept(request.id, payload.length);
    try {
      // What is open may be brought to its end: no worker leaves before that.
      if (this.#refusing && !isStep(request)) throw shuttingDown();
      this.#dispatch(connection, slot, request, payload);
    } catch (error) {
      this.#fail(connection, slot, error);
    }
  }

  /**
   * Reads a frame whole.
   * @returns null when it is no request that the daemon knows: then it is answered
   */
  #parse(connection: ClientConnection, payload: Buffer): RoutedRequest | null {
    const object = parseObject(decodeText(payload));
    try {
      return decodeRequest(object);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      connection.answerError(connection.accept(usableId(object), payload.length), error);
      return null;
    }
  }

  #dispatch(connection: ClientConnection, slot: Slot, request: RoutedRequest, payload: Buffer): void {
    switch (request.type) {
      case 'Hello':
        this.#said.set(connection.lane, clientOf(request));
        this.#log.info({ client: clientOf(request), connection: connection.lane }, 'hello');
        connection.answerJson(
          slot,
          this.#reply(slot, {
            protocol: PROTOCOL_VERSION,
            version: VERSION,
            pid: process.pid,
            limits: this.#config.limits,
            hand_off: this.#hooks.handOff(),
            data_dir: this.#config.dataDir,
          }),
        );
        return;
      case 'Shutdown':
        this.#settle(
          connection,
          slot,
          this.#hooks.shutdown(request).then(() => ({})),
        );
        return;
      case 'Status':
        this.#settle(connection, slot, this.#status(request));
        return;
      case 'Metrics':
        this.#settle(connection, slot, this.#figures.metrics());
        return;
      case 'Ping':
        if (request.db === undefined) {
          connection.answerJson(
            slot,
            this.#reply(slot, { version: VERSION, pid: process.pid, uptime_ms: this.#figures.uptime }),
          );
          return;
        }
        break;
      case 'Unsubscribe':
        this.#subscriptions.unsubscribe(connection, request.subscription);
        connection.answerJson(slot, this.#reply(slot, {}));
        return;
      case 'Subscribe':
      case 'ExecBatch':
      case 'BeginTx':
      case 'Exec':
      case 'Commit':
      case 'Rollback':
      case 'PrepareForMaintenance':
      case 'CloseDatabase':
      case 'ReopenDatabase':
      case 'ReplaceDatabase':
      case 'Backup':
      case 'Checkpoint':
      case 'Attach':
        break;
      case 'CreateDatabase':
      case 'AlterDatabase':
      case 'DropDatabase':
      case 'RenameDatabase':
      case 'RestoreDatabase':
        this.#afterNaming(connection, this.#naming.get(connection) ?? Promise.resolve(), () =>
          this.#askCatalog(connection, slot, request),
        );
        return;
      case 'ListDatabases':
      case 'AdoptDirectory': {
        // What is behind them need not wait: what it means stays the same.
        const naming = this.#naming.get(connection);
        if (naming === undefined) void this.#askCatalog(connection, slot, request);
        else void naming.then(() => this.#askCatalog(connection, slot, request));
        return;
      }
      default:
        never(request);
    }
    // Its time runs from here, also while it waits for what follows.
    const deadline = isPassedOn(request) ? this.#deadlineOf(request) : 0;
    const naming = this.#naming.get(connection) ?? this.#databases.pending(request.db);
    if (naming === null) this.#toDatabase(connection, slot, request, payload, deadline);
    else
      this.#afterNaming(connection, naming, async () => {
        try {
          await this.#databases.pending(request.db);
          this.#toDatabase(connection, slot, request, payload, deadline);
        } catch (error) {
          this.#fail(connection, slot, error);
        }
      });
  }

  #askCatalog(connection: ClientConnection, slot: Slot, request: CatalogRequest): Promise<void> {
    return this.#settle(
      connection,
      slot,
      this.#catalogRequests.answer(request, this.#asker(connection, slot)),
    );
  }

  /** What this connection sends next waits for it, too: names may mean something else afterwards. */
  #afterNaming(connection: ClientConnection, naming: Promise<unknown>, work: () => Promise<void>): void {
    const until = naming.then(work, work);
    this.#naming.set(connection, until);
    void until.then(() => {
      if (this.#naming.get(connection) === until) this.#naming.delete(connection);
    });
  }

  /** @throws SkylineError when there can be no such database */
  #toDatabase(
    connection: ClientConnection,
    slot: Slot,
    request: PassedOn | SubscribeRequest | DatabaseRequest,
    payload: Buffer,
    deadline: number,
  ): void {
    const database = this.#databases.resolve(request.db);
    // What the gate waits for may be waiting for the transaction.
    const gate = isStep(request) ? undefined : this.#gates.get(connection)?.get(database);
    const session = 'session' in request && request.session !== undefined;
    const go = () => this.#forDatabase(connection, slot, database, request, { payload, deadline, session });
    // This client's earlier request for this database goes first.
    const until =
      gate === undefined
        ? go()
        : gate.then(go).catch((error: unknown) => this.#fail(connection, slot, error));
    if (until !== null) this.#gate(connection, database, until);
  }

  /** @returns until when this client's next request for this database must wait; null if it need not */
  #forDatabase(
    connection: ClientConnection,
    slot: Slot,
    database: RoutedDatabase,
    request: PassedOn | SubscribeRequest | DatabaseRequest,
    batch: Pick<Job, 'payload' | 'deadline' | 'session'>,
  ): Promise<void> | null {
    if (isPassedOn(request)) {
      this.#passOn(connection, slot, database, { ...batch, kind: PASSED_ON[request.type] });
      return null;
    }
    if (request.type === 'Subscribe') {
      void this.#subscribe(connection, slot, database, request);
      return null;
    }
    const asker = this.#asker(connection, slot);
    const answered = this.#settle(connection, slot, this.#requests.answer(database, request, asker));
    return CHANGES_STATE.has(request.type) ? answered : null;
  }

  #asker(connection: ClientConnection, slot: Slot): Asker {
    return {
      lane: connection.lane,
      id: slot.id,
      busy: connection.inFlight > 1,
      event: (event) => connection.event(slot, event),
      said: (lane) => this.#said.get(lane),
    };
  }

  #passOn(
    connection: ClientConnection,
    slot: Slot,
    database: RoutedDatabase,
    batch: Pick<Job, 'kind' | 'payload' | 'deadline' | 'session'>,
  ): void {
    const { lane } = connection;
    database.submit({
      lane,
      ...batch,
      isWanted: () => this.#connections.has(connection),
      reply: (reply, worker) => {
        const counted = reply.length >= COUNTED_REPLY ? () => worker.drained(lane, reply.length) : undefined;
        connection.answer(slot, reply, counted);
      },
      fail: (error) => this.#fail(connection, slot, error),
    });
  }

  /** Never rejects. */
  async #subscribe(
    connection: ClientConnection,
    slot: Slot,
    database: RoutedDatabase,
    request: SubscribeRequest,
  ): Promise<void> {
    // It may have waited for an earlier request while its client left.
    if (!this.#connections.has(connection)) return;
    try {
      const { fields, begin } = await this.#subscriptions.subscribe(connection, database, request);
      connection.answerJson(slot, this.#reply(slot, fields), begin);
    } catch (error) {
      this.#fail(connection, slot, error);
    }
  }

  async #status({ db, detail = false }: StatusRequest): Promise<object> {
    const chosen =
      db === undefined
        ? this.#databases.all().filter(({ left }) => !left)
        : [await this.#requests.located(db)];
    return await this.#figures.status(chosen, detail, (lane) => this.#said.get(lane));
  }

  /** Answers with what the promise brings, or with its error. Never rejects. */
  #settle(connection: ClientConnection, slot: Slot, work: Promise<object>): Promise<void> {
    return work.then(
      (fields) => connection.answerJson(slot, this.#reply(slot, fields)),
      (error: unknown) => this.#fail(connection, slot, error),
    );
  }

  #fail(connection: ClientConnection, slot: Slot, error: unknown): void {
    if (!(error instanceof SkylineError))
      this.#log.error({ err: error }, 'a request failed inside the daemon');
    connection.answerError(slot, error);
  }

  #gate(connection: ClientConnection, database: RoutedDatabase, until: Promise<unknown>): void {
    const gates = this.#gates.get(connection) ?? new Map<RoutedDatabase, Promise<unknown>>();
    this.#gates.set(connection, gates);
    gates.set(database, until);
    void until.then(() => {
      if (gates.get(database) !== until) return;
      gates.delete(database);
      if (gates.size === 0) this.#gates.delete(connection);
    });
  }

  /** On the machine's monotonic clock; 0 for none. */
  #deadlineOf(request: PassedOn): number {
    // How a transaction ends must be known.
    if (request.type === 'Commit' || request.type === 'Rollback') return 0;
    const { timeout_ms: ms = this.#config.batchTimeoutMs || undefined } = request;
    return ms === undefined ? 0 : monotonicMs() + ms;
  }

  #reply(slot: Slot, fields: object): object {
    return { status: 'ok', ...(slot.id === undefined ? {} : { id: slot.id }), ...fields };
  }
}

/** For the log, where a client's text must not take room without bound. */
function clientOf({ client = {} }: HelloRequest): object {
  return { ...client, name: client.name?.slice(0, 100), version: client.version?.slice(0, 100) };
}

function tooManyConnections(most: number): SkylineError {
  return new SkylineError(
    'QUEUE_FULL',
    `The daemon has ${most} connections, which is its limit (max_connections). Close some, or try again later.`,
    { details: { limit: 'max_connections', limit_value: most } },
  );
}

function isPassedOn(request: RoutedRequest): request is PassedOn {
  return Object.hasOwn(PASSED_ON, request.type);
}

/** A step of a transaction that is open. */
function isStep(request: RoutedRequest): boolean {
  return isPassedOn(request) && PASSED_ON[request.type] === 'step';
}

function shuttingDown(): SkylineError {
  return new SkylineError(
    'SHUTTING_DOWN',
    'The daemon is shutting down. Connect again: the client library starts a new one.',
  );
}
