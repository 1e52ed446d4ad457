import { runOnce } from '../run.mjs';
import { subjectOf } from '../subjects/index.mjs';
import { summarize } from './cases.mjs';

const CLIENTS = 4;
/** Opening databases is slow in comparison: the usual time would see few of them. */
const TIMES_LONGER = 3;

/**
 * Many databases touched at random, of which few can be open at once.
 * @param {import('../playground.mjs').Playground} ground
 * @param {import('../options.mjs').Options} options
 * @param {(what: string) => void} tell
 */
export async function measureMany(ground, options, tell) {
  const databases = options.quick ? 100 : 1000;
  const setting = /** @type {const} */ ({
    load: 'insert',
    clients: CLIENTS,
    inFlight: 1,
    durability: 'normal',
    databases,
  });
  const subjects = ['skylinedb', 'direct'].filter(
    (name) => options.subjects.has(name) && subjectOf(name).missing() === null,
  );
  const rounds = subjects.map(() => /** @type {import('../run.mjs').RunResult[]} */ ([]));
  const time = {
    warmSeconds: options.warmSeconds,
    seconds: options.seconds * (options.quick ? 1 : TIMES_LONGER),
  };
  for (let round = 0; round < options.rounds; round += 1) {
    for (const [index, name] of subjects.entries()) {
      tell(`${databases} databases: round ${round + 1}/${options.rounds}, ${name}`);
      rounds[index]?.push(await runOnce(ground, subjectOf(name), setting, time));
    }
  }
  return {
    databases,
    cells: subjects.map((subject, index) => ({ ...setting, subject, ...summarize(rounds[index] ?? []) })),
  };
}
