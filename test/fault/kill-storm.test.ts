import { afterEach, beforeEach, expect, test } from 'vitest';
import { killStorm } from '../soak/kill-storm.js';
import { blow } from '../support/blow.js';
import { Playground } from '../support/playground.js';

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
  const { figures } = await blow(killStorm, ground, SECONDS, { kills: 6 });
  expect(figures['batches done']).toBeGreaterThan(1_000);
  expect(figures['looks of readers']).toBeGreaterThan(20);
}, 120_000);
