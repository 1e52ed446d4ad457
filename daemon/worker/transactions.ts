import { randomBytes } from 'node:crypto';
import { never, SkylineError } from '../../protocol/errors.js';
import { monotonicMs } from './link.js';

/** How a transaction has ended. `open` is what has not. */
export type TransactionState =
  | 'open'
  | 'committed'
  | 'rolled back'
  | 'broken'
  | 'unused'
  | 'too long'
  | 'left';
type Ending = Exclude<TransactionState, 'open'>;

/** What SQLite holds for a transaction. */
export interface Held {
  readonly read: boolean;
  /** Gives it up: nothing of it was applied. Called at most once, and never after it was committed. */
  rollback(): void;
}

/** How long a transaction may be open, in milliseconds. */
export interface Lease {
  /** Without use. */
  readonly leaseMs: number;
  /** In all. */
  readonly maxMs: number;
}

/** Snapshots that are open at once: each keeps the WAL from beginning anew. */
export const MAX_SNAPSHOTS = 16;
/** Ended transactions of which it is remembered how. */
const MAX_REMEMBERED = 1_000;

/** A transaction that a client has open, and its steps that wait. */
export class Transaction<Work extends Held, Step> {
  /** Nobody can guess it. */
  readonly id = randomBytes(18).toString('base64url');
  /** The connection whose it is. */
  readonly lane: number;
  readonly work: Work;
  readonly lease: Lease;
  /** On the machine's monotonic clock. */
  readonly begun = monotonicMs();
  /** In the order in which they came. */
  readonly steps: Step[] = [];
  used = this.begun;
  endsAt: number;
  state: TransactionState = 'open';
  /** One of its steps is at work. */
  running = false;
  /** Its connection has ended. */
  orphaned = false;
  timer: NodeJS.Timeout | undefined;

  constructor(lane: number, work: Work, lease: Lease) {
    this.lane = lane;
    this.work = work;
    this.lease = lease;
    this.endsAt = this.begun + lease.maxMs;
  }
}

/**
 * The transactions that clients have open on one database: one that writes at most, and some snapshots. Each belongs to a
 * connection and ends with it; each has a lease, and is rolled back when that is over. Their steps wait here and not among
 * the connection's batches, which may be waiting for the transaction itself.
 *
 * A plain object: SQLite is behind {@link Held}, and what is to be done when a transaction ends is the hook's.
 */
export class Transactions<Work extends Held, Step> {
  readonly #open = new Map<string, Transaction<Work, Step>>();
  /** Of those that have ended, the latest ones. */
  readonly #ended = new Map<string, Ending>();
  /** Those with steps that wait, in the order of their turns. */
  #turns: Transaction<Work, Step>[] = [];
  #writing: Transaction<Work, Step> | null = null;
  readonly #onEnd: (transaction: Transaction<Work, Step>) => void;

  /** @param onEnd told when one has ended, however: its steps that still wait must be answered */
  constructor(onEnd: (transaction: Transaction<Work, Step>) => void) {
    this.#onEnd = onEnd;
  }

  get size(): number {
    return this.#open.size;
  }

  /** The one that holds the write lock. */
  get writing(): Transaction<Work, Step> | null {
    return this.#writing;
  }

  get snapshots(): number {
    return this.#open.size - (this.#writing === null ? 0 : 1);
  }

