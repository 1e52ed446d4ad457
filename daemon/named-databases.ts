import { randomUUID } from 'node:crypto';
import { userInfo } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { nameKey } from '../protocol/database-name.js';
import { messageOf, SkylineError } from '../protocol/errors.js';
import type {
  AlterDatabaseRequest,
  CreateDatabaseRequest,
  DropDatabaseRequest,
  ListDatabasesReply,
  RenameDatabaseRequest,
  RestoreDatabaseRequest,
} from '../protocol/messages.js';
import { type Catalog, exists, isInside, sizeOf } from './catalog.js';
import type { CatalogEntry, Place } from './catalog-table.js';
import type { RoutedDatabase } from './database.js';
import type { Asker } from './database-requests.js';
import { inUse, isOpenElsewhere, usersOf } from './database-users.js';
import { type Databases, unknownName } from './databases.js';
import { mendMove, moveFile, onOneFileSystem, removeName } from './file-move.js';
import { lookAt } from './identity.js';
import type { Logger } from './log.js';
import { DEFAULT_MAINTENANCE_MS, type Maintenance } from './maintenance.js';
import { NameTurns } from './name-turns.js';
import { walBytes } from './worker/checkpoint.js';
import type { LockOwner } from './worker/kernel-lock.js';
import type { Position } from './worker/link.js';
import { missingFile } from './worker/position-table.js';
import { isAlive } from './worker/system.js';

/** How long a dropped database can be restored. */
const TRASH_MS = 7 * 24 * 60 * 60 * 1000;

/**
 * Makes, drops, renames and restores databases. What changes a file and the catalog is written down before the first step:
 * after a kill at any point the next daemon finishes what was done to the file, or forgets what was not.
 */
export class NamedDatabases {
  readonly #databases: Databases;
  readonly #maintenance: Maintenance;
  readonly #log: Logger;
  readonly #self: LockOwner;
  readonly #turns = new NameTurns();
  /** Ids of databases that are being changed right now: what is written down of them is no leftover. */
  readonly #changing = new Set<string>();

  constructor(databases: Databases, maintenance: Maintenance, log: Logger, endpoint: string) {
    this.#databases = databases;
    this.#maintenance = maintenance;
    this.#log = log;
    this.#self = { pid: process.pid, routerPid: process.pid, endpoint };
    databases.catalog.recover = (entries) => this.#recover(entries);
  }

