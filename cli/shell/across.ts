import type { Client } from '../../client/client.js';
import { SkylineError } from '../../protocol/errors.js';
import { named, type Place } from './place.js';

/** SQLite attaches ten databases at most (https://sqlite.org/limits.html#max_attached). */
const MOST = 10;
/** What SQLite says of a database that is not attached. */
const UNKNOWN = /no such table: ([^.]+)\.|unknown database "?([^"\s]+)"?/;

/**
 * Other databases, named before a table: `moon.craters`. One is attached when a statement needs it, for reading alone. Which one
 * that is SQLite tells: nobody else knows its names as well.
 */
export class Across {
  readonly #client: () => Promise<Client>;
  #attached: { readonly [schema: string]: string } = {};

  constructor(client: () => Promise<Client>) {
    this.#client = client;
  }

  /** Another database is the first one now. */
  forget(): void {
    this.#attached = {};
  }

  /**
   * Reads, again with another database attached where one was missing.
   * @throws SkylineError
   */
  async with(
    place: Place,
    read: (attach: { readonly [schema: string]: string }) => Promise<void>,
  ): Promise<void> {
    for (;;) {
      try {
        return await read(this.#attached);
      } catch (error) {
        const schema = missing(error);
        if (schema === null || schema in this.#attached) throw error;
        const other = await this.#find(schema);
        if (other === null || other.path === place.path) throw error;
        if (Object.keys(this.#attached).length >= MOST) this.#attached = {};
        this.#attached = { ...this.#attached, [schema]: other.path };
      }
    }
  }

  /**
   * The reason, where a statement that may not names another database.
   * @param inside a transaction, in which everything goes through the writer of one database
   */
  async explained(error: unknown, inside: boolean): Promise<unknown> {
    const schema = missing(error);
    if (schema === null || !(error instanceof SkylineError) || (await this.#find(schema)) === null)
      return error;
    return new SkylineError(
      'STATEMENT_NOT_ALLOWED',
      `A ${inside ? 'transaction' : 'statement that writes'} uses one database: each has a writer of its own, and nothing could undo both together. ${JSON.stringify(schema)} is another one. ${inside ? 'COMMIT or ROLLBACK first' : `Go there with USE ${schema}; or write what a SELECT has read`}.`,
      { cause: error },
    );
  }

  async #find(schema: string): Promise<Place | null> {
    try {
      return await named(await this.#client(), schema);
    } catch {
      return null;
    }
  }
}

function missing(error: unknown): string | null {
  if (!(error instanceof SkylineError) || error.code !== 'SQL_ERROR') return null;
  const [, table, database] = UNKNOWN.exec(error.message) ?? [];
  const schema = table ?? database ?? null;
  return schema === 'main' || schema === 'temp' ? null : schema;
}
