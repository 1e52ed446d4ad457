import { decodeRequest, usableId } from '../protocol/decode-request.js';
import { readBatchEnvelope } from '../protocol/envelope.js';
import { never, ProtocolError, SkylineError } from '../protocol/errors.js';
import { decodeText, parseObject } from '../protocol/frame.js';
import type { CatalogRequest, PingRequest, RoutedRequest, SubscribeRequest } from '../protocol/messages.js';
import { CatalogRequests } from './catalog-requests.js';
import { Clients } from './clients.js';
import type { Config } from './config.js';
import type { DaemonFigures } from './daemon-figures.js';
import { type DaemonHooks, type DaemonRequest, DaemonRequests } from './daemon-requests.js';
import type { RoutedDatabase } from './database.js';
import { type Asker, type DatabaseRequest, DatabaseRequests, MAINTENANCE } from './database-requests.js';
import type { Databases } from './databases.js';
import type { Job, Progress } from './job.js';
import type { Logger } from './log.js';
import { cancelled } from './lost-batch.js';
import type { Maintenance } from './maintenance.js';
import type { NamedDatabases } from './named-databases.js';
import { deadlineOf, isCancellable, isPassedOn, isStep, PASSED_ON, type PassedOn } from './passed-on.js';
import { RequestOrder } from './request-order.js';
import { Subscriptions } from './subscriptions.js';
import type { ClientConnection } from './worker/client-connection.js';
import { COUNTED_REPLY } from './worker/link.js';
import type { Slot } from './worker/open-requests.js';

/** What the router cannot do by itself. */
export interface RouterHooks extends DaemonHooks {
  /** Clients came or went. */
  activity(): void;
}

