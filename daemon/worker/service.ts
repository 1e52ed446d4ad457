import { usableId } from '../../protocol/decode-request.js';
import { messageOf, ProtocolError, SkylineError, toErrorReply } from '../../protocol/errors.js';
import { decodeText, type JsonObject } from '../../protocol/frame.js';
import type { RequestId } from '../../protocol/messages.js';
import { flushWrites } from '../../protocol/transport/gathered-writes.js';
import { AttachedClients } from './attached-clients.js';
import { Copies } from './copies.js';
import type { Outcome } from './execute.js';
import {
  type BatchJob,
  type Executable,
  type Group,
  Intake,
  type Job,
  type OrderAnswer,
  type OrderJob,
  ParsedFrame,
  type TransactionJob,
} from './intake.js';
import {
  COUNTED_REPLY,
  type LinkFrame,
  LinkKind,
  monotonicMs,
  type Notice,
  type Order,
  type Outlet,
  USED_MS,
  type WorkerOptions,
  type WorkerStats,
} from './link.js';
import { Metrics } from './metrics.js';
import { obey } from './orders.js';
import { notBegun } from './patience.js';
import { Rest } from './rest.js';
import { ServedDatabase } from './served-database.js';
import { type StepJob, TransactionDesk } from './transaction-desk.js';

/** Milliseconds between two looks at whether other programs have written, while somebody watches. */
const LOOK_MS = 200;
/** Most bytes that a UTF-16 unit takes as UTF-8. */
const UTF8_BYTES = 3;
/** Milliseconds between two looks at whether the time of what waits for a client's transaction is over. */
const LATE_POLL_MS = 25;
/** Milliseconds that clients' transactions may go on when the worker is to leave. */
const LEAVE_TX_MS = 5_000;

type Answer = { readonly rev: number } & ({ readonly reply: string } | { readonly error: unknown });

/**
 * Serves one database: takes what the router and attached clients send, one thing at a time, and answers. The queue, its
 * order and the answers are here; what a batch does is ServedDatabase's, what else can be asked is in orders.ts.
 */
export class DatabaseService {
  readonly #options: WorkerOptions;
  readonly #outlet: Outlet;
  readonly #database: ServedDatabase;
  readonly #intake: Intake;
  /** Orders that wait until the queue is empty. */
  readonly #finals: OrderJob[] = [];
  readonly #metrics = new Metrics();
  readonly #rest: Rest;
  readonly #copies = new Copies();
  readonly #clients: AttachedClients;
  readonly #desk: TransactionDesk;
  /** The last that was done was a step of a client's transaction: something else is next. */
  #stepped = false;
  /** Looks after what waits while a client has the writer for itself. */
  #latePoll: NodeJS.Timeout | undefined;
  #running = false;
  /** Work begins at the end of this turn of the event loop. */
  #woken = false;
  /** The router has been told of a deadline that may have no meaning any more. */
  #watched = false;
  /** When the router has last heard that attached clients are at work, on performance.now()'s clock. */
  #usedAt = Number.NEGATIVE_INFINITY;
  /** The file is closed for good, and this service with it. */
  #closed = false;
  #lookTimer: NodeJS.Timeout | undefined;

