import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { ChangeFeed, type EventSink } from '../../../daemon/change-feed.js';

/** Takes as many events as it is allowed to. */
class Reader implements EventSink {
  readonly events: { readonly [field: string]: unknown }[] = [];
  room = Number.POSITIVE_INFINITY;
  #callback: (() => void) | null = null;

  get hasRoom(): boolean {
    return this.room > 0;
  }

  send(event: string): void {
    this.room -= 1;
    this.events.push(JSON.parse(event));
  }

  whenRoom(callback: () => void): void {
    expect(this.#callback, 'one callback is enough').toBe(null);
    this.#callback = callback;
  }

  /** Reads on. */
  allow(count: number): void {
    this.room = count;
    const callback = this.#callback;
    this.#callback = null;
    callback?.();
  }

  /** `c3` for a change to rev 3, `f3` for a foreign one at it, `r3` for a reset. */
  get short(): string[] {
    return this.events.map(
      ({ event, rev, foreign }) => `${event === 'reset' ? 'r' : foreign === true ? 'f' : 'c'}${rev}`,
    );
  }
}

let feed: ChangeFeed;
let epoch: number;
beforeEach(() => {
  feed = new ChangeFeed('/d/x.db');
  epoch = 1;
  feed.begin({ epoch, rev: 5 });
});

function commit(
  first: number,
  tables: readonly (readonly string[] | null)[] = [['a']],
  foreign = false,
): void {
  feed.committed({ event: 'committed', epoch, first, foreign, tables });
}

function subscribe(
  since?: { epoch: number; rev: number },
  tables?: readonly string[],
  position = { epoch, rev: 5 },
): Reader {
  const reader = new Reader();
  feed.start(feed.subscribe(7, reader, position, since, tables));
  return reader;
}

describe('a subscriber', () => {
  test('is told of each rev of each commit, with its place and tables', () => {
    const reader = subscribe();
    commit(6, [['a', 'b'], null, []]);
    const common = { event: 'change', subscription: 7, db: '/d/x.db', epoch: 1 };
    expect(reader.events).toEqual([
      { ...common, rev: 6, tables: ['a', 'b'] },
      { ...common, rev: 7 },
      { ...common, rev: 8, tables: [] },
    ]);
  });

  test('is told nothing before its answer is out', () => {
    const reader = new Reader();
    const subscriber = feed.subscribe(1, reader, { epoch, rev: 5 }, undefined, undefined);
    commit(6);
    expect(reader.events).toEqual([]);
    feed.start(subscriber);
    expect(reader.short).toEqual(['c6']);
  });

  test('of some tables is told of these, and of what is not known', () => {
    const reader = subscribe(undefined, ['Stars', 'É']);
    commit(6, [['planets'], ['STARS'], null, ['é'], ['É'], []]);
    commit(12, [], true);
    expect(reader.short).toEqual(['c7', 'c8', 'c10', 'f11']);
  });

  test('that has gone is told nothing more', () => {
    const reader = new Reader();
    const subscriber = feed.subscribe(1, reader, { epoch, rev: 5 }, undefined, undefined);
    feed.start(subscriber);
    feed.unsubscribe(subscriber);
    commit(6);
    feed.start(subscriber);
    expect(reader.events).toEqual([]);
    expect(feed.subscribers).toBe(0);
  });
});

describe('since', () => {
  test('is where it goes on', () => {
    commit(6, [['a'], ['b'], ['c']]);
    expect(subscribe({ epoch, rev: 5 }).short).toEqual(['c6', 'c7', 'c8']);
    expect(subscribe({ epoch, rev: 7 }).short).toEqual(['c8']);
    expect(subscribe({ epoch, rev: 8 }).short).toEqual([]);
  });

  test.each([
    [1, 4],
    [1, 9],
    [2, 6],
    [0, 6],
  ])('that is not known (%i:%i) is answered with a reset', (of, rev) => {
    commit(6, [['a'], ['b'], ['c']]);
    expect(subscribe({ epoch: of, rev }).short).toEqual(['r8']);
  });

  test('is told again what others wrote at its rev, and whoever begins there is not', () => {
    commit(6);
    commit(7, [], true);
    commit(7);
    expect(subscribe({ epoch, rev: 6 }).short).toEqual(['f6', 'c7']);
    expect(subscribe(undefined, undefined, { epoch, rev: 6 }).short).toEqual(['c7']);
  });
});

test('what others write comes before what is committed after it', () => {
  const reader = subscribe();
  commit(6, [['a']], true);
  commit(7, [], true);
  commit(7);
  expect(reader.short).toEqual(['f5', 'c6', 'f6', 'c7']);
});

describe('a database that is further on than was told', () => {
  test('is told rev by rev, with tables that are not known', () => {
    const reader = subscribe();
    feed.moved({ epoch, rev: 7 });
    commit(9);
    expect(reader.short).toEqual(['c6', 'c7', 'c8', 'c9']);
    expect(reader.events.map(({ tables }) => tables)).toEqual([undefined, undefined, undefined, ['a']]);
  });

  test('by far is told by a reset', () => {
    const reader = subscribe();
    feed.moved({ epoch, rev: 5_000 });
    expect(reader.short).toEqual(['r5000']);
  });

  test('in another file is told by a reset, once', () => {
    const reader = subscribe();
    feed.moved({ epoch: 2, rev: 3 });
    feed.moved({ epoch: 2, rev: 3 });
    epoch = 2;
    commit(4);
    expect(reader.short).toEqual(['r3', 'c4']);
    expect(reader.events.map((event) => event.epoch)).toEqual([2, 2]);
    expect(subscribe({ epoch: 1, rev: 5 }).short).toEqual(['r4']);
    expect(subscribe({ epoch: 2, rev: 3 }).short).toEqual(['c4']);
  });

  test('is not told what it knows already', () => {
    const reader = subscribe();
    commit(6, [['a'], ['b']]);
    feed.moved({ epoch, rev: 6 });
    commit(7, [['b'], ['c']]);
    expect(reader.short).toEqual(['c6', 'c7', 'c8']);
  });
});

describe('a slow subscriber', () => {
  test('gets what it has missed when it reads on, each once', () => {
    const reader = subscribe();
    reader.room = 2;
    for (let rev = 6; rev < 20; rev += 1) commit(rev);
    expect(reader.short).toEqual(['c6', 'c7']);
    reader.allow(3);
    expect(reader.short.slice(2)).toEqual(['c8', 'c9', 'c10']);
    reader.allow(100);
    expect(reader.short.slice(5)).toEqual(Array.from({ length: 9 }, (_, at) => `c${at + 11}`));
  });

  test('that falls out of what is kept is told to read afresh, and goes on from there', () => {
    const reader = subscribe();
    const quick = subscribe();
    reader.room = 1;
    const table = 't'.repeat(1_000);
    for (let rev = 6; rev < 3_006; rev += 1) commit(rev, [[table]]);
    reader.allow(10);
    expect(reader.short).toEqual(['c6', 'r3005']);
    commit(3_006);
    expect(reader.short.at(-1)).toBe('c3006');
    expect(quick.short).toEqual(Array.from({ length: 3_001 }, (_, at) => `c${at + 6}`));
    // Some are kept, and not all.
    expect(subscribe({ epoch, rev: 2_900 }).short).toHaveLength(106);
    expect(subscribe({ epoch, rev: 10 }).short).toEqual(['r3006']);
  });
});

test('a WAL that others keep is told, also to whoever comes meanwhile, and not to whoever does not read', () => {
  const reader = subscribe();
  const deaf = subscribe();
  deaf.room = 0;
  const holders = [{ pid: 3 }];
  feed.wal({ event: 'wal', blocked: true, bytes: 9, limit: 5, holders });
  const late = subscribe();
  feed.wal({ event: 'wal', blocked: false, limit: 5, most: 12, ms: 30 });
  const common = { event: 'wal', subscription: 7, db: '/d/x.db', limit: 5 };
  expect(reader.events).toEqual([
    { ...common, blocked: true, wal_bytes: 9, holders },
    { ...common, blocked: false, wal_bytes: 12, lasted_ms: 30 },
  ]);
  expect(late.events).toEqual(reader.events);
  expect(deaf.events).toEqual([]);
  expect(subscribe().events).toEqual([]);
});

test('whatever happens, whoever reads to the end has the whole history, in order, or a reset where it is torn', () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ commit: fc.integer({ min: 1, max: 4 }), foreign: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ lost: fc.integer({ min: 1, max: 3 }) }) },
    { weight: 1, arbitrary: fc.record({ replaced: fc.integer({ min: 0, max: 9 }) }) },
    { weight: 3, arbitrary: fc.record({ read: fc.integer({ min: 1, max: 5 }) }) },
    { weight: 1, arbitrary: fc.record({ again: fc.constant(true) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const own = new ChangeFeed('/d/x.db');
      let at = { epoch: 1, rev: 0 };
      own.begin(at);
      let reader = new Reader();
      let subscriber = own.subscribe(1, reader, at, undefined, undefined);
      own.start(subscriber);
      reader.room = 0;
      let seen = at;
      const check = () => {
        for (const event of reader.events.splice(0)) {
          const { epoch, rev } = event as unknown as { epoch: number; rev: number };
          if (event.event === 'reset') expect(epoch > seen.epoch || rev >= seen.rev).toBe(true);
          else expect([epoch, rev]).toEqual([seen.epoch, event.foreign === true ? seen.rev : seen.rev + 1]);
          seen = { epoch, rev };
        }
      };
      for (const one of steps) {
        if ('commit' in one) {
          const tables = Array.from({ length: one.commit }, () => ['a']);
          own.committed({
            event: 'committed',
            epoch: at.epoch,
            first: at.rev + 1,
            foreign: one.foreign,
            tables,
          });
          at = { epoch: at.epoch, rev: at.rev + one.commit };
        } else if ('lost' in one) {
          at = { epoch: at.epoch, rev: at.rev + one.lost };
          own.moved(at);
        } else if ('replaced' in one) {
          at = { epoch: at.epoch + 1, rev: one.replaced };
          own.moved(at);
        } else if ('read' in one) reader.allow(one.read);
        else {
          check();
          own.unsubscribe(subscriber);
          reader = new Reader();
          reader.room = 0;
          subscriber = own.subscribe(1, reader, at, seen, undefined);
          own.start(subscriber);
        }
        check();
      }
      reader.allow(Number.POSITIVE_INFINITY);
      check();
      expect(seen).toEqual(at);
    }),
    { numRuns: 500 },
  );
});
