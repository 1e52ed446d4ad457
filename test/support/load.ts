import { expect } from 'vitest';
import type { Playground } from './playground.js';
import type { Message, Wire } from './wire.js';

/** What every batch of the load writes: two rows with the same key, in two statements. */
const ROWS = 2;
const IN_FLIGHT = 16;

/** Pipelined writers on one database, who go on until their connections end or the daemon refuses because it leaves. */
export class Load {
  /** Keys of the batches that were answered with ok. */
  readonly applied: string[] = [];
  /** Answers that were errors, by the key of their batch. */
  readonly refused = new Map<string, Message>();
  /** Resolves when all connections have ended. */
  readonly done: Promise<void>;
  readonly #db: string;
  #stopped = false;

  private constructor(db: string, wires: readonly Wire[]) {
    this.#db = db;
    this.done = Promise.all(wires.map((wire, at) => this.#write(wire, `${at}`))).then(() => undefined);
  }

  /** Makes the table and begins to write. */
  static async start(ground: Playground, db: string, writers = 3): Promise<Load> {
    const wires = await Promise.all(Array.from({ length: writers }, () => ground.wire()));
    const made = await wires[0]?.exec(db, ['CREATE TABLE load (key TEXT)']);
    expect(made).toMatchObject({ status: 'ok' });
    return new Load(db, wires);
  }

  /** Sends nothing more; what is in flight is still answered. */
  stop(): void {
    this.#stopped = true;
  }

  async #write(wire: Wire, name: string): Promise<void> {
    let count = 0;
    const send = () => {
      const key = `${name}-${count}`;
      const insert = { sql: 'INSERT INTO load VALUES (?)', params: [key] };
      wire.send({ type: 'ExecBatch', db: this.#db, id: key, stmts: Array(ROWS).fill(insert) });
      count += 1;
    };
    for (let sent = 0; sent < IN_FLIGHT; sent += 1) send();
    for (let answer = await wire.next(); answer !== null; answer = await wire.next()) {
      if (answer.status === 'ok') this.applied.push(String(answer.id));
      else this.refused.set(String(answer.id), answer);
      if (!this.#stopped && answer.code !== 'SHUTTING_DOWN') send();
    }
  }

  /** Every answered batch is in the file, every refused one is not, and every other one is wholly in or wholly out. */
  async expectTrue(ground: Playground, file: string): Promise<void> {
    expect(await ground.sqlite3(file, 'PRAGMA integrity_check')).toBe('ok');
    const torn = `SELECT key FROM load GROUP BY key HAVING count(*) <> ${ROWS}`;
    expect(await ground.sqlite3(file, torn)).toBe('');
    const inside = new Set((await ground.sqlite3(file, 'SELECT DISTINCT key FROM load')).split('\n'));
    expect(this.applied.filter((key) => !inside.has(key))).toEqual([]);
    const wrong = [...this.refused].filter(
      ([key, answer]) => answer.outcome === 'not_applied' && inside.has(key),
    );
    expect(wrong).toEqual([]);
  }
}
