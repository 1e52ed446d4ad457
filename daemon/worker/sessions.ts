import type { SkylineError } from '../../protocol/errors.js';
import type { Limits } from '../../protocol/messages.js';
import type { CheckedBatch, Turn } from './batch.js';
import type { Position } from './link.js';
import { otherBody, refusal, replay, type Settled, withoutResults } from './session-answers.js';
import { newSession, type OutcomeRecord, type Session, type SessionTable, toLine } from './session-table.js';

/** What a batch has come to: the reply without its id, its error, or how many statements of a `tx: "none"` are done. */
export type Recordable =
  | { readonly body: string }
  | { readonly error: SkylineError }
  | { readonly begun: number };

/** Failures that the database's contents decide, and so would be met again. After all others a batch is as if never sent. */
const DECIDED: ReadonlySet<string> = new Set([
  'SQL_ERROR',
  'STATEMENT_NOT_ALLOWED',
  'EXPECTATION_FAILED',
  'INVALID_REQUEST',
  'RESULT_TOO_LARGE',
]);

/** Outcomes of one session that are kept although nobody acknowledges them, and their size in UTF-16 units. */
export const MAX_OUTCOMES = 2048;
export const MAX_SESSION_SIZE = 1024 * 1024;
/** Sessions forgotten at once: a moment's work. */
const FORGET_AT_ONCE = 1_000;
/** New sessions after which it is looked again whether there are too many. */
const LOOK_EVERY = 1_000;
/** Milliseconds between two looks at whether some are too old. */
const LOOK_AFTER_MS = 60 * 60 * 1000;

/** Sessions in memory, and their size: those used last. */
const MAX_CACHED = 1024;
const MAX_CACHED_SIZE = 16 * 1024 * 1024;

/** Whether the failure is recorded: sent again, the batch is answered with it. */
export function isRecorded(error: SkylineError): boolean {
  return error.outcome === 'partial' || (error.outcome === 'not_applied' && DECIDED.has(error.code));
}

/**
 * The sessions of one open database file: what became of each batch, in memory as in the file. Changes are made in memory
 * first and written with the transaction; when that is lost, what it touched is read from the file again.
 */
export class Sessions {
  readonly #table: SessionTable;
  readonly #limits: Limits;
  /** The last used is the last. */
  readonly #cache = new Map<string, Session>();
  #cachedSize = 0;
  #lastName = '';
  /** The session of that name; null when it may have left the cache. */
  #last: Session | null = null;
  /** Changed in the transaction that is open. */
  readonly #touched = new Map<string, Session>();
  #made = 0;
  #lookAt = 0;

  constructor(table: SessionTable, limits: Limits) {
    this.#table = table;
    this.#limits = limits;
  }

