import type { Playground } from '../support/playground.js';
import type { Random } from '../support/random.js';

/** Counts, by what was counted. */
export type Figures = { readonly [what: string]: number };

/** What every storm gets. */
export interface StormSetting {
  readonly ground: Playground;
  readonly random: Random;
  /** How long it blows; starting and checking come on top. */
  readonly seconds: number;
  /** It goes on until there is as much of it: what a busy machine has not come to proves nothing. */
  readonly least?: Figures;
}

/** What came of it. No violation: nothing that was promised was broken. */
export interface StormResult {
  /** Those of several rounds are added up. */
  readonly figures: Figures;
  readonly violations: readonly string[];
}

export type Storm = (setting: StormSetting) => Promise<StormResult>;

/** Whether a storm goes on: its time is not over, or something of it is less than it must be. */
export function blowsOn(end: number, figures: Figures, least: Figures = {}): boolean {
  return (
    performance.now() < end || Object.entries(least).some(([what, count]) => (figures[what] ?? 0) < count)
  );
}

/** How many were killed, of whatever kind. */
export function killsOf({ figures }: Pick<StormResult, 'figures'>): number {
  const kills = Object.entries(figures).filter(([what]) => what.includes('killed'));
  return kills.reduce((sum, [, count]) => sum + count, 0);
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
