import { type ProtocolError, SkylineError } from '../protocol/errors.js';
import type { JsonObject } from '../protocol/frame.js';
import type { ErrorReply } from '../protocol/messages.js';
import { TagTable } from './tag-table.js';
import type { DatabaseFacts } from './worker/file-facts.js';
import {
  type LinkFrame,
  LinkKind,
  monotonicMs,
  type Notice,
  type Order,
  type Position,
  unreadableError,
  type WorkerOptions,
  type WorkerStats,
} from './worker/link.js';
import type { WorkerChild, WorkerExit } from './worker-child.js';

export type { WorkerExit } from './worker-child.js';

/** Whoever waits for an answer to one link request. */
export interface Waiter {
  reply(payload: Buffer, rev: number): void;
  /**
   * The worker has taken it in hand.
   * @param rev where the database stood before; -1 if the worker had not opened it
   */
  started?(rev: number): void;
  /** Its statements run now. */
  running?(): void;
  event?(payload: Buffer): void;
  /** It cannot be read: whoever sent it is not understood any more. */
  unreadable?(error: ProtocolError): void;
  /** The worker is dead, and this was not answered. */
  lost(exit: WorkerExit): void;
}

/** What a client's requests are to the worker: see LinkKind. */
export type RequestKind = typeof LinkKind.Request | typeof LinkKind.Suspect | typeof LinkKind.Transaction;

export interface WorkerHooks {
  notice(notice: Notice): void;
  /** Everything it was asked is answered. */
  rested(): void;
  /** A batch of an attached client runs past its deadline. */
  overrun(): void;
  exit(exit: WorkerExit): void;
  /** What the worker wrote to stderr: a crash's last words. */
  stderr(text: string): void;
}

/** `serving` from the start: what is sent before the process is up waits in the socket pair. */
type WorkerState = 'serving' | 'leaving' | 'gone';

/** After this long a worker that was told to leave is killed, in milliseconds. */
const LEAVE_MS = 10_000;
/** After an attached client's deadline, for the word that its batch is done; in milliseconds. */
const OVERRUN_MS = 100;

/** The router's side of one database's worker, from the order to serve until the file is closed or the process has ended. */
export class WorkerProcess {
  readonly #child: WorkerChild;
  readonly #giveBack: () => boolean;
  readonly #hooks: WorkerHooks;
  readonly #waiters = new TagTable<Waiter>();
  /** Resolves when no process has the file open on its behalf any more, and all it said has been read. */
  readonly exited: Promise<WorkerExit>;
  #exited: (exit: WorkerExit) => void = () => undefined;
  #lastStats: WorkerStats | undefined;
  #left: DatabaseFacts | undefined;
  /** Where it listens for clients of its own, once it is told to. */
  readonly socket: string;
  attached = false;
  #state: WorkerState = 'serving';
  #decided: Promise<void> = Promise.resolve();
  /** What the worker has last said to run; 0 for something without a deadline. */
  #running = 0;
  /** Watches the batch of an attached client that runs now and has a deadline. */
  #watch: NodeJS.Timeout | undefined;

  /**
   * @param child a process that serves nothing
   * @param giveBack offered the process when it has closed its database; false: it is to leave
   */
  constructor(child: WorkerChild, options: WorkerOptions, hooks: WorkerHooks, giveBack: () => boolean) {
    this.#child = child;
    this.socket = options.socket;
    this.#hooks = hooks;
    this.#giveBack = giveBack;
    this.exited = new Promise((resolve) => {
      this.#exited = resolve;
    });
    child.tenant = {
      frame: (frame) => this.#take(frame),
      stderr: (text) => hooks.stderr(text),
      ended: (exit) => this.#ended(exit),
    };
    // Its process may have died just before.
    if (!child.alive) void child.exited.then((exit) => this.#ended(exit));
    this.#send(
      LinkKind.Order,
      0,
      0,
      0,
      Buffer.from(JSON.stringify({ op: 'serve', options } satisfies Order)),
    );
  }

  /** Its figures when it was last asked, or has left: it cannot tell them while it is busy. */
  get lastStats(): WorkerStats | undefined {
    return this.#lastStats;
  }

