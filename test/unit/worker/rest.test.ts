import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Rest } from '../../../daemon/worker/rest.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setImmediate', 'setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const looks = () => vi.getTimerCount();

test('it lingers once at a time, until a moment after the last work', () => {
  const rest = new Rest(0, { settle: () => undefined, idle: () => undefined });
  const asleep = looks();
  rest.linger();
  rest.linger();
  expect(looks()).toBe(asleep + 1);
  // A look that finds nothing is followed by the next one.
  vi.advanceTimersToNextTimer();
  expect(looks()).toBe(asleep + 1);
  rest.linger();
  expect(looks()).toBe(asleep + 1);
  // Time moves on, and nothing has come.
  vi.advanceTimersByTime(1);
  expect(looks()).toBe(asleep);
  rest.begin();
  rest.linger();
  expect(looks()).toBe(asleep + 1);
  vi.advanceTimersByTime(1);
  rest.end();
  expect(looks()).toBe(0);
});

test('after a second without work it settles, after the idle time it offers to leave, again and again', () => {
  const [settle, idle] = [vi.fn(), vi.fn()];
  const rest = new Rest(5_000, { settle, idle });
  vi.advanceTimersByTime(900);
  rest.begin();
  vi.advanceTimersByTime(900);
  expect(settle).not.toHaveBeenCalled();
  vi.advanceTimersByTime(200);
  expect(settle).toHaveBeenCalledOnce();
  vi.advanceTimersByTime(4_000);
  expect(idle).toHaveBeenCalledOnce();
  vi.advanceTimersByTime(5_100);
  expect(idle).toHaveBeenCalledTimes(2);
  expect(settle).toHaveBeenCalledOnce();
  rest.end();
  expect(looks()).toBe(0);
});
