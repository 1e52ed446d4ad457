import { afterEach, beforeEach, test } from 'vitest';
import { frameStorm } from '../soak/frame-storm.js';
import { sqlStorm } from '../soak/sql-storm.js';
import { blow } from '../support/blow.js';
import { Playground } from '../support/playground.js';

const SECONDS = 8;

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

test(`${SECONDS} seconds of mutated and random frames: the daemon lives, serves others, and answers only what it knows`, async () => {
  await blow(frameStorm, ground, SECONDS, { 'frames sent': 501, 'connections to workers': 6 });
});

test(`${SECONDS} seconds of SQL, with what is forbidden in all disguises: nothing reaches beyond its batch`, async () => {
  await blow(sqlStorm, ground, SECONDS, { 'statements refused': 201, 'statements done': 21 });
});
