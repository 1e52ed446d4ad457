import { parseArgs } from 'node:util';
import { LOADS } from './loads.mjs';
import { SUBJECTS } from './subjects/index.mjs';

/** What can be measured, in the order in which it is. */
export const SECTIONS = [...Object.keys(LOADS), 'bulk', 'many', 'startup', 'memory'];

const HELP = `Usage: npm run bench -- [options]

  --quick          about three minutes: the cases that the targets need, two short rounds
  --all            every load in every combination of clients, in flight and durability (takes hours)
  --only NAME      measure only this (repeatable); a section or a subject
                   sections: ${SECTIONS.join(', ')}
                   subjects: ${SUBJECTS.map(({ name }) => name).join(', ')}
  --rounds N       rounds per case (default: 5; --quick: 2)
  --seconds S      measured time of one run (default: 3; --quick: 1)
  --warm S         time before it that is not measured (default: 5; --quick: 1.5): with 16 processes on two cores each has an
                   eighth of a core, and V8 compiles what is hot for seconds
  --dir DIR        where the databases lie (default: the system's temporary folder)
  --json FILE      write everything that was measured
  --out FILE.md    write the tables
`;

/**
 * @typedef {object} Options
 * @property {boolean} quick
 * @property {boolean} all
 * @property {ReadonlySet<string>} sections
 * @property {ReadonlySet<string>} subjects
 * @property {number} rounds
 * @property {number} seconds measured time of one run
 * @property {number} warmSeconds time before it that is not measured
 * @property {string | undefined} dir
 * @property {string | undefined} json
 * @property {string | undefined} out
 */

/**
 * @param {string[]} argv
 * @returns {Options}
 */
export function readOptions(argv) {
  let values;
  try {
    values = parse(argv);
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error));
  }
  if (values.help) {
    process.stdout.write(HELP);
    process.exit(0);
  }
  const subjectNames = SUBJECTS.map(({ name }) => name);
  const only = values.only ?? [];
  for (const name of only) {
    if (!SECTIONS.includes(name) && !subjectNames.includes(name)) usage(`--only does not know "${name}"`);
  }
  const quick = values.quick ?? false;
  const seconds = number('--seconds', values.seconds, quick ? 1 : 3, 0.1);
  return Object.freeze({
    quick,
    all: values.all ?? false,
    sections: chosen(only, SECTIONS),
    subjects: chosen(only, subjectNames),
    rounds: Math.floor(number('--rounds', values.rounds, quick ? 2 : 5, 1)),
    seconds,
    warmSeconds: number('--warm', values.warm, quick ? 1.5 : 5, 0),
    dir: values.dir,
    json: values.json,
    out: values.out,
  });
}

/** @param {string[]} argv */
function parse(argv) {
  return parseArgs({
    args: argv,
    options: {
      quick: { type: 'boolean' },
      all: { type: 'boolean' },
      only: { type: 'string', multiple: true },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      warm: { type: 'string' },
      dir: { type: 'string' },
      json: { type: 'string' },
      out: { type: 'string' },
      help: { type: 'boolean' },
    },
  }).values;
}

/**
 * Nothing chosen of a kind means all of it.
 * @param {string[]} only
 * @param {string[]} known
 */
function chosen(only, known) {
  const some = known.filter((name) => only.includes(name));
  return new Set(some.length > 0 ? some : known);
}

/**
 * @param {string} option
 * @param {string | undefined} text
 * @param {number} fallback
 * @param {number} min
 */
function number(option, text, fallback, min) {
  const value = text === undefined ? fallback : Number(text);
  if (!(value >= min)) usage(`${option} takes a number from ${min}, but got "${text}"`);
  return value;
}

/**
 * @param {string} what
 * @returns {never}
 */
function usage(what) {
  process.stderr.write(`bench: ${what}\n\n${HELP}`);
  process.exit(2);
}
