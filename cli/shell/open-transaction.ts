import type { ExecResult } from '../../client/batch.js';
import type { Database } from '../../client/database.js';
import type { Transaction } from '../../client/transaction.js';
import { invalidRequest, SkylineError } from '../../protocol/errors.js';

/** Somebody who types is slow: as long as the daemon allows at all. */
const LEASE_MS = 60_000;

/**
 * The shell's transaction: from BEGIN to COMMIT or ROLLBACK. One that the daemon has ended meanwhile is there until then, too, and
 * refuses everything: what was meant for it must not be done by itself.
 */
export class OpenTransaction {
  #transaction: Transaction | null = null;

  /** Whether BEGIN was said, and neither COMMIT nor ROLLBACK. */
  get begun(): boolean {
    return this.#transaction !== null;
  }

  /** For the prompt: `*` while one is open, `!` when it was ended and waits for ROLLBACK. */
  get mark(): string {
    return this.#transaction === null ? '' : this.#transaction.state === 'open' ? '*' : '!';
  }

  /**
   * @param read a snapshot that only reads
   * @throws SkylineError `INVALID_REQUEST` when one is open already
   */
  async begin(database: Database, read: boolean, signal: AbortSignal): Promise<void> {
    this.refuse('Another transaction cannot begin in it');
    this.#transaction = await database.begin({ read, leaseMs: LEASE_MS, signal });
  }

  /** @throws SkylineError `TX_EXPIRED`, `INVALID_REQUEST` when there is none */
  async commit(): Promise<{ rev: number; rowsAffected: number }> {
    return await this.#take().commit();
  }

  /** @throws SkylineError `INVALID_REQUEST` when there is none */
  async rollback(): Promise<void> {
    await this.#take().rollback();
  }

  /** Runs a statement in it. A failed one leaves it open, as in SQLite. */
  async exec(sql: string, signal: AbortSignal): Promise<ExecResult> {
    const transaction = this.#transaction;
    if (transaction === null) throw none();
    try {
      return await transaction.exec(sql, undefined, { signal });
    } catch (error) {
      if (!(error instanceof SkylineError) || error.code !== 'TX_EXPIRED') throw error;
      const { code, message, outcome, details } = error;
      throw new SkylineError(code, `${message} ROLLBACK goes on without it.`, {
        outcome,
        details,
        cause: error,
      });
    }
  }

  /**
   * A statement in it was stopped. Where it may still run, the transaction is given up: nobody knows what it would commit.
   * @returns whether it is over
   */
  stopped(error: SkylineError): boolean {
    if (error.outcome !== 'not_applied') this.#transaction?.abandon();
    return this.#transaction?.state !== 'open';
  }

  /** @throws SkylineError `INVALID_REQUEST` while one is open */
  refuse(why: string): void {
    if (this.begun) throw invalidRequest(`A transaction is open. ${why}: COMMIT or ROLLBACK first.`);
  }

  /** Ends it without a word to anybody. @returns whether there was one */
  abandon(): boolean {
    const { begun } = this;
    this.#transaction?.abandon();
    this.#transaction = null;
    return begun;
  }

  #take(): Transaction {
    const transaction = this.#transaction;
    if (transaction === null) throw none();
    this.#transaction = null;
    return transaction;
  }
}

function none(): Error {
  return invalidRequest('No transaction is open. BEGIN begins one.');
}
