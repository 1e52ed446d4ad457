import { basename, dirname, join, relative } from 'node:path';
import { nameKey } from '../protocol/database-name.js';
import { SkylineError } from '../protocol/errors.js';
import type {
  AlterDatabaseRequest,
  CreateDatabaseRequest,
  DropDatabaseRequest,
  ListDatabasesReply,
  RenameDatabaseRequest,
  RestoreDatabaseRequest,
} from '../protocol/messages.js';
import { type Catalog, isInside, sizeOf } from './catalog.js';
import { CatalogChanges } from './catalog-changes.js';
import { exists } from './catalog-rows.js';
import { type CatalogEntry, newEntry } from './catalog-table.js';
import { CatalogUpkeep, untilOf } from './catalog-upkeep.js';
import type { RoutedDatabase } from './database.js';
import type { Asker } from './database-requests.js';
import { usersOf } from './database-users.js';
import { type Databases, unknownName } from './databases.js';
import { onOneFileSystem } from './file-move.js';
import { lookAt } from './identity.js';
import type { Logger } from './log.js';
import type { Maintenance } from './maintenance.js';
import { NameTurns } from './name-turns.js';
import { takeAway } from './take-away.js';
import { walBytes } from './worker/checkpoint.js';
import type { Position } from './worker/link.js';

/** Makes, drops, renames, restores and lists databases by their names. */
export class NamedDatabases {
  readonly #databases: Databases;
  readonly #maintenance: Maintenance;
  readonly #changes: CatalogChanges;
  readonly #turns = new NameTurns();
  readonly upkeep: CatalogUpkeep;

  constructor(databases: Databases, maintenance: Maintenance, log: Logger, endpoint: string) {
    this.#databases = databases;
    this.#maintenance = maintenance;
    this.#changes = new CatalogChanges(databases, log, endpoint);
    this.upkeep = new CatalogUpkeep(databases, this.#turns, log);
    databases.catalog.recover = (entries) => this.#changes.recover(entries);
  }

  get #catalog(): Catalog {
    return this.#databases.catalog;
  }

