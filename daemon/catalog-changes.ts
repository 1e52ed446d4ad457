import { messageOf, SkylineError } from '../protocol/errors.js';
import type { CatalogEntry, Intent, Place } from './catalog-table.js';
import type { Databases } from './databases.js';
import { inodeOf, mendMove, moveFile } from './file-move.js';
import { lookAt } from './identity.js';
import type { Logger } from './log.js';
import type { LockOwner } from './worker/kernel-lock.js';
import type { Position } from './worker/link.js';
import { missingFile } from './worker/position-table.js';
import { isAlive } from './worker/system.js';

/** A change takes moments: an intent that is older is no living daemon's, whoever has its pid now. In milliseconds. */
const MAX_CHANGE_MS = 60_000;

/**
 * Changes of a database's file and of its row in the catalog, which cannot be one step: the row first says what is about to
 * happen. Whoever finds that later finishes what was done to the file, or forgets what was not.
 */
export class CatalogChanges {
  readonly #databases: Databases;
  readonly #log: Logger;
  readonly #self: LockOwner;
  /** Ids of databases that are being changed right now: what is written down of them is no leftover. */
  readonly #changing = new Set<string>();

  constructor(databases: Databases, log: Logger, endpoint: string) {
    this.#databases = databases;
    this.#log = log;
    this.#self = { pid: process.pid, routerPid: process.pid, endpoint };
  }

  /**
   * An entry of the catalog with nothing left half done.
   * @throws SkylineError `DATABASE_IN_USE` when another daemon is changing it
   */
  async settled(find: () => CatalogEntry | undefined): Promise<CatalogEntry | undefined> {
    await this.#databases.catalog.ready();
    // What could not be finished before may be possible now.
    const before = find();
    if (before?.intent) await this.recover([before]);
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

  /**
   * Writes the row of a new database, and makes its file.
   * @param entry without an intent
   */
  create(entry: CatalogEntry): Promise<void> {
    const intended = { ...entry, intent: { op: 'create', ...by() } } as const;
    return this.#change(entry, async () => {
      await this.#databases.catalog.write([intended]);
      await this.#make(intended);
    });
  }

  async #make(entry: CatalogEntry): Promise<void> {
    const database = this.#databases.at(entry.path);
    const { epoch } = missingFile(this.knownOf(null, entry.path, database.known));
    const order = { op: 'create', id: entry.id, epoch } as const;
    const make = async () => (await database.order(order)) as unknown as Position;
    try {
      // A worker that dies leaves a file that the next one finishes.
      database.arrived(await make().catch((error) => (isCrash(error) ? make() : Promise.reject(error))));
    } catch (error) {
      // Half a file stays written down: whoever looks next finishes it.
      if (lookAt(entry.path) === undefined)
        await this.#databases.catalog.remove(entry.id).catch(() => undefined);
      throw error;
    }
    await unlessWritten(this.#databases.catalog.write([{ ...entry, intent: null }]));
  }

  /**
   * Moves the file, unless it stays where it is, and writes what the row says then: first that it is about to.
   * @param to the file's path afterwards
   * @throws SkylineError with `outcome: "unknown"` when the file has moved, and the row does not say so yet
   */
  move(entry: CatalogEntry, to: string, after: Place): Promise<void> {
    return this.#change(entry, () => this.#move(entry, to, after));
  }

  async #move(entry: CatalogEntry, to: string, after: Place): Promise<void> {
    const from = entry.trash ?? entry.path;
    if (from !== to) {
      const inode = inodeOf(from);
      const intent = { op: 'move', ...by(), from, to, inode, after: placeOf(after) } as const;
      await this.#databases.catalog.write([{ ...entry, intent }]);
      try {
        moveFile(from, to, this.#self);
      } catch (error) {
        if (!mendMove(from, to, inode)) {
          // If that cannot be written, the next one who looks finds the file where it was.
          await this.#databases.catalog.write([entry]).catch(() => undefined);
          throw error;
        }
      }
    }
    await unlessWritten(this.#databases.catalog.write([{ ...entry, ...placeOf(after), intent: null }]));
  }

  /** What was begun by a daemon that was killed, or could not be finished. Never rejects. */
  async recover(entries: readonly CatalogEntry[]): Promise<void> {
    for (const entry of entries) {
      const { intent, id } = entry;
      if (intent === null || this.#changing.has(id)) continue;
      if (isAnothers(intent)) continue;
      try {
        await this.#change(entry, async () => {
          if (intent.op === 'create') return await this.#make(entry);
          const moved = mendMove(intent.from, intent.to, intent.inode);
          await this.#databases.catalog.write([{ ...entry, ...(moved ? intent.after : {}), intent: null }]);
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

  /**
   * The latest that was ever at this path, so that what comes there does not repeat an epoch with other contents.
   * @param except a dropped one that comes back: with nothing in between, it goes on where it was
   */
  knownOf(except: CatalogEntry | null, path: string, known: Position | null): Position | null {
    let latest = except?.position ?? null;
    const others = this.#databases.catalog.rows
      .all()
      .filter((entry) => entry.dropped !== null && entry.path === path && entry.id !== except?.id)
      .map(({ position }) => position);
    for (const position of [...others, ...(isTrace(known, except) ? [] : [known])])
      if (position !== null && (latest === null || position.epoch > latest.epoch)) latest = position;
    return latest;
  }
}

/** Another daemon on this data directory is in the middle of it. */
function isAnothers({ pid, at }: Intent): boolean {
  return pid !== process.pid && isAlive(pid) && Date.now() - Date.parse(at) < MAX_CHANGE_MS;
}

/** Who writes an intent, and when. */
function by(): Pick<Intent, 'pid' | 'at'> {
  return { pid: process.pid, at: new Date().toISOString() };
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

/** What the router remembers of a path is only that this very database has left it. */
function isTrace(known: Position | null, entry: CatalogEntry | null): boolean {
  const left = missingFile(entry?.position ?? null);
  return known !== null && known.id === null && known.rev === 0 && known.epoch <= left.epoch;
}

function placeOf({ name, path, dropped, trash, position }: Place): Place {
  return { name, path, dropped, trash, position };
}

function beingChanged(name: string, pid: number): SkylineError {
  return new SkylineError(
    'DATABASE_IN_USE',
    `The database ${name} is being changed by the daemon with pid ${pid}, or a change of it could not be finished: see the daemon's log. Try again.`,
  );
}
