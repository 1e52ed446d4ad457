import { invalidRequest, messageOf, SkylineError } from '../protocol/errors.js';
import type { BatchOptions, BatchResult, BatchStatement, SqlParams } from './batch.js';
import { bytesOf, type Insert, insertFor, type LoadTarget } from './insert-rows.js';

/** Many rows as a stream of batches, no faster than the daemon takes them. */

/** What has been committed so far. */
export interface LoadProgress {
  readonly rows: number;
  /** Size of these rows on the wire, about. */
  readonly bytes: number;
}

export interface LoadOptions {
  /** The table's columns that rows given as arrays are for. Default: all of them, in the table's order. */
  readonly columns?: readonly string[];
  /** Most rows of one batch, which is one transaction. Default 5 000. */
  readonly batchRows?: number;
  /** Most bytes of one batch; a larger row is a batch of its own. Default 1 MiB. */
  readonly batchBytes?: number;
  /**
   * Batches on their way at once. Default 4. With 1 nothing behind a failed batch is committed, but it takes longer: the worker
   * waits while the next batch is made.
   */
  readonly inFlight?: number;
  /** Further statements for the transaction of the batch that brings rows `from` to `to` (from 0, `to` not included). */
  readonly alongside?: (from: number, to: number) => readonly BatchStatement[];
  /** On disk before the answer, whatever the daemon's `--durability`. */
  readonly durable?: boolean;
  /** Ends the load. What is on its way is waited for, so that what was committed is known. */
  readonly signal?: AbortSignal;
  /** Called after each batch that was committed. */
  readonly onProgress?: (progress: LoadProgress) => void;
}

export interface LoadResult extends LoadProgress {
  readonly batches: number;
}

/** What {@link load} needs of a database. */
export interface BatchTaker {
  batch(statements: readonly BatchStatement[], options: BatchOptions): Promise<BatchResult>;
}

const BATCH_ROWS = 5_000;
/** JSON escapes are not counted and make a text six times as long at worst: still far below the default max_frame. */
const BATCH_BYTES = 1024 * 1024;
/** One that the worker executes, others on their way to it: with two it is idle for a third of the time, more than four help no further. */
const IN_FLIGHT = 4;

/** Rows of one batch. */
interface Piece {
  readonly sets: SqlParams[];
  bytes: number;
}

/**
 * Loads rows, see `Database.load`.
 * @throws SkylineError with `details.rows_committed`, and `details.failed_rows` when it was a batch that failed
 */