  constructor(options: WorkerOptions, outlet: Outlet) {
    this.#options = options;
    this.#outlet = outlet;
    this.#intake = new Intake(options.limits, options.onlyWriter);
    this.#database = new ServedDatabase(options, (notice) => this.#notice(notice));
    this.#clients = new AttachedClients(options, {
      accept: (job) => this.#take(job),
      drained: (lane, bytes) => {
        this.#intake.lanes.drained(lane, bytes);
        this.#wake();
      },
      ended: (lane) => this.#desk.laneEnded(lane),
      closed: (lane) => this.#laneClosed(lane),
      holds: (lane) => this.#desk.holds(lane),
      refused: (code) => this.#metrics.error(code),
    });
    this.#desk = new TransactionDesk(options, this.#database, {
      answer: (job, outcome, id) => this.#answer(job, outcome, id),
      isGone: (lane) => this.#intake.lanes.isGone(lane),
      running: (job) => this.#beginning(job),
      committing: (job) => {
        this.#announce([{ job }]);
        return this.#outlet.flushed();
      },
      begun: (read) => this.#begun(read),
      ended: (lane, read) => this.#ended(lane, read),
    });
    if (options.watched) this.#watch(true);
    this.#rest = new Rest(options.idleTimeoutMs, {
      settle: () => {
        if (!this.#running && this.#desk.size === 0) this.#quiet(true);
      },
      idle: () => {
        if (!this.#running && !this.#copies.busy && this.#desk.size === 0) this.#notice({ event: 'idle' });
      },
    });
  }

  /** Takes one frame from the router. */
  receive(frame: LinkFrame): void {
    switch (frame.kind) {
      case LinkKind.Request:
      case LinkKind.Suspect:
        this.#accept(this.#routedBatch(frame));
        break;
      case LinkKind.Transaction:
        this.#accept(this.#routedTransaction(frame));
        break;
      case LinkKind.Order:
        this.#accept(this.#routedOrder(frame));
        break;
      case LinkKind.LaneClosed:
        this.#laneClosed(frame.lane);
        break;
      case LinkKind.LaneEnded:
        this.#desk.laneEnded(frame.lane);
        break;
      case LinkKind.Drained:
        this.#intake.lanes.drained(frame.lane, frame.number);
        break;
      default:
        return;
    }
    this.#wake();
  }

  /** The router has gone: leave the file as it is and go. Nothing runs now, since all work is synchronous. */
  abandon(): void {
    clearInterval(this.#lookTimer);
    this.#clients.detach();
    this.#desk.endAll();
    this.#database.close();
    this.#copies.discard();
  }

  #routedBatch({ kind, tag, lane, number, payload }: LinkFrame): BatchJob {
    return {
      kind: 'batch',
      lane,
      tag,
      alone: kind === LinkKind.Suspect,
      frame: payload,
      bytes: payload.length,
      deadline: number,
      received: performance.now(),
      settle: (reply, rev, unreadable) =>
        this.#outlet.send(unreadable ? LinkKind.Unreadable : LinkKind.Reply, tag, lane, rev, reply),
    };
  }

  /** One that is no JSON waits as a batch would, which ends the connection when its turn comes. */
  #routedTransaction(frame: LinkFrame): Job {
    const job = this.#routedBatch(frame);
    try {
      return { ...job, kind: 'transaction', frame: new ParsedFrame(decodeText(frame.payload)) };
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return job;
    }
  }

  #routedOrder({ tag, lane, payload }: LinkFrame): OrderJob {
    return {
      kind: 'order',
      lane,
      order: JSON.parse(payload.toString('utf8')) as Order,
      settle: (answer, rev) =>
        this.#outlet.send(LinkKind.Reply, tag, lane, rev, Buffer.from(JSON.stringify(answer))),
      event: (event) => this.#outlet.send(LinkKind.Event, tag, lane, 0, event),
    };
  }

  /** What an attached client has sent. */
  #take(job: Job): void {
    this.#accept(job);
    this.#wake();
  }

  #accept(job: Job): void {
    if (job.lane > 0) {
      if (job.kind !== 'transaction' || !this.#desk.take(job)) this.#intake.lanes.push(job);
      return;
    }
    if (job.kind !== 'order') return;
    if (job.order.op === 'stats') {
      job.settle({ ok: { ...this.#stats() } }, 0);
      return;
    }
    if (job.order.op === 'watch') {
      void this.#answerOrder(job);
      return;
    }
    // From here on only the router decides whether the database is open: attached clients have to ask it.
    if (job.order.op === 'prepare' || job.order.op === 'close') {
      this.#clients.detach();
      for (const begin of this.#intake.takeAttachedBegins())
        this.#answer(begin, this.#sentAway(), idOf(begin));
    }
    if (job.order.op === 'close') this.#desk.hurry(LEAVE_TX_MS);
    this.#finals.push(job);
  }

  #laneClosed(lane: number): void {
    this.#intake.lanes.close(lane);
    this.#desk.laneEnded(lane);
    this.#wake();
  }

  /** Work begins when everything that has arrived by now is read: what came from many connections is one group. */
  #wake(): void {
    if (this.#running || this.#woken) return;
    this.#woken = true;
    setImmediate(() => {
      this.#woken = false;
      void this.#pump();
    });
  }

  /** Works until nothing can run. Only one pump runs at a time: one database, one writer. */
  async #pump(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    let worked = false;
    for (let job = this.#next(); job !== undefined; job = this.#next()) {
      worked = true;
      if (job.kind === 'order') await this.#runOrder(job);
      else if (job.kind === 'step') await this.#runTransaction(this.#desk.step(job));
      else if (job.kind === 'transaction') await this.#runTransaction(this.#desk.run(job));
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
  #next(): Job | StepJob | undefined {
    // Whoever sent more is told by the router that it was lost: nothing may open the file again.
    if (this.#closed) return undefined;
    if (this.#desk.size > 0) return this.#nextBeside();
    return this.#intake.next(this.#finals.length > 0) ?? this.#finals.shift();
  }

  /** The same while clients have transactions open: their steps and what else may be done take turns. */
  #nextBeside(): Job | StepJob | undefined {
    const step = this.#stepped ? undefined : this.#desk.next();
    this.#stepped = step !== undefined;
    if (step !== undefined) return step;
    const other = this.#desk.writing ? this.#intake.nextBeside() : this.#intake.next(this.#finals.length > 0);
    if (other !== undefined) return other;
    // All other orders that wait for the end of everything wait for the transactions, too.
    if (this.#finals[0]?.order.op === 'position') return this.#finals.shift();
    return this.#desk.next();
  }

  async #runTransaction(work: Promise<void>): Promise<void> {
    await work;
    if (this.#watched) void this.#beginning(undefined);
    flushWrites();
  }

  /** A client's transaction is open. */
  #begun(read: boolean): void {
    if (this.#desk.size === 1) this.#notice({ event: 'transactions', open: 1 });
    if (read) return;
    // A step that does not end is stopped by the router: this thread's own clock does not run then.
    this.#watched = false;
    this.#outlet.send(LinkKind.Running, 0, 0, this.#desk.watchedUntil);
    this.#latePoll = setInterval(() => this.#refuseLate(), LATE_POLL_MS).unref();
  }

  /** It is over: what waited goes on. */
  #ended(lane: number, read: boolean): void {
    if (this.#desk.size === 0) {
      this.#notice({ event: 'transactions', open: 0 });
      this.#rest.begin();
    }
    if (!read) {
      this.#outlet.send(LinkKind.Running, 0, 0, 0);
      clearInterval(this.#latePoll);
    }
    this.#clients.released(lane);
    this.#wake();
  }

  /** Their turn would come only when the transaction is over. */
  #refuseLate(): void {
    for (const job of this.#intake.takeLate(monotonicMs())) {
      this.#answer(job, { error: notBegun(), rev: this.#database.position.rev }, idOf(job));
    }
  }

  /** Its connection ends with its answers: a transaction that began now would end at once. */
  #sentAway(): Answer {
    const error = new SkylineError(
      'DATABASE_PREPARING',
      "The worker is about to send its clients away. Begin the transaction at the daemon's own endpoint.",
    );
    return { error, rev: this.#database.position.rev };
  }

  /** Executes a group and answers: after the commit, all in one write. */
  async #runGroup({ work, refused }: Group): Promise<void> {
    this.#announce(work);
    // Nothing is committed before the router can know that it was in hand: otherwise it would give it to another worker.
    const heard = this.#outlet.flushed();
    if (heard !== undefined) await heard;
    const { rev } = this.#database.position;
    let begun = performance.now();
    for (const { job, id, error } of refused) this.#reply(job, { error, rev }, id, begun, begun);
    let done = 0;
    let together = true;
    while (done < work.length) {
      const rest = done === 0 ? work : work.slice(done);
      const shared = together && rest.length > 1 ? this.#executeTogether(rest) : null;
      // What has broken the group once would break it again: the others follow one by one.
      if (shared === null) together = false;
      const outcomes = shared ?? (await this.#executeFirst(rest));
      const now = performance.now();
      for (let index = 0; index < outcomes.length; index += 1)
        this.#settle(rest[index], outcomes[index], begun, now);
      this.#metrics.group(outcomes.length);
      done += outcomes.length;
      // The answers leave before the next commit, and before a checkpoint that may come next.
      flushWrites();
      if (done < work.length) {
        await new Promise(setImmediate);
        if (this.#heldUp(work, done)) break;
        begun = performance.now();
      }
    }
    if (this.#watched) void this.#beginning(undefined);
    flushWrites();
  }

  /** What is left of a group waits again, if a client of it does not read its replies: they would pile up here. */
  #heldUp(work: readonly Executable[], done: number): boolean {
    if (this.#finals.length > 0) return false;
    const jobs = work.slice(done).map(({ job }) => job);
    if (!jobs.some(({ lane }) => this.#intake.lanes.isDeaf(lane))) return false;
    this.#intake.putBack(jobs);
    return true;
  }

  /** @returns the outcomes of the first ones, at least one; null when each must be done by itself */
  #executeTogether(work: readonly Executable[]): Outcome[] | null {
    return this.#database.executeTogether(work, (index) => this.#beginning(work[index]?.job));
  }

  async #executeFirst(work: readonly Executable[]): Promise<Outcome[]> {
    const [first] = work;
    return first === undefined ? [] : [await this.#database.execute(first, () => this.#beginning(first.job))];
  }

  #settle(one: Executable | undefined, outcome: Outcome | undefined, begun: number, now: number): void {
    if (one !== undefined && outcome !== undefined)
      this.#reply(one.job, outcome, one.batch.request.id, begun, now);
  }

  /** Tells the router what of it is in hand from now on, and that attached clients are at work. */
  #announce(group: readonly { readonly job: BatchJob | TransactionJob }[]): void {
    let attached = 0;
    for (const { job } of group) if (job.tag === 0) attached += 1;
    if (attached < group.length) {
      const routed = group.filter(({ job }) => job.tag > 0);
      const tags = Buffer.allocUnsafe(4 * routed.length);
      for (const [index, { job }] of routed.entries()) tags.writeUInt32LE(job.tag, 4 * index);
      const rev = this.#database.isOpen ? this.#database.position.rev : -1;
      this.#outlet.send(LinkKind.Started, 0, 0, rev, tags);
    }
    if (attached === 0) return;
    const now = performance.now();
    if (now - this.#usedAt < USED_MS) return;
    this.#usedAt = now;
    this.#notice({ event: 'used' });
  }

  /**
   * Tells the router which batch runs, where that matters: it stops the one that is past its deadline and no other.
   * @returns until it can know; undefined when it can already
   */
  #beginning(job: BatchJob | TransactionJob | undefined): Promise<void> | undefined {
    const deadline = job?.deadline ?? 0;
    if (deadline === 0 && !this.#watched) return undefined;
    this.#watched = deadline > 0;
    const until = this.#watched ? deadline : this.#desk.watchedUntil;
    this.#outlet.send(LinkKind.Running, this.#watched ? (job?.tag ?? 0) : 0, 0, until);
    return this.#outlet.flushed();
  }

  #reply(job: BatchJob, outcome: Answer, id: RequestId | undefined, begun: number, now: number): void {
    this.#answer(job, outcome, id);
    this.#metrics.answered(job.received, begun, now, 'error' in outcome);
  }

  #answer(job: BatchJob | TransactionJob, outcome: Answer, id: RequestId | undefined): void {
    const failed = 'error' in outcome;
    const unreadable = failed && outcome.error instanceof ProtocolError && outcome.error.fatal;
    // The router ends that connection with an error of its own.
    const text = failed ? this.#errorReply(outcome.error, id, !unreadable) : outcome.reply;
    const payload = text.length * UTF8_BYTES < COUNTED_REPLY ? text : Buffer.from(text);
    if (typeof payload !== 'string' && payload.length >= COUNTED_REPLY)
      this.#intake.lanes.sent(job.lane, payload.length);
    job.settle(payload, outcome.rev, unreadable);
  }

  #errorReply(error: unknown, id: RequestId | undefined, counted: boolean): string {
    const reply = this.#failure(error, id);
    if (counted) this.#metrics.error(reply.code);
    return JSON.stringify(reply);
  }

  async #runOrder(job: OrderJob): Promise<void> {
    const work = this.#answerOrder(job);
    // Everything sent before a backup is in it; what comes after need not wait for it.
    if (job.order.op === 'backup') this.#copies.follow(work);
    else await work;
  }

  /** Never rejects. */
  async #answerOrder(job: OrderJob): Promise<void> {
    let answer: OrderAnswer;
    try {
      answer = { ok: await this.#obey(job) };
      if (job.order.op === 'close') this.#end();
    } catch (error) {
      answer = { error: this.#failure(error, undefined) };
    }
    job.settle(answer, this.#database.position.rev);
    void this.#outlet.flushed();
  }

  /** The file is closed, and the process another database's. Clients of this one read their last answers beside it. */
  #end(): void {
    this.#closed = true;
    this.#rest.end();
    clearInterval(this.#lookTimer);
    this.#outlet.closed(this.#clients.gone());
  }

  #obey(job: OrderJob): Promise<JsonObject> {
    return obey(job.order, job, {
      options: this.#options,
      database: this.#database,
      copies: this.#copies,
      clients: this.#clients,
      watch: (on) => this.#watch(on),
      stats: () => this.#stats(),
    });
  }

  /** Tells of commits, and looks now and then whether other programs have written. */
  #watch(on: boolean): void {
    this.#database.watch(on);
    clearInterval(this.#lookTimer);
    if (!on || this.#closed) return;
    this.#lookTimer = setInterval(() => {
      if (!this.#running) this.#database.lookForOthers();
    }, LOOK_MS).unref();
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
      ...this.#metrics.counts,
      ...this.#database.counts,
      clients: this.#clients.size,
      transactions: this.#desk.status.map((one) => ({ ...one, ...this.#clients.clientOf(one.lane) })),
      queueDepth: this.#intake.lanes.size + this.#desk.waiting + (this.#running ? 1 : 0),
      wal: this.#database.wal,
      rev: this.#database.position.rev,
      epoch: this.#database.position.epoch,
    };
  }
}

/** Of a batch that came through the router, which has answered it by itself: none. */
function idOf({ frame }: BatchJob | TransactionJob): RequestId | undefined {
  return frame instanceof ParsedFrame ? usableId(frame.object) : undefined;
}
