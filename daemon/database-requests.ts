import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { invalidRequest, never, SkylineError } from '../protocol/errors.js';
import type {
  BackupRequest,
  CatalogRequest,
  CheckpointRequest,
  ReplaceDatabaseRequest,
  RequestId,
  RoutedRequest,
} from '../protocol/messages.js';
import { VERSION } from '../protocol/transport/this-package.js';
import type { DaemonRequest } from './daemon-requests.js';
import type { RoutedDatabase } from './database.js';
import type { Databases } from './databases.js';
import { lookAt, mustExist } from './identity.js';
import { DEFAULT_MAINTENANCE_MS, type Maintenance } from './maintenance.js';
import type { PassedOn } from './passed-on.js';
import type { Said } from './status.js';
import { alreadyThere, discard } from './worker/copy.js';
import type { Position } from './worker/link.js';

/** Milliseconds between two looks at whether it can be told where a database stands. */
const TOLD_POLL_MS = 5;

/** Requests about one database, other than its batches and who watches it. */
export type DatabaseRequest = Exclude<
  RoutedRequest,
  CatalogRequest | DaemonRequest | PassedOn | { type: 'Subscribe' | 'Unsubscribe' | 'Cancel' }
>;

/**
 * Requests that take a database's file away for a while. What a client sends next for this database has to wait for its
 * own: they decide whether it is open.
 */
export const MAINTENANCE: ReadonlySet<string> = new Set([
  'PrepareForMaintenance',
  'CloseDatabase',
  'ReopenDatabase',
  'ReplaceDatabase',
]);

/** Whoever asks. */
export interface Asker {
  /** The client's connection: its earlier batches for the database come first. */
  readonly lane: number;
  readonly id: RequestId | undefined;
  /** Whether the client has other requests without an answer. */
  readonly busy: boolean;
  event(payload: Buffer): void;
  /** What others have said of themselves. */
  readonly said: Said;
}

/** Carries out what is asked of one database. */
export class DatabaseRequests {
  readonly #databases: Databases;
  readonly #maintenance: Maintenance;

  constructor(databases: Databases, maintenance: Maintenance) {
    this.#databases = databases;
    this.#maintenance = maintenance;
  }

  /**
   * @returns the reply's fields
   * @throws SkylineError
   */
  async answer(database: RoutedDatabase, request: DatabaseRequest, asker: Asker): Promise<object> {
    if (MAINTENANCE.has(request.type)) this.#refuseCatalog(database.path);
    switch (request.type) {
      case 'Ping':
        return await this.#ping(database, asker);
      case 'Backup':
        return await this.#backup(database, request, asker);
      case 'Checkpoint':
        return await this.#checkpoint(database, request, asker);
      case 'Attach':
        return { ...(await this.#attach(database, asker)) };
      case 'PrepareForMaintenance':
        await this.#maintenance.prepare(database, request.timeout_ms ?? DEFAULT_MAINTENANCE_MS);
        return { checkpointed: true };
      case 'CloseDatabase':
        await this.#maintenance.close(database, request.timeout_ms ?? DEFAULT_MAINTENANCE_MS);
        return { closed: true };
      case 'ReopenDatabase':
        return await this.#maintenance.reopen(database, request.allow_missing ?? false);
      case 'ReplaceDatabase':
        return await this.#replace(database, request, asker);
      default:
        return never(request);
    }
  }

  /** The daemon needs it whenever a name is used. */
  #refuseCatalog(path: string): void {
    if (path !== this.#databases.catalog.path) return;
    throw new SkylineError(
      'DATABASE_NOT_ALLOWED',
      `${path} is the catalog of named databases, which the daemon alone closes and changes. End the daemon to exchange it; Backup and reading are allowed.`,
    );
  }

  async #ping(database: RoutedDatabase, asker: Asker): Promise<object> {
    const position = await this.#position(database, asker);
    return {
      version: VERSION,
      db_path: database.path,
      exists: database.replacing || lookAt(database.path) !== undefined,
      state: database.state,
      rev: position?.rev ?? 0,
      epoch: position?.epoch ?? 1,
    };
  }

  /** Where it stands: not less than anybody was answered. */
  async #position(database: RoutedDatabase, asker: Asker): Promise<Position | null> {
    for (;;) {
      const { state, worker, known, behind, attached } = database;
      const serving = worker?.state === 'serving';
      if (state === 'open') {
        // Behind this client's own batches, so that it sees their rev, and the file that the first of them makes; otherwise
        // what is known is as good.
        const ask = mayExist(database) && (known === null || !serving || behind || asker.busy);
        if (!ask) return known;
        return (await database.order({ op: 'position' }, asker.lane)) as unknown as Position;
      }
      if (state === 'closed' || !behind) return known;
      // While it is being prepared, the worker can still tell, beside what it is at.
      const told = serving && attached ? await worker.order({ op: 'stats' }).catch(() => null) : null;
      if (told !== null) return told as unknown as Position;
      // It has ended, and with it the preparing, as soon as that is heard; or the next one prepares, and tells at its end.
      await sleep(TOLD_POLL_MS);
    }
  }

  async #attach(database: RoutedDatabase, asker: Asker): Promise<object> {
    const { endpoint, rev, epoch } = await database.attach(asker.lane);
    return { endpoint, db_path: database.path, rev, epoch };
  }

  async #checkpoint(database: RoutedDatabase, request: CheckpointRequest, asker: Asker): Promise<object> {
    database.maintenance.refuseUnlessOpen();
    if (!mayExist(database)) mustExist(database.path);
    return await database.order({ op: 'checkpoint', mode: request.mode ?? 'passive' }, asker.lane);
  }

  async #backup(database: RoutedDatabase, request: BackupRequest, asker: Asker): Promise<object> {
    database.maintenance.refuseUnlessOpen();
    if (!mayExist(database)) mustExist(database.path);
    const to = this.#databases.checkFile(request.to, 'to');
    lookAt(to);
    this.#refuseCatalog(to);
    if (to === database.path || (this.#databases.find(to)?.worker ?? null) !== null) {
      throw new SkylineError('DATABASE_NOT_ALLOWED', `${to} is a database in use. Back up to another file.`);
    }
    if (request.overwrite !== true && existsSync(to)) throw alreadyThere(to);
    const id = asker.id === undefined ? {} : { id: asker.id };
    const partial = `${to}.partial-${randomUUID().slice(0, 8)}`;
    try {
      return await database.order(
        { op: 'backup', to, partial, overwrite: request.overwrite ?? false, ...id },
        asker.lane,
        (event) => asker.event(event),
      );
    } catch (error) {
      // A worker that was killed has left it.
      discard(partial);
      throw error;
    }
  }

  async #replace(database: RoutedDatabase, request: ReplaceDatabaseRequest, asker: Asker): Promise<object> {
    const from = this.#databases.checkFile(request.from, 'from');
    if (from === database.path)
      throw invalidRequest('"from" is the database itself. Name the file with the new contents.');
    const timeoutMs = request.timeout_ms ?? DEFAULT_MAINTENANCE_MS;
    const done = await this.#maintenance.replace(database, from, timeoutMs, asker.id, (event) =>
      asker.event(event),
    );
    return { replaced: true, ...done };
  }
}

/** False only if the file is not there and no batch is on its way that could make it. The worker looks again. */
function mayExist(database: RoutedDatabase): boolean {
  return database.replacing || database.depth > 0 || lookAt(database.path) !== undefined;
}
