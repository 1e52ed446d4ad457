import { decodeReply } from '../protocol/decode-reply.js';
import { digits } from '../protocol/digits.js';
import { SkylineError } from '../protocol/errors.js';
import type { JsonObject } from '../protocol/frame.js';
import { CANCEL_GRACE_MS, cancel, stopped } from './cancel.js';
import { aborted, type Connection, connectionLost, noAnswer } from './connection.js';
import { explain, Pending, type Seen, type Sender } from './pending.js';
import { newSessionName } from './session-name.js';

/** What a route needs of its client. */
export interface RouteHooks {
  /** The connection to the daemon, made (and the daemon started) if need be. */
  router(): Promise<Connection>;
  /** The daemon at the other end of this connection takes nothing more: the next one is to be found. */
  leaving(connection: Connection): void;
  /** A connection to a worker's own socket. */
  worker(endpoint: string): Promise<Connection>;
  /** Whether batches may go to the worker directly. */
  readonly direct: boolean;
  /** Whether each batch is numbered, so that it can be sent again. */
  readonly exactlyOnce: boolean;
}

/** The daemon answers by `timeoutMs`; this much later its silence is an answer too. */
const ANSWER_GRACE_MS = 5_000;
/** Milliseconds until a worker that could not be reached directly is tried again. */
const DIRECT_AGAIN_MS = 1_000;
/** So many answers within so many milliseconds, and the database is worth a connection of its own. */
const HOT_ANSWERS = 8;
const HOT_MS = 1_000;
/** Daemons that end so often while one batch waits have another problem. */
const MAX_REPEATS = 20;

/**
 * One database's batches on their way: in order, each applied once. They go through the router; where they come often, the
 * route asks it for the worker's own socket and stays there until that ends. Whatever ends (a worker that leaves or is
 * killed, a daemon that is killed or restarted), the batches without an answer are sent again on the next way, in their
 * order and under their numbers, by which the daemon knows those that it has applied already.
 */
export class Route implements Sender {
  readonly #db: string;
  /** The same as the JSON text of a field. */
  readonly #dbField: string;
  readonly #hooks: RouteHooks;
  /** Without an answer, in the order of their numbers. */
  readonly #outstanding = new Set<Pending>();
  /** Of those, the ones that wait for a way, in order. */
  #unsent: Pending[] = [];
  /** Of those, the ones that are sent. */
  #inFlight = 0;
  /** Up to which number every answer has arrived. */
  #acked = 0;
  /** Where batches go now; null while the next way is looked for. */
  #way: Connection | null = null;
  #isDirect = false;
  #opening = false;
  /** When the worker may be looked for, on performance.now()'s clock. */
  #directAt = 0;
  /** Answers that came through the router, and since when they are counted. */
  #answers = 0;
  #answersSince = 0;
  #session: string = newSessionName();
  /** Where the database stood by the latest answer. */
  #seen: Seen | null = null;
  #lastSeq = 0;
  #closedBy: SkylineError | null = null;

  constructor(db: string, hooks: RouteHooks) {
    this.#db = db;
    this.#dbField = `"db":${JSON.stringify(db)},`;
    this.#hooks = hooks;
  }

  /** Whether batches go to the worker without the router in between. */
  get isDirect(): boolean {
    return this.#isDirect && this.#way?.open === true;
  }

