import { SkylineError } from '../../protocol/errors.js';
import type { CheckedBatch, Turn } from './batch.js';
import type { DatabaseFile, Durability } from './database-file.js';
import { givenUp, type Settled } from './session-answers.js';
import { isRecorded } from './sessions.js';
import { perhapsApplied } from './sqlite-errors.js';
import type { Standing } from './standing.js';

/** What is written about sessions in transactions of their own: failed batches, batches given up, and forgetting. */
export class SessionUpkeep {
  readonly #standing: Standing;
  readonly #durability: Durability;
  readonly #ttlMs: number;

  /** @param ttlMs milliseconds after its last batch until a session is forgotten; 0 for never */
  constructor(standing: Standing, durability: Durability, ttlMs: number) {
    this.#standing = standing;
    this.#durability = durability;
    this.#ttlMs = ttlMs;
  }

  /**
   * Recorded, so that a copy of the batch that is still on its way is not run after this answer.
   * @throws SkylineError
   */
  giveUp(file: DatabaseFile, batch: CheckedBatch, turn: Turn): Settled {
    const error = givenUp(turn);
    this.#record(file, batch, error);
    return { error };
  }

  /** So that it fails in the same way when it is sent again. If that cannot be written, it has still not been applied. */
  recordFailure(file: DatabaseFile, batch: CheckedBatch, error: SkylineError): void {
    if (batch.turn === null || !isRecorded(error)) return;
    try {
      this.#record(file, batch, error);
    } catch (failure) {
      if (!(failure instanceof SkylineError)) throw failure;
    }
  }

  /** Those that nobody has used for long. A database that nobody writes to stays as it is. */
  forget(file: DatabaseFile): void {
    if (!file.written || !file.sessions.isDue(this.#ttlMs)) return;
    try {
      this.#write(file, () => file.sessions.forget(this.#ttlMs));
    } catch (error) {
      // Another program holds the lock: there is no hurry.
      if (!(error instanceof SkylineError) || error.code !== 'BUSY') throw error;
    }
  }

  #record(file: DatabaseFile, batch: CheckedBatch, error: SkylineError): void {
    file.makeWritable();
    this.#write(file, () => file.sessions.record(batch, { error }));
  }

  #write(file: DatabaseFile, work: () => void): void {
    const written = file.write(this.#durability, () => {
      work();
      return this.#standing.position;
    });
    this.#standing.moveTo(written);
  }
}

/** Nothing was recorded of a batch that was to be given up: another copy of it may still be applied. */
export function asGivenUp({ turn }: CheckedBatch, failure: SkylineError): SkylineError {
  if (turn?.onlyReplay !== true || failure.outcome !== 'not_applied' || failure.code === 'SESSION_CONFLICT')
    return failure;
  return perhapsApplied(failure);
}
