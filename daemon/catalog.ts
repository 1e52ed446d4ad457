import { existsSync, realpathSync, statSync } from 'node:fs';
import { isAbsolute, join, relative, sep } from 'node:path';
import { CATALOG_FILE, nameKey } from '../protocol/database-name.js';
import { messageOf, SkylineError } from '../protocol/errors.js';
import type { JsonObject } from '../protocol/frame.js';
import type { DatabaseSettings, ErrorReply, Statement } from '../protocol/messages.js';
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
import type { Logger } from './log.js';
import { ROUTER_LANE } from './worker/attached-clients.js';
import { walBytes } from './worker/checkpoint.js';
import { COUNTED_REPLY } from './worker/link.js';

/** Databases with a name, dropped ones included: all of them are kept in memory. */
const MAX_ENTRIES = 10_000;
/** A worker that dies with a change in hand may have made it: changes say what is to be, and are sent again. */
const MAX_TRIES = 3;

/** What a database's worker must know from the catalog. */
export interface Terms {
  readonly settings: DatabaseSettings;
  /** Its file is made by `CreateDatabase`: one that is missing is an error, and no batch makes it. */
  readonly mustExist: boolean;
  /** It is the catalog itself, which only the router writes. */
  readonly isCatalog: boolean;
}

/** Of a database without a name. */
export const NO_TERMS: Terms = { settings: {}, mustExist: false, isCatalog: false };
/** Of the catalog: what it holds is in memory, so that it need not stay open. */
const CATALOG_TERMS: Terms = {
  settings: { worker_idle_timeout_ms: 10_000 },
  mustExist: false,
  isCatalog: true,
};

/**
 * Which databases have a name. The catalog is a database like any other, and has a worker that executes what is sent from
 * here; what it holds is kept in memory, so that finding a name takes one look into a map. Only the router of the daemon
 * whose worker has the catalog open changes it.
 */
export class Catalog {
  readonly #dataDir: string;
  readonly #at: (path: string) => RoutedDatabase;
  readonly #log: Logger;
  #place: { readonly folder: string; readonly path: string } | null = null;
  #entries = new Map<string, CatalogEntry>();
  /** Of those that are not dropped. */
  #byName = new Map<string, CatalogEntry>();
  #byPath = new Map<string, CatalogEntry>();
  readonly #usage = new Map<string, Usage>();
  /** Whose usage is not written yet. */
  readonly #used = new Set<string>();
  /** Names and paths that are being given away. */
  readonly #claimed = new Set<string>();
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
    await this.#rows();
    await this.recover([...this.#entries.values()].filter(({ intent }) => intent !== null));
  }

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
      if (!this.#fresh && (this.exists || this.#loaded)) await this.#rows();
    } catch (error) {
      this.#log.warn({ db: path }, `its settings in the catalog cannot be read: ${messageOf(error)}`);
    }
    const entry = this.at(path);
    return entry === undefined ? NO_TERMS : { settings: entry.settings, mustExist: true, isCatalog: false };
  }

  /**
   * Writes rows. On disk when it resolves.
   * @throws SkylineError `DATABASE_EXISTS` when a name or a file is taken; whatever the catalog's worker says
   */
  async write(entries: readonly CatalogEntry[]): Promise<void> {
    const claims = this.#claim(entries);
    try {
      const first = this.#made ? [] : MAKE_CATALOG;
      await this.#exec([...first, ...entries.map((entry) => writeEntry(entry, this.#toStored))]);
      this.#made = true;
      for (const entry of entries) this.#keep(entry);
    } finally {
      for (const claim of claims) this.#claimed.delete(claim);
    }
  }

  /** Forgets a database for good. */
  async remove(id: string): Promise<void> {
    await this.#exec([removeEntry(id)]);
    this.#drop(id);
    this.#usage.delete(id);
    this.#used.delete(id);
  }

  /** Takes note that a database is in use, or was. */
  used(path: string, at: Date): void {
    const entry = this.at(path);
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
      this.#place = { folder, path: join(folder, CATALOG_FILE) };
    }
    return this.#place;
  }

  /** Reads all rows. */
  #rows(): Promise<void> {
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
    this.#entries = new Map();
    this.#byName = new Map();
    this.#byPath = new Map();
    for (const entry of entries) this.#keep(entry);
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

  /** @throws SkylineError `DATABASE_EXISTS`, `INVALID_REQUEST` */
  #claim(entries: readonly CatalogEntry[]): string[] {
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
      for (const claim of claims) this.#claimed.delete(claim);
      throw error;
    }
    return claims;
  }

  #keep(entry: CatalogEntry): void {
    this.#drop(entry.id);
    this.#entries.set(entry.id, entry);
    if (entry.dropped !== null) return;
    this.#byName.set(nameKey(entry.name), entry);
    this.#byPath.set(entry.path, entry);
  }

  #drop(id: string): void {
    const old = this.#entries.get(id);
    this.#entries.delete(id);
    if (old === undefined || old.dropped !== null) return;
    this.#byName.delete(nameKey(old.name));
    this.#byPath.delete(old.path);
  }

  /** Paths in the data directory are relative to it, so that all of it can be moved. */
  readonly #toStored = (path: string): string => {
    const from = relative(this.folder, path);
    return isInside(from) ? from.split(sep).join('/') : path;
  };

  readonly #fromStored = (path: string): string => (isAbsolute(path) ? path : join(this.folder, path));

  /** @returns each statement's rows */
  async #exec(stmts: readonly Statement[]): Promise<readonly (readonly unknown[][])[]> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#once(stmts);
      } catch (error) {
        const crashed = error instanceof SkylineError && error.code === 'WORKER_CRASHED';
        if (!crashed || tries >= MAX_TRIES) throw error;
      }
    }
  }

  #once(stmts: readonly Statement[]): Promise<readonly (readonly unknown[][])[]> {
    return new Promise((resolve, reject) => {
      this.#at(this.path).submit({
        kind: 'batch',
        isWanted: () => true,
        lane: ROUTER_LANE,
        payload: Buffer.from(JSON.stringify({ type: 'ExecBatch', stmts, durable: true })),
        deadline: 0,
        session: false,
        reply: (payload, worker) => {
          if (payload.length >= COUNTED_REPLY) worker.drained(ROUTER_LANE, payload.length);
          const reply = JSON.parse(payload.toString('utf8')) as JsonObject;
          if (reply.status === 'ok')
            resolve((reply.results as { rows?: unknown[][] }[]).map(({ rows = [] }) => rows));
          else reject(refusedBy(reply as unknown as ErrorReply));
        },
        fail: reject,
      });
    });
  }
}

/** The error for a name or file that is taken. */
export function exists(name: string, path: string): SkylineError {
  return new SkylineError(
    'DATABASE_EXISTS',
    `There is a database ${name} already (${path}). Choose another name. CreateDatabase with "if_not_exists": true (--if-not-exists) leaves it as it is.`,
  );
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

function refusedBy({ code, message, outcome, retryable, sqlite_code: sqlite }: ErrorReply): SkylineError {
  const details = sqlite === undefined ? {} : { sqlite_code: sqlite };
  return new SkylineError(code, `The catalog: ${message}`, { outcome, retryable, details });
}

/** Differs when another process has changed the file. With something in its WAL it cannot be told. */
function stampOf(path: string): string | null {
  if (walBytes(path) > 0) return null;
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? 'none' : `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs}`;
}