  get #catalog(): Catalog {
    return this.#databases.catalog;
  }

  /** @throws SkylineError `DATABASE_EXISTS`, `DATABASE_NOT_ALLOWED`, and what the file system says */
  create(request: Omit<CreateDatabaseRequest, 'type'>): Promise<object> {
    const { name, if_not_exists: lenient = false, settings = {} } = request;
    return this.#turns.run([name], async () => {
      const there = await this.#settled(() => this.#catalog.find(name));
      if (there !== undefined) {
        if (!lenient) throw exists(there.name, there.path);
        return { created: false, ...identityOf(there) };
      }
      const path = join(this.#catalog.folder, `${name}.db`);
      this.#databases.checkRoots(path);
      refuseTaken(path);
      const id = randomUUID();
      const entry: CatalogEntry = {
        id,
        name,
        path,
        owner: userInfo().username,
        created: new Date().toISOString(),
        settings,
        dropped: null,
        trash: null,
        position: null,
        intent: { op: 'create', pid: process.pid },
      };
      await this.#change(entry, async () => {
        await this.#catalog.write([entry]);
        await this.#make(entry);
      });
      return { created: true, ...identityOf(entry) };
    });
  }

  /** @throws SkylineError `DATABASE_NOT_FOUND`, `DATABASE_IN_USE`, `CHECKPOINT_BUSY`, … */
  drop(request: DropDatabaseRequest, asker: Asker): Promise<object> {
    const { name, if_exists: lenient = false } = request;
    return this.#turns.run([name], async () => {
      const entry = await this.#settled(() => this.#catalog.find(name));
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
      await this.#takeAway(entry, request, asker, async (position) => {
        await this.#move(entry, trash ?? entry.path, {
          name: entry.name,
          path: entry.path,
          dropped,
          trash,
          position,
        });
        if (trash !== null) this.#databases.at(entry.path).moved();
      });
      return { dropped: true, until: untilOf(dropped), ...kept };
    });
  }

  /** @throws SkylineError `DATABASE_NOT_FOUND`, `DATABASE_EXISTS`, `DATABASE_IN_USE`, … */
  rename(request: RenameDatabaseRequest, asker: Asker): Promise<object> {
    const { name, to } = request;
    return this.#turns.run([name, to], async () => {
      const entry = await this.#settled(() => this.#catalog.find(name));
      if (entry === undefined) throw unknownName(name);
      const other = this.#catalog.find(to);
      if (other !== undefined && other.id !== entry.id) throw exists(other.name, other.path);
      // Where the file is called as the database is, it goes on to be.
      const path =
        this.#movable(entry.path) && basename(entry.path) === `${entry.name}.db`
          ? join(dirname(entry.path), `${to}.db`)
          : entry.path;
      this.#databases.checkRoots(path);
      const target = this.#databases.at(path);
      await this.#takeAway(entry, request, asker, async (position) => {
        await this.#move(entry, path, { ...entry, name: to, path });
        if (path === entry.path) return;
        this.#databases.at(entry.path).moved();
        target.arrived(position);
      });
      return { name: to, db_path: path, ...(await standing(target)) };
    });
  }

  /** @throws SkylineError `DATABASE_NOT_FOUND`, `DATABASE_EXISTS` */
  restore({ name, as }: Omit<RestoreDatabaseRequest, 'type'>): Promise<object> {
    return this.#turns.run(as === undefined ? [name] : [name, as], async () => {
      const entry = await this.#settled(() => this.#lastDropped(name));
      if (entry === undefined) throw this.#nothingToRestore(name);
      const to = as ?? entry.name;
      const other = this.#catalog.find(to);
      if (other !== undefined) throw taken(other);
      const path =
        entry.trash === null || as === undefined ? entry.path : join(this.#catalog.folder, `${to}.db`);
      this.#databases.checkRoots(path);
      const from = entry.trash ?? entry.path;
      if (lookAt(from) === undefined)
        throw new SkylineError('DATABASE_NOT_FOUND', `The file of the dropped database is gone: ${from}.`);
      if (entry.trash !== null) refuseTaken(path);
      const after = { name: to, path, dropped: null, trash: null, position: null };
      await this.#change(entry, () => this.#move(entry, path, after));
      const database = this.#databases.at(path);
      if (entry.trash !== null) database.arrived(this.#knownOf(entry, path, database.known));
      return { name: to, db_path: path, ...(await standing(database)) };
    });
  }

  /** Changes settings. They count from the next opening of the file: at once, unless somebody is at work in it. */
  alter({ name, settings = {}, reset = [] }: Omit<AlterDatabaseRequest, 'type'>): Promise<object> {
    return this.#turns.run([name], async () => {
      const entry = await this.#settled(() => this.#catalog.find(name));
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
    await this.#recover(this.#catalog.all());
    this.noteUse();
    const all = this.#catalog
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
      for (const entry of this.#catalog.all()) {
        if (entry.dropped === null || entry.intent !== null || Date.parse(entry.dropped) + TRASH_MS > now)
          continue;
        await this.#turns.run([entry.name], () => this.#removeForGood(entry));
      }
      await this.writeUse();
    } catch (error) {
      this.#log.warn(`the catalog could not be tidied: ${messageOf(error)}`);
    }
  }

  async #removeForGood({ id, name, trash }: CatalogEntry): Promise<void> {
    // It may have been restored meanwhile.
    if (!this.#catalog.all().some((entry) => entry.id === id && entry.dropped !== null)) return;
    // The file first: a row without a file is removed the next time, a file without a row never.
    if (trash !== null) removeName(trash);
    await this.#catalog.remove(id);
    this.#log.info({ name, file: trash }, 'a dropped database was removed for good');
  }

  /**
   * An entry of the catalog with nothing left half done.
   * @throws SkylineError `DATABASE_IN_USE` when another daemon is changing it
   */
  async #settled(find: () => CatalogEntry | undefined): Promise<CatalogEntry | undefined> {
    await this.#catalog.ready();
    // What could not be finished before may be possible now.
    const before = find();
    if (before?.intent) await this.#recover([before]);
    const entry = find();
    if (entry?.intent) throw beingChanged(entry.name, entry.intent.pid);
    return entry;
  }

  async #change<T>({ id }: CatalogEntry, work: () => Promise<T>): Promise<T> {
    this.#changing.add(id);
    try {
      return await work();
    } finally {
      this.#changing.delete(id);
    }
  }

  /** Makes the file of a database whose row says that this is about to happen. */
  async #make(entry: CatalogEntry): Promise<void> {
    const database = this.#databases.at(entry.path);
    const { epoch } = missingFile(this.#knownOf(null, entry.path, database.known));
    const order = { op: 'create', id: entry.id, epoch } as const;
    const make = async () => (await database.order(order)) as unknown as Position;
    try {
      // A worker that dies leaves a file that the next one finishes.
      database.arrived(await make().catch((error) => (isCrash(error) ? make() : Promise.reject(error))));
    } catch (error) {
      // Half a file stays written down: whoever looks next finishes it.
      if (lookAt(entry.path) === undefined) await this.#catalog.remove(entry.id).catch(() => undefined);
      throw error;
    }
    await unlessWritten(this.#catalog.write([{ ...entry, intent: null }]));
  }

  /** Has the database closed by everybody, and calls back. */
  async #takeAway(
    entry: CatalogEntry,
    request: DropDatabaseRequest | RenameDatabaseRequest,
    asker: Asker,
    work: (position: Position) => Promise<void>,
  ): Promise<void> {
    const { type: operation, force = false, timeout_ms: timeoutMs = DEFAULT_MAINTENANCE_MS } = request;
    const database = this.#databases.at(entry.path);
    // What the asker itself has sent before is no other's use.
    if (asker.busy && database.depth > 0)
      await Promise.race([
        database.order({ op: 'position' }, asker.lane),
        sleep(timeoutMs, undefined, { ref: false }),
      ]);
    const users = await usersOf(database, asker.said);
    if (users.reasons.length > 0 && !force) throw inUse(entry.name, users);
    const attempt = (ms: number) =>
      this.#maintenance.away(database, operation, ms, async (position) => {
        if (isOpenElsewhere(entry.path) && !force)
          throw inUse(entry.name, await usersOf(database, asker.said));
        await this.#change(entry, () => work(position));
      });
    const end = () => endWork(database, `${operation} of ${entry.name}`);
    try {
      await (force ? insisting(attempt, timeoutMs, end) : attempt(timeoutMs));
    } catch (error) {
      if (!(error instanceof SkylineError) || error.code !== 'CHECKPOINT_BUSY') throw error;
      throw inUse(entry.name, await usersOf(database, asker.said));
    }
  }

  /** Moves the file, unless it stays where it is, and writes what the row says then: first that it is about to. */
  async #move(entry: CatalogEntry, to: string, after: Place): Promise<void> {
    const from = entry.trash ?? entry.path;
    if (from !== to) {
      const intent = { op: 'move', pid: process.pid, from, to, after: placeOf(after) } as const;
      await this.#catalog.write([{ ...entry, intent }]);
      try {
        moveFile(from, to, this.#self);
      } catch (error) {
        if (!mendMove(from, to)) {
          // If that cannot be written, the next one who looks finds the file where it was.
          await this.#catalog.write([entry]).catch(() => undefined);
          throw error;
        }
      }
    }
    await unlessWritten(this.#catalog.write([{ ...entry, ...placeOf(after), intent: null }]));
  }

  /** What was begun by a daemon that was killed, or could not be finished. Never rejects. */
  async #recover(entries: readonly CatalogEntry[]): Promise<void> {
    for (const entry of entries) {
      const { intent, id } = entry;
      if (intent === null || this.#changing.has(id)) continue;
      // Another daemon on this data directory is in the middle of it.
      if (intent.pid !== process.pid && isAlive(intent.pid)) continue;
      try {
        await this.#change(entry, async () => {
          if (intent.op === 'create') return await this.#make(entry);
          const moved = mendMove(intent.from, intent.to);
          await this.#catalog.write([{ ...entry, ...(moved ? intent.after : {}), intent: null }]);
        });
        this.#log.warn({ name: entry.name, intent }, 'a change of the catalog was cut off; it is mended');
      } catch (error) {
        this.#log.error(
          { name: entry.name, intent },
          `a change of the catalog was cut off, and could not be mended: ${messageOf(error)}`,
        );
      }
    }
  }

  /** Files outside of the data directory are somebody's own: they get and lose a name, and stay where they are. */
  #movable(path: string): boolean {
    const { folder } = this.#catalog;
    return isInside(relative(folder, path)) && onOneFileSystem(path, folder);
  }

  #lastDropped(name: string): CatalogEntry | undefined {
    const key = nameKey(name);
    let last: CatalogEntry | undefined;
    for (const entry of this.#catalog.all()) {
      if (entry.dropped === null || nameKey(entry.name) !== key) continue;
      if (last === undefined || entry.dropped > (last.dropped ?? '')) last = entry;
    }
    return last;
  }

  #nothingToRestore(name: string): SkylineError {
    const live = this.#catalog.find(name);
    return live === undefined
      ? new SkylineError(
          'DATABASE_NOT_FOUND',
          `No database named ${name} was dropped in the last 7 days. See "skylinedb-cli databases --dropped".`,
        )
      : taken(live);
  }

  /**
   * The latest that was ever at this path, so that what comes there does not repeat an epoch with other contents.
   * @param except a dropped one that comes back: with nothing in between, it goes on where it was
   */
  #knownOf(except: CatalogEntry | null, path: string, known: Position | null): Position | null {
    let latest = except?.position ?? null;
    const others = this.#catalog
      .all()
      .filter((entry) => entry.dropped !== null && entry.path === path && entry.id !== except?.id)
      .map(({ position }) => position);
    for (const position of [...others, ...(isTrace(known, except) ? [] : [known])])
      if (position !== null && (latest === null || position.epoch > latest.epoch)) latest = position;
    return latest;
  }
}