  /** What is to be answered without running the batch; null when it is to be run. */
  lookUp(batch: CheckedBatch, position: Position): Settled | null {
    const { turn, request } = batch;
    if (turn === null) return null;
    const session = this.#session(turn.session);
    const record = find(session, turn.seq);
    if (record !== undefined && record.body === turn.body) return replay(record, request.id, this.#limits);
    const error = record === undefined ? refusal(turn, session, position) : otherBody(turn);
    return error === null ? null : { error };
  }

  /** Takes note of what became of a batch, for the transaction that is open. */
  record({ turn }: CheckedBatch, outcome: Recordable): void {
    if (turn === null) return;
    const session = this.#session(turn.session);
    this.#touched.set(turn.session, session);
    if (session.last === 0) this.#made += 1;
    const sizeBefore = session.size;
    while ((session.records[0]?.seq ?? Infinity) <= turn.acked) dropOldest(session);
    session.acked = Math.max(session.acked, turn.acked);
    session.last = Math.max(session.last, turn.seq);
    const record = { seq: turn.seq, body: turn.body, line: this.#line(turn, outcome) };
    const { records } = session;
    // A `tx: "none"` batch comes again with each statement.
    if (records.at(-1)?.seq === turn.seq) replace(session, records.length - 1, record);
    else {
      records.push(record);
      session.size += record.line.length;
    }
    if (session.size > MAX_SESSION_SIZE || session.records.length > MAX_OUTCOMES) trim(session);
    this.#cachedSize += session.size - sizeBefore;
  }

  /** Writes the rows of the sessions that were touched, in the transaction that is open. */
  write(): void {
    if (this.#touched.size === 0) return;
    if (this.#made >= LOOK_EVERY) this.#limitCount();
    const now = seconds();
    for (const [name, session] of this.#touched) this.#table.write(name, session, now);
  }

  /** The transaction is on its way to the disk. */
  committed(): void {
    if (this.#touched.size === 0) return;
    this.#touched.clear();
    this.#shrink();
  }

  /** The transaction is lost, or nobody knows: the file says what holds. */
  rolledBack(): void {
    this.#last = null;
    for (const [name, session] of this.#touched) {
      this.#cache.delete(name);
      this.#cachedSize -= session.size;
    }
    this.#touched.clear();
    this.#table.forget();
  }

  /**
   * Whether sessions are to be forgotten. Cheap: it hardly ever looks.
   * @param ttlMs milliseconds after its last batch until a session is too old; 0 for never
   */
  isDue(ttlMs: number): boolean {
    if (performance.now() < this.#lookAt) return false;
    this.#lookAt = performance.now() + LOOK_AFTER_MS;
    const { count, oldest } = this.#table.count();
    return count > this.#limits.max_sessions || (count > 0 && oldest < tooOld(ttlMs));
  }

  /** Forgets sessions, some at once, in the transaction that is open: those too old, and the oldest of too many. */
  forget(ttlMs: number): void {
    const { count } = this.#table.count();
    this.#table.remove(tooOld(ttlMs), count - this.#limits.max_sessions, FORGET_AT_ONCE);
    this.#clearCache();
    this.#lookAt = 0;
  }

  #limitCount(): void {
    this.#made = 0;
    const { count } = this.#table.count();
    if (count <= this.#limits.max_sessions) return;
    this.#table.remove(0, count - this.#limits.max_sessions, 2 * LOOK_EVERY);
    this.#clearCache();
  }

  /** Except for what this transaction has touched: it is written yet. */
  #clearCache(): void {
    this.#last = null;
    this.#cache.clear();
    this.#cachedSize = 0;
    for (const [name, session] of this.#touched) {
      this.#cache.set(name, session);
      this.#cachedSize += session.size;
    }
  }

  #session(name: string): Session {
    // Most often it is the one before: a client's batches come together.
    if (name === this.#lastName && this.#last !== null) return this.#last;
    // Those of the group at hand need not be moved to the end of the cache for each batch.
    const session = this.#touched.get(name) ?? this.#fetch(name);
    this.#lastName = name;
    this.#last = session;
    return session;
  }

  #fetch(name: string): Session {
    const cached = this.#cache.get(name);
    if (cached !== undefined) {
      this.#cache.delete(name);
      this.#cache.set(name, cached);
      return cached;
    }
    const session = this.#table.read(name) ?? newSession();
    this.#cache.set(name, session);
    this.#cachedSize += session.size;
    return session;
  }

  /** Never while a transaction has touched some: they would be read as they were before. */
  #shrink(): void {
    for (const [name, session] of this.#cache) {
      if (this.#cache.size <= MAX_CACHED && this.#cachedSize <= MAX_CACHED_SIZE) return;
      this.#last = null;
      this.#cache.delete(name);
      this.#cachedSize -= session.size;
    }
  }

  #line({ seq, body }: Turn, outcome: Recordable): string {
    if ('begun' in outcome) return toLine(seq, body, 'begun', String(outcome.begun));
    if ('error' in outcome) return toLine(seq, body, 'error', errorText(outcome.error));
    const text = outcome.body;
    const limit = this.#limits.max_session_result_bytes;
    // A UTF-16 unit is at most three bytes: most replies need no count.
    const tooLarge = text.length * 3 > limit && Buffer.byteLength(text) > limit;
    return tooLarge ? withoutResults(toLine(seq, body, 'ok', text)) : toLine(seq, body, 'ok', text);
  }
}

/** What is recorded of this seq; undefined when there is nothing. */
function find({ last, records }: Session, seq: number): OutcomeRecord | undefined {
  // Nearly always it is a new one.
  return seq > last ? undefined : records.find((record) => record.seq === seq);
}

function replace(session: Session, index: number, record: OutcomeRecord): void {
  session.size += record.line.length - (session.records[index]?.line.length ?? 0);
  session.records[index] = record;
}

function dropOldest(session: Session): void {
  session.size -= session.records.shift()?.line.length ?? 0;
}

/** Makes a session small enough: first without the results of the oldest, then without the oldest. */
function trim(session: Session): void {
  const { records } = session;
  for (const [index, record] of records.entries()) {
    if (session.size <= MAX_SESSION_SIZE) break;
    replace(session, index, { ...record, line: withoutResults(record.line) });
  }
  while (session.size > MAX_SESSION_SIZE || records.length > MAX_OUTCOMES) {
    session.acked = Math.max(session.acked, records[0]?.seq ?? 0);
    dropOldest(session);
  }
}

function errorText({ code, message, outcome, retryable, details }: SkylineError): string {
  return JSON.stringify({ code, message, outcome, retryable, details });
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}

/** Sessions last used before this are too old. */
function tooOld(ttlMs: number): number {
  return ttlMs === 0 ? 0 : seconds() - Math.ceil(ttlMs / 1000);
}
