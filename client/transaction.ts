import { decodeReply } from '../protocol/decode-reply.js';
import { SkylineError } from '../protocol/errors.js';
import type { JsonObject } from '../protocol/frame.js';
import type { BeginTxReply, CommitReply } from '../protocol/messages.js';
import { type BatchStatement, encodeBatch } from './batch.js';
import { stopped } from './cancel.js';
import type { Connection } from './connection.js';
import { Statements } from './statements.js';
import type { CommitNumbers, TransactionWay } from './transaction-way.js';

/** What may be said about a statement inside a transaction. */
export interface StepOptions {
  /** Milliseconds after which the daemon stops it, which ends the transaction. */
  readonly timeoutMs?: number;
  /**
   * Stops the statement: `ABORTED`, with the outcome as for {@link BatchOptions.signal}. One that waits is only left out; one
   * that runs ends the transaction (`details.tx_ended`).
   */
  readonly signal?: AbortSignal;
  /** `false` leaves the statements' results out. */
  readonly results?: boolean;
}

/** Where the database stands after a commit. */
export interface CommitResult {
  readonly rev: number;
  readonly epoch: number;
  /** Sum over its statements. */
  readonly rowsAffected: number;
}

/**
 * Where a transaction is. It ends once; whatever comes later is refused with `TX_EXPIRED`. `lost` is what has ended without
 * being told to: nothing of it was applied, unless the error of its commit has said otherwise.
 */
export type TransactionState = 'open' | 'ending' | 'committed' | 'rolled back' | 'lost';

/**
 * A transaction that is open in the daemon: made by {@link Database.begin}. It belongs to a connection of its own and ends
 * with it. A statement that fails leaves it as it was, unless the error has `details.tx_ended`.
 */
export class Transaction extends Statements<StepOptions> {
  /** Whether it only reads. */
  readonly read: boolean;
  /** Where the database stood when it began. */
  readonly rev: number;
  readonly epoch: number;
  readonly #way: TransactionWay;
  readonly #connection: Connection;
  readonly #begun: BeginTxReply;
  readonly #onOver: () => void;
  #state: TransactionState = 'open';

  /**
   * Use {@link Database.begin}.
   * @param onOver called once, when it needs its connection no more
   */
  constructor(
    way: TransactionWay,
    connection: Connection,
    begun: BeginTxReply,
    read: boolean,
    onOver: () => void,
  ) {
    super();
    this.#way = way;
    this.#connection = connection;
    this.#begun = begun;
    this.rev = begun.rev;
    this.epoch = begun.epoch;
    this.read = read;
    this.#onOver = onOver;
  }

  /** Where it is, as far as it was heard of: the daemon may have ended it without a word. */
  get state(): TransactionState {
    return this.#state;
  }

  /**
   * Commits it. It is over then, also when that fails: nothing was applied, unless the error says otherwise. When the answer
   * is lost, the daemon is asked what became of it.
   * @throws SkylineError `TX_EXPIRED`; `outcome: "unknown"` where no daemon could tell
   */
  async commit(): Promise<CommitResult> {
    this.#check();
    this.#state = 'ending';
    const numbers = this.read ? null : this.#way.numbers();
    try {
      const { rev, epoch, rows_affected } = await this.#commit(numbers);
      this.#over('committed');
      return { rev, epoch, rowsAffected: rows_affected };
    } catch (error) {
      this.#over('lost');
      throw error;
    }
  }

  /** Rolls it back. One that is over stays so: that is no error. */
  async rollback(): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'ending';
    try {
      await this.#connection.request({ type: 'Rollback', db: this.#way.db, tx: this.#begun.tx });
    } catch (error) {
      // It is over already, or ends with the connection.
      if (!isExpired(error)) this.#connection.close();
    }
    this.#over('rolled back');
  }

  /** Gives it up without waiting for an answer: it ends with its connection. */
  abandon(): void {
    if (this.#state !== 'open') return;
    this.#connection.close();
    this.#over('rolled back');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.rollback();
  }

  protected override async submit<T>(
    statements: readonly BatchStatement[],
    options: StepOptions = {},
    decode: (reply: JsonObject) => T,
  ): Promise<T> {
    this.#check();
    const { timeoutMs, results, signal } = options;
    const body = encodeBatch(statements, {
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(results === undefined ? {} : { results }),
      ...(signal === undefined ? {} : { signal }),
    });
    const message = `{"type":"Exec","db":${JSON.stringify(this.#way.db)},"tx":"${this.#begun.tx}",${body}`;
    let reply: JsonObject;
    try {
      reply = await this.#connection.requestText(message, { signal }, true);
    } catch (error) {
      throw this.#failed(error, signal);
    }
    return decode(reply);
  }

  async #commit(numbers: CommitNumbers | null): Promise<CommitReply> {
    try {
      const message = { type: 'Commit' as const, db: this.#way.db, tx: this.#begun.tx, ...numbers };
      return decodeReply('Commit', await this.#connection.request(message));
    } catch (error) {
      if (!(error instanceof SkylineError) || error.outcome !== 'unknown' || numbers === null) throw error;
      const reply = await this.#way.ask(numbers, this.#begun, error);
      if (reply !== null) return reply;
      throw gone(error);
    }
  }

  /** What a failed request means for the transaction. */
  #failed(error: unknown, signal: AbortSignal | undefined): unknown {
    if (!(error instanceof SkylineError)) return error;
    const lost = error.code === 'CONNECTION_LOST';
    if (lost || isExpired(error) || error.details.tx_ended === true) this.#over('lost');
    if (error.code === 'CANCELLED') return stopped(error.outcome, signal?.reason, error.details);
    return lost ? gone(error) : error;
  }

  /** @throws SkylineError `TX_EXPIRED` */
  #check(): void {
    if (this.#state === 'open') return;
    throw new SkylineError(
      'TX_EXPIRED',
      `This transaction is over: it is ${this.#state}. Nothing of this request was done. Begin a new one.`,
    );
  }

  #over(state: Exclude<TransactionState, 'open' | 'ending'>): void {
    if (this.#state !== 'open' && this.#state !== 'ending') return;
    this.#state = state;
    this.#onOver();
  }
}

function isExpired(error: unknown): boolean {
  return error instanceof SkylineError && error.code === 'TX_EXPIRED';
}

/** A transaction without a commit is rolled back with its connection: that much is known. */
function gone(cause: SkylineError): SkylineError {
  return new SkylineError(
    'TX_EXPIRED',
    'This transaction is over: its connection was lost, and nothing of it was applied. Begin a new one.',
    { cause },
  );
}
