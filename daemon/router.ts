import { existsSync } from 'node:fs';
import { decodeRequest } from '../protocol/decode-request.js';
import { invalidRequest, never, ProtocolError, SkylineError } from '../protocol/errors.js';
import { decodeText, parseObject } from '../protocol/frame.js';
import {
  type BackupRequest,
  type DatabaseStatus,
  PROTOCOL_VERSION,
  type ReplaceDatabaseRequest,
  type RoutedRequest,
} from '../protocol/messages.js';
import type { ByteStream } from '../protocol/transport/node-ipc.js';
import { ClientConnection, type Slot } from './client-connection.js';
import type { Config } from './config.js';
import type { RoutedDatabase } from './database.js';
import type { Databases } from './databases.js';
import { lookAt } from './identity.js';
import type { Logger } from './log.js';
import { DEFAULT_MAINTENANCE_MS, type Maintenance } from './maintenance.js';
import { VERSION } from './version.js';
import { alreadyThere } from './worker/copy.js';
import { COUNTED_REPLY, monotonicMs, type Position, type WorkerStats } from './worker/link.js';

/** Milliseconds after which Status takes the last known figures of a worker that is busy. */
const STATS_WAIT_MS = 250;

/** What the router cannot do by itself. */
export interface RouterHooks {
  /** Finish what was accepted, close everything; the promise resolves before the process exits. */
  shutdown(reason: string): Promise<void>;
  /** Clients came or went, or something was answered. */
  activity(): void;
}

/** Takes each client's requests to whoever can answer them. */
export class Router {
  readonly #config: Config;
  readonly #databases: Databases;
  readonly #maintenance: Maintenance;
  readonly #log: Logger;
  readonly #hooks: RouterHooks;
  readonly #connections = new Set<ClientConnection>();
  readonly #started = performance.now();
  /** Connections with a request in progress that must be finished before their next one for the same database. */
  readonly #gates = new Map<ClientConnection, Map<RoutedDatabase, Promise<void>>>();
  #nextLane = 1;
  #requests = 0;
  #refusing = false;

