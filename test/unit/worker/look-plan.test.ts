import { expect, test } from 'vitest';
import { LookPlan } from '../../../daemon/worker/look-plan.js';

/** Commits until the next look. */
function next(plan: LookPlan): number {
  for (let commits = 1; ; commits += 1) if (plan.isDue()) return commits;
}

test('the first commit is looked at, then small ones now and then', () => {
  const plan = new LookPlan();
  expect(next(plan)).toBe(1);
  plan.saw(2, 1_000);
  expect(next(plan)).toBe(8);
  plan.saw(18, 984);
  expect(next(plan)).toBe(8);
});

test('large commits are looked at sooner, and each one when it is time for a checkpoint', () => {
  const plan = new LookPlan();
  next(plan);
  plan.saw(200, 1_000);
  expect(next(plan)).toBe(2);
  plan.saw(600, 600);
  expect(next(plan)).toBe(1);
  plan.saw(1_200, 0);
  expect(next(plan)).toBe(1);
});

test('a WAL that has begun anew says nothing of how much a commit brings', () => {
  const plan = new LookPlan();
  next(plan);
  plan.saw(900, 100);
  next(plan);
  plan.saw(50, 950);
  expect(next(plan)).toBe(1);
});
