import { messageOf, never, SkylineError } from '../../protocol/errors.js';
import type { JsonObject } from '../../protocol/frame.js';
import { flushWrites } from '../../protocol/transport/gathered-writes.js';
import { Answers } from './answers.js';
import { AttachedClients } from './attached-clients.js';
import { Copies } from './copies.js';
import { Executor } from './executor.js';
import { GroupCommit } from './group-commit.js';
import { InHand } from './in-hand.js';
import {
  type BatchJob,
  type ClientJob,
  Intake,
  type Job,
  type OrderAnswer,
  type OrderJob,
  type TransactionJob,
} from './intake.js';
import {
  type LinkFrame,
  LinkKind,
  monotonicMs,
  type Notice,
  type Outlet,
  type WorkerOptions,
  type WorkerStats,
} from './link.js';
import { Metrics } from './metrics.js';
import { obey } from './orders.js';
import { cancelledInTime, notBegun } from './patience.js';
import { Rest } from './rest.js';
import { routedBatch, routedOrder, routedTransaction } from './routed-jobs.js';
import { ServedDatabase } from './served-database.js';
import { type StepJob, TransactionDesk } from './transaction-desk.js';
import { Turns } from './turns.js';

/** Milliseconds between two looks at whether other programs have written, while somebody watches. */
const LOOK_MS = 200;
/** Milliseconds between two looks at whether the time of what waits for a client's transaction is over. */
const LATE_POLL_MS = 25;
/** Milliseconds that clients' transactions may go on when the worker is to leave. */
const LEAVE_TX_MS = 5_000;

/**
 * Serves one database: takes what the router and attached clients send, and does one thing at a time. Whose turn it is
 * is told by Turns; what a group of batches does by GroupCommit, a client's transaction by TransactionDesk, and what else
 * can be asked by orders.ts.
 */
