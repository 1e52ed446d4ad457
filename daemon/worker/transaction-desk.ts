import { decodeExec } from '../../protocol/decode-exec-batch.js';
import { decodeRequest, decodeTx, usableId } from '../../protocol/decode-request.js';
import { SkylineError } from '../../protocol/errors.js';
import type { BeginTxRequest, CommitRequest, RequestId } from '../../protocol/messages.js';
import { commitOf, Guard } from './batch.js';
import type { Outcome } from './execute.js';
import type { Executor } from './executor.js';
import { notYours, type TransactionJob } from './intake.js';
import { monotonicMs, type OpenTransactionStatus, type WorkerOptions } from './link.js';
import { notBegun } from './patience.js';
import { okReply } from './reply.js';
import type { ServedDatabase } from './served-database.js';
import type { Snapshot } from './snapshot.js';
import { MAX_SNAPSHOTS, type Transaction, Transactions } from './transactions.js';
import type { WriteTransaction } from './write-transaction.js';

type Open = Transaction<WriteTransaction | Snapshot, TransactionJob>;

/** A step of a transaction whose turn it is. */
export interface StepJob {
  readonly kind: 'step';
  readonly transaction: Open;
  readonly job: TransactionJob;
}

/** What the desk needs of its service. */
export interface DeskHooks {
  answer(job: TransactionJob, outcome: Outcome, id: RequestId | undefined): void;
  /** Whether the connection is there no more. */
  isGone(lane: number): boolean;
  /** Tells the router what runs, where that matters; until it can know. */
  running(job: TransactionJob): Promise<void> | undefined;
  /** A commit is in hand: the router must know before it can happen. */
  committing(job: TransactionJob): Promise<void> | undefined;
  /** One has begun. */
  begun(read: boolean): void;
  /** One has ended: what waited may go on. */
  ended(lane: number, read: boolean): void;
}

/** After a transaction's time, until its worker is stopped for a step that does not end; in milliseconds. */
const STOP_AFTER_MS = 1_000;

/**
 * Carries out what clients ask about transactions of their own: BeginTx, when its turn among the batches has come; and its
 * steps (Exec, Commit, Rollback), which wait for nothing but the step before.
 */
export class TransactionDesk {
  readonly #options: WorkerOptions;
  readonly #database: ServedDatabase;
  readonly #executor: Executor;
  readonly #hooks: DeskHooks;
  readonly #guard = new Guard();
  readonly #transactions: Transactions<WriteTransaction | Snapshot, TransactionJob>;

  constructor(options: WorkerOptions, database: ServedDatabase, executor: Executor, hooks: DeskHooks) {
    this.#options = options;
    this.#database = database;
    this.#executor = executor;
    this.#hooks = hooks;
    this.#transactions = new Transactions((transaction) => this.#ended(transaction));
  }

  /** Transactions that are open. */
  get size(): number {
    return this.#transactions.size;
  }

  /** Whether one of them has the writer for itself. */
  get writing(): boolean {
    return this.#transactions.writing !== null;
  }

  /** Until when the one that writes may keep the worker at work, on the machine's monotonic clock; 0 for none. */
  get watchedUntil(): number {
    const { writing } = this.#transactions;
    return writing === null ? 0 : writing.endsAt + STOP_AFTER_MS;
  }

  /** Steps that wait. */
  get waiting(): number {
    return this.#transactions.waiting;
  }

  get status(): OpenTransactionStatus[] {
    const now = monotonicMs();
    return this.#transactions
      .all()
      .map(({ lane, work, begun, used }) => ({
        lane,
        read: work.read,
        since_ms: Math.round(now - begun),
        idle_ms: Math.round(now - used),
      }))
      .sort((one, other) => Number(one.read) - Number(other.read));
  }

  /** Whether this connection has a transaction open. */
  holds(lane: number): boolean {
    return this.#transactions.holds(lane);
  }

  /**
   * Takes a step of a transaction that is open, or answers that it is over.
   * @returns false for what has to wait for its turn among the batches
   */
  take(job: TransactionJob): boolean {
    const { object } = job.frame;
    if (object.type === 'BeginTx') return false;
    try {
      const tx = decodeTx(object);
      const transaction = this.#transactions.find(tx, job.lane);
      const isCommit = object.type === 'Commit';
      // What became of it is recorded: only the writer can look, when it is free.
      if (
        isCommit &&
        (transaction === undefined ? object.session !== undefined : object.only_replay === true)
      )
        return false;
      if (transaction !== undefined) this.#transactions.push(transaction, job);
      else this.#refuse(job, this.#transactions.expired(tx));
    } catch (error) {
      this.#refuse(job, error);
    }
    return true;
  }

  /** Takes out a step that a client wants no more, if it waits here. */
  takeCancelled(lane: number, isCancelled: (job: TransactionJob) => boolean): TransactionJob | undefined {
    return this.#transactions.takeStep(lane, isCancelled);
  }

  /** The next step; undefined when none waits. */
  next(): StepJob | undefined {
    const next = this.#transactions.next();
    return next && { kind: 'step', transaction: next.transaction, job: next.step };
  }

