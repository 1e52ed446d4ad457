import { expect } from 'vitest';
import type { Playground } from './playground.js';
import type { Wire } from './wire.js';

/**
 * A well-behaved client that writes one row after the other, all the while: whoever misbehaves beside it must not be
 * noticed by it.
 */
export class Bystander {
  readonly #wire: Wire;
  readonly #db: string;
  readonly #loop: Promise<void>;
  #stopped = false;
  #written = 0;
  #slowestMs = 0;

  private constructor(wire: Wire, db: string) {
    this.#wire = wire;
    this.#db = db;
    this.#loop = this.#write();
    // Whoever forgets to stop it hears of the failure from the test itself.
    this.#loop.catch(() => undefined);
  }

  static async start(ground: Playground, db = 'bystander.db'): Promise<Bystander> {
    const wire = await ground.wire();
    expect(await wire.exec(db, ['CREATE TABLE steps (n INTEGER)'])).toMatchObject({ status: 'ok' });
    return new Bystander(wire, db);
  }

  /** Rows written so far, each one answered. */
  get written(): number {
    return this.#written;
  }

  /** Ends it, and asserts that every one of its writes was carried out and none was lost. */
  async stop(): Promise<{ written: number; slowestMs: number }> {
    this.#stopped = true;
    await this.#loop;
    expect(await this.#wire.rows(this.#db, 'SELECT count(*), max(n) FROM steps')).toEqual([
      [this.#written, this.#written],
    ]);
    expect(this.#written).toBeGreaterThan(0);
    return { written: this.#written, slowestMs: this.#slowestMs };
  }

  async #write(): Promise<void> {
    while (!this.#stopped || this.#written === 0) {
      const start = performance.now();
      const reply = await this.#wire.exec(this.#db, [
        { sql: 'INSERT INTO steps VALUES (?)', params: [this.#written + 1] },
      ]);
      expect(reply).toMatchObject({ status: 'ok' });
      this.#written += 1;
      this.#slowestMs = Math.max(this.#slowestMs, performance.now() - start);
    }
  }
}
