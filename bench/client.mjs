/**
 * One client: a process of its own that sends one load, over and over, and measures. It is told what to do by the
 * parent: `prepare` → `ready`, `go` → `done`; it leaves when the parent hangs up.
 */
import { memory } from './processes.mjs';
import { Histogram } from './statistics.mjs';
import { subjectOf } from './subjects/index.mjs';

/** @typedef {import('./subjects/index.mjs').Work} Work */

/**
 * @typedef {object} Go
 * @property {number} at when to start, in milliseconds since the epoch
 * @property {number} warmMs
 * @property {number} runMs
 */

/**
 * @typedef {object} Done
 * @property {number} acknowledged all batches, the warm-up included
 * @property {number} unknown batches of which nobody knows whether they were applied
 * @property {number} inWindow batches answered in the measured time
 * @property {number} attempts begun or ended in the measured time
 * @property {Record<string, number>} errors by code
 * @property {ReturnType<Histogram['toJSON']>} latency
 * @property {number} cpuSeconds in the measured time
 * @property {number | null} memory
 */

/** @type {{ batch(slot: number, n: number): unknown, close(): unknown } | undefined} */
let session;
/** @type {Work | undefined} */
let work;

process.on('disconnect', () => process.exit(0));
process.on('message', async (/** @type {any} */ message) => {
  try {
    if (message.type === 'prepare') {
      work = message.work;
      session = await subjectOf(message.subject).connect(message.target, message.work);
      process.send?.({ type: 'ready' });
    } else {
      process.send?.({ type: 'done', ...(await run(message)) });
    }
  } catch (error) {
    process.send?.({ type: 'failed', message: error instanceof Error ? error.stack : String(error) });
  }
});

/**
 * @param {Go} go
 * @returns {Promise<Done>}
 */
async function run({ at, warmMs, runMs }) {
  const begin = at - performance.timeOrigin;
  const from = begin + warmMs;
  const to = from + runMs;
  const meter = new Meter(from, to);
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, begin - performance.now())));
  const slots = Array.from({ length: work?.inFlight ?? 1 }, (_, slot) => drive(slot, meter, to));
  await Promise.all(slots);
  const result = meter.result();
  await session?.close();
  return { ...result, memory: memory('self', 'Pss') };
}

/**
 * Sends one batch after another. A subject that answers at once, without a promise, is not made to wait for one.
 * @param {number} slot
 * @param {Meter} meter
 * @param {number} to
 */
async function drive(slot, meter, to) {
  const current = session;
  if (current === undefined) throw new Error('go came before prepare');
  for (let n = 0; ; n += 1) {
    const began = performance.now();
    if (began >= to) return;
    try {
      const answer = current.batch(slot, n);
      if (answer instanceof Promise) await answer;
      meter.answered(began, performance.now());
    } catch (error) {
      meter.failed(began, performance.now(), error);
      // A server that is gone refuses at once: without a pause the other slots would never run again.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

/** Counts what belongs to the measured time. */
class Meter {
  #from;
  #to;
  #latency = new Histogram();
  /** @type {Record<string, number>} */
  #errors = {};
  #acknowledged = 0;
  #unknown = 0;
  #inWindow = 0;
  #attempts = 0;
  /** @type {NodeJS.CpuUsage | null} */
  #cpuFrom = null;
  /** @type {NodeJS.CpuUsage | null} */
  #cpuUsed = null;

  /**
   * @param {number} from
   * @param {number} to
   */
  constructor(from, to) {
    this.#from = from;
    this.#to = to;
  }

  /**
   * @param {number} began
   * @param {number} ended
   */
  answered(began, ended) {
    this.#acknowledged += 1;
    this.#tick(ended);
    if (ended < this.#from) return;
    this.#attempts += 1;
    // Those that end after the measured time are waits like any other, but no throughput.
    this.#latency.add(ended - began);
    if (ended <= this.#to) this.#inWindow += 1;
  }

  /**
   * @param {number} began
   * @param {number} ended
   * @param {any} error
   */
  failed(began, ended, error) {
    if (error?.outcome === 'unknown') this.#unknown += 1;
    this.#tick(ended);
    if (ended < this.#from) return;
    this.#attempts += 1;
    this.#latency.waited(ended - began);
    const code = String(error?.code ?? error?.name ?? error);
    this.#errors[code] = (this.#errors[code] ?? 0) + 1;
  }

  /** @param {number} now */
  #tick(now) {
    if (this.#cpuFrom === null && now >= this.#from) this.#cpuFrom = process.cpuUsage();
    if (this.#cpuUsed === null && now >= this.#to) this.#cpuUsed = this.#used();
  }

  #used() {
    return this.#cpuFrom === null ? { user: 0, system: 0 } : process.cpuUsage(this.#cpuFrom);
  }

  result() {
    const { user, system } = this.#cpuUsed ?? this.#used();
    return {
      acknowledged: this.#acknowledged,
      unknown: this.#unknown,
      inWindow: this.#inWindow,
      attempts: this.#attempts,
      errors: this.#errors,
      latency: this.#latency.toJSON(),
      cpuSeconds: (user + system) / 1e6,
    };
  }
}
