import { nameKey } from '../protocol/database-name.js';
import { SkylineError } from '../protocol/errors.js';
import type { CatalogEntry } from './catalog-table.js';

/** Databases with a name, dropped ones included: all of them are kept in memory. */
const MAX_ENTRIES = 10_000;

/** The catalog's rows in memory, found by name and by path. A name or a path belongs to one database that is not dropped. */
export class CatalogRows {
  #entries = new Map<string, CatalogEntry>();
  /** Of those that are not dropped. */
  #byName = new Map<string, CatalogEntry>();
  #byPath = new Map<string, CatalogEntry>();
  /** Names and paths that are being given away. */
  readonly #claimed = new Set<string>();

  /** The database of this name. */
  find(name: string): CatalogEntry | undefined {
    return this.#byName.get(nameKey(name));
  }

  /** The named database with this true path. */
  at(path: string): CatalogEntry | undefined {
    return this.#byPath.get(path);
  }

  /** Every row, dropped ones included. */
  all(): CatalogEntry[] {
    return [...this.#entries.values()];
  }

  /** All rows, in the place of those that were known. */
  replace(entries: readonly CatalogEntry[]): void {
    this.#entries = new Map();
    this.#byName = new Map();
    this.#byPath = new Map();
    for (const entry of entries) this.keep(entry);
  }

  /**
   * Names and paths for these rows, for nobody else until {@link release}.
   * @returns what to release
   * @throws SkylineError `DATABASE_EXISTS`, `INVALID_REQUEST`
   */
  claim(entries: readonly CatalogEntry[]): string[] {
    const claims: string[] = [];
    const fresh = entries.filter(({ id }) => !this.#entries.has(id)).length;
    if (this.#entries.size + fresh > MAX_ENTRIES) {
      throw new SkylineError(
        'INVALID_REQUEST',
        `The catalog would have more than ${MAX_ENTRIES} databases, dropped ones included. Drop some, or name files by their paths.`,
        { details: { limit: 'max_databases', limit_value: MAX_ENTRIES } },
      );
    }
    try {
      for (const { id, name, path, dropped } of entries) {
        if (dropped !== null) continue;
        const others = [this.find(name), this.at(path)];
        const taken = others.find((other) => other !== undefined && other.id !== id);
        for (const claim of [`name ${nameKey(name)}`, `path ${path}`]) {
          if (taken !== undefined || this.#claimed.has(claim))
            throw exists(taken?.name ?? name, taken?.path ?? path);
          this.#claimed.add(claim);
          claims.push(claim);
        }
      }
    } catch (error) {
      this.release(claims);
      throw error;
    }
    return claims;
  }

  release(claims: readonly string[]): void {
    for (const claim of claims) this.#claimed.delete(claim);
  }

  /** Takes a row in, in the place of the one that it had. */
  keep(entry: CatalogEntry): void {
    this.drop(entry.id);
    this.#entries.set(entry.id, entry);
    if (entry.dropped !== null) return;
    this.#byName.set(nameKey(entry.name), entry);
    this.#byPath.set(entry.path, entry);
  }

  drop(id: string): void {
    const old = this.#entries.get(id);
    this.#entries.delete(id);
    if (old === undefined || old.dropped !== null) return;
    this.#byName.delete(nameKey(old.name));
    this.#byPath.delete(old.path);
  }
}

/** The error for a name or file that is taken. */
export function exists(name: string, path: string): SkylineError {
  return new SkylineError(
    'DATABASE_EXISTS',
    `There is a database ${name} already (${path}). Choose another name. CreateDatabase with "if_not_exists": true (--if-not-exists) leaves it as it is.`,
  );
}
