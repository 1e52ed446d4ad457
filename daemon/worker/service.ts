import { messageOf, never, SkylineError, toErrorReply } from '../../protocol/errors.js';
import type { JsonObject } from '../../protocol/frame.js';
import type { RequestId } from '../../protocol/messages.js';
import type { CheckedBatch } from './batch.js';
import { walBytes } from './checkpoint.js';
import { Copies } from './copies.js';
import type { Outcome } from './execute.js';
import { type BatchJob, Intake, type Job, type OrderJob, type Prepared } from './intake.js';
import {
  COUNTED_REPLY,
  type LinkFrame,
  LinkKind,
  type Notice,
  type Order,
  type Outlet,
  type WorkerOptions,
  type WorkerStats,
} from './link.js';
import { Metrics } from './metrics.js';
import { Rest } from './rest.js';
import { ServedDatabase } from './served-database.js';
import { fromSqlite } from './sqlite-errors.js';
import { reopen, swapIn } from './take-over.js';

type Executable = Prepared & { readonly batch: CheckedBatch };

/**
 * Serves one database: takes what the router sends, one thing at a time, and answers. The queue, its order and the
 * answers are here; what a batch does is ServedDatabase's.
 */
export class DatabaseService {
  readonly #options: WorkerOptions;
  readonly #outlet: Outlet;
  readonly #database: ServedDatabase;
  readonly #intake: Intake;
  /** Orders that wait until the queue is empty. */
  readonly #finals: Job[] = [];
  readonly #metrics = new Metrics();
  readonly #rest: Rest;
  readonly #copies = new Copies();
  #running = false;
  /** The batch with a deadline that runs; 0 for none. */
  #watched = 0;
  /** The file is closed for good: the process leaves when its last answer is out. */
  #closed = false;

  constructor(options: WorkerOptions, outlet: Outlet) {
    this.#options = options;
    this.#outlet = outlet;
    this.#intake = new Intake(options.limits);
    this.#database = new ServedDatabase(options, (position) => this.#notice({ event: 'opened', position }));
    this.#rest = new Rest(options.idleTimeoutMs, {
      settle: () => {
        if (!this.#running) this.#quiet(true);
      },
      idle: () => {
        if (!this.#running && !this.#copies.busy) this.#notice({ event: 'idle' });
      },
    });
  }

