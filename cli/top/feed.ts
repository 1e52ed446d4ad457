import type { Client } from '../../client/client.js';
import { SkylineError } from '../../protocol/errors.js';
import { type Sample, Sampler } from './sample.js';

/** What a look at the daemon has shown. */
export type Seen =
  | { readonly sample: Sample; readonly message: string | null }
  | { readonly sample: null; readonly message: string };

/** Milliseconds for which it is told that another daemon runs. */
const RESTARTED_MS = 15_000;

/** Looks at the daemon again and again; it may leave, and another one come. */
export class Feed {
  readonly #client: Client;
  readonly #db: string | undefined;
  readonly #timeoutMs: number;
  readonly #sampler = new Sampler();
  #pid: number | null = null;
  #restarted: { readonly from: number; readonly to: number; readonly at: number } | null = null;

  /**
   * @param client that starts no daemon
   * @param timeoutMs for each answer
   */
  constructor(client: Client, db: string | undefined, timeoutMs: number) {
    this.#client = client;
    this.#db = db;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * One look.
   * @throws SkylineError when nothing was ever seen, or the request itself is wrong
   */
  async look(): Promise<Seen> {
    try {
      const status = await this.#client.status(this.#db, { detail: true, timeoutMs: this.#timeoutMs });
      const now = performance.now();
      if (this.#pid !== null && this.#pid !== status.pid)
        this.#restarted = { from: this.#pid, to: status.pid, at: now };
      this.#pid = status.pid;
      const recent =
        this.#restarted !== null && now - this.#restarted.at < RESTARTED_MS ? this.#restarted : null;
      return {
        sample: this.#sampler.next(status, now),
        message:
          recent &&
          `The daemon was restarted: pid ${recent.from} has left, pid ${recent.to} runs, counting anew`,
      };
    } catch (error) {
      if (!(error instanceof SkylineError) || this.#pid === null) throw error;
      if (error.code === 'NO_DAEMON' || error.code === 'CONNECTION_LOST' || error.code === 'SHUTTING_DOWN')
        return {
          sample: null,
          message: `The daemon (pid ${this.#pid}) has left. Waiting for the next one …`,
        };
      if (error.code === 'TIMEOUT')
        return { sample: null, message: `The daemon (pid ${this.#pid}) does not answer. Asking again …` };
      throw error;
    }
  }
}
