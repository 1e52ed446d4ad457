import { existsSync, realpathSync, statSync } from 'node:fs';
import { isAbsolute, join, relative, sep } from 'node:path';
import { CATALOG_FILE } from '../protocol/database-name.js';
import { messageOf, SkylineError } from '../protocol/errors.js';
import type { Statement } from '../protocol/messages.js';
import { execOnCatalog } from './catalog-batch.js';
import { CatalogRows } from './catalog-rows.js';
import {
  CATALOG_VERSION,
  type CatalogEntry,
  isLastPage,
  MAKE_CATALOG,
  readEntry,
  readPage,
  removeEntry,
  type Usage,
  writeEntry,
  writeUsage,
} from './catalog-table.js';
import type { RoutedDatabase } from './database.js';
import { canonicalPath } from './identity.js';
import type { Logger } from './log.js';
import { walBytes } from './worker/checkpoint.js';
import { CATALOG_TERMS, NO_TERMS, type Terms } from './worker-terms.js';

/**
 * Which databases have a name. The catalog is a database like any other, and has a worker that executes what is sent from
 * here; what it holds is kept in memory, so that finding a name takes one look into a map. Only the router of the daemon
 * whose worker has the catalog open changes it.
 */
export class Catalog {
  readonly #dataDir: string;
  readonly #at: (path: string) => RoutedDatabase;
  readonly #log: Logger;
  /** What the table holds, as it was last read or written. */
  readonly rows = new CatalogRows();
  #place: { readonly folder: string; readonly path: string } | null = null;
  readonly #usage = new Map<string, Usage>();
  /** Whose usage is not written yet. */
  readonly #used = new Set<string>();
  #loaded = false;
  /** The table is there: a file alone may be what a killed worker has left. */
  #made = false;
  #loading: Promise<void> | null = null;
  #recovering: Promise<void> | null = null;
  /** What the file was when no worker had it open any more: another daemon may change it from then on. */
  #seen: string | null = null;
  /** Finishes or forgets what another run of the daemon has begun. Set by whoever knows how. */
  recover: (entries: readonly CatalogEntry[]) => Promise<void> = async () => undefined;

  /** @param at the database with this true path */
  constructor(dataDir: string, at: (path: string) => RoutedDatabase, log: Logger) {
    this.#dataDir = dataDir;
    this.#at = at;
    this.#log = log;
  }

  /** The data directory's true path. */
  get folder(): string {
    return this.#where().folder;
  }

  /** The catalog's own file. */
  get path(): string {
    return this.#where().path;
  }

  /** Whether a database has ever been given a name here. */
  get exists(): boolean {
    return existsSync(this.path);
  }