  /** Steps that wait. */
  get waiting(): number {
    let count = 0;
    for (const { steps } of this.#turns) count += steps.length;
    return count;
  }

  all(): Transaction<Work, Step>[] {
    return [...this.#open.values()];
  }

  /** Whether this connection has one open. */
  holds(lane: number): boolean {
    for (const transaction of this.#open.values()) if (transaction.lane === lane) return true;
    return false;
  }

  /** From now on it is open, and its lease runs. */
  begin(lane: number, work: Work, lease: Lease): Transaction<Work, Step> {
    const transaction = new Transaction<Work, Step>(lane, work, lease);
    this.#open.set(transaction.id, transaction);
    if (!work.read) this.#writing = transaction;
    this.#watch(transaction);
    return transaction;
  }

  /** The one with this name, if it is open and this connection's: nobody else may use it. */
  find(id: string, lane: number): Transaction<Work, Step> | undefined {
    const transaction = this.#open.get(id);
    return transaction?.lane === lane ? transaction : undefined;
  }

  /** A step of it has come. */
  push(transaction: Transaction<Work, Step>, step: Step): void {
    transaction.used = monotonicMs();
    if (transaction.steps.push(step) === 1) this.#turns.push(transaction);
  }

  /** Takes out a step of this connection that waits. Its transaction stays as it is. */
  takeStep(lane: number, isWanted: (step: Step) => boolean): Step | undefined {
    for (const transaction of this.#turns) {
      const at = transaction.lane === lane ? transaction.steps.findIndex(isWanted) : -1;
      if (at < 0) continue;
      const [step] = transaction.steps.splice(at, 1);
      if (transaction.steps.length === 0) this.#turns = this.#turns.filter((one) => one !== transaction);
      // The last one, perhaps, for which the end of its connection was waited.
      if (!transaction.running) this.rest(transaction);
      return step;
    }
    return undefined;
  }

  /** The next step, of each transaction in turn; undefined when none waits. It must be done before the next is taken. */
  next(): { readonly transaction: Transaction<Work, Step>; readonly step: Step } | undefined {
    const transaction = this.#turns.shift();
    const step = transaction?.steps.shift();
    if (transaction === undefined || step === undefined) return undefined;
    if (transaction.steps.length > 0) this.#turns.push(transaction);
    transaction.running = true;
    return { transaction, step };
  }

  /** A step is done: the lease runs from here. */
  rest(transaction: Transaction<Work, Step>): void {
    transaction.used = monotonicMs();
    transaction.running = false;
    if (transaction.orphaned && transaction.steps.length === 0) this.end(transaction, 'left');
  }

  /** Nothing more will come from this connection: its transactions end when the steps that came before are done. */
  laneEnded(lane: number): void {
    for (const transaction of this.#open.values()) {
      if (transaction.lane !== lane) continue;
      transaction.orphaned = true;
      if (isIdle(transaction)) this.end(transaction, 'left');
    }
  }

  /** No transaction may be open for longer than this from now on, in milliseconds. */
  hurry(ms: number): void {
    const endsAt = monotonicMs() + ms;
    for (const transaction of this.#open.values()) {
      if (transaction.endsAt <= endsAt) continue;
      transaction.endsAt = endsAt;
      this.#watch(transaction);
    }
  }

  /** Ends it. What SQLite holds is given up, unless that was the end. */
  end(transaction: Transaction<Work, Step>, how: Ending): void {
    if (transaction.state !== 'open') return;
    transaction.state = how;
    clearTimeout(transaction.timer);
    this.#open.delete(transaction.id);
    this.#turns = this.#turns.filter((one) => one !== transaction);
    if (this.#writing === transaction) this.#writing = null;
    this.#ended.set(transaction.id, how);
    if (this.#ended.size > MAX_REMEMBERED)
      for (const oldest of this.#ended.keys()) {
        this.#ended.delete(oldest);
        break;
      }
    if (how !== 'committed' && how !== 'broken') transaction.work.rollback();
    this.#onEnd(transaction);
  }

  endAll(): void {
    for (const transaction of this.all()) this.end(transaction, 'left');
  }

  /** What is said to a step of a transaction that is not open. */
  expired(id: string): SkylineError {
    return new SkylineError(
      'TX_EXPIRED',
      `This transaction is over: ${why(this.#ended.get(id))} Nothing of this request was done. Begin a new one.`,
    );
  }

  #watch(transaction: Transaction<Work, Step>): void {
    clearTimeout(transaction.timer);
    const { endsAt, used, lease } = transaction;
    const until = Math.min(endsAt, used + lease.leaseMs);
    // Never early: a timer may fire a part of a millisecond before its time.
    transaction.timer = setTimeout(() => this.#look(transaction), Math.ceil(until - monotonicMs()) + 1);
  }

  #look(transaction: Transaction<Work, Step>): void {
    const now = monotonicMs();
    if (now >= transaction.endsAt) this.end(transaction, 'too long');
    // While a step waits its client has done what it could.
    else if (isIdle(transaction) && now >= transaction.used + transaction.lease.leaseMs)
      this.end(transaction, 'unused');
    else this.#watch(transaction);
  }
}

function isIdle({
  running,
  steps,
}: {
  readonly running: boolean;
  readonly steps: readonly unknown[];
}): boolean {
  return !running && steps.length === 0;
}

function why(how: Ending | undefined): string {
  switch (how) {
    case 'committed':
      return 'it was committed.';
    case 'rolled back':
      return 'it was rolled back.';
    case 'broken':
      return 'a failure has ended it (see "tx_ended" in the error), and it was rolled back.';
    case 'unused':
      return 'it was not used for as long as its lease (lease_ms), and was rolled back.';
    case 'too long':
      return 'it was open for as long as it may be (max_ms), or its worker had to leave, and was rolled back.';
    case 'left':
      return 'the connection that had begun it has ended, and it was rolled back.';
    case undefined:
      return 'it was begun on another connection, or was ended before, by its lease or with its worker: whatever was not committed was rolled back.';
    default:
      return never(how);
  }
}
