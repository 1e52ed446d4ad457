import { decodeExecBatch } from '../../protocol/decode-request.js';
import { messageOf, never, SkylineError, toErrorReply } from '../../protocol/errors.js';
import { decodeText, type JsonObject, parseObject } from '../../protocol/frame.js';
import type { RequestId } from '../../protocol/messages.js';
import { Guard } from './batch.js';
import { walBytes } from './checkpoint.js';
import { backup, stage } from './copy.js';
import { idField } from './execute.js';
import { Lanes } from './lanes.js';
import {
  COUNTED_REPLY,
  type LinkFrame,
  LinkKind,
  type Notice,
  type Order,
  type Position,
  type WorkerOptions,
  type WorkerStats,
} from './link.js';
import { Metrics } from './metrics.js';
import { ServedDatabase } from './served-database.js';
import { fromSqlite } from './sqlite-errors.js';
import { reopen, swapIn } from './take-over.js';

/** How a service speaks to its router. */
export interface Outlet {
  send(kind: LinkKind, tag: number, lane: number, number: number, payload?: Buffer): void;
  /** After the last frame: the process may leave. */
  leave(): void;
}

type Job =
  | {
      readonly kind: 'batch';
      readonly lane: number;
      readonly tag: number;
      readonly payload: Buffer;
      readonly deadline: number;
      readonly received: number;
    }
  | {
      readonly kind: 'order';
      readonly lane: number;
      readonly tag: number;
      readonly order: Order;
      readonly received: number;
    };

/** Milliseconds of work after which waiting input is looked at. */
const TURN_MS = 5;
/** Milliseconds without work after which the main file is made complete. */
const SETTLE_MS = 1_000;

/**
 * Serves one database: takes what the router sends, one thing at a time, and answers. The queue, its order and the
 * answers are here; what a batch does is ServedDatabase's.
 */
export class DatabaseService {
  readonly #options: WorkerOptions;
  readonly #outlet: Outlet;
  readonly #database: ServedDatabase;
  readonly #guard = new Guard();
  readonly #lanes = new Lanes<Job>();
  /** Orders that wait until the queue is empty. */
  readonly #finals: Job[] = [];
  readonly #metrics = new Metrics();
  readonly #background = new Set<Promise<void>>();
  #running = false;
  /** The file is closed for good: the process leaves when its last answer is out. */
  #closed = false;
  #idleTimer: NodeJS.Timeout | undefined;
  #settleTimer: NodeJS.Timeout | undefined;

  constructor(options: WorkerOptions, outlet: Outlet) {
    this.#options = options;
    this.#outlet = outlet;
    this.#database = new ServedDatabase(options, (position) => this.#notice({ event: 'opened', position }));
    this.#rest();
  }

