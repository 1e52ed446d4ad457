import { randomInt } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { frameStorm } from '../soak/frame-storm.js';
import { sqlStorm } from '../soak/sql-storm.js';
import type { Storm } from '../soak/storm.js';
import { Playground } from '../support/playground.js';
import { Random } from '../support/random.js';

const SECONDS = 8;

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

async function blow(storm: Storm): Promise<{ readonly [what: string]: number }> {
  const seed = randomInt(2 ** 31);
  const { figures, violations } = await storm({ ground, random: new Random(seed), seconds: SECONDS });
  expect(violations, `seed ${seed}: ${JSON.stringify(figures)}`).toEqual([]);
  return figures;
}

test(`${SECONDS} seconds of mutated and random frames: the daemon lives, serves others, and answers only what it knows`, async () => {
  const figures = await blow(frameStorm);
  expect(figures['frames sent']).toBeGreaterThan(500);
  expect(figures['connections to workers']).toBeGreaterThan(5);
});

test(`${SECONDS} seconds of SQL, with what is forbidden in all disguises: nothing reaches beyond its batch`, async () => {
  const figures = await blow(sqlStorm);
  expect(figures['statements refused']).toBeGreaterThan(200);
  expect(figures['statements done']).toBeGreaterThan(20);
});
