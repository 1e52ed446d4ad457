import { closeSync, constants, existsSync, openSync, rmSync, writeSync } from 'node:fs';
import Database from 'better-sqlite3';
import { codeOf } from '../../protocol/errors.js';
import { walBytes } from './checkpoint.js';

/** The two copies of its header: https://sqlite.org/walformat.html#the_wal_index_header */
const HEADER_BYTES = 96;

/**
 * Makes SQLite look at a database's file anew, although a program kept it open while it was exchanged and so kept its
 * `-shm`, which still tells of the old contents: their number of pages makes the new ones look malformed.
 * Only a process without a connection to the database may do this: closing the file drops a process's locks on it.
 * @param sameFile it was overwritten in place: whoever has it open goes on with the new contents
 */
export function forgetWalIndex(path: string, sameFile: boolean): void {
  if (!sameFile) {
    // They keep the old file, and must not share a WAL with the new one.
    if (walBytes(path) === 0) rmSync(`${path}-wal`, { force: true });
    rmSync(`${path}-shm`, { force: true });
    return;
  }
  let fd: number;
  try {
    fd = openSync(`${path}-shm`, constants.O_RDWR | (constants.O_NOFOLLOW ?? 0));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  try {
    writeSync(fd, Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
  } finally {
    closeSync(fd);
  }
}

/**
 * Makes SQLite build the WAL index anew from an empty WAL, so that it tells nothing of the file: not how many pages it has, which
 * would make another one look damaged that is put in its place. Whoever may not write the `-shm` can go on reading, too.
 * Only a process without a connection to the database may do this, as above. Where it fails, all is as it was.
 */
export function renewWalIndex(path: string): void {
  if (!existsSync(`${path}-shm`) || walBytes(path) > 0) return;
  try {
    forgetWalIndex(path, true);
    const db = new Database(path, { readonly: true, fileMustExist: true });
    try {
      db.pragma('schema_version');
    } finally {
      db.close();
    }
  } catch {
    // Somebody holds a lock, or may write what this user may not: the file itself is not touched.
  }
}
