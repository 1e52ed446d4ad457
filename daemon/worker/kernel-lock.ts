import { closeSync, constants, lstatSync, openSync, readSync, rmSync } from 'node:fs';
import Database from 'better-sqlite3';
import { codeOf } from '../../protocol/errors.js';
import { isBusy } from './sqlite-errors.js';

/** Who holds a lock. Written into the lock file for others to read. */
export interface LockOwner {
  readonly pid: number;
  /** The router's process: a worker whose router is gone is an orphan. */
  readonly routerPid: number;
  readonly endpoint: string;
}

/** The lock is somebody else's; `owner` is null when the holder was just changing. */
export interface LockRefusal {
  readonly owner: LockOwner | null;
}

/** The name is taken by something that is no lock of ours, and must not be touched. */
export class NotALockError extends Error {
  constructor(path: string) {
    super(`${path} is no lock of the daemon's`);
  }
}

/** All that a lock file holds, as SQLite stores it. */
const TABLE = 'CREATE TABLE owner (pid INTEGER, router_pid INTEGER, endpoint TEXT)';
/** A link is never followed: whoever may write to the folder could point it at any file of this user. Windows has no such flag. */
const OPEN_FLAGS = constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0);
const SQLITE_HEADER = 'SQLite format 3\0';
/** Opening can meet a file that its last owner is just deleting; a few rounds are plenty. */
const MAX_ROUNDS = 100;

/**
 * A lock that the kernel holds: a write transaction on a small SQLite database that is used for nothing else. It is free
 * the moment its process dies, however it dies, and it works the same on every platform that SQLite runs on.
 * (RESERVED: https://sqlite.org/lockingv3.html. One holder, and others can still read who it is.)
 *
 * POSIX drops all locks of a process on a file when it closes *any* descriptor of it, so nothing else in this process
 * may open the lock file while the lock is held.
 */
export class KernelLock {
  readonly #db: Database.Database;
  readonly #path: string;

  private constructor(db: Database.Database, path: string) {
    this.#db = db;
    this.#path = path;
  }

  /**
   * Takes the lock, or says who has it. Never waits for its holder.
   * @throws the system's or SQLite's error when the file cannot be made or is something else
   */
  static acquire(path: string, owner: LockOwner): KernelLock | LockRefusal {
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const lock = KernelLock.#tryOnce(path, owner);
      if (lock !== 'again') return lock;
    }
    return { owner: null };
  }

  static #tryOnce(path: string, owner: LockOwner): KernelLock | LockRefusal | 'again' {
    refuseOthers(path);
    closeSync(openSync(path, OPEN_FLAGS, 0o600));
    const before = inode(path);
    let db: Database.Database;
    try {
      db = new Database(path, { timeout: 50 });
    } catch (error) {
      if (codeOf(error) === 'SQLITE_CANTOPEN' && inode(path) !== before) return 'again';
      throw error;
    }
    let kept = false;
    try {
      // First of all: for a database of somebody else a journal mode would be a change.
      schemaOf(db, path);
      // Nothing in here must survive. A journal file would belong to a name, and while the file is deleted and made anew
      // two files have the same: whoever still has the old one open would play back and delete the other's journal.
      db.pragma('journal_mode = MEMORY');
      db.pragma('synchronous = OFF');
      db.exec('BEGIN IMMEDIATE');
      // Only an owner deletes the file: from here to the commit it stays the one that it is.
      if (before === undefined || inode(path) !== before) return 'again';
      db.exec(schemaOf(db, path).length === 0 ? TABLE : 'DELETE FROM owner');
      db.prepare('INSERT INTO owner VALUES (?, ?, ?)').run(owner.pid, owner.routerPid, owner.endpoint);
      db.exec('COMMIT');
      // Somebody may win the moment in between: then this fails.
      db.exec('BEGIN IMMEDIATE');
      // Somebody may have come, and gone again with the file, in the moment in between; or only come, and left its row.
      if (inode(path) !== before || readOwner(db)?.pid !== owner.pid) return 'again';
      kept = true;
      return new KernelLock(db, path);
    } catch (error) {
      if (isBusy(error)) return { owner: readOwner(db) };
      if (inode(path) !== before) return 'again';
      if (isDamaged(error) && isOurs(path)) {
        // Torn, by a power cut or a kill in the middle of the commit: nobody can hold a lock in it.
        rmSync(path, { force: true });
        return 'again';
      }
      throw error;
    } finally {
      if (!kept) db.close();
    }
  }

  /** Gives the lock back and removes the file. Idempotent. */
  release(): void {
    if (!this.#db.open) return;
    try {
      // Before closing: afterwards it could be the next owner's. Whoever opened it meanwhile notices the inode.
      rmSync(this.#path, { force: true });
    } catch {
      // Windows does not delete open files. An empty lock file harms nobody.
    }
    this.#db.close();
  }
}

/** @throws NotALockError */
function schemaOf(db: Database.Database, path: string): unknown[] {
  const found = db.prepare('SELECT sql FROM sqlite_schema').pluck().all();
  if (found.some((sql) => sql !== TABLE)) throw new NotALockError(path);
  return found;
}

function inode(path: string): bigint | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
}

/** Links, folders and pipes: opening one would reach another file, or wait for ever. */
function refuseOthers(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat !== undefined && !stat.isFile()) throw new NotALockError(path);
}

function readOwner(db: Database.Database): LockOwner | null {
  try {
    const row = db
      .prepare<[], { pid: number; router_pid: number; endpoint: string }>('SELECT * FROM owner')
      .get();
    return row === undefined ? null : { pid: row.pid, routerPid: row.router_pid, endpoint: row.endpoint };
  } catch {
    return null;
  }
}

function isDamaged(error: unknown): boolean {
  const code = codeOf(error);
  return code !== undefined && (code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB');
}

/** True for a file that begins as a SQLite database: anything else is the user's and stays. */
function isOurs(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    const header = Buffer.alloc(SQLITE_HEADER.length);
    readSync(fd, header, 0, header.length, 0);
    return header.toString('latin1') === SQLITE_HEADER;
  } finally {
    closeSync(fd);
  }
}
