import { randomInt } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { historyStorm } from '../soak/history-storm.js';
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
  const { figures, violations } = await historyStorm({ ground, random: new Random(seed), seconds: SECONDS });
  const told = `seed ${seed}: ${JSON.stringify(figures)}`;
  expect(violations, told).toEqual([]);
  expect(figures.operations, told).toBeGreaterThan(200);
  expect(figures['clients killed'], told).toBeGreaterThan(0);
  const kills = Object.entries(figures).filter(([what]) => what.includes('killed'));
  expect(
    kills.reduce((sum, [, count]) => sum + count, 0),
    told,
  ).toBeGreaterThan(5);
}, 120_000);
