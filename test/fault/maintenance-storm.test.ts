import { afterEach, beforeEach, expect, test } from 'vitest';
import { maintenanceStorm } from '../soak/maintenance-storm.js';
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

test('maintenance storm: what was answered for a file is in it, whatever replaces it, and nobody sees time go backwards', async () => {
  const { figures } = await blow(maintenanceStorm, ground, SECONDS, { replaced: 3 });
  expect(figures['batches done']).toBeGreaterThan(300);
  expect(figures['looks of watchers']).toBeGreaterThan(20);
}, 120_000);
