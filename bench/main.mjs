/** `npm run bench`: measures SkylineDB and what one would use instead, in turn, and says whether the targets are met. */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describeMachine } from './machine.mjs';
import { readOptions } from './options.mjs';
import { Playground } from './playground.mjs';
import { report } from './report.mjs';
import { measureBulk } from './sections/bulk.mjs';
import { measureCases } from './sections/cases.mjs';
import { measureMany } from './sections/many.mjs';
import { measureMemory } from './sections/memory.mjs';
import { measureStartup } from './sections/startup.mjs';
import { skylinedb } from './subjects/skylinedb.mjs';
import { judge } from './targets.mjs';

/**
 * @typedef {object} Results
 * @property {object & { rounds: number, seconds: number, quick: boolean }} options
 * @property {import('./machine.mjs').Machine} machine
 * @property {import('./sections/cases.mjs').Cell[]} cells
 * @property {Awaited<ReturnType<typeof measureMany>> | null} many
 * @property {Awaited<ReturnType<typeof measureBulk>> | null} bulk
 * @property {Awaited<ReturnType<typeof measureStartup>> | null} startup
 * @property {Awaited<ReturnType<typeof measureMemory>> | null} memory
 * @property {import('./targets.mjs').Target[]} targets
 * @property {string[]} mismatches
 */

const options = readOptions(process.argv.slice(2));
const terminal = process.stderr.isTTY === true;
const began = performance.now();

const ground = new Playground(options.dir === undefined ? undefined : resolve(options.dir));
try {
  const results = await measure();
  const text = report(results);
  process.stdout.write(text);
  if (options.out !== undefined) writeFileSync(options.out, text);
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(results, null, 2)}\n`);
  if (results.mismatches.length > 0) process.exitCode = 1;
} catch (error) {
  process.stderr.write(`\nbench: ${error instanceof Error ? error.stack : error}\n`);
  process.exitCode = 1;
} finally {
  await ground.end();
}
// A client of a peer may hold a connection open that nobody needs any more.
process.exit();

/** @returns {Promise<Results>} */
async function measure() {
  const missing = skylinedb.missing();
  if (missing !== null) throw new Error(missing);
  const machine = describeMachine(ground.dir);
  for (const { name, missing: why } of machine.subjects) if (why !== null) tell(`${name}: ${why}`);
  const { sections, subjects } = options;
  // These sections compare SkylineDB with nothing but itself or what it is made of.
  /** @type {<T>(section: string, work: () => Promise<T>) => Promise<T | null>} */
  const when = async (section, work) =>
    sections.has(section) && subjects.has('skylinedb') ? await work() : null;
  const cells = await measureCases(ground, options, tell);
  const many = sections.has('many') ? await measureMany(ground, options, tell) : null;
  const bulk = await when('bulk', () => measureBulk(ground, options, tell));
  const startup = await when('startup', () => measureStartup(ground, options, tell));
  const memory = await when('memory', () => measureMemory(ground, options, tell));
  if (terminal) process.stderr.write('\r\x1b[K');
  const mismatches = [
    ...[...cells, ...(many?.cells ?? [])].flatMap((cell) =>
      cell.mismatches.map(
        (what) =>
          `${cell.load}, ${cell.clients} x ${cell.inFlight}, ${cell.durability}, ${cell.subject}: ${what}`,
      ),
    ),
    ...(bulk?.mismatches ?? []),
    ...(memory?.mismatches ?? []),
  ];
  const { rounds, seconds, quick } = options;
  const measured = {
    options: { ...options, rounds, seconds, quick, sections: [...sections], subjects: [...subjects] },
    machine,
    cells,
    many,
    bulk,
    startup,
    memory,
    mismatches,
    targets: [],
  };
  return { ...measured, targets: judge(measured) };
}

/**
 * Where it stands, on stderr: one line that is written over on a terminal.
 * @param {string} what
 */
function tell(what) {
  const at = `[${((performance.now() - began) / 1000).toFixed(0)} s] ${what}`;
  process.stderr.write(terminal ? `\r\x1b[K${at.slice(0, (process.stderr.columns ?? 100) - 1)}` : `${at}\n`);
}
