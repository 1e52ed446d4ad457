import { lastWords } from './playground.mjs';
import { cpuSeconds, pssOf } from './processes.mjs';

const CLIENT = new URL('./client.mjs', import.meta.url);
/** Milliseconds between the start signal and the start. */
const HEAD_START_MS = 30;
const MEMORY_EVERY_MS = 500;
/** Connecting takes a moment; a client that has not said anything by then never will. */
const READY_TIMEOUT_MS = 60_000;

/** @typedef {import('./playground.mjs').Playground} Playground */
/** @typedef {import('./client.mjs').Done} Done */

/**
 * Lets clients send their load to a server that runs already.
 * @param {Playground} ground
 * @param {object} job
 * @param {string} job.subject
 * @param {unknown} job.target
 * @param {readonly number[]} job.pids the server's processes; their children count as well
 * @param {Omit<import('./subjects/index.mjs').Work, 'client'>} job.work
 * @param {number} job.warmSeconds
 * @param {number} job.seconds
 */
export async function runFleet(ground, { subject, target, pids, work, warmSeconds, seconds }) {
  const members = Array.from({ length: work.clients }, () => new Member(ground.fork(CLIENT)));
  try {
    await Promise.all(
      members.map((member, client) =>
        member.ask({ type: 'prepare', subject, target, work: { ...work, client } }, READY_TIMEOUT_MS),
      ),
    );
    const at = Date.now() + HEAD_START_MS;
    const [warmMs, runMs] = [warmSeconds * 1000, seconds * 1000];
    // A direct client may wait for a lock beyond the end, several times its busy timeout if it is unlucky.
    const patience = warmMs + runMs + 120_000;
    const answers = members.map((member) => member.ask({ type: 'go', at, warmMs, runMs }, patience));
    const [server, done] = await Promise.all([watch(pids, at + warmMs, runMs), Promise.all(answers)]);
    return { server, clients: /** @type {Done[]} */ (done) };
  } finally {
    await Promise.all(members.map((member) => member.dismiss(ground)));
  }
}

/**
 * The server's CPU time in the measured time, and its memory at its highest.
 * @param {readonly number[]} pids
 * @param {number} from epoch milliseconds
 * @param {number} runMs
 */
async function watch(pids, from, runMs) {
  await sleepUntil(from);
  const before = cpuSeconds(pids);
  let peak = null;
  for (let at = from + MEMORY_EVERY_MS; at < from + runMs; at += MEMORY_EVERY_MS) {
    await sleepUntil(at);
    peak = Math.max(peak ?? 0, pssOf(pids) ?? 0);
  }
  await sleepUntil(from + runMs);
  const after = cpuSeconds(pids);
  peak = Math.max(peak ?? 0, pssOf(pids) ?? 0);
  return {
    cpuSeconds: before === null || after === null ? null : after - before,
    memory: process.platform === 'linux' ? peak : null,
  };
}

/** @param {number} at epoch milliseconds */
function sleepUntil(at) {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, at - Date.now())));
}

/** The parent's side of one client. */
class Member {
  #child;
  #words;
  /** @type {((error: Error) => void) | null} */
  #reject = null;
  /** @type {((answer: unknown) => void) | null} */
  #resolve = null;

  /** @param {import('node:child_process').ChildProcess} child */
  constructor(child) {
    this.#child = child;
    this.#words = lastWords(child);
    child.on('message', (/** @type {any} */ message) => {
      if (message.type === 'failed') this.#reject?.(new Error(`A client failed: ${message.message}`));
      else this.#resolve?.(message);
    });
    child.once('exit', (code, signal) => {
      this.#reject?.(new Error(`A client ended early (${signal ?? code}): ${this.#words()}`));
    });
  }

  /**
   * @param {object} message
   * @param {number} timeoutMs
   */
  async ask(message, timeoutMs) {
    let timer;
    try {
      return await new Promise((resolve, reject) => {
        this.#resolve = resolve;
        this.#reject = reject;
        timer = setTimeout(() => reject(new Error('A client did not answer in time.')), timeoutMs);
        this.#child.send(message, (error) => error && reject(error));
      });
    } finally {
      clearTimeout(timer);
      this.#resolve = null;
      this.#reject = null;
    }
  }

  /** @param {Playground} ground */
  async dismiss(ground) {
    if (this.#child.connected) this.#child.disconnect();
    const late = setTimeout(() => ground.stop(this.#child, 'SIGKILL'), 2_000);
    if (this.#child.exitCode === null && this.#child.signalCode === null)
      await new Promise((resolve) => this.#child.once('exit', resolve));
    clearTimeout(late);
  }
}
