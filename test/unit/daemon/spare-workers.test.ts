import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Spare, SpareWorkers } from '../../../daemon/spare-workers.js';

/** A process that ends when the test says so. */
class FakeWorker implements Spare {
  alive = true;
  killed = 0;
  dismissed = 0;
  readonly #exited: Promise<unknown>;
  /** How often somebody has asked for its end. */
  listened = 0;
  #exit: (code: unknown) => void = () => undefined;

  constructor() {
    this.#exited = new Promise((resolve) => {
      this.#exit = resolve;
    });
  }

  get exited(): Promise<unknown> {
    this.listened += 1;
    return this.#exited;
  }

  dismiss(): void {
    this.dismissed += 1;
  }

  kill(): void {
    this.killed += 1;
  }

  async die(): Promise<void> {
    this.alive = false;
    this.#exit({ code: 9 });
    await this.#exited;
  }
}

let forked: FakeWorker[];
let failing: Error | null;
const fork = () => {
  if (failing !== null) throw failing;
  const worker = new FakeWorker();
  forked.push(worker);
  return worker;
};

beforeEach(() => {
  forked = [];
  failing = null;
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test('a spare is taken at once, and the next is forked when the request that took it is through', () => {
  const spares = new SpareWorkers(1, fork);
  spares.fill();
  expect(spares.size).toBe(1);
  expect(spares.take()).toBe(forked[0]);
  expect(forked).toHaveLength(1);
  vi.advanceTimersByTime(1_000);
  expect(forked).toHaveLength(2);
  expect(spares.size).toBe(1);
});

test('without a spare one is forked for whoever asks', () => {
  const spares = new SpareWorkers(2, fork);
  expect(spares.take()).toBe(forked[0]);
  expect(spares.take()).toBe(forked[1]);
  vi.advanceTimersByTime(1_000);
  expect(forked).toHaveLength(4);
});

test('none are kept when none are wanted', () => {
  const spares = new SpareWorkers(0, fork);
  spares.fill();
  const worker = spares.take();
  vi.advanceTimersByTime(100_000);
  expect(forked).toEqual([worker]);
  expect(spares.giveBack(worker)).toBe(false);
});

test('a worker that has closed its database is kept while there are too few', () => {
  const spares = new SpareWorkers(1, fork);
  const [one, other] = [spares.take(), spares.take()];
  expect(spares.giveBack(one)).toBe(true);
  expect(spares.giveBack(other)).toBe(false);
  vi.advanceTimersByTime(1_000);
  expect(forked).toHaveLength(2);
  expect(spares.take()).toBe(one);
});

test('what another database waits for is kept although there are enough, and is what it gets: nothing is forked', () => {
  const spares = new SpareWorkers(1, fork);
  let serving = [spares.take(), spares.take(), spares.take()];
  vi.advanceTimersByTime(1_000);
  expect(forked).toHaveLength(4);
  for (let turn = 0; turn < 50; turn += 1) {
    for (const worker of serving) expect(spares.giveBack(worker, true)).toBe(true);
    serving = serving.map(() => spares.take());
    vi.advanceTimersByTime(30);
  }
  expect(forked).toHaveLength(4);
  expect(spares.size).toBe(1);
  // Nothing of it is kept for each time that it was given back.
  expect(forked.map(({ listened }) => listened)).toEqual([1, 1, 1, 1]);
});

test.each([0, 1])('what nobody has come for leaves after a moment; with %d spares', (count) => {
  const spares = new SpareWorkers(count, fork);
  const workers = [spares.take(), spares.take()];
  for (const worker of workers) expect(spares.giveBack(worker, true)).toBe(true);
  expect(spares.size).toBe(2);
  vi.advanceTimersByTime(1_000);
  expect(spares.size).toBe(count);
  expect(forked.map(({ dismissed }) => dismissed).sort()).toEqual(count === 0 ? [1, 1] : [0, 1]);
  expect(forked.map(({ killed }) => killed)).toEqual([0, 0]);
});

test('what has ended is not given to anybody, and not taken back', async () => {
  const spares = new SpareWorkers(1, fork);
  spares.fill();
  const [dead] = forked;
  if (dead === undefined) throw new Error('nothing was forked');
  dead.alive = false;
  const worker = spares.take();
  expect(worker).not.toBe(dead);
  await worker.die();
  expect(spares.giveBack(worker)).toBe(false);
});

test('a spare that dies is replaced, ever more slowly where none lasts', async () => {
  const spares = new SpareWorkers(1, fork);
  const trouble: unknown[] = [];
  spares.onTrouble = (what) => trouble.push(what);
  spares.fill();
  for (const [index, pause] of [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000].entries()) {
    await forked[index]?.die();
    expect(spares.size).toBe(0);
    vi.advanceTimersByTime(pause - 1);
    expect(forked).toHaveLength(index + 1);
    vi.advanceTimersByTime(1);
    expect(forked).toHaveLength(index + 2);
  }
  expect(trouble).toHaveLength(8);
});

test('one that has lasted shows that workers can start: the next is there soon', async () => {
  const spares = new SpareWorkers(1, fork);
  spares.fill();
  for (let times = 0; times < 3; times += 1) {
    vi.advanceTimersByTime(15_000);
    await forked[times]?.die();
    vi.advanceTimersByTime(1_000);
    expect(forked).toHaveLength(times + 2);
  }
});

test('a fork that throws is no more than trouble, and is tried again with the same patience', () => {
  const spares = new SpareWorkers(1, fork);
  const trouble: unknown[] = [];
  spares.onTrouble = (what) => trouble.push(what);
  failing = new Error('too many open files');
  spares.fill();
  expect(trouble).toEqual([failing]);
  vi.advanceTimersByTime(7_000);
  expect(trouble).toHaveLength(4);
  // Whoever needs a worker now is told, and does not make it try more often.
  for (let times = 0; times < 50; times += 1) expect(() => spares.take()).toThrow('too many open files');
  expect(trouble).toHaveLength(4);
  failing = null;
  vi.advanceTimersByTime(60_000);
  expect(spares.size).toBe(1);
});

test('after the end there are no spares and none come', () => {
  const spares = new SpareWorkers(2, fork);
  const mine = spares.take();
  spares.fill();
  spares.close();
  spares.close();
  expect(forked.map(({ killed }) => killed)).toEqual([0, 1, 1]);
  expect(spares.size).toBe(0);
  expect(spares.giveBack(mine)).toBe(false);
  vi.advanceTimersByTime(100_000);
  expect(forked).toHaveLength(3);
});