export class DatabaseService {
  readonly #options: WorkerOptions;
  readonly #outlet: Outlet;
  readonly #database: ServedDatabase;
  readonly #intake: Intake;
  readonly #metrics = new Metrics();
  readonly #rest: Rest;
  readonly #copies = new Copies();
  readonly #clients: AttachedClients;
  readonly #desk: TransactionDesk;
  readonly #turns: Turns;
  readonly #inHand: InHand;
  readonly #answers: Answers;
  readonly #groups: GroupCommit;
  /** Looks after what waits while a client has the writer for itself. */
  #latePoll: NodeJS.Timeout | undefined;
  #running = false;
  /** The last group was a single batch: its client waits for each answer, it seems. */
  #oneByOne = false;
  /** Work begins at the end of this turn of the event loop. */
  #woken = false;
  /** The file is closed for good, and this service with it. */
  #closed = false;
  #lookTimer: NodeJS.Timeout | undefined;
  /** Made once: this is asked for with every frame. */
  readonly #begin = () => {
    this.#woken = false;
    void this.#pump();
  };

  constructor(options: WorkerOptions, outlet: Outlet) {
    this.#options = options;
    this.#outlet = outlet;
    const notice = (one: Notice) => outlet.notice(one);
    this.#intake = new Intake(options.limits, options.onlyWriter);
    this.#database = new ServedDatabase(options, notice);
    this.#answers = new Answers(this.#intake.lanes, this.#metrics, notice);
    this.#clients = new AttachedClients(options, {
      accept: (job) => this.#take(job),
      drained: (lane, bytes) => {
        this.#intake.lanes.drained(lane, bytes);
        this.#wake();
      },
      cancelled: (job) => this.#cancel(job.lane, (one) => one === job),
      ended: (lane) => this.#desk.laneEnded(lane),
      closed: (lane) => this.#laneClosed(lane),
      holds: (lane) => this.#desk.holds(lane),
      refused: (code) => this.#metrics.error(code),
    });
    const executor = new Executor(this.#database);
    this.#desk = new TransactionDesk(options, this.#database, executor, {
      answer: (job, outcome, id) => this.#answers.give(job, outcome, id),
      isGone: (lane) => this.#intake.lanes.isGone(lane),
      running: (job) => this.#inHand.running(job),
      committing: (job) => this.#inHand.taken([{ job }]),
      begun: (read) => this.#begun(read),
      ended: (lane, read) => this.#ended(lane, read),
    });
    this.#turns = new Turns(this.#intake, this.#desk);
    this.#inHand = new InHand(outlet, this.#database, this.#desk);
    this.#groups = new GroupCommit({
      database: this.#database,
      executor,
      intake: this.#intake,
      turns: this.#turns,
      inHand: this.#inHand,
      answers: this.#answers,
      metrics: this.#metrics,
    });
    if (options.watched) this.#watch(true);
    this.#rest = new Rest(options.idleTimeoutMs, {
      settle: () => {
        if (!this.#running && this.#desk.size === 0) this.#quiet(true);
      },
      idle: () => {
        if (!this.#running && !this.#copies.busy && this.#desk.size === 0)
          this.#outlet.notice({ event: 'idle' });
      },
    });
  }

  /** Takes one frame from the router. */
  receive(frame: LinkFrame): void {
    switch (frame.kind) {
      case LinkKind.Request:
      case LinkKind.Suspect:
        this.#accept(routedBatch(frame, this.#outlet));
        break;
      case LinkKind.Transaction:
        this.#accept(routedTransaction(frame, this.#outlet));
        break;
      case LinkKind.Order:
        this.#accept(routedOrder(frame, this.#outlet));
        break;
      case LinkKind.LaneClosed:
        this.#laneClosed(frame.lane);
        break;
      case LinkKind.LaneEnded:
        this.#desk.laneEnded(frame.lane);
        break;
      case LinkKind.Cancel:
        this.#cancel(frame.lane, ({ tag }) => tag === frame.tag);
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
        this.#answers.refuse(begin, sentAway(), this.#database.position.rev);
    }
    if (job.order.op === 'close') this.#desk.hurry(LEAVE_TX_MS);
    this.#turns.pushFinal(job);
  }

  /** Refuses what a client wants no more, if it waits. What is in hand is left alone. */
  #cancel(lane: number, isCancelled: (job: ClientJob) => boolean): void {
    const step = this.#desk.takeCancelled(lane, isCancelled);
    for (const job of step === undefined ? this.#intake.takeCancelled(lane, isCancelled) : [step])
      this.#answers.refuse(job, cancelledInTime(), this.#database.position.rev);
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
    setImmediate(this.#begin);
  }

  /** Works until nothing can run. Only one pump runs at a time: one database, one writer. */
  async #pump(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    let worked = false;
    for (let job = this.#next(); job !== undefined; job = this.#next()) {
      worked = true;
      if (job.kind === 'order') await this.#runOrder(job);
      else {
        await this.#work(job);
        this.#inHand.done();
        flushWrites();
      }
      if (this.#intake.lanes.size > 0) await new Promise(setImmediate);
    }
    this.#running = false;
    // Clients that go, and questions for figures, are no work: they do not keep the worker here.
    if (!worked) return;
    this.#quiet(false);
    if (this.#closed) return;
    this.#rest.begin();
    // Of several clients, the others need the processor; what one sends together is better taken together.
    if (this.#oneByOne && this.#clients.size === 1) this.#rest.linger();
  }

  #next(): Job | StepJob | undefined {
    // Whoever sent more is told by the router that it was lost: nothing may open the file again.
    return this.#closed ? undefined : this.#turns.next();
  }

  #work(job: BatchJob | TransactionJob | StepJob): Promise<void> {
    switch (job.kind) {
      case 'step':
        return this.#desk.step(job);
      case 'transaction':
        return this.#desk.run(job);
      case 'batch': {
        const group = this.#intake.gather(job, this.#turns.finishing);
        this.#oneByOne = group.work.length === 1;
        return this.#groups.run(group);
      }
      default:
        return never(job);
    }
  }

  /** A client's transaction is open. */
  #begun(read: boolean): void {
    if (this.#desk.size === 1) this.#outlet.notice({ event: 'transactions', open: 1 });
    if (read) return;
    this.#inHand.writerTaken();
    this.#latePoll = setInterval(() => this.#refuseLate(), LATE_POLL_MS).unref();
  }

  /** It is over: what waited goes on. */
  #ended(lane: number, read: boolean): void {
    if (this.#desk.size === 0) {
      this.#outlet.notice({ event: 'transactions', open: 0 });
      this.#rest.begin();
    }
    if (!read) {
      this.#inHand.writerFree();
      clearInterval(this.#latePoll);
    }
    this.#clients.released(lane);
    this.#wake();
  }

  /** Their turn would come only when the transaction is over. */
  #refuseLate(): void {
    for (const job of this.#intake.takeLate(monotonicMs()))
      this.#answers.refuse(job, notBegun(), this.#database.position.rev);
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
      answer = { error: this.#answers.failure(error, undefined) };
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

  #quiet(longer: boolean): void {
    try {
      this.#database.quiet(longer);
    } catch (error) {
      this.#outlet.notice({ event: 'log', level: 'warn', message: `checkpoint: ${messageOf(error)}` });
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

/** Its connection ends with its answers: a transaction that began now would end at once. */
function sentAway(): SkylineError {
  return new SkylineError(
    'DATABASE_PREPARING',
    "The worker is about to send its clients away. Begin the transaction at the daemon's own endpoint.",
  );
}