  /** How it has left the files, if it was to tell of each commit. */
  get left(): DatabaseFacts | undefined {
    return this.#left;
  }

  get pid(): number {
    return this.#child.pid;
  }

  get state(): WorkerState {
    return this.#state;
  }

  /** Resolves when a worker that was asked to leave has gone, or has refused and serves again. */
  get decided(): Promise<void> {
    return this.#decided;
  }

  /** Requests and orders without an answer yet. */
  get pending(): number {
    return this.#waiters.size;
  }

  /**
   * Passes a client's request on, as it came.
   * @returns its tag, for {@link isRunning} until it is answered
   */
  request(kind: RequestKind, lane: number, payload: Buffer, deadline: number, waiter: Waiter): number {
    const tag = this.#expect(waiter);
    this.#send(kind, tag, lane, deadline, payload);
    return tag;
  }

  /** Whether the statements of this request with a deadline are what the worker is at. */
  isRunning(tag: number): boolean {
    return this.#state !== 'gone' && this.#running === tag;
  }

  /**
   * Gives an order and waits for its answer.
   * @param lane 0, or the connection whose earlier requests come first
   * @throws SkylineError the worker's, or `WORKER_CRASHED`
   */
  order(order: Order, lane = 0, onEvent?: (payload: Buffer) => void): Promise<JsonObject> {
    if (order.op === 'listen') this.attached = true;
    return new Promise((resolve, reject) => {
      const tag = this.#expect({
        reply: (payload) => {
          const answer = JSON.parse(payload.toString('utf8')) as { ok?: JsonObject; error?: ErrorReply };
          if (answer.error === undefined) {
            const { ok = {} } = answer;
            // In the order in which it said them: what it has counted only rises.
            if (order.op === 'stats') this.#lastStats = ok as unknown as WorkerStats;
            if (order.op === 'close') {
              this.#lastStats = ok.stats as unknown as WorkerStats;
              this.#left = ok.left as DatabaseFacts | undefined;
            }
            resolve(ok);
          } else reject(fromReply(answer.error));
        },
        event: (payload) => onEvent?.(payload),
        lost: (exit) =>
          reject(
            new SkylineError(
              'WORKER_CRASHED',
              `The worker ${describeExit(exit)} during "${order.op}". Try again.`,
              { outcome: 'unknown' },
            ),
          ),
      });
      this.#send(LinkKind.Order, tag, lane, 0, Buffer.from(JSON.stringify(order)));
    });
  }

  /** The client of this lane does not want this any more: it is refused, if it waits there. */
  cancel(tag: number, lane: number): void {
    if (tag > 0) this.#send(LinkKind.Cancel, tag, lane, 0);
  }

  laneClosed(lane: number): void {
    // Also to one that is to leave: it may be waiting for this client's transaction.
    this.#send(LinkKind.LaneClosed, 0, lane, 0);
  }

  laneEnded(lane: number): void {
    this.#send(LinkKind.LaneEnded, 0, lane, 0);
  }

  drained(lane: number, bytes: number): void {
    if (this.#state === 'serving') this.#send(LinkKind.Drained, 0, lane, bytes);
  }

  /**
   * Asks the worker to close its file and lets the process go, or keeps it as a spare; kills it when it does not answer.
   * @param timeoutMs for emptying the WAL first; 0 leaves that to SQLite's own closing
   * @returns where the database stood at last; null if it could not tell
   * @throws SkylineError `CHECKPOINT_BUSY`: then it stays, and serves
   */
  leave(timeoutMs = 0): Promise<Position | null> {
    const leaving = this.#leave(timeoutMs);
    this.#decided = leaving.then(
      () => undefined,
      () => undefined,
    );
    return leaving;
  }

  async #leave(timeoutMs: number): Promise<Position | null> {
    if (this.#state === 'gone') return null;
    this.#state = 'leaving';
    const timer = setTimeout(() => this.kill(), timeoutMs + LEAVE_MS);
    let position: Position | null = null;
    try {
      position = (await this.order({ op: 'close', timeoutMs })) as unknown as Position;
      this.#closed();
    } catch (error) {
      if (!(error instanceof SkylineError) || error.code !== 'WORKER_CRASHED') {
        if (timeoutMs === 0) this.kill();
        else {
          this.#state = 'serving';
          throw error;
        }
      }
    } finally {
      if (this.#state !== 'leaving') clearTimeout(timer);
    }
    await this.exited;
    clearTimeout(timer);
    return position;
  }

  /** Ends it at once. SQLite rolls back what was not committed. */
  kill(): void {
    // What is sent from now on would only be lost.
    if (this.#state === 'serving') this.#state = 'leaving';
    // After the end the process may be another database's.
    if (this.#state !== 'gone') this.#child.kill();
  }

  #expect(waiter: Waiter): number {
    if (this.#state !== 'gone') return this.#waiters.add(waiter);
    queueMicrotask(() => waiter.lost({ code: null, signal: null }));
    return 0;
  }

  #send(kind: LinkKind, tag: number, lane: number, number: number, payload?: Buffer): void {
    if (this.#state !== 'gone') this.#child.send(kind, tag, lane, number, payload);
  }

  /** The file is closed. What may still be on its way to the process, it drops until it is told to serve again. */
  #closed(): void {
    if (this.#state === 'gone') return;
    if (this.#giveBack()) this.#ended({ code: 0, signal: null });
    else this.#child.dismiss();
  }

  #take(frame: LinkFrame): void {
    const waiter = this.#waiters.get(frame.tag);
    switch (frame.kind) {
      case LinkKind.Started:
        for (let at = 0; at < frame.payload.length; at += 4)
          this.#waiters.get(frame.payload.readUInt32LE(at))?.started?.(frame.number);
        break;
      case LinkKind.Running:
        this.#running = frame.tag;
        waiter?.running?.();
        this.#watchAttached(frame.tag === 0 ? frame.number : 0);
        break;
      case LinkKind.Event:
        waiter?.event?.(frame.payload);
        break;
      case LinkKind.Reply:
      case LinkKind.Unreadable:
        this.#settled(frame.tag);
        if (frame.kind === LinkKind.Reply) waiter?.reply(frame.payload, frame.number);
        else waiter?.unreadable?.(unreadableError(frame.payload));
        if (this.#waiters.size === 0) this.#hooks.rested();
        break;
      case LinkKind.Notice:
        this.#hooks.notice(JSON.parse(frame.payload.toString('utf8')) as Notice);
        break;
      default:
    }
  }

  /** The queue watches what came through the router; for attached clients' batches this is the only clock that still runs. */
  #watchAttached(deadline: number): void {
    clearTimeout(this.#watch);
    this.#watch = undefined;
    if (deadline === 0) return;
    const watch = setTimeout(
      () => {
        // What the worker said in the meantime is read before this runs: its news may be that it is done.
        setImmediate(() => {
          if (this.#watch === watch) this.#hooks.overrun();
        });
      },
      Math.max(0, deadline - monotonicMs()) + OVERRUN_MS,
    );
    this.#watch = watch;
  }

  /** The tag may stand for another from now on. */
  #settled(tag: number): void {
    this.#waiters.take(tag);
    if (this.#running === tag) this.#running = 0;
  }

  #ended(exit: WorkerExit): void {
    if (this.#state === 'gone') return;
    this.#state = 'gone';
    this.#child.tenant = null;
    this.#watchAttached(0);
    const lost = this.#waiters.takeAll();
    // The hook first: whoever is told of the loss may ask for a new worker.
    this.#hooks.exit(exit);
    for (const waiter of lost) waiter.lost(exit);
    this.#exited(exit);
  }
}

/** `was killed by SIGKILL`, `ended with code 1`. */
export function describeExit({ code, signal }: WorkerExit): string {
  return signal === null ? `ended with code ${code ?? 'unknown'}` : `was killed by ${signal}`;
}

/** A worker's error as it was thrown there. */
function fromReply({
  status: _status,
  id: _id,
  code,
  message,
  retryable,
  outcome,
  ...details
}: ErrorReply): SkylineError {
  return new SkylineError(code, message, { outcome, retryable, details });
}