  /**
   * Sends a batch behind those before it.
   * @param body its fields as JSON text
   * @param decode makes the result of the reply; what it throws is the caller's error
   * @param options.signal when it aborts, the daemon is to stop the batch
   * @param options.timeoutMs milliseconds that the daemon has for it
   * @throws SkylineError the daemon's; `ABORTED`, `TIMEOUT`, `CONNECTION_LOST` say in `outcome` what is known
   */
  submit<T>(
    body: string,
    decode: (reply: JsonObject) => T,
    { signal, timeoutMs }: { signal?: AbortSignal | undefined; timeoutMs?: number | undefined } = {},
  ): Promise<T> {
    if (this.#closedBy !== null) return Promise.reject(this.#closedBy);
    if (signal?.aborted === true) return Promise.reject(aborted('not_applied', signal.reason));
    this.#lastSeq += 1;
    const deadline = timeoutMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
    const pending = new Pending(this, body, this.#lastSeq, deadline, decode);
    if (signal !== undefined || timeoutMs !== undefined) this.#bound(pending, signal, timeoutMs);
    this.#outstanding.add(pending);
    this.#considerDirect();
    if (this.#way?.open === true && this.#unsent.length === 0) this.#send(pending, this.#way);
    else {
      this.#unsent.push(pending);
      this.#flush();
    }
    return pending.answer as Promise<T>;
  }

  /** Resolves when all batches that were sent before have an answer. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#outstanding].map(({ answer }) => answer));
  }

  /**
   * The router has ended. Its workers leave when they notice, which takes as long as what they are at: the next daemon is
   * the one to ask.
   */
  routerEnded(): void {
    if (this.#isDirect) this.#way?.close(connectionLost('the daemon ended, or died'));
  }

  /**
   * Ends the way; batches without an answer are rejected. Idempotent.
   * @param cause for what was never sent
   */
  close(cause: SkylineError): void {
    if (this.#closedBy !== null) return;
    this.#closedBy = cause;
    const lost = connectionLost('this client closed it');
    for (const pending of this.#outstanding)
      this.#fail(pending, pending.outcome === 'unknown' ? lost : cause);
    this.#unsent = [];
    if (this.#isDirect) this.#way?.close(cause);
  }

  /** Watches the caller's signal and its patience. Whatever ends first takes the others along. */
  #bound(pending: Pending, signal: AbortSignal | undefined, timeoutMs: number | undefined): void {
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(
            () => this.#giveUp(pending, noAnswer(timeoutMs, pending.outcome)),
            timeoutMs + ANSWER_GRACE_MS,
          );
    let endWait: () => void = () => undefined;
    const onAbort = () => {
      endWait = this.#abort(pending, signal?.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    pending.onSettled = () => {
      clearTimeout(timer);
      endWait();
      signal?.removeEventListener('abort', onAbort);
    };
  }

  /**
   * The caller wants it no more. What was sent is cancelled, or asked about, and its answer waited for a little.
   * @returns ends that wait
   */
  #abort(pending: Pending, reason: unknown): () => void {
    const giveUp = () => this.#giveUp(pending, aborted(pending.outcome, reason));
    const { way } = pending;
    pending.stopped = stopped('not_applied', reason);
    if (way !== null && !pending.asked) return cancel(way, pending.id, giveUp);
    if (pending.perhapsApplied) {
      pending.givenUp ??= pending.stopped;
      const timer = setTimeout(giveUp, CANCEL_GRACE_MS);
      return () => clearTimeout(timer);
    }
    giveUp();
    return () => undefined;
  }

  #giveUp(pending: Pending, error: SkylineError): void {
    this.#unsent = this.#unsent.filter((one) => one !== pending);
    this.#fail(pending, error);
  }

  #fail(pending: Pending, error: unknown): void {
    if (!this.#outstanding.delete(pending)) return;
    this.#acknowledge(pending);
    pending.fail(error);
  }

  /** A batch has its answer, which the caller has got: it need not be kept. */
  #acknowledge({ seq }: Pending): void {
    if (seq !== this.#acked + 1) return;
    for (const first of this.#outstanding) {
      this.#acked = first.seq - 1;
      return;
    }
    this.#acked = this.#lastSeq;
  }

  /** Leaves the router's way for the worker's: what comes next waits until all that went the long way is answered. */
  #considerDirect(): void {
    if (!this.#isDirect && this.#way !== null && this.#mayGoDirect) this.#way = null;
  }

  /** Whether the worker is to be looked for: a way of its own costs a request and a connection. */
  get #mayGoDirect(): boolean {
    return this.#answers >= HOT_ANSWERS && this.#hooks.direct && performance.now() >= this.#directAt;
  }

  #count(): void {
    const now = performance.now();
    if (now - this.#answersSince > HOT_MS) {
      this.#answersSince = now;
      this.#answers = 0;
    }
    this.#answers += 1;
  }

  #send(pending: Pending, way: Connection): void {
    this.#inFlight += 1;
    pending.way = way;
    // A worker serves one database: what it is called need not be said.
    const db = this.#isDirect ? '' : this.#dbField;
    const numbers = this.#hooks.exactlyOnce ? this.#numbers(pending) : '';
    pending.id = way.post(`{"type":"ExecBatch",${db}${numbers}${pending.body}`, pending);
  }

  /** What makes a batch known again: fields as JSON text, each with a comma behind it. */
  #numbers(pending: Pending): string {
    const { seq, perhapsApplied, seen } = pending;
    // A new session would not know what was applied in the one before.
    if (!perhapsApplied) pending.session = this.#session;
    const numbers = `"session":"${pending.session}","seq":${digits(seq)},"acked":${digits(this.#acked)},`;
    const asks = typeof this.#seen?.database === 'string' ? '' : '"session_database":true,';
    if (!perhapsApplied) return numbers + asks;
    // Its time is over, or it kills workers: what became of it is all that is asked.
    pending.asked = pending.givenUp !== null || performance.now() > pending.deadline;
    return `${numbers}${seen === null ? asks : fileField(seen)}${pending.asked ? '"only_replay":true,' : ''}`;
  }