  constructor(
    config: Config,
    databases: Databases,
    maintenance: Maintenance,
    log: Logger,
    hooks: RouterHooks,
  ) {
    this.#config = config;
    this.#databases = databases;
    this.#maintenance = maintenance;
    this.#log = log;
    this.#hooks = hooks;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Requests without an answer, of all clients. */
  get inFlight(): number {
    let sum = 0;
    for (const connection of this.#connections) sum += connection.inFlight;
    return sum;
  }

  /** A client has connected. */
  connect(stream: ByteStream): void {
    const connection: ClientConnection = new ClientConnection(this.#nextLane, stream, this.#config.limits, {
      frame: (payload) => this.#frame(connection, payload),
      closed: () => {
        this.#connections.delete(connection);
        this.#gates.delete(connection);
        for (const database of this.#databases.all()) database.laneClosed(connection.lane);
        this.#hooks.activity();
      },
    });
    this.#nextLane = this.#nextLane === 0xffff_ffff ? 1 : this.#nextLane + 1;
    this.#connections.add(connection);
    this.#hooks.activity();
  }

  /** From now on requests are refused; those accepted before are finished. */
  refuse(): void {
    this.#refusing = true;
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
    const object = parseObject(decodeText(payload));
    this.#requests += 1;
    let request: RoutedRequest;
    try {
      request = decodeRequest(object);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      const { id } = object;
      const usable = typeof id === 'string' || (typeof id === 'number' && Number.isSafeInteger(id));
      connection.answerError(connection.accept(usable ? id : undefined, payload.length), error);
      return;
    }
    const slot = connection.accept(request.id, payload.length);
    try {
      if (this.#refusing) throw shuttingDown();
      this.#dispatch(connection, slot, request, payload);
    } catch (error) {
      this.#fail(connection, slot, error);
    }
  }

  #dispatch(connection: ClientConnection, slot: Slot, request: RoutedRequest, payload: Buffer): void {
    switch (request.type) {
      case 'Hello':
        connection.answerJson(
          slot,
          this.#reply(slot, {
            protocol: PROTOCOL_VERSION,
            version: VERSION,
            pid: process.pid,
            limits: this.#config.limits,
          }),
        );
        return;
      case 'Shutdown':
        void this.#hooks
          .shutdown('a client asked for it')
          .then(() => connection.answerJson(slot, this.#reply(slot, {})));
        return;
      case 'Status':
        this.#settle(connection, slot, this.#status(request.db));
        return;
      case 'Ping':
        if (request.db === undefined) {
          connection.answerJson(
            slot,
            this.#reply(slot, { version: VERSION, pid: process.pid, uptime_ms: this.#uptime() }),
          );
          return;
        }
        break;
      case 'ExecBatch':
      case 'PrepareForMaintenance':
      case 'CloseDatabase':
      case 'ReopenDatabase':
      case 'ReplaceDatabase':
      case 'Backup':
      case 'Checkpoint':
        break;
      default:
        never(request);
    }
    const database = this.#databases.resolve(request.db);
    const gate = this.#gates.get(connection)?.get(database);
    if (gate === undefined) this.#forDatabase(connection, slot, database, request, payload);
    else {
      // This client's earlier request for this database goes first.
      const next = gate.then(() => {
        try {
          this.#forDatabase(connection, slot, database, request, payload);
        } catch (error) {
          this.#fail(connection, slot, error);
        }
      });
      this.#gate(connection, database, next);
    }
  }

  #forDatabase(
    connection: ClientConnection,
    slot: Slot,
    database: RoutedDatabase,
    request: DatabaseRequest,
    payload: Buffer,
  ): void {
    switch (request.type) {
      case 'ExecBatch':
        database.submit({
          lane: connection.lane,
          payload,
          deadline: request.timeout_ms === undefined ? 0 : monotonicMs() + request.timeout_ms,
          reply: (reply, worker) => {
            const counted =
              reply.length >= COUNTED_REPLY ? () => worker.drained(connection.lane, reply.length) : undefined;
            connection.answer(slot, reply, counted);
            this.#hooks.activity();
          },
          fail: (error) => this.#fail(connection, slot, error),
        });
        return;
      case 'Ping':
        this.#settle(connection, slot, this.#pingDatabase(connection, database));
        return;
      case 'Backup':
        this.#settle(connection, slot, this.#backup(connection, slot, database, request));
        return;
      case 'Checkpoint':
        database.refuseUnlessOpen();
        mustExist(database);
        this.#settle(
          connection,
          slot,
          database.order({ op: 'checkpoint', mode: request.mode ?? 'passive' }, connection.lane),
        );
        return;
      default:
        this.#gate(
          connection,
          database,
          this.#settle(connection, slot, this.#maintain(connection, slot, database, request)),
        );
    }
  }

  async #maintain(
    connection: ClientConnection,
    slot: Slot,
    database: RoutedDatabase,
    request: MaintenanceRequest,
  ): Promise<object> {
    switch (request.type) {
      case 'PrepareForMaintenance':
        await this.#maintenance.prepare(database, request.timeout_ms ?? DEFAULT_MAINTENANCE_MS);
        return { checkpointed: true };
      case 'CloseDatabase':
        await this.#maintenance.close(database, request.timeout_ms ?? DEFAULT_MAINTENANCE_MS);
        return { closed: true };
      case 'ReopenDatabase':
        return await this.#maintenance.reopen(database, request.allow_missing ?? false);
      case 'ReplaceDatabase':
        return await this.#replace(connection, slot, database, request);
      default:
        return never(request);
    }
  }

  async #replace(
    connection: ClientConnection,
    slot: Slot,
    database: RoutedDatabase,
    request: ReplaceDatabaseRequest,
  ): Promise<object> {
    const from = this.#databases.checkFile(request.from);
    if (from === database.path)
      throw invalidRequest('"from" is the database itself. Name the file with the new contents.');
    const done = await this.#maintenance.replace(
      database,
      from,
      request.timeout_ms ?? DEFAULT_MAINTENANCE_MS,
      request.id,
      (event) => connection.event(slot, event),
    );
    return { replaced: true, ...done };
  }

  async #backup(
    connection: ClientConnection,
    slot: Slot,
    database: RoutedDatabase,
    request: BackupRequest,
  ): Promise<object> {
    database.refuseUnlessOpen();
    mustExist(database);
    const to = this.#databases.checkFile(request.to);
    if (to === database.path || (this.#databases.find(to)?.worker ?? null) !== null) {
      throw new SkylineError('DATABASE_NOT_ALLOWED', `${to} is a database in use. Back up to another file.`);
    }
    if (request.overwrite !== true && existsSync(to)) throw alreadyThere(to);
    const order = {
      op: 'backup',
      to,
      overwrite: request.overwrite ?? false,
      ...(slot.id === undefined ? {} : { id: slot.id }),
    } as const;
    return await database.order(order, connection.lane, (event) => connection.event(slot, event));
  }

  async #pingDatabase(connection: ClientConnection, database: RoutedDatabase): Promise<object> {
    const exists = lookAt(database.path) !== undefined;
    // Behind this client's own batches, so that it sees their rev; otherwise what is known is as good.
    const ask =
      exists &&
      database.state === 'open' &&
      (database.known === null || database.worker === null || connection.inFlight > 1);
    const position = ask
      ? ((await database.order({ op: 'position' }, connection.lane)) as unknown as Position)
      : database.known;
    return {
      version: VERSION,
      db_path: database.path,
      exists,
      state: database.state,
      rev: position?.rev ?? 0,
      epoch: position?.epoch ?? 1,
    };
  }

  async #status(db: string | undefined): Promise<object> {
    const chosen = db === undefined ? this.#databases.all() : [this.#databases.resolve(db)];
    return {
      version: VERSION,
      pid: process.pid,
      uptime_ms: this.#uptime(),
      endpoint: this.#config.endpoint,
      data_dir: this.#config.dataDir,
      state_dir: this.#config.stateDir,
      connections: this.#connections.size,
      workers: this.#databases.all().filter(({ worker }) => worker !== null).length,
      requests: this.#requests,
      databases: await Promise.all(chosen.map(databaseStatus)),
    };
  }

  /** Answers with what the promise brings, or with its error. Never rejects. */
  #settle(connection: ClientConnection, slot: Slot, work: Promise<object>): Promise<void> {
    return work.then(
      (fields) => {
        connection.answerJson(slot, this.#reply(slot, fields));
        this.#hooks.activity();
      },
      (error: unknown) => this.#fail(connection, slot, error),
    );
  }

  #fail(connection: ClientConnection, slot: Slot, error: unknown): void {
    if (!(error instanceof SkylineError))
      this.#log.error({ err: error }, 'a request failed inside the daemon');
    connection.answerError(slot, error);
    this.#hooks.activity();
  }

  #gate(connection: ClientConnection, database: RoutedDatabase, until: Promise<void>): void {
    const gates = this.#gates.get(connection) ?? new Map<RoutedDatabase, Promise<void>>();
    this.#gates.set(connection, gates);
    gates.set(database, until);
    void until.then(() => {
      if (gates.get(database) !== until) return;
      gates.delete(database);
      if (gates.size === 0) this.#gates.delete(connection);
    });
  }

  #reply(slot: Slot, fields: object): object {
    return { status: 'ok', ...(slot.id === undefined ? {} : { id: slot.id }), ...fields };
  }

  #uptime(): number {
    return Math.round(performance.now() - this.#started);
  }
}

