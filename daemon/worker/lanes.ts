/**
 * What waits to be executed, by client connection. Takes from the connections in turn, so that one with thousands in
 * flight delays another by one job, and keeps each connection's own order. A connection whose client does not read its
 * replies is passed over until they have left: its results would otherwise pile up in memory.
 *
 * A plain object: no I/O, no timers.
 */
export interface LaneJob {
  readonly lane: number;
}

interface Lane<Job> {
  readonly id: number;
  readonly jobs: Job[];
  /** Bytes of replies that have not left for the client yet. */
  unsent: number;
  /** The client has gone: nobody reads the replies, so they no longer count. */
  gone: boolean;
}

/** Bytes of unsent replies over which a connection is passed over. */
export const UNSENT_MARK = 1024 * 1024;

export class Lanes<Job extends LaneJob> {
  readonly #lanes = new Map<number, Lane<Job>>();
  /** Lanes with jobs, in the order of their turns. */
  #turns: Lane<Job>[] = [];
  #size = 0;

  /** Jobs that wait. */
  get size(): number {
    return this.#size;
  }

  /** Whether this client is still there, or something of it waits. */
  has(id: number): boolean {
    return this.#lanes.has(id);
  }

  push(job: Job): void {
    let lane = this.#lanes.get(job.lane);
    if (lane === undefined) {
      lane = { id: job.lane, jobs: [], unsent: 0, gone: false };
      this.#lanes.set(job.lane, lane);
    }
    lane.jobs.push(job);
    this.#size += 1;
    if (lane.jobs.length === 1) this.#turns.push(lane);
  }

  /**
   * The next job whose turn it is; null when none can run now.
   * @param all also those whose clients do not read: when everything must be finished
   */
  next(all = false): Job | null {
    for (let looked = 0; looked < this.#turns.length; looked += 1) {
      const lane = this.#turns.shift();
      if (lane === undefined) return null;
      if (!all && isDeaf(lane)) {
        this.#turns.push(lane);
        continue;
      }
      const job = lane.jobs.shift();
      if (lane.jobs.length > 0) this.#turns.push(lane);
      else if (lane.gone) this.#lanes.delete(lane.id);
      if (job === undefined) continue;
      this.#size -= 1;
      return job;
    }
    return null;
  }

  /** Gives back jobs that were taken and could not be run after all: each is the first of its connection again. */
  putBack(jobs: readonly Job[]): void {
    for (const job of [...jobs].reverse()) {
      const lane = this.#lanes.get(job.lane);
      if (lane === undefined) {
        // Its client has gone meanwhile, with nothing else waiting.
        const gone = { id: job.lane, jobs: [job], unsent: 0, gone: true };
        this.#lanes.set(job.lane, gone);
        this.#turns.push(gone);
      } else if (lane.jobs.unshift(job) === 1) this.#turns.push(lane);
      this.#size += 1;
    }
  }

  /** The first of the jobs that are next on their connections for which this holds; nobody else's turn changes. */
  takeFirst(isWanted: (job: Job) => boolean): Job | undefined {
    for (const [at, lane] of this.#turns.entries()) {
      const [job] = lane.jobs;
      if (job === undefined || !isWanted(job) || isDeaf(lane)) continue;
      lane.jobs.shift();
      this.#size -= 1;
      if (lane.jobs.length > 0) return job;
      this.#turns.splice(at, 1);
      if (lane.gone) this.#lanes.delete(lane.id);
      return job;
    }
    return undefined;
  }

  /**
   * Takes out all jobs for which this holds, wherever they wait.
   * @param of the one connection in whose lane it is looked; undefined for all
   */
  takeOut<Wanted extends Job>(isWanted: (job: Job) => job is Wanted, of?: number): Wanted[] {
    const taken: Wanted[] = [];
    for (const lane of this.#turns) {
      if (of !== undefined && lane.id !== of) continue;
      const found = lane.jobs.filter(isWanted);
      if (found.length === 0) continue;
      taken.push(...found);
      const left = lane.jobs.filter((job) => !isWanted(job));
      lane.jobs.length = 0;
      for (const job of left) lane.jobs.push(job);
      if (left.length === 0 && lane.gone) this.#lanes.delete(lane.id);
    }
    if (taken.length === 0) return taken;
    this.#size -= taken.length;
    this.#turns = this.#turns.filter(({ jobs }) => jobs.length > 0);
    return taken;
  }

  /** Whether this client is there no more. */
  isGone(id: number): boolean {
    return this.#lanes.get(id)?.gone !== false;
  }

  /** Whether this client does not read its replies. */
  isDeaf(id: number): boolean {
    const lane = this.#lanes.get(id);
    return lane !== undefined && isDeaf(lane);
  }

  /** A reply of this size was sent towards the client. */
  sent(id: number, bytes: number): void {
    const lane = this.#lanes.get(id);
    if (lane !== undefined) lane.unsent += bytes;
  }

  /** So many bytes have reached the client's side. */
  drained(id: number, bytes: number): void {
    const lane = this.#lanes.get(id);
    if (lane !== undefined) lane.unsent = Math.max(0, lane.unsent - bytes);
  }

  /** The client has gone. What it sent is still executed: it was accepted. */
  close(id: number): void {
    const lane = this.#lanes.get(id);
    if (lane === undefined) return;
    lane.gone = true;
    if (lane.jobs.length === 0) this.#lanes.delete(id);
  }
}

function isDeaf(lane: { readonly gone: boolean; readonly unsent: number }): boolean {
  return !lane.gone && lane.unsent > UNSENT_MARK;
}