  answered(pending: Pending, reply: JsonObject): void {
    this.#inFlight -= 1;
    this.#see(reply);
    if (!this.#isDirect) this.#count();
    if (this.#outstanding.delete(pending)) {
      this.#acknowledge(pending);
      pending.succeed(reply);
    }
    if (this.#unsent.length > 0) this.#flush();
  }

  #see({ epoch, rev, database }: JsonObject): void {
    if (typeof epoch !== 'number' || typeof rev !== 'number') return;
    const seen = this.#seen;
    const told = typeof database === 'string' ? database : null;
    if (seen === null || epoch > seen.epoch) this.#seen = { epoch, rev, database: told };
    else if (epoch === seen.epoch && (rev > seen.rev || told !== null))
      this.#seen = { epoch, rev: Math.max(rev, seen.rev), database: told ?? seen.database };
  }

  /** It may have been applied, to the file that was there: another one knows nothing of that. */
  #doubt(pending: Pending): void {
    if (!pending.perhapsApplied) pending.seen = this.#seen;
    pending.perhapsApplied = true;
  }

  refused(pending: Pending, error: unknown): void {
    const { way } = pending;
    this.#inFlight -= 1;
    pending.way = null;
    if (way !== null && this.#outstanding.has(pending)) {
      const again = this.#repeatable(pending, error, way);
      if (again && pending.stopped !== null && !pending.perhapsApplied) this.#fail(pending, pending.stopped);
      else if (again) {
        pending.givenUp ??= pending.stopped;
        pending.repeats += 1;
        if (this.#way === way) this.#way = null;
        this.#unsent.push(pending);
      } else this.#fail(pending, explain(pending, error));
    }
    this.#flush();
  }

  /** Whether a batch without a final answer may be sent again, and how. */
  #repeatable(pending: Pending, error: unknown, way: Connection): boolean {
    if (!(error instanceof SkylineError) || this.#closedBy !== null || pending.repeats >= MAX_REPEATS)
      return false;
    switch (error.code) {
      case 'SHUTTING_DOWN':
        this.#hooks.leaving(way);
        return true;
      case 'CONNECTION_LOST':
        if (error.outcome === 'not_applied') return true;
        this.#doubt(pending);
        // The worker was killed, perhaps by what it had in hand. All of that is answered through the router, which counts
        // such losses and tells why, before the next worker is looked for.
        return this.#hooks.exactlyOnce;
      case 'SESSION_CONFLICT':
        // The file knows something else of this session. What was never in hand may begin a new one.
        this.#session = newSessionName();
        this.#seen = null;
        return !pending.perhapsApplied;
      case 'WORKER_CRASHED':
      case 'TIMEOUT':
      case 'CANCELLED':
        if (!this.#hooks.exactlyOnce) return false;
        // Asked, it was not run: whatever those workers died of, the next one may tell. A TIMEOUT is the answer then.
        if (pending.asked) return error.code === 'WORKER_CRASHED';
        if (error.outcome !== 'unknown' && !pending.perhapsApplied) return false;
        this.#doubt(pending);
        pending.givenUp = error;
        return true;
      default:
        return false;
    }
  }

  /** Sends what waits, when there is a way and nothing is left on another one. */
  #flush(): void {
    if (this.#opening || this.#unsent.length === 0 || this.#closedBy !== null) return;
    if (this.#way?.open === true) {
      const way = this.#way;
      for (const pending of this.#unsent.splice(0)) this.#send(pending, way);
    } else if (this.#inFlight === 0) {
      this.#unsent.sort((one, other) => one.seq - other.seq);
      this.#opening = true;
      void this.#open();
    }
  }

  /** Never rejects: who waits gets the error. */
  async #open(): Promise<void> {
    try {
      const router = await this.#hooks.router();
      const worker = this.#mayGoDirect ? await this.#attach(router) : null;
      this.#answers = 0;
      this.#isDirect = worker !== null;
      this.#way = worker ?? router;
    } catch (error) {
      for (const pending of this.#unsent.splice(0)) {
        const lost = connectionLost('no daemon can be reached to ask what became of it', error);
        this.#fail(pending, pending.perhapsApplied ? lost : error);
      }
    } finally {
      this.#opening = false;
    }
    if (this.#closedBy !== null && this.#isDirect) this.#way?.close(this.#closedBy);
    this.#flush();
  }

  /** @returns null when the router's way is the one to take */
  async #attach(router: Connection): Promise<Connection | null> {
    try {
      const reply = await router.request({ type: 'Attach', db: this.#db });
      const { endpoint } = decodeReply('Attach', reply);
      return await this.#hooks.worker(endpoint);
    } catch (error) {
      // An older daemon does not know it, and a folder with a long name has no room for it: that will not change.
      const never = error instanceof SkylineError && error.code === 'INVALID_REQUEST';
      this.#directAt = never ? Number.MAX_VALUE : performance.now() + DIRECT_AGAIN_MS;
      return null;
    }
  }
}

/** What tells a file from others: fields as JSON text. */
function fileField({ epoch, rev, database }: Seen): string {
  const which = database === null ? '' : `"session_database":${JSON.stringify(database)},`;
  return `"session_epoch":${epoch},"session_rev":${rev},${which}`;
}
