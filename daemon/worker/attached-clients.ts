import { existsSync } from 'node:fs';
import { decodeRequest, usableId } from '../../protocol/decode-request.js';
import { checkSocketPath } from '../../protocol/endpoint.js';
import { readBatchEnvelope } from '../../protocol/envelope.js';
import { invalidRequest, SkylineError } from '../../protocol/errors.js';
import { asString, asTimeout } from '../../protocol/fields.js';
import { decodeText, type JsonObject } from '../../protocol/frame.js';
import {
  type ClientInfo,
  type DetachedEvent,
  type ErrorCode,
  PROTOCOL_VERSION,
  type RoutedRequest,
} from '../../protocol/messages.js';
import type { ByteStream, Listener } from '../../protocol/transport/node-ipc.js';
import { VERSION } from '../../protocol/transport/this-package.js';
import { AttachedJob } from './attached-job.js';
import { ClientConnection } from './client-connection.js';
import { type ClientJob, type Job, ParsedFrame } from './intake.js';
import { IntakeBudget } from './intake-budget.js';
import { monotonicMs, type Order, type WorkerOptions } from './link.js';
import type { Slot } from './open-requests.js';

/** Connections of attached clients are numbered from here on, those of the router's clients below. */
export const FIRST_ATTACHED_LANE = 0x8000_0000;
/** Of the router's own batches. */
export const ROUTER_LANE = FIRST_ATTACHED_LANE - 1;

/**
 * Bytes from which on a batch waits as it came: read, it is twice as large and more, and all that waits may be many megabytes.
 * To read it is little then beside what is done with it; a small one would be read twice for nothing.
 */
const WAITS_UNREAD = 4 * 1024;
/** Milliseconds that a client may take to read its last answers when the worker leaves. */
const GOODBYE_MS = 1_000;
const DETACHED = Buffer.from(JSON.stringify({ event: 'detached' } satisfies DetachedEvent));

/** What attached clients need of their service. */
export interface AttachedHooks {
  /** One of them has sent something. */
  accept(job: Job): void;
  /** So many bytes of replies have left for its side. */
  drained(lane: number, bytes: number): void;
  /** It wants this no more. */
  cancelled(job: ClientJob): void;
  /** It will send nothing more. */
  ended(lane: number): void;
  /** It has gone. */
  closed(lane: number): void;
  /** Whether it has a transaction open: then it is not sent away before that has ended. */
  holds(lane: number): boolean;
  /** A client was answered with this error, without its batch being looked at. */
  refused(code: ErrorCode): void;
}

/**
 * The clients that talk to this worker without the router in between. What they send waits in the same lanes and is
 * answered from the same place as what comes through the router; only the way is shorter.
 */
export class AttachedClients {
  readonly #options: WorkerOptions;
  readonly #hooks: AttachedHooks;
  readonly #connections = new Set<ClientConnection>();
  /** Connections that are to go when their transaction has ended. */
  readonly #leaving = new Set<ClientConnection>();
  /** What each has said of itself. */
  readonly #said = new Map<number, ClientInfo>();
  readonly #budget: IntakeBudget;
  #listening: Promise<Listener> | null = null;
  #closing: Promise<void> | null = null;
  #nextLane = FIRST_ATTACHED_LANE;
  #onGone: () => void = () => undefined;

  constructor(options: WorkerOptions, hooks: AttachedHooks) {
    this.#options = options;
    this.#budget = new IntakeBudget(options.maxIntakeBytes);
    this.#hooks = hooks;
  }

  /** Clients that are connected. */
  get size(): number {
    return this.#connections.size;
  }

  /**
   * Listens, unless it does already.
   * @returns the endpoint
   * @throws SkylineError when the socket's path is longer than the platform takes
   */
  async listen(): Promise<string> {
    const { socket } = this.#options;
    checkSocketPath(socket, process.platform);
    this.#listening ??= this.#serve(socket);
    await this.#listening;
    return socket;
  }

