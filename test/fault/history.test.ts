import { afterEach, beforeEach, expect, test } from 'vitest';
import { historyStorm } from '../soak/history-storm.js';
import { blow } from '../support/blow.js';
import { Playground } from '../support/playground.js';

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
  const { figures } = await blow(historyStorm, ground, SECONDS, { kills: 4 });
  expect(figures.operations).toBeGreaterThan(50);
  expect(figures['clients killed']).toBeGreaterThan(0);
}, 120_000);
