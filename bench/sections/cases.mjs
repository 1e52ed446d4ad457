import { planCases } from '../plan.mjs';
import { mergeErrors, runOnce } from '../run.mjs';
import { median, spread } from '../statistics.mjs';

/**
 * The medians of one entry's rounds; `errors` and `attempts` are sums.
 *
 * @typedef {Omit<import('../run.mjs').RunResult, 'mismatch'> & {
 *   load: string, clients: number, durability: 'normal' | 'full', subject: string, inFlight: number,
 *   spread: number | null, mismatches: string[], rounds: import('../run.mjs').RunResult[]
 * }} Cell
 */

/**
 * @param {import('../playground.mjs').Playground} ground
 * @param {import('../options.mjs').Options} options
 * @param {(what: string) => void} tell
 * @returns {Promise<Cell[]>}
 */
export async function measureCases(ground, options, tell) {
  const cases = planCases(options);
  /** @type {Cell[]} */
  const cells = [];
  for (const [at, one] of cases.entries()) {
    const { load, clients, durability, entries } = one;
    const rounds = entries.map(() => /** @type {import('../run.mjs').RunResult[]} */ ([]));
    for (let round = 0; round < options.rounds; round += 1) {
      for (const [index, { subject, inFlight }] of entries.entries()) {
        const setting = { load, clients, inFlight, durability };
        tell(
          `case ${at + 1}/${cases.length} ${load}, ${clients} x ${inFlight}, ${durability}: round ${round + 1}/${options.rounds}, ${subject.name}`,
        );
        rounds[index]?.push(await runOnce(ground, subject, setting, options));
      }
    }
    for (const [index, { subject, inFlight }] of entries.entries()) {
      cells.push({
        load,
        clients,
        durability,
        subject: subject.name,
        inFlight,
        ...summarize(rounds[index] ?? []),
      });
    }
  }
  return cells;
}

/** @param {import('../run.mjs').RunResult[]} rounds */
export function summarize(rounds) {
  return {
    perSecond: median(rounds.map(({ perSecond }) => perSecond)) ?? 0,
    spread: spread(rounds.map(({ perSecond }) => perSecond)),
    p50: median(rounds.map(({ p50 }) => p50)),
    p99: median(rounds.map(({ p99 }) => p99)),
    p999: median(rounds.map(({ p999 }) => p999)),
    max: median(rounds.map(({ max }) => max)) ?? 0,
    errors: rounds.reduce((sum, { errors }) => sum + errors, 0),
    attempts: rounds.reduce((sum, { attempts }) => sum + attempts, 0),
    errorCodes: mergeErrors(rounds.map(({ errorCodes }) => errorCodes)),
    fairness: median(rounds.map(({ fairness }) => fairness)),
    cpuPer1000: median(rounds.map(({ cpuPer1000 }) => cpuPer1000)),
    serverMemory: median(rounds.map(({ serverMemory }) => serverMemory)),
    clientMemory: median(rounds.map(({ clientMemory }) => clientMemory)),
    mismatches: rounds.flatMap(({ mismatch }) => mismatch ?? []),
    rounds,
  };
}