  /**
   * Takes nothing more. Each client gets the answers to what was taken from it, then learns that the rest was not, and goes
   * to the router.
   */
  detach(): void {
    if (this.#listening !== null) this.#closing = closeAfterAccepting(this.#listening);
    this.#listening = null;
    for (const connection of this.#connections)
      if (this.#hooks.holds(connection.lane)) this.#leaving.add(connection);
      else connection.finish(DETACHED);
  }

  /** A transaction of this client has ended. */
  released(lane: number): void {
    for (const connection of this.#leaving) {
      if (connection.lane !== lane || this.#hooks.holds(lane)) continue;
      this.#leaving.delete(connection);
      connection.finish(DETACHED);
    }
  }

  /** Who this is, as far as it has said so. */
  clientOf(lane: number): { client?: ClientInfo } {
    const client = this.#said.get(lane);
    return client === undefined ? {} : { client };
  }

  /** Resolves when all have got their last answers. Whoever has not read them after a time is left behind. */
  async gone(): Promise<void> {
    this.detach();
    await this.#closing;
    if (this.#connections.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        for (const connection of this.#connections) connection.destroy();
      }, GOODBYE_MS);
      this.#onGone = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #serve(endpoint: string): Promise<Listener> {
    // Loaded when the first client comes: many workers never have one.
    const { serve } = await import('../../protocol/transport/node-ipc.js');
    // Maintenance that has ended early: the socket is needed again.
    await this.#closing;
    return await serve(endpoint, (stream) => this.#connect(stream));
  }

  #connect(stream: ByteStream): void {
    const lane = this.#nextLane;
    this.#nextLane = lane === 0xffff_ffff ? FIRST_ATTACHED_LANE : lane + 1;
    const connection: ClientConnection = new ClientConnection(
      lane,
      stream,
      this.#options.limits,
      this.#budget,
      {
        frame: (payload) => this.#frame(connection, payload),
        refused: (code) => this.#hooks.refused(code),
        ended: () => this.#hooks.ended(lane),
        closed: () => {
          this.#connections.delete(connection);
          this.#leaving.delete(connection);
          this.#said.delete(lane);
          this.#hooks.closed(lane);
          if (this.#connections.size === 0) this.#onGone();
        },
      },
    );
    const full = this.#connections.size >= this.#options.limits.max_connections;
    this.#connections.add(connection);
    // There is the router's way for those over the limit, too.
    if (full || this.#listening === null) connection.finish(DETACHED);
  }

  /** @throws ProtocolError when the stream cannot be understood any more */
  #frame(connection: ClientConnection, payload: Buffer): void {
    const envelope = payload.length < WAITS_UNREAD ? null : readBatchEnvelope(payload);
    const frame = envelope?.type === 'ExecBatch' ? payload : new ParsedFrame(decodeText(payload));
    const fields = frame instanceof ParsedFrame ? frame.object : { ...envelope };
    const slot = connection.accept(usableId(fields), payload.length);
    try {
      if (fields.type !== 'ExecBatch' && !OF_TRANSACTIONS.has(fields.type)) {
        const request = decodeRequest(fields);
        if ('db' in request) this.#checkDatabase(request.db);
        this.#other(connection, slot, request);
        return;
      }
      // All else is checked where it is executed.
      this.#checkDatabase(fields.db);
      const deadline = this.#deadlineOf(fields);
      const job =
        frame instanceof ParsedFrame && fields.type !== 'ExecBatch'
          ? new AttachedJob('transaction', connection, slot, frame, deadline, this.#hooks)
          : new AttachedJob('batch', connection, slot, frame, deadline, this.#hooks);
      if (!mustBeKnown(fields)) slot.work = job;
      this.#hooks.accept(job);
    } catch (error) {
      connection.answerError(slot, error);
    }
  }

  /** On the machine's monotonic clock; 0 for none. */
  #deadlineOf(object: JsonObject): number {
    const { timeout_ms: timeout } = object;
    if (mustBeKnown(object)) return 0;
    if (timeout === undefined && this.#options.batchTimeoutMs === 0) return 0;
    return monotonicMs() + asTimeout(timeout ?? this.#options.batchTimeoutMs, 'timeout_ms');
  }

  /** @throws SkylineError for what belongs to the router */
  #other(connection: ClientConnection, slot: Slot, request: RoutedRequest): void {
    switch (request.type) {
      case 'Hello':
        if (request.client !== undefined) this.#said.set(connection.lane, request.client);
        this.#tell(connection, slot, { protocol: PROTOCOL_VERSION, limits: this.#options.limits });
        return;
      case 'Ping':
        this.#order(connection, slot, { op: 'position' }, (position) => ({
          uptime_ms: Math.round(performance.now()),
          db_path: this.#options.path,
          exists: existsSync(this.#options.path),
          state: 'open',
          rev: position.rev,
          epoch: position.epoch,
        }));
        return;
      case 'Checkpoint':
        this.#order(connection, slot, { op: 'checkpoint', mode: request.mode ?? 'passive' }, (done) => done);
        return;
      case 'Cancel':
        connection.answerJson(slot, {
          status: 'ok',
          ...(slot.id === undefined ? {} : { id: slot.id }),
          in_flight: connection.cancel(slot, request.target),
        });
        return;
      default:
        throw invalidRequest(
          `A worker's socket takes ExecBatch, BeginTx, Exec, Commit, Rollback, Cancel, Ping, Checkpoint and Hello. Send ${request.type} to the daemon's own endpoint, ${this.#options.endpoint}.`,
        );
    }
  }

  #order(
    connection: ClientConnection,
    slot: Slot,
    order: Order,
    fields: (answer: JsonObject) => object,
  ): void {
    this.#hooks.accept({
      kind: 'order',
      lane: connection.lane,
      order,
      settle: (answer) => {
        if ('ok' in answer) this.#tell(connection, slot, fields(answer.ok));
        else
          connection.answerFailure(slot, {
            ...answer.error,
            ...(slot.id === undefined ? {} : { id: slot.id }),
          });
      },
      event: () => undefined,
    });
  }

  #tell(connection: ClientConnection, slot: Slot, fields: object): void {
    const id = slot.id === undefined ? {} : { id: slot.id };
    connection.answerJson(slot, { status: 'ok', ...id, version: VERSION, pid: process.pid, ...fields });
  }

