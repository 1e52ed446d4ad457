import { messageOf, never, SkylineError } from '../protocol/errors.js';
import type { RequestId } from '../protocol/messages.js';
import type { RoutedDatabase } from './database.js';
import { lookAt, mustExist } from './identity.js';
import { keptName } from './kept-file.js';
import type { Logger } from './log.js';
import type { MaintenanceRecord, MaintenanceRecords } from './maintenance-records.js';
import { walBytes } from './worker/checkpoint.js';
import { discard, mendSwap } from './worker/copy.js';
import { factsOf, sameFacts } from './worker/file-facts.js';
import type { Position } from './worker/link.js';
import { missingFile } from './worker/position-table.js';
import { forgetWalIndex } from './worker/wal-index.js';
import type { WorkerProcess } from './worker-process.js';

/** Milliseconds for readers to leave, when the request does not say. */
export const DEFAULT_MAINTENANCE_MS = 5_000;
/** On top of a request's own timeout, before a worker that does not answer is given up. */
const ANSWER_GRACE_MS = 500;

/** Where a database stands after a maintenance request. */
export interface Standing {
  readonly rev: number;
  readonly epoch: number;
}

/**
 * Prepare, close, reopen, replace. The states and their edges are RoutedDatabase's; what is on disk is here: a database is
 * closed when its record says so, whichever processes live or die.
 */
export class Maintenance {
  readonly #records: MaintenanceRecords;
  readonly #log: Logger;

  constructor(records: MaintenanceRecords, log: Logger) {
    this.#records = records;
    this.#log = log;
  }

  /** Finishes what was queued, refuses new writes, and brings the whole WAL into the main file. */
  prepare(database: RoutedDatabase, timeoutMs: number): Promise<void> {
    return database.maintenance.exclusively('PrepareForMaintenance', async () => {
      if (database.state === 'closed') database.maintenance.refuseUnlessOpen();
      mustExist(database.path);
      if (database.state === 'open') database.maintenance.moveTo('preparing');
      try {
        await this.#prepare(database, timeoutMs);
      } catch (error) {
        database.maintenance.moveTo('open');
        throw error;
      }
    });
  }

  /** Afterwards no process of the daemon has the file open, and no WAL with contents is left. */
  close(database: RoutedDatabase, timeoutMs: number): Promise<void> {
    return database.maintenance.exclusively('CloseDatabase', async () => {
      if (database.state === 'closed') return;
      mustExist(database.path);
      await this.#shut(database, timeoutMs, (facts) => ({ ...facts, state: 'closed' }));
      database.maintenance.moveTo('closed');
    });
  }

  /** @returns whether it was closed, and where it stands now */
  reopen(database: RoutedDatabase, allowMissing: boolean): Promise<Standing & { reopened: boolean }> {
    return database.maintenance.exclusively('ReopenDatabase', async () => {
      switch (database.state) {
        case 'open':
          return { reopened: false, ...(await this.#standing(database)) };
        case 'preparing':
          database.maintenance.moveTo('open');
          return { reopened: true, ...(await this.#standing(database)) };
        case 'closed':
          return { reopened: true, ...(await this.#reopenClosed(database, allowMissing)) };
        default:
          return never(database.state);
      }
    });
  }

  /**
   * Puts a copy of another file in the database's place, as one step for everybody else: checked before, undone if
   * anything fails.
   * @returns where it stands now, and where the old file is kept
   */
  replace(
    database: RoutedDatabase,
    from: string,
    timeoutMs: number,
    id: RequestId | undefined,
    onEvent: (payload: Buffer) => void,
  ): Promise<Standing & { backup: string }> {
    return database.maintenance.exclusively('ReplaceDatabase', async () => {
      if (database.state === 'closed') database.maintenance.refuseUnlessOpen();
      mustExist(database.path);
      const helper = database.workers.newHelper();
      // A name of its own: the helper of a daemon that was killed removes its copy whenever it notices.
      const staged = `${database.path}.incoming-${helper.pid}`;
      try {
        const since = new Date().toISOString();
        this.#records.write({ db: database.path, state: 'staging', since, known: null, file: null, staged });
        await helper.order({ op: 'stage', from, staged, ...(id === undefined ? {} : { id }) }, 0, onEvent);
        let backup = '';
        const known = await this.#shut(database, timeoutMs, (facts) => {
          backup = keptName(database.path, (facts.known?.epoch ?? 1) + 1);
          return { ...facts, state: 'replacing', staged, backup };
        });
        const position = await this.#swapIn(database, helper, { staged, backup, known });
        return { ...standingOf(position), backup };
      } catch (error) {
        discard(staged);
        if (database.state !== 'closed') this.#records.remove(database.path);
        await helper.leave().catch((failure: unknown) => this.#log.warn(`helper: ${messageOf(failure)}`));
        throw error;
      }
    });
  }

  /** What a killed daemon left half done: the file is either the old or the new one, whole. Never rejects. */
  async recover(record: MaintenanceRecord, database: RoutedDatabase): Promise<void> {
    if (record.state === 'closed') return;
    try {
      if (record.staged !== undefined) discard(record.staged);
      if (record.state === 'staging') {
        this.#records.remove(database.path);
        return;
      }
      if (record.backup !== undefined) mendSwap(database.path, record.backup);
      const { rev, epoch } = await database.maintenance.exclusively('ReopenDatabase', () =>
        this.#reopenClosed(database, false),
      );
      this.#log.warn(
        { db: database.path, rev, epoch },
        `${record.state} was cut off; the database is open again`,
      );
    } catch (error) {
      this.#log.error(
        { db: database.path },
        `${record.state} was cut off, and could not be finished; the database is ${database.state}: ${messageOf(error)}`,
      );
    }
  }

  /**
   * Closes the file for a moment in which it may be moved, and remembers nothing of it: afterwards the database is open again,
   * whatever has happened.
   * @param work called when no process of the daemon has the file open, and its WAL is empty; told where it stood
   */
  away<T>(
    database: RoutedDatabase,
    operation: string,
    timeoutMs: number,
    work: (position: Position) => Promise<T>,
  ): Promise<T> {
    return database.maintenance.exclusively(operation, async () => {
      database.maintenance.refuseUnlessOpen();
      database.maintenance.moveTo('preparing');
      try {
        return await work(await this.#empty(database, timeoutMs));
      } finally {
        database.maintenance.moveTo('open');
      }
    });
  }

  /** Prepares and closes; writes the record last, when all of it is true. On failure the database is open again. Returns where it stood. */
  async #shut(
    database: RoutedDatabase,
    timeoutMs: number,
    record: (facts: Omit<MaintenanceRecord, 'state'>) => MaintenanceRecord,
  ): Promise<Position> {
    if (database.state === 'open') database.maintenance.moveTo('preparing');
    try {
      const position = await this.#empty(database, timeoutMs);
      const file = factsOf(database.path);
      this.#records.write(
        record({ db: database.path, since: new Date().toISOString(), known: position, file }),
      );
      return position;
    } catch (error) {
      database.maintenance.moveTo('open');
      throw error;
    }
  }

  /** Finishes the queue, empties the WAL and closes the file. Returns where it stood. */
  async #empty(database: RoutedDatabase, timeoutMs: number): Promise<Position> {
    const position = await this.#prepare(database, timeoutMs);
    await within(timeoutMs, database, database.closeWorker(Math.max(1, timeoutMs)));
    if (walBytes(database.path) > 0) {
      throw new SkylineError(
        'CHECKPOINT_BUSY',
        `${database.path}: another program has written to the database while it was being closed. Try again; the database is open again.`,
      );
    }
    return position;
  }

  /** Finishes the queue and empties the WAL. Returns where it stands, which nothing changes from here on. */
  async #prepare(database: RoutedDatabase, timeoutMs: number): Promise<Position> {
    const prepared = within(timeoutMs, database, database.order({ op: 'prepare', timeoutMs }));
    const position = (await prepared) as unknown as Position;
    database.prepared(position);
    return position;
  }

