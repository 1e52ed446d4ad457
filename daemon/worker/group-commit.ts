import { flushWrites } from '../../protocol/transport/gathered-writes.js';
import type { Answers } from './answers.js';
import { isGroupable, type Outcome } from './execute.js';
import type { Executor } from './executor.js';
import type { InHand } from './in-hand.js';
import type { Executable, Group, Intake } from './intake.js';
import type { Metrics } from './metrics.js';
import type { ServedDatabase } from './served-database.js';
import type { Turns } from './turns.js';

/** What groups are executed with. */
export interface GroupParts {
  readonly database: ServedDatabase;
  readonly executor: Executor;
  readonly intake: Intake;
  readonly turns: Turns;
  readonly inHand: InHand;
  readonly answers: Answers;
  readonly metrics: Metrics;
}

/** Executes what was gathered, in as few transactions as it takes, and answers after each commit. */
export class GroupCommit {
  readonly #parts: GroupParts;

  constructor(parts: GroupParts) {
    this.#parts = parts;
  }

  /** Executes a group and answers: after the commit, all in one write. */
  async run({ work, refused }: Group): Promise<void> {
    const { database, inHand, answers, metrics } = this.#parts;
    // Nothing is committed before the router can know that it was in hand: otherwise it would give it to another worker.
    const heard = inHand.taken(work);
    if (heard !== undefined) await heard;
    const { rev } = database.position;
    let begun = performance.now();
    for (const { job, id, error } of refused) answers.batch(job, { error, rev }, id, begun, begun);
    let done = 0;
    let together = true;
    while (done < work.length) {
      const rest = done === 0 ? work : work.slice(done);
      const shared = together ? this.#executeTogether(rest) : null;
      // What has broken the group once would break it again: the others follow one by one.
      if (shared === null) together = false;
      const outcomes = shared ?? (await this.#executeFirst(rest));
      const now = performance.now();
      for (let index = 0; index < outcomes.length; index += 1)
        this.#settle(rest[index], outcomes[index], begun, now);
      metrics.group(outcomes.length);
      done += outcomes.length;
      // The answers leave before the next commit, and before a checkpoint that may come next.
      flushWrites();
      if (done < work.length) {
        await new Promise(setImmediate);
        if (this.#heldUp(work, done)) break;
        begun = performance.now();
      }
    }
  }

  /** What is left of a group waits again, if a client of it does not read its replies: they would pile up here. */
  #heldUp(work: readonly Executable[], done: number): boolean {
    const { turns, intake } = this.#parts;
    if (turns.finishing) return false;
    const jobs = work.slice(done).map(({ job }) => job);
    if (!jobs.some(({ lane }) => intake.lanes.isDeaf(lane))) return false;
    intake.putBack(jobs);
    return true;
  }

  /**
   * One by itself is a group, too, if it could share one: it is done in the same way, and waits for no promises.
   * @returns the outcomes of the first ones, at least one; null when each must be done by itself
   */
  #executeTogether(work: readonly Executable[]): Outcome[] | null {
    const { executor, inHand } = this.#parts;
    const [first] = work;
    if (work.length === 1 && first !== undefined && !isGroupable(first.batch)) return null;
    return executor.executeTogether(work, (index) => inHand.running(work[index]?.job));
  }

  async #executeFirst(work: readonly Executable[]): Promise<Outcome[]> {
    const { executor, inHand } = this.#parts;
    const [first] = work;
    return first === undefined ? [] : [await executor.execute(first, () => inHand.running(first.job))];
  }

  #settle(one: Executable | undefined, outcome: Outcome | undefined, begun: number, now: number): void {
    if (one !== undefined && outcome !== undefined)
      this.#parts.answers.batch(one.job, outcome, one.batch.request.id, begun, now);
  }
}
