import { statSync } from 'node:fs';
import { SkylineError } from '../../protocol/errors.js';
import { checkFile } from './check-file.js';
import { walBytes } from './checkpoint.js';
import { discard, quickCheck, swap, swapBack } from './copy.js';
import type { Order, Position, WorkerOptions } from './link.js';
import { acquireOwnership } from './owner-lock.js';
import { nextEpoch } from './position-table.js';
import type { ServedDatabase } from './served-database.js';
import { fromSqlite } from './sqlite-errors.js';

/** Opening a file that may be another one than before. */

/**
 * Opens a database that was closed for maintenance: checks it, and raises the epoch unless the file is untouched.
 * @param unchanged nothing about the file differs from when it was closed
 * @param wasEmpty it had no bytes then: otherwise an empty file is a copy that went wrong
 * @throws SkylineError `DATABASE_NOT_FOUND`, `NOT_A_DATABASE`, `DATABASE_CORRUPT`, …; the database stays closed
 */
export async function reopen(
  database: ServedDatabase,
  known: Position | null,
  { unchanged, wasEmpty }: { unchanged: boolean; wasEmpty: boolean },
): Promise<Position> {
  const { path } = database;
  if (!checkFile(path)) {
    throw new SkylineError(
      'DATABASE_NOT_FOUND',
      `${path} is not there; the database stays closed. Put the file back, or say "allow_missing": true (--allow-missing) to begin anew.`,
    );
  }
  if (!wasEmpty && statSync(path).size === 0 && walBytes(path) === 0) {
    throw new SkylineError(
      'NOT_A_DATABASE',
      `${path} is empty; the database stays closed. Put the right file there.`,
    );
  }
  try {
    if (unchanged) await database.open();
    else await database.open((file) => nextEpoch(known, file));
    quickCheck((await database.file()).connection.handle, path);
    if (!unchanged) await database.savePosition();
    return database.position;
  } catch (error) {
    database.close();
    throw fromSqlite(error, path);
  }
}

/**
 * Puts the staged file in place, and the old one back if it cannot be served. The owner lock is held throughout: no
 * other daemon can open either file in between.
 */
export async function swapIn(
  database: ServedDatabase,
  options: WorkerOptions,
  { staged, backup: kept, known }: Extract<Order, { op: 'swap' }>,
): Promise<Position> {
  const { path } = database;
  try {
    const owner = await acquireOwnership(options);
    try {
      swap(path, staged, kept);
    } catch (error) {
      owner.release();
      throw error;
    }
    try {
      await database.open((file) => nextEpoch(known, file), owner);
      await database.savePosition();
      return database.position;
    } catch (error) {
      database.close();
      swapBack(path, kept);
      throw fromSqlite(error, path);
    }
  } finally {
    discard(staged);
  }
}
