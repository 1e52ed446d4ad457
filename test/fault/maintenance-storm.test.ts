import { randomInt } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { maintenanceStorm } from '../soak/maintenance-storm.js';
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

test('maintenance storm: what was answered for a file is in it, whatever replaces it, and nobody sees time go backwards', async () => {
  const seed = randomInt(2 ** 31);
  const random = new Random(seed);
  const { figures, violations } = await maintenanceStorm({ ground, random, seconds: SECONDS });
  const told = `seed ${seed}: ${JSON.stringify(figures)}`;
  expect(violations, told).toEqual([]);
  expect(figures.replaced, told).toBeGreaterThan(2);
  expect(figures['batches done'], told).toBeGreaterThan(300);
  expect(figures['looks of watchers'], told).toBeGreaterThan(20);
}, 120_000);
