import { setTimeout as sleep } from 'node:timers/promises';
import { never, SkylineError } from '../protocol/errors.js';
import type { JsonObject } from '../protocol/frame.js';
import type { DatabaseState } from '../protocol/messages.js';
import { BatchQueue } from './batch-queue.js';
import type { Config } from './config.js';
import { DatabaseWarnings } from './database-warnings.js';
import { DatabaseWatch } from './database-watch.js';
import { DatabaseWorkers } from './database-workers.js';
import { type FileId, lookAt, lookAtResolved } from './identity.js';
import type { Job, Progress } from './job.js';
import type { Logger } from './log.js';
import type { MaintenanceRecords } from './maintenance-records.js';
import { MaintenanceState } from './maintenance-state.js';
import type { SpareWorkers } from './spare-workers.js';
import { WatchedFile } from './watched-file.js';
import { type Notice, type Order, type Position, USED_MS } from './worker/link.js';
import { missingFile } from './worker/position-table.js';
import type { WorkerChild } from './worker-child.js';
import type { PoolMember, WorkerPool } from './worker-pool.js';
import type { WorkerProcess } from './worker-process.js';
import type { Terms } from './worker-terms.js';

/** Milliseconds between two looks at whether everything is finished. */
const FINISH_POLL_MS = 5;

/** What all databases of a daemon share. */
export interface DatabaseContext {
  readonly config: Config;
  readonly pool: WorkerPool;
  readonly spares: SpareWorkers<WorkerChild>;
  readonly records: MaintenanceRecords;
  readonly log: Logger;
}

/** What a database asks and tells whoever knows all of them. */
export interface DatabaseNeighbours {
  /** What its worker must know from the catalog. Never rejects. */
  termsOf(path: string): Promise<Terms>;
  /** Its worker has let go of the file. */
  workerEnded(database: RoutedDatabase): void;
}

/** One database as the router sees it: one identity, one maintenance state, at most one worker. */
export class RoutedDatabase implements PoolMember {
  readonly path: string;
  readonly maintenance: MaintenanceState;
  readonly warnings: DatabaseWarnings;
  readonly workers: DatabaseWorkers;
  lastUsed = 0;
  /** Its file has gone to another path, and nobody has asked for this one since. */
  left = false;

  readonly #context: DatabaseContext;
  readonly #log: Logger;
  readonly #queue: BatchQueue;
  readonly #file: WatchedFile;
  #known: Position | null;
  /** Attached clients may have been answered with more than is known. */
  #behind = false;
  /** null while nobody watches. */
  #watch: DatabaseWatch | null = null;
  /** Clients have transactions open in the worker. */
  #inTransaction = false;

