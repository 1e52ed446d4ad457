import { messageOf } from '../protocol/errors.js';
import type { Catalog } from './catalog.js';
import type { CatalogEntry } from './catalog-table.js';
import type { Databases } from './databases.js';
import { removeName } from './file-move.js';
import type { Logger } from './log.js';
import type { NameTurns } from './name-turns.js';

/** How long a dropped database can be restored. */
const TRASH_MS = 7 * 24 * 60 * 60 * 1000;

/** Until when a dropped database can be restored, in ISO 8601. */
export function untilOf(dropped: string): string {
  return new Date(Date.parse(dropped) + TRASH_MS).toISOString();
}

/** What is done to the catalog in quiet moments. */
export class CatalogUpkeep {
  readonly #databases: Databases;
  readonly #turns: NameTurns;
  readonly #log: Logger;

  constructor(databases: Databases, turns: NameTurns, log: Logger) {
    this.#databases = databases;
    this.#turns = turns;
    this.#log = log;
  }

  get #catalog(): Catalog {
    return this.#databases.catalog;
  }

  /** Takes note of which databases are in use now. */
  noteUse(): void {
    for (const database of this.#databases.all())
      if (database.worker !== null && database.lastUsed > 0)
        this.#catalog.used(database.path, database.usedAt);
  }

  /** Writes who was used when, if there is something to write. Never rejects. */
  async writeUse(): Promise<void> {
    this.noteUse();
    await this.#catalog.flush().catch((error) => this.#log.warn(`the catalog: ${messageOf(error)}`));
  }

  /** Removes what has been in the trash for long enough, and what is left to write is written. Never rejects. */
  async tidy(now = Date.now()): Promise<void> {
    try {
      if (!this.#catalog.exists) return;
      await this.#catalog.ready();
      for (const entry of this.#catalog.rows.all()) {
        if (entry.dropped === null || entry.intent !== null || Date.parse(entry.dropped) + TRASH_MS > now)
          continue;
        await this.#turns.run([entry.name], () => this.#removeForGood(entry));
      }
      await this.writeUse();
    } catch (error) {
      this.#log.warn(`the catalog could not be tidied: ${messageOf(error)}`);
    }
  }

  async #removeForGood({ id, name, trash, dropped }: CatalogEntry): Promise<void> {
    // It may have been restored meanwhile, and dropped again: then its time begins anew.
    if (!this.#catalog.rows.all().some((entry) => entry.id === id && entry.dropped === dropped)) return;
    // The file first: a row without a file is removed the next time, a file without a row never.
    if (trash !== null) removeName(trash);
    await this.#catalog.remove(id);
    this.#log.info({ name, file: trash }, 'a dropped database was removed for good');
  }
}