  /** Takes one frame from the router. */
  receive(frame: LinkFrame): void {
    const received = performance.now();
    switch (frame.kind) {
      case LinkKind.Request:
        this.#lanes.push({
          kind: 'batch',
          lane: frame.lane,
          tag: frame.tag,
          payload: frame.payload,
          deadline: frame.number,
          received,
        });
        break;
      case LinkKind.Order:
        this.#accept({
          kind: 'order',
          lane: frame.lane,
          tag: frame.tag,
          order: JSON.parse(frame.payload.toString('utf8')) as Order,
          received,
        });
        break;
      case LinkKind.LaneClosed:
        this.#lanes.close(frame.lane);
        break;
      case LinkKind.Drained:
        this.#lanes.drained(frame.lane, frame.number);
        break;
      default:
        return;
    }
    void this.#pump();
  }

  /** The router has gone: leave the file as it is and go. Nothing runs now, since all work is synchronous. */
  abandon(): void {
    this.#database.close();
  }

  #accept(job: Extract<Job, { kind: 'order' }>): void {
    if (job.lane > 0) this.#lanes.push(job);
    else if (job.order.op === 'stats') this.#answer(job.tag, 0, { ok: this.#stats() });
    else this.#finals.push(job);
  }

  /** Works until nothing can run. Only one pump runs at a time: one database, one writer. */
  async #pump(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    clearTimeout(this.#idleTimer);
    clearTimeout(this.#settleTimer);
    let turn = performance.now();
    for (;;) {
      // An order that waits for the end of the queue also waits for clients that do not read: they are not asked.
      const job = this.#lanes.next(this.#finals.length > 0) ?? this.#finals.shift();
      if (job === undefined) break;
      if (job.kind === 'batch') await this.#runBatch(job);
      else await this.#runOrder(job);
      if (performance.now() - turn > TURN_MS) {
        await new Promise(setImmediate);
        turn = performance.now();
      }
    }
    this.#running = false;
    this.#quiet(false);
    this.#rest();
  }

  async #runBatch(job: Extract<Job, { kind: 'batch' }>): Promise<void> {
    this.#outlet.send(LinkKind.Started, job.tag, 0, 0);
    let id: RequestId | undefined;
    let reply: string;
    let failed = false;
    try {
      const text = decodeText(job.payload);
      const request = decodeExecBatch(parseObject(text), this.#options.limits);
      id = request.id;
      reply = await this.#database.execute(this.#guard.check(request, text), job.deadline);
    } catch (error) {
      failed = true;
      reply = JSON.stringify(this.#failure(error, id ?? idOf(job.payload)));
    }
    const payload = Buffer.from(reply);
    if (payload.length >= COUNTED_REPLY) this.#lanes.sent(job.lane, payload.length);
    this.#outlet.send(LinkKind.Reply, job.tag, job.lane, this.#database.position.rev, payload);
    this.#metrics.answered(job.received, failed);
  }

  async #runOrder(job: Extract<Job, { kind: 'order' }>): Promise<void> {
    if (job.order.op === 'backup') {
      // Everything sent before it is in it; what comes after need not wait for it.
      const running = this.#backup(job.tag, job.lane, job.order).finally(() =>
        this.#background.delete(running),
      );
      this.#background.add(running);
      return;
    }
    try {
      this.#answer(job.tag, job.lane, { ok: await this.#obey(job.order, job.tag) });
    } catch (error) {
      this.#answer(job.tag, job.lane, { error: this.#failure(error, undefined) });
    }
    if (job.order.op === 'close' && this.#closed) this.#outlet.leave();
  }

  async #obey(order: Exclude<Order, { op: 'backup' }>, tag: number): Promise<JsonObject> {
    const database = this.#database;
    switch (order.op) {
      case 'serve':
        throw new SkylineError('INTERNAL', 'This worker serves a database already.');
      case 'stats':
        return { ...this.#stats() };
      case 'position':
        await database.open();
        return { ...database.position };
      case 'checkpoint': {
        await database.file();
        return { ...database.checkpoint(order.mode) };
      }
      case 'prepare':
        await database.checkpointAll(order.timeoutMs);
        return { ...database.position };
      case 'close': {
        await Promise.allSettled(this.#background);
        if (order.timeoutMs > 0) await database.checkpointAll(order.timeoutMs);
        const { position } = database;
        database.close();
        this.#closed = true;
        return { ...position };
      }
      case 'reopen':
        return { ...(await reopen(database, this.#options.known, order)) };
      case 'stage':
        await stage(order.from, order.staged, this.#progress(tag, 0, order.id));
        return {};
      case 'swap':
        return { ...(await this.#swapIn(order.staged, order.backup)) };
      default:
        return never(order);
    }
  }

  #swapIn(staged: string, kept: string): Promise<Position> {
    const { routerPid, endpoint, known } = this.#options;
    return swapIn(this.#database, known, { staged, kept, self: { pid: process.pid, routerPid, endpoint } });
  }

  async #backup(tag: number, lane: number, order: Extract<Order, { op: 'backup' }>): Promise<void> {
    try {
      const { handle } = (await this.#database.file()).connection;
      const done = await backup(handle, order.to, order.overwrite, this.#progress(tag, lane, order.id));
      this.#answer(tag, lane, { ok: done });
    } catch (error) {
      this.#answer(tag, lane, { error: this.#failure(fromSqlite(error, order.to), undefined) });
    }
  }

  #progress(tag: number, lane: number, id: RequestId | undefined) {
    let last = 0;
    return (done: number, total: number): void => {
      const now = performance.now();
      if (done < total && now - last < 50) return;
      last = now;
      const event = `{"event":"progress"${idField(id)},"pages_done":${done},"pages_total":${total}}`;
      this.#outlet.send(LinkKind.Event, tag, lane, 0, Buffer.from(event));
    };
  }

  #answer(tag: number, lane: number, answer: { ok: unknown } | { error: unknown }): void {
    this.#outlet.send(
      LinkKind.Reply,
      tag,
      lane,
      this.#database.position.rev,
      Buffer.from(JSON.stringify(answer)),
    );
  }

  #failure(error: unknown, id: RequestId | undefined) {
    const reply = toErrorReply(error, id);
    if (reply.code === 'INTERNAL') {
      this.#notice({
        event: 'log',
        level: 'error',
        message: messageOf(error),
        stack: error instanceof Error ? error.stack : undefined,
      });
    }
    return reply;
  }

  #notice(notice: Notice): void {
    this.#outlet.send(LinkKind.Notice, 0, 0, 0, Buffer.from(JSON.stringify(notice)));
  }

  #quiet(longer: boolean): void {
    try {
      this.#database.quiet(longer);
    } catch (error) {
      this.#notice({ event: 'log', level: 'warn', message: `checkpoint: ${messageOf(error)}` });
    }
  }

  /** Nothing to do: set the clocks for a checkpoint and for leaving. */
  #rest(): void {
    if (this.#closed) return;
    this.#settleTimer = setTimeout(() => this.#quiet(true), SETTLE_MS).unref();
    if (this.#options.idleTimeoutMs === 0) return;
    this.#idleTimer = setTimeout(() => {
      if (this.#background.size === 0) this.#notice({ event: 'idle' });
      this.#rest();
    }, this.#options.idleTimeoutMs).unref();
  }

  #stats(): WorkerStats {
    return {
      ...this.#metrics.figures,
      commits: this.#database.commits,
      checkpoints: this.#database.checkpoints,
      queueDepth: this.#lanes.size + (this.#running ? 1 : 0),
      walBytes: walBytes(this.#options.path),
    };
  }
}

/** The id of a request whose statements are not what they must be. The router has checked that it is one. */
function idOf(payload: Buffer): RequestId | undefined {
  try {
    const { id } = JSON.parse(payload.toString('utf8')) as { id?: RequestId };
    return id;
  } catch {
    return undefined;
  }
}
