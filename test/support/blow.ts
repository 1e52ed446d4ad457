import { randomInt } from 'node:crypto';
import { expect, onTestFailed } from 'vitest';
import type { Figures, Storm, StormResult } from '../soak/storm.js';
import type { Playground } from './playground.js';
import { Random } from './random.js';

/**
 * Lets a storm blow as a test: nothing may be violated. However it fails, the seed is told, which repeats its choices:
 * `npm run soak -- --minutes 0 --only NAME --seed SEED`.
 * @param seconds how long at least
 * @param least what there must be of it: a busy machine takes longer for that
 */
export async function blow(
  storm: Storm,
  ground: Playground,
  seconds: number,
  least: Figures,
): Promise<StormResult> {
  const seed = randomInt(2 ** 31);
  onTestFailed(() => console.error(`the seed of ${storm.name} was ${seed}`));
  const result = await storm({ ground, random: new Random(seed), seconds, least });
  expect(result.violations, JSON.stringify(result.figures)).toEqual([]);
  return result;
}