  /** @throws ProtocolError, SkylineError unless it is absent, or the database's path as the router tells it */
  #checkDatabase(value: unknown): void {
    if (value === undefined || value === this.#options.path) return;
    const db = asString(value, 'db');
    throw new SkylineError(
      'DATABASE_NOT_ALLOWED',
      `This socket is for ${this.#options.path} alone, but the request names ${JSON.stringify(db.slice(0, 200))}. Leave "db" out, name it as Attach did in "db_path", or ask the daemon's own endpoint.`,
    );
  }
}

const OF_TRANSACTIONS: ReadonlySet<unknown> = new Set(['BeginTx', 'Exec', 'Commit', 'Rollback']);

/** What has become of a transaction or batch must be known: that has no deadline, and is not cancelled. */
function mustBeKnown({ type, only_replay: asked }: JsonObject): boolean {
  return type === 'Commit' || type === 'Rollback' || (type === 'ExecBatch' && asked === true);
}

/**
 * Clients that were connected before may not have been accepted yet: the next look at the sockets does that. Otherwise
 * their connections would end without a word.
 */
async function closeAfterAccepting(listening: Promise<Listener>): Promise<void> {
  const listener = await listening.catch(() => null);
  // The first is run before that look, the second after it.
  for (let turn = 0; turn < 2; turn += 1) await new Promise(setImmediate);
  await listener?.close();
}