  /** @throws SkylineError `DATABASE_EXISTS`, `DATABASE_NOT_ALLOWED`, and what the file system says */
  create(request: Omit<CreateDatabaseRequest, 'type'>): Promise<object> {
    const { name, if_not_exists: lenient = false, settings = {} } = request;
    return this.#turns.run([name], async () => {
      const there = await this.#changes.settled(() => this.#catalog.rows.find(name));
      if (there !== undefined) {
        if (!lenient) throw exists(there.name, there.path);
        return { created: false, ...identityOf(there) };
      }
      const path = join(this.#catalog.folder, `${name}.db`);
      this.#databases.checkRoots(path);
      refuseTaken(path);
      const entry = newEntry(name, path, settings);
      await this.#changes.create(entry);
      return { created: true, ...identityOf(entry) };
    });
  }

  /** @throws SkylineError `DATABASE_NOT_FOUND`, `DATABASE_IN_USE`, `CHECKPOINT_BUSY`, … */
  drop(request: DropDatabaseRequest, asker: Asker): Promise<object> {
    const { name, if_exists: lenient = false } = request;
    return this.#turns.run([name], async () => {
      const entry = await this.#changes.settled(() => this.#catalog.rows.find(name));
      if (entry === undefined) {
        if (lenient) return { dropped: false };
        throw unknownName(name);
      }
      if (lookAt(entry.path) === undefined) {
        await this.#catalog.remove(entry.id);
        return { dropped: true };
      }
      const dropped = new Date().toISOString();
      const trash = this.#movable(entry.path)
        ? join(this.#databases.trash, `${entry.name}-${entry.id.slice(0, 8)}.db`)
        : null;
      const kept = trash === null ? { file_kept: entry.path } : {};
      await takeAway(
        this.#databases.at(entry.path),
        this.#maintenance,
        name,
        request,
        asker,
        async (position) => {
          await this.#changes.move(entry, trash ?? entry.path, {
            name: entry.name,
            path: entry.path,
            dropped,
            trash,
            position,
          });
          if (trash !== null) this.#databases.at(entry.path).moved();
        },
      );
      return { dropped: true, until: untilOf(dropped), ...kept };
    });
  }

  /** @throws SkylineError `DATABASE_NOT_FOUND`, `DATABASE_EXISTS`, `DATABASE_IN_USE`, … */
  rename(request: RenameDatabaseRequest, asker: Asker): Promise<object> {
    const { name, to } = request;
    return this.#turns.run([name, to], async () => {
      const entry = await this.#changes.settled(() => this.#catalog.rows.find(name));
      if (entry === undefined) throw unknownName(name);
      const other = this.#catalog.rows.find(to);
      if (other !== undefined && other.id !== entry.id) throw exists(other.name, other.path);
      // Where the file is called as the database is, it goes on to be.
      const path =
        this.#movable(entry.path) && basename(entry.path) === `${entry.name}.db`
          ? join(dirname(entry.path), `${to}.db`)
          : entry.path;
      this.#databases.checkRoots(path);
      const target = this.#databases.at(path);
      await takeAway(
        this.#databases.at(entry.path),
        this.#maintenance,
        name,
        request,
        asker,
        async (position) => {
          await this.#changes.move(entry, path, { ...entry, name: to, path });
          if (path === entry.path) return;
          this.#databases.at(entry.path).moved();
          target.arrived(position);
        },
      );
      return { name: to, db_path: path, ...(await standing(target)) };
    });
  }

  /** @throws SkylineError `DATABASE_NOT_FOUND`, `DATABASE_EXISTS` */
  restore({ name, as }: Omit<RestoreDatabaseRequest, 'type'>): Promise<object> {
    return this.#turns.run(as === undefined ? [name] : [name, as], async () => {
      const entry = await this.#changes.settled(() => this.#lastDropped(name));
      if (entry === undefined) throw this.#nothingToRestore(name);
      const to = as ?? entry.name;
      const other = this.#catalog.rows.find(to);
      if (other !== undefined) throw taken(other);
      const path =
        entry.trash === null || as === undefined ? entry.path : join(this.#catalog.folder, `${to}.db`);
      this.#databases.checkRoots(path);
      const from = entry.trash ?? entry.path;
      if (lookAt(from) === undefined)
        throw new SkylineError('DATABASE_NOT_FOUND', `The file of the dropped database is gone: ${from}.`);
      if (entry.trash !== null) refuseTaken(path);
      const after = { name: to, path, dropped: null, trash: null, position: null };
      await this.#changes.move(entry, path, after);
      const database = this.#databases.at(path);
      if (entry.trash !== null) database.arrived(this.#changes.knownOf(entry, path, database.known));
      return { name: to, db_path: path, ...(await standing(database)) };
    });
  }

  /** Changes settings. They count from the next opening of the file: at once, unless somebody is at work in it. */
  alter({ name, settings = {}, reset = [] }: Omit<AlterDatabaseRequest, 'type'>): Promise<object> {
    return this.#turns.run([name], async () => {
      const entry = await this.#changes.settled(() => this.#catalog.rows.find(name));
      if (entry === undefined) throw unknownName(name);
      const next = { ...entry.settings, ...settings };
      for (const setting of reset) delete next[setting];
      await this.#catalog.write([{ ...entry, settings: next }]);
      const database = this.#databases.at(entry.path);
      const busy = (await usersOf(database)).working;
      if (!busy) await database.closeWorker();
      return { name: entry.name, settings: next, in_effect: !busy };
    });
  }

  async list(): Promise<Omit<ListDatabasesReply, 'status' | 'id'>> {
    await this.#catalog.ready();
    await this.#changes.recover(this.#catalog.rows.all());
    this.upkeep.noteUse();
    const all = this.#catalog.rows
      .all()
      .filter(({ intent }) => intent?.op !== 'create')
      .sort((one, other) => (nameKey(one.name) < nameKey(other.name) ? -1 : 1));
    return {
      data_dir: this.#catalog.folder,
      databases: all
        .filter(({ dropped }) => dropped === null)
        .map((entry) => ({
          name: entry.name,
          id: entry.id,
          db_path: entry.path,
          owner: entry.owner,
          created: entry.created,
          last_used: this.#catalog.usageOf(entry.id).lastUsed,
          size: sizeOf(entry.path),
          settings: entry.settings,
        })),
      dropped: all.flatMap(({ name, id, dropped, trash, path }) =>
        dropped === null ? [] : [{ name, id, dropped, until: untilOf(dropped), size: sizeOf(trash ?? path) }],
      ),
    };
  }

  /** Files outside of the data directory are somebody's own: they get and lose a name, and stay where they are. */
  #movable(path: string): boolean {
    const { folder } = this.#catalog;
    return isInside(relative(folder, path)) && onOneFileSystem(path, folder);
  }

  #lastDropped(name: string): CatalogEntry | undefined {
    const key = nameKey(name);
    let last: CatalogEntry | undefined;
    for (const entry of this.#catalog.rows.all()) {
      if (entry.dropped === null || nameKey(entry.name) !== key) continue;
      if (last === undefined || entry.dropped > (last.dropped ?? '')) last = entry;
    }
    return last;
  }

  #nothingToRestore(name: string): SkylineError {
    const live = this.#catalog.rows.find(name);
    return live === undefined
      ? new SkylineError(
          'DATABASE_NOT_FOUND',
          `No database named ${name} was dropped in the last 7 days. See "skylinedb-cli databases --dropped".`,
        )
      : taken(live);
  }
}

function identityOf({ name, id, path }: CatalogEntry): object {
  return { name, database_id: id, db_path: path };
}

async function standing(database: RoutedDatabase): Promise<{ rev: number; epoch: number }> {
  if (lookAt(database.path) === undefined) return { rev: 0, epoch: 1 };
  const { rev, epoch } = (await database.order({ op: 'position' })) as unknown as Position;
  return { rev, epoch };
}

function refuseTaken(path: string): void {
  if (lookAt(path) === undefined && walBytes(path) === 0) return;
  throw new SkylineError(
    'DATABASE_EXISTS',
    `There is a file at ${path} already. Give it a name with "skylinedb-cli adopt" (AdoptDirectory), move it away, or choose another name.`,
  );
}

function taken({ name, path }: CatalogEntry): SkylineError {
  return new SkylineError(
    'DATABASE_EXISTS',
    `There is a database ${name} (${path}). Drop or rename it first, or restore under another name with "as" (--as).`,
  );
}
