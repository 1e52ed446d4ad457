import { expect, test } from 'vitest';
import { type PoolMember, WorkerPool } from '../../../daemon/worker-pool.js';

/** A member whose worker leaves when the test says so. */
class Member implements PoolMember {
  idle = true;
  lastUsed: number;
  retired = 0;
  inside = false;

  constructor(lastUsed = 0) {
    this.lastUsed = lastUsed;
  }

  retire(): void {
    this.retired += 1;
  }

  async enter(pool: WorkerPool): Promise<void> {
    await pool.enter(this);
    this.inside = true;
  }
}

/** Lets everything run that waits for a promise. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('up to the bound everybody has a place at once, and entering twice takes one', async () => {
  const pool = new WorkerPool(2);
  const [a, b] = [new Member(), new Member()];
  await Promise.all([a.enter(pool), b.enter(pool), a.enter(pool)]);
  expect(pool.size).toBe(2);
  expect(a.retired + b.retired).toBe(0);
});

test('the least recently used idle one makes room, once, and the one that waited gets the place', async () => {
  const pool = new WorkerPool(3);
  const [young, old, busy] = [new Member(30), new Member(20), new Member(10)];
  for (const member of [young, old, busy]) await member.enter(pool);
  busy.idle = false;
  const next = new Member(40);
  void next.enter(pool);
  await turn();
  expect([young.retired, old.retired, busy.retired]).toEqual([0, 1, 0]);
  expect(next.inside).toBe(false);
  pool.makeRoom();
  expect(young.retired).toBe(0);
  pool.left(old);
  await turn();
  expect(next.inside).toBe(true);
  expect(pool.size).toBe(3);
});

test('as many leave as wait, and not one more', async () => {
  const pool = new WorkerPool(3);
  const inside = [new Member(1), new Member(2), new Member(3)];
  for (const member of inside) await member.enter(pool);
  const waiting = [new Member(4), new Member(5)];
  for (const member of waiting) void member.enter(pool);
  await turn();
  expect(inside.map(({ retired }) => retired)).toEqual([1, 1, 0]);
  for (const member of inside.slice(0, 2)) pool.left(member);
  await turn();
  expect(waiting.map((member) => member.inside)).toEqual([true, true]);
});

test('while all are busy whoever needs a place waits, and gets the first that becomes idle', async () => {
  const pool = new WorkerPool(1);
  const first = new Member();
  await first.enter(pool);
  first.idle = false;
  const next = new Member();
  void next.enter(pool);
  await turn();
  expect(first.retired).toBe(0);
  first.idle = true;
  pool.makeRoom();
  expect(first.retired).toBe(1);
  pool.left(first);
  await turn();
  expect(next.inside).toBe(true);
});

test('nobody is sent away while nobody waits', async () => {
  const pool = new WorkerPool(1);
  const member = new Member();
  await member.enter(pool);
  pool.makeRoom();
  expect(member.retired).toBe(0);
});

test('one that left and needs a place again waits like everybody else', async () => {
  const pool = new WorkerPool(1);
  const [a, b] = [new Member(1), new Member(2)];
  await a.enter(pool);
  void b.enter(pool);
  await turn();
  pool.left(a);
  await turn();
  expect(b.inside).toBe(true);
  let again = false;
  void pool.enter(a).then(() => {
    again = true;
  });
  await turn();
  expect([b.retired, again]).toEqual([1, false]);
  pool.left(b);
  await turn();
  expect(again).toBe(true);
  expect(pool.size).toBe(1);
});

test('a place that becomes free is that of whoever has waited longest, before anybody who comes then', async () => {
  const pool = new WorkerPool(1);
  const [a, b, c] = [new Member(1), new Member(2), new Member(3)];
  await a.enter(pool);
  void b.enter(pool);
  // Its maintenance may ask for the place, too.
  void b.enter(pool);
  expect(pool.wanted).toBe(true);
  pool.left(a);
  void c.enter(pool);
  await turn();
  expect([b.inside, c.inside]).toEqual([true, false]);
  pool.left(b);
  await turn();
  expect(c.inside).toBe(true);
  expect([pool.size, pool.wanted]).toEqual([1, false]);
});