  /** BeginTx, or a Commit whose transaction is gone. Never rejects. */
  async run(job: TransactionJob): Promise<void> {
    try {
      const request = decodeRequest(job.frame.object);
      if (request.type === 'BeginTx') await this.#begin(job, request);
      else if (request.type === 'Commit') await this.#lookUp(job, request);
    } catch (error) {
      this.#refuse(job, error);
    }
  }

  /** Never rejects. */
  async step({ transaction, job }: StepJob): Promise<void> {
    try {
      await this.#step(transaction, job);
    } catch (error) {
      if (transaction.state === 'open' && !transaction.work.alive)
        this.#transactions.end(transaction, 'broken');
      this.#refuse(job, error);
    } finally {
      if (transaction.state === 'open') this.#transactions.rest(transaction);
    }
  }

  laneEnded(lane: number): void {
    this.#transactions.laneEnded(lane);
  }

  /** None may be open for longer than this, in milliseconds. */
  hurry(ms: number): void {
    this.#transactions.hurry(ms);
  }

  /** Gives up all of them. */
  endAll(): void {
    this.#transactions.endAll();
  }

  async #begin(job: TransactionJob, request: BeginTxRequest): Promise<void> {
    const { lane, deadline } = job;
    // Nobody could end it, or hear that it has begun.
    if (this.#hooks.isGone(lane)) return;
    await this.#hooks.running(job);
    if (deadline > 0 && monotonicMs() >= deadline) throw notBegun();
    const { txLeaseMs, txMaxMs } = this.#options;
    const maxMs = Math.min(request.max_ms ?? txMaxMs, txMaxMs);
    const leaseMs = Math.min(request.lease_ms ?? txLeaseMs, maxMs);
    const work = await this.#open(request, deadline);
    if (this.#hooks.isGone(lane)) {
      work.rollback();
      return;
    }
    const transaction = this.#transactions.begin(lane, work, { leaseMs, maxMs });
    const { rev, epoch, id } = work.position;
    this.#hooks.begun(work.read);
    const database = id === null ? '' : `,"database":${JSON.stringify(id)}`;
    const fields = `"tx":"${transaction.id}"${database},"rev":${rev},"epoch":${epoch},"lease_ms":${leaseMs},"max_ms":${maxMs}`;
    this.#answer(job, okReply(request.id, fields));
  }

  async #open(request: BeginTxRequest, deadline: number): Promise<WriteTransaction | Snapshot> {
    if (request.read !== true && this.#options.onlyWriter !== undefined) throw notYours();
    if (request.read !== true) return await this.#executor.begin(request, deadline);
    if (this.#transactions.snapshots < MAX_SNAPSHOTS) return await this.#executor.snapshot(deadline);
    throw new SkylineError(
      'QUEUE_FULL',
      `${MAX_SNAPSHOTS} transactions that read are open on this database: each keeps its WAL from being emptied. Try again when one has ended, or read the file directly.`,
      { details: { limit: 'max_read_transactions', limit_value: MAX_SNAPSHOTS } },
    );
  }

  async #step(transaction: Open, job: TransactionJob): Promise<void> {
    const { work } = transaction;
    const { object } = job.frame;
    if (object.type === 'Exec') {
      const batch = this.#guard.checkExec(decodeExec(object, this.#options.limits), job.frame);
      await this.#hooks.running(job);
      if (job.deadline > 0 && monotonicMs() >= job.deadline) throw notBegun();
      this.#check(transaction);
      this.#answer(job, work.exec(batch));
      return;
    }
    const request = decodeRequest(object);
    if (request.type === 'Rollback') {
      const { rev, epoch } = work.position;
      this.#transactions.end(transaction, 'rolled back');
      this.#answer(job, okReply(request.id, `"rev":${rev},"epoch":${epoch}`));
    } else if (request.type === 'Commit') {
      const batch = work.read ? null : commitOf(request, job.frame, false);
      await this.#hooks.committing(job);
      this.#check(transaction);
      const settled = work.commit(batch, request.id);
      this.#transactions.end(transaction, 'reply' in settled ? 'committed' : 'broken');
      this.#hooks.answer(job, { ...settled, rev: this.#database.position.rev }, request.id);
    }
  }

  /** Its lease may have ended while the router was told of this step. */
  #check({ id, state }: Open): void {
    if (state !== 'open') throw this.#transactions.expired(id);
  }

  /** Whether a transaction was committed that is not open any more: its session tells. */
  async #lookUp(job: TransactionJob, request: CommitRequest): Promise<void> {
    const batch = commitOf(request, job.frame, true);
    if (batch === null) throw this.#transactions.expired(request.tx);
    const outcome = await this.#executor.execute({ batch, deadline: 0 }, () => undefined);
    this.#hooks.answer(job, outcome, request.id);
  }

  #ended({ id, steps, lane, work }: Open): void {
    for (const job of steps.splice(0)) this.#refuse(job, this.#transactions.expired(id));
    this.#hooks.ended(lane, work.read);
  }

  #answer(job: TransactionJob, reply: string): void {
    this.#hooks.answer(job, { reply, rev: this.#database.position.rev }, undefined);
  }

  #refuse(job: TransactionJob, error: unknown): void {
    const outcome = { error: error as SkylineError, rev: this.#database.position.rev };
    this.#hooks.answer(job, outcome, usableId(job.frame.object));
  }
}
