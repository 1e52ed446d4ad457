import { randomInt } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { killStorm } from '../soak/kill-storm.js';
import { killsOf } from '../soak/storm.js';
import { Playground } from '../support/playground.js';
import { Random } from '../support/random.js';

/** Short; `npm run soak` blows for as long as one likes. */
const SECONDS = 8;

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

test('kill storm: every answer is true, every batch is applied once, and readers see nothing out of order', async () => {
  const seed = randomInt(2 ** 31);
  const result = await killStorm({ ground, random: new Random(seed), seconds: SECONDS });
  const { figures, violations } = result;
  const told = `seed ${seed}: ${JSON.stringify(figures)}`;
  expect(violations, told).toEqual([]);
  expect(figures['batches done'], told).toBeGreaterThan(1_000);
  expect(killsOf(result), told).toBeGreaterThan(5);
  expect(figures['looks of readers'], told).toBeGreaterThan(20);
}, 120_000);
