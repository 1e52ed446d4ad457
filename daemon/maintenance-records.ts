import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf, SkylineError } from '../protocol/errors.js';
import type { FileFacts } from './worker/file-facts.js';
import type { Position } from './worker/link.js';
import { isAlive, syncFolder } from './worker/system.js';

/** Written when a database is closed or being replaced; gone when it is open. Outlives every process. */
export interface MaintenanceRecord {
  readonly db: string;
  /**
   * `staging`: the copy that will replace it is being made, and the database is open meanwhile.
   * `reopening`: an exchanged file is being opened, and may have a WAL with contents again.
   */
  readonly state: 'staging' | 'closed' | 'replacing' | 'reopening';
  readonly since: string;
  /** Where the database stood. */
  readonly known: Position | null;
  /** As it was when it was closed. */
  readonly file: FileFacts | null;
  /** While staging and replacing: where the copy waits; while replacing: where the old file will be kept. */
  readonly staged?: string;
  readonly backup?: string;
}

/**
 * The maintenance records: one small file per database in the state folder, written by the router alone. Which name
 * belongs to which database is decided by the hash of its path, since paths can be longer than file names.
 */
export class MaintenanceRecords {
  readonly #folder: string;

  constructor(stateDir: string) {
    this.#folder = join(stateDir, 'maintenance');
  }

  read(db: string): MaintenanceRecord | null {
    return this.#load(this.#path(db));
  }

  /** The record that keeps a database closed; null when it is open. */
  closed(db: string): MaintenanceRecord | null {
    const record = this.read(db);
    return record?.state === 'staging' ? null : record;
  }

  /** Removes what a daemon that was killed while it wrote a record has left. */
  sweep(): void {
    for (const name of this.#names()) {
      const writer = /\.(\d+)\.new$/.exec(name)?.[1];
      if (writer !== undefined && !isAlive(Number(writer))) rmSync(join(this.#folder, name), { force: true });
    }
  }

  /** @param onBroken told of each that cannot be read: one of them must not keep the daemon from starting */
  all(onBroken: (error: unknown) => void): MaintenanceRecord[] {
    return this.#names()
      .filter((name) => name.endsWith('.json'))
      .map((name) => {
        try {
          return this.#load(join(this.#folder, name));
        } catch (error) {
          onBroken(error);
          return null;
        }
      })
      .filter((record) => record !== null);
  }

  /** On disk when this returns: a record that a power cut takes back would open a closed database. */
  write(record: MaintenanceRecord): void {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const path = this.#path(record.db);
    const fresh = `${path}.${process.pid}.new`;
    writeFileSync(fresh, `${JSON.stringify(record, null, 2)}\n`, { mode: 0o600, flush: true });
    renameSync(fresh, path);
    syncFolder(path);
  }

  remove(db: string): void {
    const path = this.#path(db);
    rmSync(path, { force: true });
    syncFolder(path);
  }

  #names(): string[] {
    try {
      return readdirSync(this.#folder);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
  }

  #path(db: string): string {
    return join(this.#folder, `${createHash('sha256').update(db).digest('hex').slice(0, 32)}.json`);
  }

  #load(path: string): MaintenanceRecord | null {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return null;
      throw error;
    }
    try {
      return JSON.parse(text) as MaintenanceRecord;
    } catch (error) {
      // Whether the database is closed is unknown: it must not be served.
      throw new SkylineError(
        'IO_ERROR',
        `The maintenance record ${path} is damaged. If nobody is at work on its database, remove the record.`,
        { cause: error },
      );
    }
  }
}
