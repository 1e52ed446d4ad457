import { realpathSync } from 'node:fs';
import { join, sep } from 'node:path';
import { checkDatabaseName, isBareName } from '../protocol/database-name.js';
import { SkylineError } from '../protocol/errors.js';
import { Catalog } from './catalog.js';
import { addCounts, type Counts, NO_COUNTS } from './counts.js';
import { type DatabaseContext, type DatabaseNeighbours, RoutedDatabase } from './database.js';
import {
  canonicalPath,
  checkRoots,
  type FileId,
  lookAt,
  refuseCompanion,
  sameFile,
  spellingOf,
} from './identity.js';

/** In the data directory. */
const TRASH_FOLDER = 'skylinedb-trash';

/** Names and databases remembered; the ones longest unused are forgotten first. */
const MAX_REMEMBERED = 10_000;

/**
 * Which database a name means. One file is one database, whatever the spelling. A known spelling costs one `stat`, which
 * also shows a file that was replaced, deleted or linked meanwhile.
 *
 * All requests that were read together share it. None of them can have been sent after an exchange that it does not show:
 * their bytes were read before it, and nothing is read from a socket before the microtasks have run.
 */
export class Databases implements DatabaseNeighbours {
  readonly catalog: Catalog;
  readonly #context: DatabaseContext;
  readonly #roots: readonly string[];
  readonly #byPath = new Map<string, RoutedDatabase>();
  readonly #bySpelling = new Map<string, RoutedDatabase>();
  /** What was looked at since bytes were last read from any socket, by the requests' own `db`. */
  readonly #justSeen = new Map<string | undefined, RoutedDatabase>();
  #forgotten = NO_COUNTS;

  constructor(context: DatabaseContext) {
    this.#context = context;
    this.#roots = context.config.roots.map(realOf);
    this.catalog = new Catalog(context.config.dataDir, (path) => this.at(path), context.log);
  }

