import BetterSqlite3 from 'better-sqlite3';
import {
  ADD_TO_COUNTER,
  blobOf,
  counterOf,
  INSERT_BLOB,
  INSERT_ENTRY,
  loadOf,
  NOTE,
  READ_COUNTER,
  rowsOfBatch,
} from '../loads.mjs';
import { countFiles, makeFiles, randomNumbers } from './sqlite-file.mjs';

/** @typedef {import('./index.mjs').Subject} Subject */

const BUSY_TIMEOUT_MS = 5_000;
/** Databases that one process keeps open, like the daemon's --max-workers. */
const MAX_OPEN = 32;

/** @type {Pick<Subject, 'pipelines' | 'durabilities' | 'missing' | 'version' | 'start'>} */
const common = {
  // Its calls return when they are done.
  pipelines: false,
  durabilities: ['normal', 'full'],
  missing: () => null,
  version: () => {
    const db = new BetterSqlite3(':memory:');
    const version = db.prepare('SELECT sqlite_version()').pluck().get();
    db.close();
    return `SQLite ${version}`;
  },
  start: async (ground, setting) => {
    const folder = ground.folder('direct');
    const files = makeFiles(folder, setting);
    return {
      pids: [],
      target: { files, durability: setting.durability },
      finish: async () => {
        const count = countFiles(files, setting.load);
        ground.remove(folder);
        return count;
      },
    };
  },
};

/** @type {Subject} */
export const direct = {
  ...common,
  name: 'direct',
  what: 'better-sqlite3 in each client process, WAL, BEGIN IMMEDIATE, busy timeout 5 s',
  loads: ['insert', 'rmw', 'batch100', 'blob1k', 'blob1m', 'many'],
  connect: async (target, work) => new DirectSession(target, work, 'BEGIN IMMEDIATE'),
};

/** @type {Subject} */
export const directPlain = {
  ...common,
  name: 'direct-plain',
  what: 'the same with a plain BEGIN and a read first, as many programs do it',
  loads: ['insert', 'rmw'],
  connect: async (target, work) => new DirectSession(target, work, 'BEGIN'),
};

/** One process that writes the file by itself. */
class DirectSession {
  #files;
  #durability;
  #begin;
  #work;
  #random;
  #blob;
  /** @type {Map<string, OpenFile>} */
  #open = new Map();

  /**
   * @param {{ files: string[], durability: string }} target
   * @param {import('./index.mjs').Work} work
   * @param {string} begin
   */
  constructor({ files, durability }, work, begin) {
    this.#files = files;
    this.#durability = durability;
    this.#begin = begin;
    this.#work = work;
    this.#random = randomNumbers(work.client);
    this.#blob = blobOf(loadOf(work.load).bytes);
    this.#current();
  }

  /**
   * @param {number} slot
   * @param {number} n
   */
  batch(slot, n) {
    const file = this.#current();
    file.begin.run();
    try {
      if (this.#begin === 'BEGIN') file.look.get();
      this.#write(file, slot, n);
      file.commit.run();
    } catch (error) {
      if (file.db.inTransaction) file.rollback.run();
      throw error;
    }
  }

  close() {
    for (const { db } of this.#open.values()) db.close();
  }

  /**
   * @param {OpenFile} file
   * @param {number} slot
   * @param {number} n
   */
  #write({ insert, read, add }, slot, n) {
    const { load, client } = this.#work;
    switch (load) {
      case 'insert':
        insert.run(client, n, NOTE);
        return;
      case 'rmw': {
        const id = counterOf(client, slot);
        read.get(id);
        if (add.run(id).changes !== 1) throw new Error('The counter is missing.');
        return;
      }
      case 'batch100':
        for (const row of rowsOfBatch(client, n)) insert.run(...row);
        return;
      default:
        insert.run(client, this.#blob);
    }
  }

  /** The database whose turn it is, opened if it is not; the one unused for longest makes room. */
  #current() {
    const path = this.#files[this.#files.length === 1 ? 0 : this.#random(this.#files.length)] ?? '';
    let file = this.#open.get(path);
    if (this.#files.length === 1 && file !== undefined) return file;
    this.#open.delete(path);
    if (this.#open.size >= MAX_OPEN) {
      const [oldest = ''] = this.#open.keys();
      this.#open.get(oldest)?.db.close();
      this.#open.delete(oldest);
    }
    file ??= openFile(path, this.#durability, this.#begin, this.#work.load);
    this.#open.set(path, file);
    return file;
  }
}

/** @typedef {ReturnType<typeof openFile>} OpenFile */

/**
 * @param {string} path
 * @param {string} durability
 * @param {string} begin
 * @param {string} load
 */
function openFile(path, durability, begin, load) {
  const db = new BetterSqlite3(path, { timeout: BUSY_TIMEOUT_MS });
  db.pragma(`synchronous = ${durability}`);
  const table = load === 'rmw' ? 'counters' : load.startsWith('blob') ? 'blobs' : 'entries';
  const empty = db.prepare('SELECT 1');
  return {
    db,
    begin: db.prepare(begin),
    commit: db.prepare('COMMIT'),
    rollback: db.prepare('ROLLBACK'),
    look: db.prepare(`SELECT max(id) FROM ${table}`),
    insert: table === 'counters' ? empty : db.prepare(table === 'blobs' ? INSERT_BLOB : INSERT_ENTRY),
    read: table === 'counters' ? db.prepare(READ_COUNTER) : empty,
    add: table === 'counters' ? db.prepare(ADD_TO_COUNTER) : empty,
  };
}
