import type { Since } from '../protocol/messages.js';
import type { CommitNotice, WalNotice } from './worker/link.js';

/** Bytes of a database's latest changes that are kept, for subscribers who are slow or come back. */
const HISTORY_BYTES = 1024 * 1024;
/** What an entry takes beside its text, about. */
const ENTRY_BYTES = 64;
/** Revs of which nothing is known but their number: so many are told one by one. */
const MAX_UNTOLD = 1024;

/** Where a subscriber's events go. */
export interface EventSink {
  /** Whether it takes more: what does not leave must not pile up. */
  readonly hasRoom: boolean;
  send(event: string): void;
  /** Calls back once, when there is room again. */
  whenRoom(callback: () => void): void;
}

/** What is told of one moment of the history. */
interface Entry {
  readonly event: 'change' | 'reset';
  readonly rev: number;
  /** null: not known, any may have changed. */
  readonly tables: readonly string[] | null;
  readonly foreign: boolean;
  /** The event's fields behind the first two, as JSON text. */
  readonly rest: string;
}

/** One subscriber, and how far it has been told. */
export class Subscriber {
  readonly number: number;
  readonly sink: EventSink;
  /** In lower case; null for all. */
  readonly #tables: ReadonlySet<string> | null;
  /** The entry that is next, counted from the first one ever. */
  next: number;
  /** Not before its answer is out. */
  begun = false;
  waits = false;

  constructor(number: number, sink: EventSink, tables: readonly string[] | undefined, next: number) {
    this.number = number;
    this.sink = sink;
    this.#tables = tables === undefined ? null : new Set(tables.map(folded));
    this.next = next;
  }

  wants({ tables }: Entry): boolean {
    const wanted = this.#tables;
    return wanted === null || tables === null || tables.some((table) => wanted.has(folded(table)));
  }

  send(event: string, rest: string): void {
    this.sink.send(`{"event":"${event}","subscription":${this.number},${rest}}`);
  }
}

/**
 * One database's changes, as they are told to whoever watches it. The latest are kept, and each subscriber is a place in
 * them: it is told as fast as it reads, and whoever falls out at the old end is told to read afresh. No I/O.
 */
export class ChangeFeed {
  /** The first field of every event. */
  readonly #db: string;
  readonly #subscribers = new Set<Subscriber>();
  /** How far the history goes; null before it begins. */
  #at: Since | null = null;
  /** Everything after this rev is in the history. */
  #from = 0;
  #entries: Entry[] = [];
  /** Entries that are not kept any more. */
  #dropped = 0;
  #bytes = 0;
  /** The event's text while others keep the WAL beyond its limit. */
  #blocked: string | null = null;

  constructor(path: string) {
    this.#db = `"db":${JSON.stringify(path)}`;
  }

  get subscribers(): number {
    return this.#subscribers.size;
  }