export async function load(
  database: BatchTaker,
  target: LoadTarget,
  rows: Iterable<SqlParams> | AsyncIterable<SqlParams>,
  options: LoadOptions = {},
): Promise<LoadResult> {
  const { signal } = options;
  const pieces = new Pieces(rows, options);
  const sender = new Sender(database, target, options);
  const halt = once<never>();
  const onAbort = () => halt.reject(aborted(signal?.reason));
  sender.onFailure = halt.reject;
  if (signal?.aborted === true) onAbort();
  else signal?.addEventListener('abort', onAbort, { once: true });
  try {
    for (;;) {
      // A source that is slow must not keep a failure from being told.
      const piece = await Promise.race([halt.promise, pieces.next()]);
      if (piece === undefined) break;
      await Promise.race([halt.promise, sender.send(piece)]);
    }
    await Promise.race([halt.promise, sender.settled()]);
    return sender.progress;
  } catch (error) {
    await Promise.all([pieces.end(), sender.stop()]);
    throw sender.explain(error);
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

/** Cuts the rows into pieces. */
class Pieces {
  readonly #iterator: Iterator<SqlParams> | AsyncIterator<SqlParams>;
  readonly #maxRows: number;
  readonly #maxBytes: number;
  /** The next piece: with the row that was too much for the one before. */
  #begun: Piece = { sets: [], bytes: 0 };
  #waiting = false;
  #ended = false;

  constructor(rows: Iterable<SqlParams> | AsyncIterable<SqlParams>, options: LoadOptions) {
    this.#maxRows = atLeastOne(options.batchRows ?? BATCH_ROWS, 'batchRows');
    this.#maxBytes = atLeastOne(options.batchBytes ?? BATCH_BYTES, 'batchBytes');
    this.#iterator = Symbol.asyncIterator in rows ? rows[Symbol.asyncIterator]() : rows[Symbol.iterator]();
  }

  /** The next rows: one at least, which may be larger than the bound; undefined when there are none left. */
  async next(): Promise<Piece | undefined> {
    const piece = this.#begun;
    this.#begun = { sets: [], bytes: 0 };
    this.#waiting = true;
    while (!this.#ended && piece.sets.length < this.#maxRows) {
      const step = this.#iterator.next();
      // Awaiting what is there already would cost more than all the rest.
      const { done, value } = 'then' in step ? await step : step;
      if (done === true) {
        this.#ended = true;
        break;
      }
      const bytes = bytesOf(value);
      const full = piece.sets.length > 0 && piece.bytes + bytes > this.#maxBytes;
      const into = full ? this.#begun : piece;
      into.sets.push(value);
      into.bytes += bytes;
      if (full) break;
    }
    this.#waiting = false;
    return piece.sets.length === 0 ? undefined : piece;
  }

  /** Nobody wants more rows. */
  async end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    const ending = (async () => this.#iterator.return?.())().catch(() => undefined);
    // A generator that waits for its own source ends when that answers, which may be never.
    if (!this.#waiting) await ending;
  }
}

/** Sends pieces, a few at a time, and keeps the account of what was committed. */
class Sender {
  onFailure: (error: unknown) => void = () => undefined;
  readonly #database: BatchTaker;
  readonly #target: LoadTarget;
  readonly #options: LoadOptions;
  readonly #inFlight: number;
  readonly #onWay: Promise<void>[] = [];
  #insert: Insert | undefined;
  #sent = 0;
  #rows = 0;
  #bytes = 0;
  #batches = 0;
  #failed: { from: number; to: number } | undefined;
  #unknown = false;
  #stopped = false;

  constructor(database: BatchTaker, target: LoadTarget, options: LoadOptions) {
    this.#database = database;
    this.#target = target;
    this.#options = options;
    this.#inFlight = atLeastOne(options.inFlight ?? IN_FLIGHT, 'inFlight');
  }

  get progress(): LoadResult {
    return { rows: this.#rows, bytes: this.#bytes, batches: this.#batches };
  }

  /** Sends it, once there is room. */
  async send(piece: Piece): Promise<void> {
    while (this.#onWay.length >= this.#inFlight) {
      // Taken out afterwards: settled() must know of it meanwhile.
      await this.#onWay[0];
      this.#onWay.shift();
    }
    if (this.#stopped) return;
    this.#onWay.push(this.#deliver(piece));
  }

  /** Sends nothing more. Resolves when everything sent is answered. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.settled();
  }

  /** Resolves when everything sent is answered. */
  async settled(): Promise<void> {
    await Promise.all(this.#onWay);
  }

  async #deliver({ sets, bytes }: Piece): Promise<void> {
    const from = this.#sent;
    const to = from + sets.length;
    this.#sent = to;
    const { alongside, durable, onProgress } = this.#options;
    try {
      this.#insert ??= insertFor(this.#target, sets[0] ?? [], this.#options.columns);
      const { sql, paramsOf } = this.#insert;
      const paramSets = paramsOf === undefined ? sets : sets.map((row, at) => paramsOf(row, from + at));
      const statements = [{ sql, paramSets }, ...(alongside?.(from, to) ?? [])];
      await this.#database.batch(statements, {
        results: false,
        ...(durable === undefined ? {} : { durable }),
      });
    } catch (error) {
      if (!(error instanceof SkylineError) || error.outcome !== 'not_applied') this.#unknown = true;
      this.#failed = { from: Math.min(from, this.#failed?.from ?? from), to };
      this.#stopped = true;
      this.onFailure(error);
      return;
    }
    this.#rows += sets.length;
    this.#bytes += bytes;
    this.#batches += 1;
    try {
      onProgress?.({ rows: this.#rows, bytes: this.#bytes });
    } catch (error) {
      this.onFailure(error);
    }
  }

  /** The error with the account in it. */
  explain(error: unknown): SkylineError {
    const known = error instanceof SkylineError;
    const outcome = this.#unknown ? 'unknown' : this.#rows > 0 ? 'partial' : 'not_applied';
    const failed = this.#failed;
    const told = `${known ? error.message : `The load was ended by an error of its own program: ${messageOf(error)}`}`;
    const account = this.#rows === 0 ? 'No row is committed' : `${this.#rows} rows are committed`;
    const where =
      failed === undefined ? '' : `, the failed batch had rows ${failed.from} to ${failed.to - 1} (from 0)`;
    return new SkylineError(
      known ? error.code : 'ABORTED',
      `${told}${told.endsWith('.') ? '' : '.'} ${account}${where}.`,
      {
        outcome,
        ...(outcome === 'not_applied' && known ? { retryable: error.retryable } : { retryable: false }),
        details: {
          ...(known ? error.details : {}),
          rows_committed: this.#rows,
          ...(failed === undefined ? {} : { failed_rows: [failed.from, failed.to] as const }),
        },
        cause: error,
      },
    );
  }
}

function atLeastOne(value: number, option: string): number {
  if (Number.isInteger(value) && value >= 1) return value;
  throw invalidRequest(`The option "${option}" must be a whole number from 1.`);
}

function aborted(reason: unknown): SkylineError {
  return new SkylineError('ABORTED', 'The load was aborted.', { retryable: false, cause: reason });
}

/** A promise that is rejected from outside; nobody need listen. */
function once<T>(): { promise: Promise<T>; reject: (error: unknown) => void } {
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<T>((_, fail) => {
    reject = fail;
  });
  promise.catch(() => undefined);
  return { promise, reject };
}