function isCrash(error: unknown): boolean {
  return error instanceof SkylineError && error.code === 'WORKER_CRASHED';
}

/** The file is as it is to be: what cannot be written now is written by whoever looks next. */
async function unlessWritten(writing: Promise<void>): Promise<void> {
  try {
    await writing;
  } catch (error) {
    const code = error instanceof SkylineError ? error.code : 'INTERNAL';
    throw new SkylineError(
      code,
      `The file is changed, and the catalog is not yet: ${messageOf(error)}. Look with ListDatabases ("skylinedb-cli databases"), which finishes it.`,
      { outcome: 'unknown', cause: error },
    );
  }
}

/** A batch that runs for long is not waited for any longer: its worker is ended, and what waits is told so. */
function endWork(database: RoutedDatabase, why: string): void {
  database.endBatches(new SkylineError('DATABASE_NOT_FOUND', `The batch was ended by a forced ${why}.`));
}

/** Once more, with what stood in the way ended. */
async function insisting(
  attempt: (ms: number) => Promise<void>,
  timeoutMs: number,
  end: () => void,
): Promise<void> {
  try {
    await attempt(timeoutMs);
  } catch (error) {
    if (!(error instanceof SkylineError) || error.code !== 'TIMEOUT') throw error;
    end();
    // What is waited for now is a new worker, and nobody's work.
    await attempt(Math.max(timeoutMs, DEFAULT_MAINTENANCE_MS));
  }
}

/** What the router remembers of a path is only that this very database has left it. */
function isTrace(known: Position | null, entry: CatalogEntry | null): boolean {
  const left = missingFile(entry?.position ?? null);
  return known !== null && known.id === null && known.rev === 0 && known.epoch <= left.epoch;
}

function placeOf({ name, path, dropped, trash, position }: Place): Place {
  return { name, path, dropped, trash, position };
}

function identityOf({ name, id, path }: CatalogEntry): object {
  return { name, database_id: id, db_path: path };
}

function untilOf(dropped: string): string {
  return new Date(Date.parse(dropped) + TRASH_MS).toISOString();
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

function beingChanged(name: string, pid: number): SkylineError {
  return new SkylineError(
    'DATABASE_IN_USE',
    `The database ${name} is being changed by the daemon with pid ${pid}, or a change of it could not be finished: see the daemon's log. Try again.`,
  );
}
