import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Held, type Transaction, Transactions } from '../../../daemon/worker/transactions.js';

/** The transactions of a database, without SQLite and with a clock of their own. */

class Fake implements Held {
  rolledBack = 0;

  constructor(readonly read = false) {}

  rollback(): void {
    this.rolledBack += 1;
  }
}

beforeEach(() => {
  // All clocks: the lease is measured on the machine's monotonic one.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'hrtime'] });
});
afterEach(() => {
  vi.useRealTimers();
});

function scene() {
  const ended: Transaction<Fake, string>[] = [];
  const transactions = new Transactions<Fake, string>((transaction) => ended.push(transaction));
  const begin = (lane = 1, lease = { leaseMs: 100, maxMs: 1_000 }, read = false) =>
    transactions.begin(lane, new Fake(read), lease);
  return { transactions, begin, ended };
}

test('a transaction that nobody uses is over after its lease, not before, and gives up what SQLite holds', () => {
  const { transactions, begin, ended } = scene();
  const one = begin();
  expect(transactions.writing).toBe(one);
  expect(transactions.find(one.id, 1)).toBe(one);
  vi.advanceTimersByTime(99);
  expect(one.state).toBe('open');
  vi.advanceTimersByTime(3);
  expect(one.state).toBe('unused');
  expect(one.work.rolledBack).toBe(1);
  expect(ended).toEqual([one]);
  expect(transactions).toMatchObject({ size: 0, writing: null });
  expect(transactions.find(one.id, 1)).toBeUndefined();
  expect(transactions.expired(one.id)).toMatchObject({
    code: 'TX_EXPIRED',
    retryable: false,
    outcome: 'not_applied',
    message: expect.stringContaining('lease_ms'),
  });
});

test('its lease begins anew with each use, and its whole time does not', () => {
  const { transactions, begin } = scene();
  const one = begin();
  for (let at = 0; at < 990; at += 90) {
    vi.advanceTimersByTime(90);
    expect(one.state).toBe('open');
    transactions.push(one, 'step');
    expect(transactions.next()).toEqual({ transaction: one, step: 'step' });
    transactions.rest(one);
  }
  vi.advanceTimersByTime(15);
  expect(one.state).toBe('too long');
  expect(one.work.rolledBack).toBe(1);
});

test('while a step waits or runs, the lease does not end it; the whole time does, and the step is left to be answered', () => {
  const { transactions, begin, ended } = scene();
  const one = begin();
  transactions.push(one, 'waits');
  vi.advanceTimersByTime(500);
  expect(one.state).toBe('open');
  expect(transactions.next()?.step).toBe('waits');
  transactions.push(one, 'behind');
  vi.advanceTimersByTime(400);
  expect(one.state).toBe('open');
  vi.advanceTimersByTime(102);
  expect(one.state).toBe('too long');
  expect(ended[0]?.steps).toEqual(['behind']);
  expect(transactions.next()).toBeUndefined();
});

test('it ends with its connection, behind the steps that had come; others’ do not', () => {
  const { transactions, begin } = scene();
  const [mine, other] = [begin(1), begin(2, undefined, true)];
  transactions.push(mine, 'commit');
  transactions.laneEnded(1);
  expect(mine.state).toBe('open');
  expect(transactions.next()?.step).toBe('commit');
  transactions.laneEnded(1);
  expect(mine.state).toBe('open');
  transactions.end(mine, 'committed');
  expect(mine.work.rolledBack).toBe(0);
  transactions.laneEnded(2);
  expect(other.state).toBe('left');
  const third = begin(3);
  transactions.push(third, 'select');
  transactions.next();
  transactions.laneEnded(3);
  transactions.rest(third);
  expect(third.state).toBe('left');
});

test('it belongs to its connection alone', () => {
  const { transactions, begin } = scene();
  const one = begin(7);
  expect(transactions.find(one.id, 8)).toBeUndefined();
  expect(transactions.holds(7)).toBe(true);
  expect(transactions.holds(8)).toBe(false);
});