/** Takes each client's requests to whoever can answer them. */
export class Router {
  readonly clients: Clients;
  readonly #config: Config;
  readonly #databases: Databases;
  readonly #figures: DaemonFigures;
  readonly #daemonRequests: DaemonRequests;
  readonly #databaseRequests: DatabaseRequests;
  readonly #catalogRequests: CatalogRequests;
  readonly #log: Logger;
  readonly #hooks: RouterHooks;
  readonly #subscriptions: Subscriptions;
  readonly #order = new RequestOrder();
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
    this.#databases = databases;
    this.#figures = figures;
    this.#daemonRequests = new DaemonRequests(config, databases, figures, log, hooks);
    this.#databaseRequests = new DatabaseRequests(databases, maintenance);
    this.#catalogRequests = new CatalogRequests(databases, named);
    this.#subscriptions = new Subscriptions(config.limits);
    this.#log = log;
    this.#hooks = hooks;
    this.clients = new Clients(config, figures, {
      opened: () => hooks.activity(),
      frame: (connection, payload) => this.#frame(connection, payload),
      ended: ({ lane }) => {
        for (const database of databases.all()) database.laneEnded(lane);
      },
      closed: (connection) => this.#closed(connection),
    });
  }

  /** While it is set, requests are refused; those accepted before are finished. */
  set refusing(refusing: boolean) {
    this.#refusing = refusing;
    for (const database of this.#databases.all()) database.stopLooking(refusing);
  }

  /** Something that was accepted still waits for the catalog, or is at work on it. */
  get naming(): boolean {
    return this.#order.naming || this.#catalogRequests.atWork;
  }

  #closed(connection: ClientConnection): void {
    this.#order.forget(connection);
    this.#daemonRequests.forget(connection.lane);
    this.#subscriptions.closed(connection);
    for (const database of this.#databases.all()) database.laneClosed(connection.lane);
    this.#hooks.activity();
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
      if (this.#refusing && !isStep(request) && request.type !== 'Cancel') throw shuttingDown();
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
      case 'Shutdown':
      case 'Status':
      case 'Metrics':
        this.#askDaemon(connection, slot, request);
        return;
      case 'Ping':
        if (request.db !== undefined) break;
        this.#askDaemon(connection, slot, request);
        return;
      case 'Unsubscribe':
        this.#subscriptions.unsubscribe(connection, request.subscription);
        connection.answerJson(slot, this.#reply(slot, {}));
        return;
      case 'Cancel':
        connection.answerJson(
          slot,
          this.#reply(slot, { in_flight: connection.cancel(slot, request.target) }),
        );
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
        this.#order.afterNaming(connection, this.#order.namingOf(connection) ?? Promise.resolve(), () =>
          this.#askCatalog(connection, slot, request),
        );
        return;
      case 'ListDatabases':
      case 'AdoptDirectory': {
        // What is behind them need not wait: what it means stays the same.
        const naming = this.#order.namingOf(connection);
        if (naming === undefined) void this.#askCatalog(connection, slot, request);
        else void naming.then(() => this.#askCatalog(connection, slot, request));
        return;
      }
      default:
        never(request);
    }
    // Its time runs from here, also while it waits for what follows.
    const deadline = isPassedOn(request) ? deadlineOf(request, this.#config.batchTimeoutMs) : 0;
    const naming = this.#order.namingOf(connection) ?? this.#databases.pending(request.db);
    if (naming === null) {
      this.#toDatabase(connection, slot, request, payload, deadline);
      return;
    }
    this.#waits(connection, slot, request);
    this.#order.afterNaming(connection, naming, async () => {
      try {
        await this.#databases.pending(request.db);
        if (!slot.done) this.#toDatabase(connection, slot, request, payload, deadline);
      } catch (error) {
        this.#fail(connection, slot, error);
      }
    });
  }

  /** It is not with its database yet. Cancelled, it never gets there. */
  #waits(connection: ClientConnection, slot: Slot, request: RoutedRequest): void {
    if (isCancellable(request))
      slot.work = { cancel: () => this.#fail(connection, slot, cancelled('not_applied')) };
  }

  #askDaemon(connection: ClientConnection, slot: Slot, request: DaemonRequest | PingRequest): void {
    const answer = this.#daemonRequests.answer(request, connection.lane);
    if (answer instanceof Promise) void this.#settle(connection, slot, answer);
    else connection.answerJson(slot, this.#reply(slot, answer));
  }

  #askCatalog(connection: ClientConnection, slot: Slot, request: CatalogRequest): Promise<void> {
    return this.#settle(
      connection,
      slot,
      this.#catalogRequests.answer(request, this.#asker(connection, slot)),
    );
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
    const gate = isStep(request) ? undefined : this.#order.gateOf(connection, database);
    const session = 'session' in request && request.session !== undefined;
    const go = () => this.#forDatabase(connection, slot, database, request, { payload, deadline, session });
    // This client's earlier request for this database goes first.
    if (gate !== undefined) this.#waits(connection, slot, request);
    const until =
      gate === undefined
        ? go()
        : gate
            .then(() => (slot.done ? null : go()))
            .catch((error: unknown) => this.#fail(connection, slot, error));
    if (until !== null) this.#order.gate(connection, database, until);
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
      const progress = this.#passOn(connection, slot, database, PASSED_ON[request.type], batch);
      slot.work = isCancellable(request) ? progress : null;
      return null;
    }
    if (request.type === 'Subscribe') {
      void this.#subscribe(connection, slot, database, request);
      return null;
    }
    const asker = this.#asker(connection, slot);
    const answered = this.#settle(connection, slot, this.#databaseRequests.answer(database, request, asker));
    return MAINTENANCE.has(request.type) ? answered : null;
  }

  #asker(connection: ClientConnection, slot: Slot): Asker {
    return {
      lane: connection.lane,
      id: slot.id,
      busy: connection.inFlight > 1,
      event: (event) => connection.event(slot, event),
      said: this.#daemonRequests.said,
    };
  }

  #passOn(
    connection: ClientConnection,
    slot: Slot,
    database: RoutedDatabase,
    kind: Job['kind'],
    { payload, deadline, session }: Pick<Job, 'payload' | 'deadline' | 'session'>,
  ): Progress {
    const { lane } = connection;
    return database.submit({
      kind,
      lane,
      payload,
      deadline,
      session,
      isWanted: () => this.clients.has(connection),
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
    if (!this.clients.has(connection)) return;
    try {
      const { fields, begin } = await this.#subscriptions.subscribe(connection, database, request);
      connection.answerJson(slot, this.#reply(slot, fields), begin);
    } catch (error) {
      this.#fail(connection, slot, error);
    }
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

  #reply(slot: Slot, fields: object): object {
    return { status: 'ok', ...(slot.id === undefined ? {} : { id: slot.id }), ...fields };
  }
}

function shuttingDown(): SkylineError {
  return new SkylineError(
    'SHUTTING_DOWN',
    'The daemon is shutting down. Connect again: the client library starts a new one.',
  );
}
