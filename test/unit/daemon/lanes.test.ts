import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Lanes, UNSENT_MARK } from '../../../daemon/worker/lanes.js';

interface Job {
  readonly lane: number;
  readonly n: number;
}

/** Takes all that can run now. */
function drain(lanes: Lanes<Job>, all = false): string[] {
  const taken: string[] = [];
  for (let job = lanes.next(all); job !== null; job = lanes.next(all)) taken.push(`${job.lane}.${job.n}`);
  return taken;
}

function push(lanes: Lanes<Job>, lane: number, count: number): void {
  for (let n = 0; n < count; n += 1) lanes.push({ lane, n });
}

test('an empty queue has nothing to run', () => {
  const lanes = new Lanes<Job>();
  expect(lanes.next()).toBeNull();
  expect(lanes.size).toBe(0);
});

test('connections take turns, however many jobs one of them has', () => {
  const lanes = new Lanes<Job>();
  push(lanes, 1, 4);
  push(lanes, 2, 2);
  push(lanes, 3, 1);
  expect(lanes.size).toBe(7);
  expect(drain(lanes)).toEqual(['1.0', '2.0', '3.0', '1.1', '2.1', '1.2', '1.3']);
  expect(lanes.size).toBe(0);
});

test('a connection that comes while another has thousands of jobs waits for one of them', () => {
  const lanes = new Lanes<Job>();
  push(lanes, 1, 5000);
  lanes.next();
  push(lanes, 2, 1);
  expect([lanes.next()?.lane, lanes.next()?.lane]).toContain(2);
});

test('whatever comes and is taken, each connection keeps its own order and nothing is lost or doubled', () => {
  const step = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constant('take' as const));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const lanes = new Lanes<Job>();
      const pushed = new Map<number, number>();
      const taken = new Map<number, number[]>();
      const take = () => {
        const job = lanes.next();
        if (job !== null) taken.set(job.lane, [...(taken.get(job.lane) ?? []), job.n]);
        return job;
      };
      for (const one of steps) {
        if (one === 'take') take();
        else {
          const n = pushed.get(one) ?? 0;
          pushed.set(one, n + 1);
          lanes.push({ lane: one, n });
        }
      }
      while (take() !== null);
      expect(lanes.size).toBe(0);
      for (const [lane, count] of pushed)
        expect(taken.get(lane)).toEqual(Array.from({ length: count }, (_, n) => n));
    }),
  );
});

test('a connection whose replies do not leave is passed over until they do', () => {
  const lanes = new Lanes<Job>();
  push(lanes, 1, 2);
  push(lanes, 2, 2);
  lanes.sent(1, UNSENT_MARK);
  expect(drain(lanes).length).toBe(4);
  push(lanes, 1, 2);
  push(lanes, 2, 2);
  lanes.sent(1, 1);
  expect(drain(lanes)).toEqual(['2.0', '2.1']);
  expect(lanes.size).toBe(2);
  lanes.drained(1, 1);
  expect(drain(lanes)).toEqual(['1.0', '1.1']);
});

test('when everything must be finished, nobody is passed over', () => {
  const lanes = new Lanes<Job>();
  push(lanes, 1, 1);
  lanes.sent(1, UNSENT_MARK + 1);
  expect(lanes.next()).toBeNull();
  expect(drain(lanes, true)).toEqual(['1.0']);
});

test('what a client sent before it went away is run, although nobody reads the replies', () => {
  const lanes = new Lanes<Job>();
  push(lanes, 1, 3);
  lanes.sent(1, UNSENT_MARK + 1);
  lanes.close(1);
  expect(drain(lanes)).toEqual(['1.0', '1.1', '1.2']);
  // Its place is forgotten: late news of it change nothing.
  lanes.sent(1, UNSENT_MARK + 1);
  lanes.drained(1, 5);
  lanes.close(1);
  push(lanes, 1, 1);
  expect(drain(lanes)).toEqual(['1.0']);
});

test('more drained than sent counts as nothing unsent', () => {
  const lanes = new Lanes<Job>();
  push(lanes, 1, 1);
  lanes.drained(1, 10 * UNSENT_MARK);
  lanes.sent(1, UNSENT_MARK + 1);
  expect(lanes.next()).toBeNull();
});

test('what is put back comes again first, in its order, with each connection in turn', () => {
  const lanes = new Lanes<Job>();
  push(lanes, 1, 4);
  push(lanes, 2, 2);
  const taken = Array.from({ length: 4 }, () => lanes.next() as Job);
  expect(taken.map(({ lane, n }) => `${lane}.${n}`)).toEqual(['1.0', '2.0', '1.1', '2.1']);
  lanes.putBack(taken.slice(1));
  expect(lanes.size).toBe(5);
  expect(drain(lanes).filter((one) => one.startsWith('1'))).toEqual(['1.1', '1.2', '1.3']);
  lanes.putBack(taken.slice(1));
  expect(drain(lanes).filter((one) => one.startsWith('2'))).toEqual(['2.0', '2.1']);
});

test('what is put back of a client that has gone is still run, and then forgotten', () => {
  const lanes = new Lanes<Job>();
  push(lanes, 1, 1);
  const job = lanes.next() as Job;
  lanes.close(1);
  lanes.putBack([job]);
  expect(lanes.has(1)).toBe(true);
  expect(drain(lanes)).toEqual(['1.0']);
  expect(lanes.has(1)).toBe(false);
});

test('what is taken out of one connection’s lane leaves the others as they are', () => {
  const lanes = new Lanes<{ lane: number; name: string }>();
  for (const name of ['a', 'b', 'c']) for (const lane of [1, 2]) lanes.push({ lane, name });
  const isB = (job: { lane: number; name: string }): job is { lane: number; name: string } =>
    job.name === 'b';
  expect(lanes.takeOut(isB, 1)).toEqual([{ lane: 1, name: 'b' }]);
  expect(lanes.takeOut(isB, 1)).toEqual([]);
  expect(lanes.takeOut(isB, 3)).toEqual([]);
  const left = [lanes.next(), lanes.next(), lanes.next(), lanes.next(), lanes.next(), lanes.next()];
  expect(left.map((job) => job && job.lane + job.name)).toEqual(['1a', '2a', '1c', '2b', '2c', null]);
  expect(lanes.size).toBe(0);
});