  constructor(path: string, context: DatabaseContext, neighbours: DatabaseNeighbours) {
    this.path = path;
    this.#context = context;
    this.#log = context.log.child({ db: path });
    this.warnings = new DatabaseWarnings(path, this.#log);
    this.#file = new WatchedFile(path, context.config.endpoint, this.#log);
    const record = context.records.closed(path);
    this.#known = record?.known ?? null;
    this.maintenance = new MaintenanceState(
      path,
      record === null ? 'open' : 'closed',
      (from, to) => {
        this.#log.info({ from, to }, 'maintenance state');
        if (to === 'open') this.#behind ||= this.attached;
      },
      () => this.#offerPlace(),
    );
    this.workers = new DatabaseWorkers(this, context, neighbours, this.#file, this.#log, {
      watched: () => this.#watch !== null,
      starts: () => {
        this.#file.workerStarts();
        return this.#watch?.workerStarts();
      },
      hear: (notice) => this.#hear(notice),
      rested: () => this.#offerPlace(),
      ended: (clean, left) => {
        this.#inTransaction = false;
        this.#file.workerEnded(clean);
        neighbours.workerEnded(this);
        this.#watch?.workerEnded(clean, left);
      },
    });
    this.#queue = new BatchQueue({
      serving: () => this.workers.serving(),
      position: async () => {
        const worker = await this.workers.serving();
        const position = (await worker.order({ op: 'position' })) as unknown as Position;
        this.known = position;
        return position;
      },
      known: () => this.known,
      answered: (rev) => {
        if (this.known === null) return;
        const { id, epoch } = this.known;
        this.known = { id, epoch, rev };
      },
      stopWorker: (why) => this.workers.stop(why),
      lastWords: () => this.workers.lastWords,
      empty: () => this.#offerPlace(),
    });
  }

  /** Where the database stands, as far as the router knows; null before it was ever opened. */
  get known(): Position | null {
    return this.#known;
  }

  set known(position: Position | null) {
    this.#known = position;
    if (position !== null) this.#watch?.moved(position);
  }

  /** Attached clients may have been answered with more than is known, by this worker or by one that has died since. */
  get behind(): boolean {
    return this.#behind;
  }

  get state(): DatabaseState {
    return this.maintenance.current;
  }

  get worker(): WorkerProcess | null {
    return this.workers.current;
  }

  /** Clients may write without the router hearing of it. */
  get attached(): boolean {
    return this.worker?.attached ?? false;
  }

  /** What its worker has open; without one, what the path pointed to when last looked at. */
  get fileId(): FileId | undefined {
    return this.#file.id;
  }

  set fileId(found: FileId | undefined) {
    this.#file.seen = found;
  }

  /** Batches accepted and not yet answered. */
  get depth(): number {
    return this.#queue.size;
  }

  /** Nothing in hand, and nothing that its worker would have to give up. */
  get idle(): boolean {
    return this.finished && !this.#inTransaction;
  }

  /** Everything that was accepted is answered. */
  get finished(): boolean {
    return this.#queue.idle && this.maintenance.operation === null && (this.worker?.pending ?? 0) === 0;
  }

  /** Its file has two names for a moment, or none: what the path shows now says nothing. */
  get replacing(): boolean {
    return this.maintenance.operation === 'ReplaceDatabase';
  }

  /** When it was last used. */
  get usedAt(): Date {
    return new Date(Math.min(Date.now(), performance.timeOrigin + this.lastUsed));
  }

  /** Nothing of it is worth remembering. */
  get forgettable(): boolean {
    return this.workers.none && this.#watch === null && this.state === 'open' && this.idle;
  }

  /** Subscriptions to its changes. */
  get subscriptions(): number {
    return this.#watch?.subscribers ?? 0;
  }

  /** What its subscribers are told from; its workers tell of each commit from now on. */
  watch(): DatabaseWatch {
    this.#watch ??= new DatabaseWatch(this, this.#log, () => {
      this.#watch = null;
    });
    return this.#watch;
  }

  /** The daemon leaves, perhaps: nothing is done any more that no client asks for. */
  stopLooking(stop: boolean): void {
    if (this.#watch !== null) this.#watch.stopped = stop;
  }

  /**
   * @returns what can be cancelled
   * @throws SkylineError `DATABASE_PREPARING`, `DATABASE_CLOSED`
   */
  submit(job: Job): Progress {
    if (job.kind !== 'step') this.maintenance.refuseUnlessOpen();
    else if (!this.#inTransaction) this.#refuseStep(job);
    this.lastUsed = performance.now();
    return this.#queue.submit(job, this.worker);
  }

  /** No transaction is open. What became of one may be recorded: that is looked up while the database is open. */
  #refuseStep({ session }: Job): void {
    if (session) this.maintenance.refuseUnlessOpen();
    else if (this.worker === null || this.state !== 'open') throw noTransaction();
  }

  /**
   * Gives the worker an order, starting one if there is none. Batches sent before go first.
   * @throws SkylineError
   */
  order(order: Order, lane = 0, onEvent?: (payload: Buffer) => void): Promise<JsonObject> {
    this.lastUsed = performance.now();
    return this.#queue.order((worker) => worker.order(order, lane, onEvent), this.worker);
  }

  /**
   * Resolves when nothing is in hand any more.
   * @param givenUp ends the wait
   * @param transactions whether those that clients have open must have ended, too
   */
  async finish(givenUp?: AbortSignal, transactions = true): Promise<void> {
    while (!(transactions ? this.idle : this.finished) && givenUp?.aborted !== true) {
      // An order goes behind everything, and behind it the worker no longer waits for clients that do not read.
      if (this.depth > 0 && this.worker?.state === 'serving')
        await this.worker.order({ op: 'position' }).catch(() => undefined);
      await sleep(FINISH_POLL_MS);
    }
  }

  /**
   * The way to its worker, starting one if there is none. The lane's earlier batches are done when it resolves.
   * @throws SkylineError `DATABASE_PREPARING`, `DATABASE_CLOSED`
   */
  attach(lane: number): Promise<JsonObject> {
    this.maintenance.refuseUnlessOpen();
    this.#behind = true;
    return this.order({ op: 'listen' }, lane);
  }

  /** Lets the worker go, if there is one. With milliseconds to empty the WAL it may refuse. */
  async closeWorker(timeoutMs = 0): Promise<void> {
    const position = await this.workers.close(timeoutMs);
    // While it is closed, what a worker saw counts when all of the taking over has succeeded.
    if (position && this.state !== 'closed') this.prepared(position);
  }

  /** It stands here, and nobody can write to it until it is opened anew or its maintenance ends. */
  prepared(position: Position): void {
    this.known = position;
    this.#behind = false;
  }

  retire(): void {
    void this.closeWorker();
  }

  /** Its file has another name now, or is in the trash. What comes to this path next is another database. */
  moved(): void {
    this.known = missingFile(this.known);
    this.fileId = undefined;
    this.left = true;
  }

  /** Its file has come from another path, with its history. */
  arrived(known: Position | null): void {
    this.left = false;
    this.known = known;
    this.fileId = lookAt(this.path);
  }

  /**
   * Ends what is accepted and not answered, and the worker with it.
   * @param error what those get whose batches were not begun
   */
  endBatches(error: SkylineError): void {
    this.#queue.end(error);
    this.worker?.kill();
  }

  /** Makes the helper, which has the database open by now, its worker. */
  async adopt(helper: WorkerProcess): Promise<void> {
    await this.#context.pool.enter(this);
    this.#watch?.replaced();
    this.workers.adopt(helper);
    this.fileId = lookAt(this.path);
  }

  /** The client of this lane will send nothing more. */
  laneEnded(lane: number): void {
    if (this.#inTransaction) this.worker?.laneEnded(lane);
  }

  /** The client of this lane has gone. */
  laneClosed(lane: number): void {
    this.#queue.laneClosed(lane);
    this.worker?.laneClosed(lane);
  }

  /** Takes note of what the path points to now. Another file than the worker has open means: it was replaced or deleted. */
  look(found: FileId | undefined): void {
    // While it is closed, the file is somebody else's to exchange; reopening looks at it.
    if (!this.#file.see(found) || this.maintenance.operation !== null || this.state === 'closed') return;
    if (found === undefined) this.known = missingFile(this.known);
    this.#file.exchange(this.worker !== null);
    if (this.#file.exchanged) this.worker?.kill();
  }

  /** Its file has the name of another database now. Resolves when no worker of this one has it open. */
  async yieldFile(): Promise<void> {
    const worker = this.worker;
    this.look(lookAtResolved(this.path));
    if (this.#file.exchanged) await worker?.exited;
  }

  /** Nothing in hand, perhaps: somebody may be waiting for the place of this one's worker. */
  #offerPlace(): void {
    if (this.idle) this.#context.pool.makeRoom();
  }

  #hear(notice: Notice): void {
    this.#watch?.hear(notice);
    switch (notice.event) {
      case 'ready':
      case 'committed':
        return;
      case 'opened':
        this.#behind = this.attached;
        // A file that is being taken over counts when all of it has succeeded.
        if (this.state !== 'closed') this.known = notice.position;
        this.warnings.look();
        return;
      case 'file':
        this.#file.opened({ dev: BigInt(notice.dev), ino: BigInt(notice.ino) });
        return;
      case 'used':
        // Its clients are at work all the time until it says so again, which must be heard before this is over.
        this.lastUsed = performance.now() + 2 * USED_MS;
        return;
      case 'transactions':
        this.#inTransaction = notice.open > 0;
        this.#offerPlace();
        return;
      case 'idle':
        if (this.idle) this.retire();
        return;
      case 'wal':
      case 'log':
        return;
      default:
        never(notice);
    }
  }
}

/** The worker that had it is gone, and with it whatever was not committed. */
function noTransaction(): SkylineError {
  return new SkylineError(
    'TX_EXPIRED',
    "This transaction is over: it has ended with its database's worker, and was rolled back. Nothing of this request was done. Begin a new one.",
  );
}
