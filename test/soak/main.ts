import { Playground } from '../support/playground.js';
import { Random } from '../support/random.js';
import { diskStorm } from './disk-storm.js';
import { frameStorm } from './frame-storm.js';
import { historyStorm } from './history-storm.js';
import { idleStorm } from './idle-storm.js';
import { killStorm } from './kill-storm.js';
import { maintenanceStorm } from './maintenance-storm.js';
import { readOptions } from './options.js';
import { sqlStorm } from './sql-storm.js';
import type { Storm } from './storm.js';

/**
 * The soak: storm after storm, each in a playground of its own, until the time is over. Each round has a seed of its own, which
 * repeats its choices, though not the moments at which processes meet. Ends with 1 when anything was violated.
 */
const STORMS: { readonly [name: string]: Storm } = {
  kill: killStorm,
  idle: idleStorm,
  history: historyStorm,
  maintenance: maintenanceStorm,
  disk: diskStorm,
  frames: frameStorm,
  sql: sqlStorm,
};

const options = readOptions(process.argv.slice(2), Object.keys(STORMS));
const { minutes, roundSeconds, storms } = options;
const seeds = new Random(options.seed);
const begin = performance.now();
const end = begin + minutes * 60_000;
const totals = new Map<string, Map<string, number>>();
const broken: string[] = [];
let stopped = false;
let ground: Playground | null = null;
process.once('SIGINT', () => {
  say('stopping after this round; Ctrl-C again ends at once');
  stopped = true;
});

say(`${minutes} minutes of ${storms.join(', ')} in rounds of ${roundSeconds} s, seed ${options.seed}`);
for (let round = 1; !stopped && (round === 1 || performance.now() < end); round += 1) {
  const name = storms[(round - 1) % storms.length] ?? '';
  // A round is repeated alone with its own seed: --seed SEED --only NAME --minutes 0.
  await blow(round, name, round === 1 ? options.seed : seeds.seed());
}
summarize();
process.exitCode = broken.length > 0 ? 1 : 0;

async function blow(round: number, name: string, seed: number): Promise<void> {
  const storm = STORMS[name];
  if (storm === undefined) throw new Error(`there is no storm "${name}"`);
  ground = new Playground();
  let violations: readonly string[];
  let kept = '';
  try {
    const result = await storm({ ground, random: new Random(seed), seconds: roundSeconds });
    violations = result.violations;
    add(name, result.figures);
  } catch (error) {
    // What cannot go on has broken something, too: a request without an answer, a program that has ended.
    violations = [
      `the round could not be finished: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    ];
  }
  if (violations.length > 0 && options.keep) kept = `; kept in ${ground.dir}`;
  else await ground.dispose();
  say(
    `round ${round}, ${name}, seed ${seed}: ${violations.length === 0 ? 'ok' : `${violations.length} VIOLATIONS${kept}`}`,
  );
  for (const violation of violations.slice(0, 10)) say(`  ${violation}`);
  broken.push(...violations.map((violation) => `${name}, seed ${seed}: ${violation}`));
}

function add(name: string, figures: { readonly [what: string]: number }): void {
  const sums = totals.get(name) ?? new Map<string, number>([['rounds', 0]]);
  totals.set(name, sums);
  for (const [what, count] of [['rounds', 1] as const, ...Object.entries(figures)])
    sums.set(what, (sums.get(what) ?? 0) + count);
}

function summarize(): void {
  const took = ((performance.now() - begin) / 60_000).toFixed(1);
  process.stdout.write(
    `\nAfter ${took} minutes, seed ${options.seed}, Node.js ${process.version}, ${process.platform}:\n`,
  );
  for (const [name, sums] of totals) {
    process.stdout.write(`\n${name}\n`);
    for (const [what, count] of sums) process.stdout.write(`  ${String(count).padStart(9)}  ${what}\n`);
  }
  process.stdout.write(
    broken.length === 0 ? '\nNothing was violated.\n' : `\n${broken.length} VIOLATIONS, the first of them:\n`,
  );
  for (const violation of broken.slice(0, 20)) process.stdout.write(`  ${violation}\n`);
}

function say(text: string): void {
  const seconds = Math.round((performance.now() - begin) / 1000);
  process.stdout.write(`${String(seconds).padStart(5)} s  ${text}\n`);
}
