import { LOADS } from './loads.mjs';
import { SUBJECTS } from './subjects/index.mjs';

/**
 * A case is a load at one number of clients and one durability. In each round every entry of the case gets its turn, so
 * that what slows the machine down for a while slows all of them down.
 *
 * @typedef {{ load: string, clients: number, durability: 'normal' | 'full', entries: Entry[] }} Case
 * @typedef {{ subject: import('./subjects/index.mjs').Subject, inFlight: number }} Entry
 */

/** In flight at once per client. */
const DEPTHS = [1, 32];
const DURABILITIES = /** @type {const} */ (['normal', 'full']);
/** Subjects that --quick leaves out: no target needs them. */
const NOT_IN_QUICK = ['direct-plain', 'sqld'];

/**
 * The cases that the targets need: clients, durability, in flight, and with whom else than direct to compare.
 * @type {[number, 'normal' | 'full', number[], string[]][]}
 */
const QUICK = [
  [1, 'normal', [1], ['redis', 'echo']],
  [4, 'normal', [32], ['echo']],
  [16, 'normal', [1, 32], ['echo']],
  [16, 'full', [1, 32], ['postgres']],
];

/**
 * @param {import('./options.mjs').Options} options
 * @returns {Case[]}
 */
export function planCases(options) {
  const wanted = SUBJECTS.filter((one) => options.subjects.has(one.name) && one.missing() === null);
  const cases = options.quick ? quickCases(wanted) : fullCases(wanted, options.all);
  return cases.filter(({ load, entries }) => options.sections.has(load) && entries.length > 0);
}

/** @param {import('./subjects/index.mjs').Subject[]} subjects */
function quickCases(subjects) {
  const some = subjects.filter(({ name }) => !NOT_IN_QUICK.includes(name));
  const ours = ['skylinedb', 'skylinedb-router', 'direct'];
  const inserts = QUICK.map(([clients, durability, depths, peers]) => {
    const here = some.filter(({ name }) => ours.includes(name) || peers.includes(name));
    return makeCase('insert', clients, durability, here, depths);
  });
  const others = Object.keys(LOADS)
    .filter((load) => load !== 'insert')
    .map((load) => {
      const here = some.filter(({ name }) => name === 'skylinedb' || name === 'direct');
      return makeCase(load, 4, 'normal', here, [load === 'blob1m' ? 1 : 32]);
    });
  return [...inserts, ...others];
}

/**
 * Single inserts in every combination; the other loads with four clients, or in every combination too.
 * @param {import('./subjects/index.mjs').Subject[]} subjects
 * @param {boolean} all
 */
function fullCases(subjects, all) {
  return Object.keys(LOADS).flatMap((load) =>
    (all || load === 'insert' ? [1, 4, 16] : [4]).flatMap((clients) =>
      DURABILITIES.map((durability) => makeCase(load, clients, durability, subjects, DEPTHS)),
    ),
  );
}

/**
 * @param {string} load
 * @param {number} clients
 * @param {'normal' | 'full'} durability
 * @param {import('./subjects/index.mjs').Subject[]} subjects
 * @param {number[]} depths
 * @returns {Case}
 */
function makeCase(load, clients, durability, subjects, depths) {
  const entries = subjects
    .filter((subject) => subject.loads.includes(load) && subject.durabilities.includes(durability))
    .flatMap((subject) => (subject.pipelines ? depths : [1]).map((inFlight) => ({ subject, inFlight })));
  return { load, clients, durability, entries };
}