  /** Nothing that another daemon could have changed is taken from memory. */
  get #fresh(): boolean {
    if (!this.#loaded) return false;
    if (this.#at(this.path).worker !== null) return true;
    return this.#seen !== null && this.#seen === stampOf(this.path);
  }

  /**
   * What must be waited for before names can be found; null when nothing must be.
   * @throws (the promise) SkylineError when the catalog cannot be read, or another daemon has it
   */
  pending(): Promise<void> | null {
    if (this.#recovering !== null) return this.#recovering;
    if (this.#fresh || (!this.exists && !this.#loaded)) return null;
    return this.ready();
  }

  /** Resolves when what is in memory is what the catalog holds, and nothing is left half done. */
  ready(): Promise<void> {
    this.#recovering ??= this.#ready().finally(() => {
      this.#recovering = null;
    });
    return this.#recovering;
  }

  async #ready(): Promise<void> {
    if (this.#fresh) return;
    await this.#read();
    await this.recover(this.rows.all().filter(({ intent }) => intent !== null));
  }

  usageOf(id: string): Usage {
    return this.#usage.get(id) ?? { lastUsed: null, size: null };
  }

  /** What the worker of this path has to know. Never rejects: a catalog that cannot be read must not stop other databases. */
  async termsOf(path: string): Promise<Terms> {
    if (path === this.path) {
      // Its worker starts anew: another daemon may have changed the file since the last one left.
      if (!this.#fresh) this.#loaded = false;
      return CATALOG_TERMS;
    }
    try {
      if (!this.#fresh && (this.exists || this.#loaded)) await this.#read();
    } catch (error) {
      this.#log.warn({ db: path }, `its settings in the catalog cannot be read: ${messageOf(error)}`);
    }
    const entry = this.rows.at(path);
    return entry === undefined ? NO_TERMS : { settings: entry.settings, mustExist: true, isCatalog: false };
  }

  /**
   * Writes rows. On disk when it resolves.
   * @throws SkylineError `DATABASE_EXISTS` when a name or a file is taken; whatever the catalog's worker says
   */
  async write(entries: readonly CatalogEntry[]): Promise<void> {
    const claims = this.rows.claim(entries);
    try {
      const first = this.#made ? [] : MAKE_CATALOG;
      await this.#exec([...first, ...entries.map((entry) => writeEntry(entry, this.#toStored))]);
      this.#made = true;
      for (const entry of entries) this.rows.keep(entry);
    } finally {
      this.rows.release(claims);
    }
  }

  /** Forgets a database for good. */
  async remove(id: string): Promise<void> {
    await this.#exec([removeEntry(id)]);
    this.rows.drop(id);
    this.#usage.delete(id);
    this.#used.delete(id);
  }

  /** Takes note that a database is in use, or was. */
  used(path: string, at: Date): void {
    const entry = this.rows.at(path);
    if (entry === undefined) return;
    const size = sizeOf(path) ?? this.usageOf(entry.id).size;
    this.#usage.set(entry.id, { lastUsed: at.toISOString(), size });
    this.#used.add(entry.id);
  }

  /** Writes what {@link used} has noted. */
  async flush(): Promise<void> {
    if (this.#used.size === 0 || !this.#fresh) return;
    const ids = [...this.#used];
    this.#used.clear();
    await this.#exec([writeUsage(ids.map((id) => [id, this.usageOf(id)] as const))]);
  }

  /** The catalog's worker has let go of the file. */
  closed(): void {
    this.#seen = stampOf(this.path);
  }

  #where(): { readonly folder: string; readonly path: string } {
    if (this.#place === null) {
      const folder = realpathSync.native(this.#dataDir);
      this.#place = { folder, path: canonicalPath(join(folder, CATALOG_FILE)) };
    }
    return this.#place;
  }

  /** Reads all rows. */
  #read(): Promise<void> {
    this.#loading ??= this.#load().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  async #load(): Promise<void> {
    const entries: CatalogEntry[] = [];
    this.#made = this.exists && (await this.#version()) > 0;
    if (this.#made) {
      let last = '';
      for (;;) {
        const [rows = []] = await this.#exec([readPage(last)]);
        for (const row of rows) {
          const { entry, usage } = readEntry(row, this.#fromStored);
          entries.push(entry);
          if (!this.#used.has(entry.id)) this.#usage.set(entry.id, usage);
          last = entry.id;
        }
        if (isLastPage(rows)) break;
      }
    }
    this.rows.replace(entries);
    this.#loaded = true;
    if (!this.exists) this.#seen = stampOf(this.path);
  }

  /** @throws SkylineError `VERSION_MISMATCH` */
  async #version(): Promise<number> {
    const [[row] = []] = await this.#exec([{ sql: 'PRAGMA user_version' }]);
    const version = Number(row?.[0] ?? 0);
    if (version <= CATALOG_VERSION) return version;
    throw new SkylineError(
      'VERSION_MISMATCH',
      `${this.path} was written by a newer version of SkylineDB (catalog version ${version}). Update this daemon: "skylinedb-cli shutdown" ends it.`,
    );
  }

  /** Paths in the data directory are relative to it, so that all of it can be moved. */
  readonly #toStored = (path: string): string => {
    const from = relative(this.folder, path);
    return isInside(from) ? from.split(sep).join('/') : path;
  };

  readonly #fromStored = (path: string): string => (isAbsolute(path) ? path : join(this.folder, path));

  #exec(stmts: readonly Statement[]) {
    return execOnCatalog(() => this.#at(this.path), stmts);
  }
}

/** Whether a path relative to a folder stays in it. */
export function isInside(relativePath: string): boolean {
  return relativePath !== '' && !isAbsolute(relativePath) && !/^\.\.($|[\\/])/.test(relativePath);
}

/** Bytes of a database's file and WAL; null when there is none. */
export function sizeOf(path: string): number | null {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  return size === undefined ? null : size + walBytes(path);
}

/** Differs when another process has changed the file. With something in its WAL it cannot be told. */
function stampOf(path: string): string | null {
  if (walBytes(path) > 0) return null;
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? 'none' : `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs}`;
}