  async #swapIn(
    database: RoutedDatabase,
    helper: WorkerProcess,
    swap: { staged: string; backup: string; known: Position },
  ): Promise<Position> {
    database.maintenance.moveTo('closed');
    let position: Position;
    try {
      position = (await helper.order({ op: 'swap', ...swap })) as unknown as Position;
    } catch (error) {
      // The helper has put the old file back, or it was killed: then what is there is looked at as after a restart.
      discard(swap.staged);
      mendSwap(database.path, swap.backup);
      await this.#reopenClosed(database, false);
      throw error;
    }
    await database.adopt(helper);
    database.known = position;
    this.#records.remove(database.path);
    database.maintenance.moveTo('open');
    return position;
  }

  async #reopenClosed(database: RoutedDatabase, allowMissing: boolean): Promise<Standing> {
    const record = this.#records.read(database.path);
    const missing = lookAt(database.path) === undefined;
    if (missing && allowMissing) database.known = missingFile(database.known);
    else {
      const file = factsOf(database.path);
      const unchanged = record !== null && sameFacts(record.file, file);
      if (!unchanged && file !== null)
        forgetWalIndex(database.path, file.ino === record?.file?.ino && file.dev === record.file.dev);
      database.known = await this.#takeOver(database, record, unchanged);
    }
    database.fileId = lookAt(database.path);
    this.#records.remove(database.path);
    database.maintenance.moveTo('open');
    return standingOf(database.known);
  }

  /**
   * Opens the file of a closed database. From its first write on, a WAL with contents lies beside it, so that it must not
   * count as closed any more: whoever is killed then, the reopening is finished by the next one.
   */
  async #takeOver(
    database: RoutedDatabase,
    record: MaintenanceRecord | null,
    unchanged: boolean,
  ): Promise<Position> {
    const order = { op: 'reopen', unchanged, wasEmpty: record?.file?.size === '0' } as const;
    if (record?.state === 'closed' && !unchanged) this.#records.write({ ...record, state: 'reopening' });
    try {
      try {
        return (await database.order(order)) as unknown as Position;
      } catch (error) {
        if (!(error instanceof SkylineError) || error.code !== 'WORKER_CRASHED') throw error;
        return (await database.order(order)) as unknown as Position;
      }
    } catch (error) {
      await database.closeWorker();
      if (record?.state === 'closed' && !unchanged) this.#records.write(record);
      throw error;
    }
  }

  async #standing(database: RoutedDatabase): Promise<Standing> {
    if (lookAt(database.path) === undefined) return standingOf(database.known);
    return standingOf((await database.order({ op: 'position' })) as unknown as Position);
  }
}

function standingOf(position: Position | null): Standing {
  return { rev: position?.rev ?? 0, epoch: position?.epoch ?? 1 };
}

/**
 * Bounds the wait for a worker that is in the middle of something long.
 * @throws SkylineError `TIMEOUT`
 */
async function within<T>(timeoutMs: number, database: RoutedDatabase, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new SkylineError(
          'TIMEOUT',
          `${database.path}: the batches before it were not finished within ${timeoutMs} ms. The database is open again; allow more time.`,
        ),
      );
    }, timeoutMs + ANSWER_GRACE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
