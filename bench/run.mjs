import { runFleet } from './fleet.mjs';
import { loadOf } from './loads.mjs';
import { Histogram } from './statistics.mjs';

/**
 * One run: one subject, one load, one time.
 *
 * @typedef {object} RunResult
 * @property {number} perSecond batches answered in the measured time, per second
 * @property {number | null} p50 milliseconds, like the following
 * @property {number | null} p99
 * @property {number | null} p999
 * @property {number} max longest wait, failed ones included
 * @property {number} errors
 * @property {number} attempts
 * @property {Record<string, number>} errorCodes
 * @property {number | null} fairness slowest client ÷ fastest client
 * @property {number | null} cpuPer1000 CPU seconds of all processes for 1000 batches
 * @property {number | null} serverMemory bytes
 * @property {number | null} clientMemory bytes
 * @property {string | null} mismatch what is wrong with the number of rows afterwards
 */

/**
 * Starts the subject, runs its clients, counts what is in the file afterwards, and stops it.
 * @param {import('./playground.mjs').Playground} ground
 * @param {import('./subjects/index.mjs').Subject} subject
 * @param {{ load: string, clients: number, inFlight: number, durability: 'normal' | 'full', databases?: number }} setting
 * @param {{ warmSeconds: number, seconds: number }} time
 * @returns {Promise<RunResult>}
 */
export async function runOnce(ground, subject, setting, { warmSeconds, seconds }) {
  const { load, clients, inFlight, durability, databases = 1 } = setting;
  const server = await subject.start(ground, { load, durability, databases });
  const { server: used, clients: done } = await runFleet(ground, {
    subject: subject.name,
    target: server.target,
    pids: server.pids,
    work: { load, clients, inFlight, databases },
    warmSeconds,
    seconds,
  });
  const found = await server.finish();
  const latency = new Histogram();
  for (const client of done) latency.merge(client.latency);
  const answered = sum(done.map(({ inWindow }) => inWindow));
  const counts = done.map(({ inWindow }) => inWindow);
  const cpu = used.cpuSeconds === null ? null : used.cpuSeconds + sum(done.map((one) => one.cpuSeconds));
  const errorCodes = mergeErrors(done.map(({ errors }) => errors));
  return {
    perSecond: answered / seconds,
    p50: latency.percentile(0.5),
    p99: latency.percentile(0.99),
    p999: latency.percentile(0.999),
    max: latency.max,
    errors: sum(Object.values(errorCodes)),
    attempts: sum(done.map(({ attempts }) => attempts)),
    errorCodes,
    fairness: Math.max(...counts) === 0 ? null : Math.min(...counts) / Math.max(...counts),
    cpuPer1000: cpu === null || answered === 0 ? null : (cpu / answered) * 1000,
    serverMemory: used.memory,
    clientMemory: done.some(({ memory }) => memory === null) ? null : sum(done.map((one) => one.memory ?? 0)),
    mismatch: compare(found, done, loadOf(load).perBatch),
  };
}

/**
 * @param {number} found
 * @param {readonly import('./client.mjs').Done[]} done
 * @param {number} perBatch
 */
function compare(found, done, perBatch) {
  const least = sum(done.map(({ acknowledged }) => acknowledged)) * perBatch;
  const most = least + sum(done.map(({ unknown }) => unknown)) * perBatch;
  return found >= least && found <= most
    ? null
    : `${found} in the file, but ${least}${most > least ? ` to ${most}` : ''} were acknowledged`;
}

/** @param {readonly number[]} numbers */
function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

/** @param {readonly Record<string, number>[]} all */
export function mergeErrors(all) {
  /** @type {Record<string, number>} */
  const merged = {};
  for (const errors of all) {
    for (const [code, count] of Object.entries(errors)) merged[code] = (merged[code] ?? 0) + count;
  }
  return merged;
}