type DatabaseRequest = Exclude<RoutedRequest, { type: 'Hello' | 'Shutdown' | 'Status' }>;
type MaintenanceRequest = Exclude<DatabaseRequest, { type: 'ExecBatch' | 'Ping' | 'Backup' | 'Checkpoint' }>;

function shuttingDown(): SkylineError {
  return new SkylineError(
    'SHUTTING_DOWN',
    'The daemon is shutting down. Connect again: the client library starts a new one.',
  );
}

function mustExist(database: RoutedDatabase): void {
  if (lookAt(database.path) === undefined) {
    throw new SkylineError('DATABASE_NOT_FOUND', `There is no database at ${database.path}. Check the path.`);
  }
}

async function databaseStatus(database: RoutedDatabase): Promise<DatabaseStatus> {
  const worker = database.worker;
  const stats =
    worker === null ? null : await soon(worker.order({ op: 'stats' }) as unknown as Promise<WorkerStats>);
  return {
    db_path: database.path,
    state: database.state,
    rev: database.known?.rev ?? 0,
    epoch: database.known?.epoch ?? 1,
    worker_pid: worker?.pid ?? null,
    queue_depth: database.depth,
    wal_bytes: stats?.walBytes ?? 0,
    counters: {
      batches: stats?.batches ?? 0,
      failed: stats?.failed ?? 0,
      commits: stats?.commits ?? 0,
      checkpoints: stats?.checkpoints ?? 0,
      worker_restarts: database.restarts,
    },
    latency_us: stats?.latencyUs ?? null,
    stale: worker !== null && stats === null,
  };
}

/** null when it takes too long or fails: a busy worker must not hold up the figures of all others. */
async function soon<T>(work: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), STATS_WAIT_MS);
  });
  try {
    return await Promise.race([work.catch(() => null), late]);
  } finally {
    clearTimeout(timer);
  }
}