  /**
   * What must be waited for before this `db` can be resolved; null when nothing must be, as for every path.
   * The promise rejects when the catalog cannot be read.
   */
  pending(db: string | undefined): Promise<void> | null {
    if (db === undefined || !isBareName(db) || this.#justSeen.has(db)) return null;
    return this.catalog.pending();
  }

  /**
   * @param db a request's `db`
   * @throws SkylineError `DATABASE_NOT_FOUND` (no folder), `DATABASE_NOT_ALLOWED`, `INVALID_REQUEST`
   */
  resolve(db: string | undefined): RoutedDatabase {
    const seen = this.#justSeen.get(db);
    if (seen !== undefined) return seen;
    const database = this.#resolve(db);
    if (database.fileId !== undefined) {
      if (this.#justSeen.size === 0) queueMicrotask(() => this.#justSeen.clear());
      this.#justSeen.set(db, database);
    }
    return database;
  }

  #resolve(db: string | undefined): RoutedDatabase {
    const spelling = db !== undefined && isBareName(db) ? this.#pathOf(db) : this.#spellingOf(db);
    const known = this.#bySpelling.get(spelling);
    if (known?.replacing === true) return known;
    const found = lookAt(spelling);
    if (known !== undefined && found !== undefined && sameFile(known.fileId, found)) return known;
    const path = canonicalPath(spelling);
    checkRoots(path, this.#roots);
    refuseCompanion(path);
    if (path.startsWith(`${this.trash}${sep}`)) throw inTrash(path);
    const database = this.at(path);
    // Not what the spelling showed: a link may have been turned since, and this file would be taken for exchanged or deleted.
    const file = lookAt(path);
    database.look(file);
    if (file !== undefined) this.#claim(database, file);
    this.#bySpelling.set(spelling, database);
    return database;
  }

  /** Where the files of dropped databases are kept. */
  get trash(): string {
    return join(this.catalog.folder, TRASH_FOLDER);
  }

  termsOf(path: string) {
    return this.catalog.termsOf(path);
  }

  workerEnded(database: RoutedDatabase): void {
    if (database.path === this.catalog.path) this.catalog.closed();
    else if (database.lastUsed > 0) this.catalog.used(database.path, database.usedAt);
  }

  #spellingOf(db: string | undefined): string {
    return spellingOf(db, this.#context.config.dataDir);
  }

  /** @throws SkylineError `DATABASE_NOT_FOUND`, `INVALID_REQUEST` */
  #pathOf(name: string): string {
    const entry = this.catalog.rows.find(name);
    // One that is just being made cannot be used before it is there.
    if (entry !== undefined && entry.intent?.op !== 'create') return entry.path;
    throw unknownName(checkDatabaseName(name, 'db'));
  }

  /**
   * @param dir a folder that a request names; relative ones belong to the data directory
   * @returns its true path
   * @throws SkylineError `DATABASE_NOT_FOUND`, `DATABASE_NOT_ALLOWED`, `INVALID_REQUEST`
   */
  checkFolder(dir: string): string {
    const path = canonicalPath(spellingOf(dir, this.#context.config.dataDir, 'dir'));
    // A root itself is allowed, too: what is in it lies below it.
    checkRoots(join(path, 'x'), this.#roots);
    if (`${path}${sep}`.startsWith(`${this.trash}${sep}`)) throw inTrash(path);
    return path;
  }

  /**
   * Checks a path against `--root`.
   * @throws SkylineError `DATABASE_NOT_ALLOWED`
   */
  checkRoots(path: string): void {
    checkRoots(path, this.#roots);
  }

  /**
   * @param path of another file that a request names, such as a backup's
   * @param field the request's field, for messages
   */
  checkFile(path: string, field: string): string {
    const canonical = canonicalPath(spellingOf(path, this.#context.config.dataDir, field));
    checkRoots(canonical, this.#roots);
    refuseCompanion(canonical);
    return canonical;
  }

  /** The database with this true path. */
  at(path: string): RoutedDatabase {
    let database = this.#byPath.get(path);
    if (database === undefined) {
      if (this.#byPath.size >= MAX_REMEMBERED) this.#forget();
      database = new RoutedDatabase(path, this.#context, this);
      this.#byPath.set(path, database);
    }
    return database;
  }

  /** Whether a database of this path is being served. */
  find(path: string): RoutedDatabase | undefined {
    return this.#byPath.get(path);
  }

  all(): RoutedDatabase[] {
    return [...this.#byPath.values()];
  }

  /** What was counted of databases that are not remembered any more. */
  get forgotten(): Counts {
    return this.#forgotten;
  }

  /** A file that was renamed while it was open is served under one name only: two workers would each have a WAL for it. */
  #claim(database: RoutedDatabase, file: FileId): void {
    for (const other of this.#byPath.values()) {
      if (other !== database && other.worker !== null && sameFile(other.fileId, file))
        database.workers.startAfter(other.yieldFile());
    }
  }

  #forget(): void {
    const old = this.all()
      .filter((database) => database.forgettable)
      .sort((one, other) => one.lastUsed - other.lastUsed)
      .slice(0, MAX_REMEMBERED / 2);
    for (const database of old) {
      this.#byPath.delete(database.path);
      this.#forgotten = addCounts(this.#forgotten, database.workers.counts);
    }
    this.#bySpelling.clear();
    this.#justSeen.clear();
  }
}

/** Nobody gave a database this name. It may have been meant as a file. */
export function unknownName(name: string): SkylineError {
  return new SkylineError(
    'DATABASE_NOT_FOUND',
    `There is no database named ${name}. Make it with "skylinedb-cli create-database ${name}" (CreateDatabase), or write ./${name} if a file is meant.`,
  );
}

function inTrash(path: string): SkylineError {
  return new SkylineError(
    'DATABASE_NOT_ALLOWED',
    `${path} belongs to dropped databases. Bring them back with "skylinedb-cli restore-database" first.`,
  );
}

function realOf(folder: string): string {
  try {
    return realpathSync.native(folder);
  } catch {
    // Made later, perhaps: until then nothing lies below it.
    return folder;
  }
}