test('a worker that is to leave shortens what is open, and lengthens nothing', () => {
  const { transactions, begin } = scene();
  const lease = { leaseMs: 1_000, maxMs: 1_000 };
  const [long, short] = [begin(1, lease), begin(2, { leaseMs: 50, maxMs: 50 }, true)];
  transactions.hurry(200);
  vi.advanceTimersByTime(53);
  expect(short.state).toBe('too long');
  vi.advanceTimersByTime(140);
  expect(long.state).toBe('open');
  vi.advanceTimersByTime(10);
  expect(long.state).toBe('too long');
});

test('it ends once: whatever comes first counts, and SQLite is told once', () => {
  const how = fc.constantFrom('committed', 'rolled back', 'broken', 'left', 'unused', 'too long');
  fc.assert(
    fc.property(fc.array(how, { minLength: 1 }), (ways) => {
      const { transactions, begin, ended } = scene();
      const one = begin();
      for (const way of ways) transactions.end(one, way);
      vi.advanceTimersByTime(5_000);
      expect(one.state).toBe(ways[0]);
      expect(ended).toHaveLength(1);
      // A commit has ended it in SQLite, and so has what SQLite has broken.
      expect(one.work.rolledBack).toBe(ways[0] === 'committed' || ways[0] === 'broken' ? 0 : 1);
      expect(transactions.size).toBe(0);
    }),
  );
});

test('steps of several take turns, and each one’s keep their order', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3), { maxLength: 40 }), (pushes) => {
      const { transactions, begin } = scene();
      const open = [0, 1, 2, 3].map((lane) => begin(lane + 1, undefined, lane > 0));
      for (const [at, which] of pushes.entries())
        transactions.push(open[which] as (typeof open)[0], `${which} ${at}`);
      expect(transactions.waiting).toBe(pushes.length);
      const seen = new Map<string, number[]>();
      const turns: string[] = [];
      for (let next = transactions.next(); next !== undefined; next = transactions.next()) {
        const [which = '', at] = next.step.split(' ');
        seen.set(which, [...(seen.get(which) ?? []), Number(at)]);
        turns.push(which);
        transactions.rest(next.transaction);
      }
      for (const own of seen.values()) expect(own).toEqual([...own].sort((a, b) => a - b));
      // Nobody is served a second time before each that waits was served once.
      const waiting = new Set(pushes.map(String));
      expect(new Set(turns.slice(0, waiting.size))).toEqual(waiting);
      transactions.endAll();
    }),
  );
});

test('names cannot be guessed, and how the latest thousand have ended is remembered', () => {
  const { transactions, begin } = scene();
  const ids = Array.from({ length: 1_002 }, () => {
    const one = begin();
    transactions.end(one, 'committed');
    return one.id;
  });
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) expect(id).toMatch(/^[\w-]{24}$/);
  expect(transactions.expired(ids.at(-1) ?? '').message).toContain('it was committed');
  expect(transactions.expired(ids[1] ?? '').message).not.toContain('it was committed');
});

test('a step that waits is taken out by its own connection alone; the others keep their order', () => {
  const { transactions, begin } = scene();
  const one = begin();
  for (const step of ['a', 'b', 'c']) transactions.push(one, step);
  expect(transactions.takeStep(2, (step) => step === 'b')).toBeUndefined();
  expect(transactions.takeStep(1, (step) => step === 'x')).toBeUndefined();
  expect(transactions.takeStep(1, (step) => step === 'b')).toBe('b');
  expect([transactions.next()?.step, transactions.next()?.step, transactions.next()]).toEqual([
    'a',
    'c',
    undefined,
  ]);
});

test('the last step that was waited for is taken out: the lease runs, and what was left alone ends', () => {
  const { transactions, begin } = scene();
  const one = begin();
  transactions.push(one, 'a');
  vi.advanceTimersByTime(500);
  transactions.takeStep(1, () => true);
  expect([one.state, transactions.waiting, transactions.next()]).toEqual(['open', 0, undefined]);
  vi.advanceTimersByTime(60);
  expect(one.state).toBe('open');
  vi.advanceTimersByTime(160);
  expect(one.state).toBe('unused');
  const two = begin(7);
  transactions.push(two, 'a');
  transactions.laneEnded(7);
  expect(two.state).toBe('open');
  transactions.takeStep(7, () => true);
  expect(two.state).toBe('left');
});
