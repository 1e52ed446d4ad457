import { messageOf, SkylineError } from '../protocol/errors.js';
import type { SubscribeRequest } from '../protocol/messages.js';
import { ChangeFeed, type EventSink, type Subscriber } from './change-feed.js';
import type { RoutedDatabase } from './database.js';
import { lookAt } from './identity.js';
import type { Logger } from './log.js';
import { type DatabaseFacts, databaseFactsOf, sameDatabaseFacts } from './worker/file-facts.js';
import type { Notice, Position } from './worker/link.js';
import { START } from './worker/position-table.js';

/** Milliseconds between two looks at the file, while somebody watches. */
const LOOK_MS = 500;
/** Milliseconds for which changes are kept for whoever comes back, after the last subscriber has gone. */
const LINGER_MS = 60_000;
/** Times that a worker may die while it is asked to tell of changes. */
const MAX_TRIES = 3;

/** A subscription that is about to begin. */
export interface Opened {
  readonly subscriber: Subscriber;
  /** Where the database stands. */
  readonly position: Position;
}

/**
 * One database while it is watched. Its workers tell what they commit; what happens while there is none is seen from the
 * file, so that watching keeps no worker. One that has died is followed by the next: what it had committed last is the
 * file's to tell.
 */
export class DatabaseWatch {
  readonly #database: RoutedDatabase;
  readonly #log: Logger;
  readonly #feed: ChangeFeed;
  readonly #ended: () => void;
  readonly #timer: NodeJS.Timeout;
  #linger: NodeJS.Timeout | undefined;
  /** Subscriptions that are being opened. */
  #opening = 0;
  /** As the last worker left the file; undefined while there is one, or none was seen to leave. */
  #left: DatabaseFacts | undefined;
  /** A worker has died: it may have committed what it has not told. */
  #inDoubt = false;
  #asking = false;
  /** While the daemon leaves, no worker is to be started for this. */
  stopped = false;

  /** @param ended nobody has watched for long: this one can be forgotten */
  constructor(database: RoutedDatabase, log: Logger, ended: () => void) {
    this.#database = database;
    this.#log = log;
    this.#ended = ended;
    this.#feed = new ChangeFeed(database.path);
    if (database.worker === null) this.#left = databaseFactsOf(database.path);
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  get subscribers(): number {
    return this.#feed.subscribers;
  }

  /**
   * @param number the subscription's
   * @param lane the client's connection: its earlier batches come first
   * @throws SkylineError
   */
  async open(
    number: number,
    sink: EventSink,
    { since, tables }: SubscribeRequest,
    lane: number,
  ): Promise<Opened> {
    clearTimeout(this.#linger);
    this.#opening += 1;
    try {
      const position = await this.#begin(lane);
      this.#feed.begin(position);
      return { subscriber: this.#feed.subscribe(number, sink, position, since, tables), position };
    } finally {
      this.#opening -= 1;
      this.#restUnlessWatched();
    }
  }

  start(subscriber: Subscriber): void {
    this.#feed.start(subscriber);
  }

  close(subscriber: Subscriber): void {
    this.#feed.unsubscribe(subscriber);
    this.#restUnlessWatched();
  }

  /** A worker's word. */
  hear(notice: Notice): void {
    if (notice.event === 'committed') this.#feed.committed(notice);
    else if (notice.event === 'wal') this.#feed.wal(notice);
  }

  /** Where the database is known to stand. */
  moved(position: Position): void {
    this.#feed.moved(position);
  }

  /**
   * A worker is about to open the file.
   * @returns how the last one left it: what others have written since, the worker tells
   */
  workerStarts(): DatabaseFacts | undefined {
    const left = this.#left;
    this.#left = undefined;
    this.#inDoubt = false;
    return left;
  }

  /** A replacement is in place, and told by its epoch. */
  replaced(): void {
    this.#left = undefined;
    this.#inDoubt = false;
  }

  /** @param left how it has left the file; unknown if it has died */
  workerEnded(clean: boolean, left: DatabaseFacts | undefined): void {
    this.#feed.walForgotten();
    this.#left = left ?? databaseFactsOf(this.#database.path);
    this.#inDoubt = !clean;
  }

  /** Has the worker tell from now on. Behind what the client has sent before, where the worker can be asked. */
  async #begin(lane: number): Promise<Position> {
    const database = this.#database;
    for (let tries = 1; ; tries += 1) {
      if (database.state !== 'open' || (database.depth === 0 && lookAt(database.path) === undefined)) {
        // It may yet finish what it has.
        void database.worker?.order({ op: 'watch', on: true }).catch(() => undefined);
        return database.known ?? START;
      }
      try {
        return (await database.order({ op: 'watch', on: true }, lane)) as unknown as Position;
      } catch (error) {
        const died = error instanceof SkylineError && error.code === 'WORKER_CRASHED';
        if (!died || tries === MAX_TRIES) throw error;
      }
    }
  }

  #restUnlessWatched(): void {
    if (this.#opening > 0 || this.#feed.subscribers > 0) return;
    clearTimeout(this.#linger);
    this.#linger = setTimeout(() => {
      clearInterval(this.#timer);
      void this.#database.worker?.order({ op: 'watch', on: false }).catch(() => undefined);
      this.#ended();
    }, LINGER_MS).unref();
  }

  /** What nobody else would notice: another file, and what other programs write while no worker is there. */
  #look(): void {
    const database = this.#database;
    if (this.stopped || database.state !== 'open' || database.maintenance.operation !== null || this.#asking)
      return;
    try {
      const found = lookAt(database.path);
      database.look(found);
      if (database.worker !== null || found === undefined) return;
    } catch {
      // Whatever is wrong with it, the next request is told.
      return;
    }
    if (this.#inDoubt || this.#changedByOthers()) void this.#ask();
  }

  /** The next worker tells where the database stands. Never rejects. */
  async #ask(): Promise<void> {
    this.#asking = true;
    try {
      this.#database.known = (await this.#database.order({ op: 'position' })) as unknown as Position;
    } catch (error) {
      this.#log.warn(`a watched database cannot be looked at: ${messageOf(error)}`);
      // Not again before something else has happened to it.
      this.#inDoubt = false;
      this.#left = databaseFactsOf(this.#database.path);
    } finally {
      this.#asking = false;
    }
  }

  #changedByOthers(): boolean {
    return this.#left !== undefined && !sameDatabaseFacts(this.#left, databaseFactsOf(this.#database.path));
  }
}