  /** The history begins here, or goes on: see {@link moved}. */
  begin(position: Since): void {
    if (this.#at !== null) this.moved(position);
    else {
      this.#at = { epoch: position.epoch, rev: position.rev };
      this.#from = position.rev;
    }
  }

  /**
   * @param number the subscription's, for its events
   * @param position where the database stands; what came after this is told
   * @param since instead of the position: where the subscriber has stopped reading
   * @param tables null for all
   */
  subscribe(
    number: number,
    sink: EventSink,
    position: Since,
    since: Since | undefined,
    tables: readonly string[] | undefined,
  ): Subscriber {
    const next = this.#after(since ?? position, since !== undefined);
    const subscriber = new Subscriber(number, sink, tables, next);
    this.#subscribers.add(subscriber);
    return subscriber;
  }

  /** Its answer is out: events may follow. */
  start(subscriber: Subscriber): void {
    // It may have gone before.
    if (!this.#subscribers.has(subscriber)) return;
    subscriber.begun = true;
    if (this.#blocked !== null) subscriber.send('wal', this.#blocked);
    this.#tell(subscriber);
  }

  unsubscribe(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber);
  }

  /** A transaction was committed. */
  committed({ epoch, first, foreign, tables }: CommitNotice): void {
    this.begin({ epoch, rev: first - 1 });
    if (foreign) this.#add(epoch, first - 1, null, true);
    for (const [index, names] of tables.entries()) {
      const rev = first + index;
      if (rev <= (this.#at?.rev ?? 0)) continue;
      this.#at = { epoch, rev };
      this.#add(epoch, rev, names, false);
    }
    this.#tellAll();
  }

  /**
   * The database is known to stand here: further on than was told, if a worker died between a commit and its word, or in
   * another history.
   */
  moved({ epoch, rev }: Since): void {
    if (this.#at === null) return;
    const { epoch: before, rev: last } = this.#at;
    if (epoch === before && rev <= last) return;
    this.#at = { epoch, rev };
    if (epoch === before && rev - last <= MAX_UNTOLD) {
      for (let untold = last + 1; untold <= rev; untold += 1) this.#add(epoch, untold, null, false);
    } else this.#reset(epoch, rev);
    this.#tellAll();
  }

  wal(notice: WalNotice): void {
    const { blocked, limit } = notice;
    const size = blocked ? notice.bytes : notice.most;
    const more = blocked ? { holders: notice.holders } : { lasted_ms: notice.ms };
    const fields = JSON.stringify({ blocked, wal_bytes: size, limit, ...more }).slice(1, -1);
    const event = `${this.#db},${fields}`;
    this.#blocked = blocked ? event : null;
    // Not worth keeping: whoever does not read now finds it in Status.
    for (const subscriber of this.#subscribers)
      if (subscriber.begun && subscriber.sink.hasRoom) subscriber.send('wal', event);
  }

  /** Nobody looks at the WAL any more. */
  walForgotten(): void {
    this.#blocked = null;
  }

  /** The entry behind `since`; one that is not kept if the history does not reach back to it. */
  #after({ epoch, rev }: Since, again: boolean): number {
    const at = this.#at;
    if (at === null || epoch !== at.epoch || rev > at.rev || rev < this.#from) return this.#dropped - 1;
    // What others wrote has no rev of its own: whoever comes back is rather told twice.
    const index = this.#entries.findIndex(
      (entry) => entry.rev > rev || (again && entry.foreign && entry.rev === rev),
    );
    return this.#dropped + (index < 0 ? this.#entries.length : index);
  }

  #add(epoch: number, rev: number, tables: readonly string[] | null, foreign: boolean): void {
    const named = tables === null ? '' : `,"tables":${JSON.stringify(tables)}`;
    const mark = foreign ? ',"foreign":true' : '';
    const rest = `${this.#db},"epoch":${epoch},"rev":${rev}${named}${mark}`;
    this.#push({ event: 'change', rev, tables, foreign, rest });
  }

  #reset(epoch: number, rev: number): void {
    this.#drop(this.#entries.length);
    this.#from = rev;
    this.#push({ event: 'reset', rev, tables: null, foreign: false, rest: this.#standing(epoch, rev) });
  }

  #push(entry: Entry): void {
    this.#entries.push(entry);
    this.#bytes += entry.rest.length + ENTRY_BYTES;
    // Many at once: each time the others move up.
    if (this.#bytes > HISTORY_BYTES) this.#drop(Math.ceil(this.#entries.length / 4));
  }

  #drop(count: number): void {
    for (const { rev, foreign, rest } of this.#entries.splice(0, count)) {
      this.#bytes -= rest.length + ENTRY_BYTES;
      // Whoever stands at its rev may not have heard of what others wrote.
      this.#from = foreign ? rev + 1 : rev;
    }
    this.#dropped += count;
  }

  #tellAll(): void {
    for (const subscriber of this.#subscribers) this.#tell(subscriber);
  }

  /** Tells as much as there is room for, and the rest when there is again. */
  #tell(subscriber: Subscriber): void {
    if (!subscriber.begun || subscriber.waits) return;
    const end = this.#dropped + this.#entries.length;
    while (subscriber.next < end || subscriber.next < this.#dropped) {
      if (!subscriber.sink.hasRoom) {
        subscriber.waits = true;
        subscriber.sink.whenRoom(() => {
          subscriber.waits = false;
          if (this.#subscribers.has(subscriber)) this.#tell(subscriber);
        });
        return;
      }
      const entry = this.#entries[subscriber.next - this.#dropped];
      if (entry === undefined) {
        const { epoch, rev } = this.#at ?? { epoch: 0, rev: 0 };
        subscriber.send('reset', this.#standing(epoch, rev));
        subscriber.next = end;
        return;
      }
      subscriber.next += 1;
      if (subscriber.wants(entry)) subscriber.send(entry.event, entry.rest);
    }
  }

  #standing(epoch: number, rev: number): string {
    return `${this.#db},"epoch":${epoch},"rev":${rev}`;
  }
}

/** As SQLite compares names: without regard to the case of ASCII letters. */
function folded(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