  /** Takes one frame from the router. */
  receive(frame: LinkFrame): void {
    const received = performance.now();
    switch (frame.kind) {
      case LinkKind.Request:
        this.#intake.lanes.push({
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
        });
        break;
      case LinkKind.LaneClosed:
        this.#intake.lanes.close(frame.lane);
        break;
      case LinkKind.Drained:
        this.#intake.lanes.drained(frame.lane, frame.number);
        break;
      default:
        return;
    }
    void this.#pump();
  }

  /** The router has gone: leave the file as it is and go. Nothing runs now, since all work is synchronous. */
  abandon(): void {
    this.#database.close();
    this.#copies.discard();
  }

  #accept(job: OrderJob): void {
    if (job.lane > 0) this.#intake.lanes.push(job);
    else if (job.order.op === 'stats') this.#answer(job.tag, 0, { ok: this.#stats() });
    else this.#finals.push(job);
  }

  /** Works until nothing can run. Only one pump runs at a time: one database, one writer. */
  async #pump(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    let worked = false;
    for (let job = this.#next(); job !== undefined; job = this.#next()) {
      worked = true;
      if (job.kind === 'order') await this.#runOrder(job);
      else await this.#runGroup(this.#intake.gather(job, this.#finals.length > 0));
      if (this.#intake.lanes.size > 0) await new Promise(setImmediate);
    }
    this.#running = false;
    // Clients that go, and questions for figures, are no work: they do not keep the worker here.
    if (!worked) return;
    this.#quiet(false);
    if (!this.#closed) this.#rest.begin();
  }

  /** What comes next: what waits in the lanes, then the orders that waited for their end. */
  #next(): Job | undefined {
    return this.#intake.next(this.#finals.length > 0) ?? this.#finals.shift();
  }

  /** Executes a group and answers: after the commit, all in one write. */
  async #runGroup(group: readonly Prepared[]): Promise<void> {
    let rest = group.filter((one) => one.batch !== null) as Executable[];
    this.#announce(rest);
    // Nothing is committed before the router can know that it was in hand: otherwise it would give it to another worker.
    await this.#outlet.flushed();
    for (const { job, id, refusal } of group.filter((one) => one.batch === null))
      this.#reply(job, { error: refusal, rev: this.#database.position.rev }, id);
    let together = true;
    while (rest.length > 0) {
      const outcomes = await this.#executeSome(rest, together);
      // What has broken the group once would break it again: the others follow one by one.
      if (outcomes.length === 1) together = false;
      for (const [index, outcome] of outcomes.entries()) {
        const done = rest[index];
        if (done !== undefined) this.#reply(done.job, outcome, done.id);
      }
      rest = rest.slice(outcomes.length);
    }
  }

  /** @returns the outcomes of the first ones, at least one */
  async #executeSome(group: readonly Executable[], together: boolean): Promise<Outcome[]> {
    const work = group.map(({ batch, job }) => ({ batch, deadline: job.deadline }));
    const begin = (index: number) => this.#beginning(group[index]?.job);
    const outcomes = together && work.length > 1 ? this.#database.executeTogether(work, begin) : null;
    if (outcomes !== null) return outcomes;
    const [first] = work;
    return first === undefined ? [] : [await this.#database.execute(first, begin)];
  }

  /** Tells the router what is in hand from now on. */
  #announce(group: readonly Executable[]): void {
    const tags = Buffer.allocUnsafe(4 * group.length);
    for (const [index, { job }] of group.entries()) tags.writeUInt32LE(job.tag, 4 * index);
    this.#outlet.send(LinkKind.Started, 0, 0, 0, tags);
  }

  /**
   * Tells the router which batch runs, where that matters: it stops the one that is past its deadline and no other.
   * @returns until it can know; undefined when it can already
   */
  #beginning(job: BatchJob | undefined): Promise<void> | undefined {
    const tag = job === undefined || job.deadline === 0 ? 0 : job.tag;
    if (tag === 0 && this.#watched === 0) return undefined;
    this.#watched = tag;
    this.#outlet.send(LinkKind.Running, tag, 0, job?.deadline ?? 0);
    return this.#outlet.flushed();
  }

  #reply(
    job: BatchJob,
    outcome: { readonly rev: number } & ({ readonly reply: string } | { readonly error: unknown }),
    id: RequestId | undefined,
  ): void {
    const failed = 'error' in outcome;
    const payload = Buffer.from(failed ? JSON.stringify(this.#failure(outcome.error, id)) : outcome.reply);
    if (payload.length >= COUNTED_REPLY) this.#intake.lanes.sent(job.lane, payload.length);
    this.#outlet.send(LinkKind.Reply, job.tag, job.lane, outcome.rev, payload);
    this.#metrics.answered(job.received, failed);
  }

  async #runOrder(job: OrderJob): Promise<void> {
    if (job.order.op === 'backup') {
      this.#copies.follow(this.#backup(job, job.order));
      return;
    }
    try {
      this.#answer(job.tag, job.lane, { ok: await this.#obey(job.order, job) });
    } catch (error) {
      this.#answer(job.tag, job.lane, { error: this.#failure(error, undefined) });
    }
    if (job.order.op === 'close' && this.#closed) this.#outlet.leave();
  }

  async #obey(order: Exclude<Order, { op: 'backup' }>, job: OrderJob): Promise<JsonObject> {
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
        await this.#copies.settled();
        if (order.timeoutMs > 0) await database.checkpointAll(order.timeoutMs);
        const { position } = database;
        database.close();
        this.#closed = true;
        this.#rest.end();
        return { ...position };
      }
      case 'reopen':
        return { ...(await reopen(database, this.#options.known, order)) };
      case 'stage':
        await this.#copies.stage(order, (event) => this.#event(job, event));
        return {};
      case 'swap':
        return { ...(await swapIn(database, this.#options, order)) };
      default:
        return never(order);
    }
  }

  /** Everything sent before it is in it; what comes after need not wait for it. */
  async #backup(job: OrderJob, order: Extract<Order, { op: 'backup' }>): Promise<void> {
    try {
      const { handle } = (await this.#database.file()).connection;
      const done = await this.#copies.backup(handle, order, (event) => this.#event(job, event));
      this.#answer(job.tag, job.lane, { ok: done });
    } catch (error) {
      this.#answer(job.tag, job.lane, { error: this.#failure(fromSqlite(error, order.to), undefined) });
    }
  }

  #event(job: OrderJob, event: string): void {
    this.#outlet.send(LinkKind.Event, job.tag, job.lane, 0, Buffer.from(event));
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

  #stats(): WorkerStats {
    return {
      ...this.#metrics.figures,
      commits: this.#database.commits,
      checkpoints: this.#database.checkpoints,
      queueDepth: this.#intake.lanes.size + (this.#running ? 1 : 0),
      walBytes: walBytes(this.#options.path),
    };
  }
}
