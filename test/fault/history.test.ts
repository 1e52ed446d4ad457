import { randomInt } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { historyStorm } from '../soak/history-storm.js';
import { killsOf } from '../soak/storm.js';
import { Playground } from '../support/playground.js';
import { Random } from '../support/random.js';

/** Short; `npm run soak` blows for as long as one likes. */
const SECONDS = 6;

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

test('history: what many processes asked for and were told, while others were killed, could have happened one after the other', async () => {
  const seed = randomInt(2 ** 31);
  const result = await historyStorm({ ground, random: new Random(seed), seconds: SECONDS });
  const { figures, violations } = result;
  const told = `seed ${seed}: ${JSON.stringify(figures)}`;
  expect(violations, told).toEqual([]);
  expect(figures.operations, told).toBeGreaterThan(50);
  expect(figures['clients killed'], told).toBeGreaterThan(0);
  expect(killsOf(result), told).toBeGreaterThan(3);
}, 120_000);
