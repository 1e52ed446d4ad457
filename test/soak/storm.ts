import type { Playground } from '../support/playground.js';
import type { Random } from '../support/random.js';

/** What every storm gets. */
export interface StormSetting {
  readonly ground: Playground;
  readonly random: Random;
  /** How long it blows; starting and checking come on top. */
  readonly seconds: number;
}

/** What came of it. No violation: nothing that was promised was broken. */
export interface StormResult {
  /** Counts, by what was counted; those of several rounds are added up. */
  readonly figures: { readonly [what: string]: number };
  readonly violations: readonly string[];
}

export type Storm = (setting: StormSetting) => Promise<StormResult>;

/** How many were killed, of whatever kind. */
export function killsOf({ figures }: StormResult): number {
  const kills = Object.entries(figures).filter(([what]) => what.includes('killed'));
  return kills.reduce((sum, [, count]) => sum + count, 0);
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
