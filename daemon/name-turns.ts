import { nameKey } from '../protocol/database-name.js';

/** One thing at a time for each name: whoever comes next for it waits. */
export class NameTurns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Does the work when everything before it for any of these names has ended. */
  async run<T>(names: readonly string[], work: () => Promise<T>): Promise<T> {
    const keys = names.map(nameKey);
    const before = Promise.allSettled(keys.map((key) => this.#last.get(key)));
    const turn = before.then(work);
    for (const key of keys) this.#last.set(key, turn);
    try {
      return await turn;
    } finally {
      for (const key of keys) if (this.#last.get(key) === turn) this.#last.delete(key);
    }
  }
}
