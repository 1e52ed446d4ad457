import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { codeOf, SkylineError } from '../../protocol/errors.js';
import { walBytes } from './checkpoint.js';
import { describeHolders, walReaders } from './lock-holders.js';
import { fromSqlite } from './sqlite-errors.js';
import { syncFolder } from './system.js';

/** Told while pages are copied. */
export type OnProgress = (pagesDone: number, pagesTotal: number) => void;

/** Pages per step: between two steps the worker serves others. */
const PAGES_PER_STEP = 256;
/** After so many restarts by another writer, the rest is copied in one step, which always ends. */
const MAX_RESTARTS = 3;
const ALL_PAGES = 0x7fff_ffff;
/** Milliseconds between two looks at whether a client's transaction is over. */
const BUSY_POLL_MS = 20;

/**
 * Copies a database through SQLite's backup interface (https://sqlite.org/backup.html) while it goes on being written.
 * The copy appears under its name only when it is whole and on disk.
 * @param partial its name until then
 * @param overwrite whether a file at `to` may be replaced
 * @throws SkylineError
 */
export async function backup(
  source: Database.Database,
  { to, partial, overwrite }: { to: string; partial: string; overwrite: boolean },
  onProgress: OnProgress,
) {
  try {
    refuseInUse(to);
    const pages = await copyPages(source, partial, onProgress);
    // No more readable than what it is a copy of.
    chmodSync(partial, statSync(source.name).mode & 0o777);
    syncFile(partial);
    refuseInUse(to);
    if (overwrite) renameSync(partial, to);
    else linkSync(partial, to);
    syncFolder(to);
    return { pages, bytes: statSync(to).size };
  } catch (error) {
    if (codeOf(error) === 'EEXIST') throw alreadyThere(to);
    throw copyFailure(error, to);
  } finally {
    discard(partial);
  }
}

/** A new file beside another one's WAL would be a corrupt database. */
function refuseInUse(to: string): void {
  const companion = ['-wal', '-shm', '-journal'].find((suffix) => existsSync(`${to}${suffix}`));
  if (companion === undefined) return;
  throw new SkylineError(
    'DATABASE_NOT_ALLOWED',
    `${to} is a database that a program has open, or was left by one in the middle of its work (there is a ${companion}). Back up to another file.`,
  );
}

export function alreadyThere(path: string): SkylineError {
  return new SkylineError(
    'INVALID_REQUEST',
    `${path} exists already. Choose another name, or say "overwrite": true (--overwrite).`,
  );
}

/** Returns the number of pages. */
async function copyPages(source: Database.Database, to: string, onProgress: OnProgress): Promise<number> {
  for (;;) {
    const pages = await copyOnce(source, to, onProgress);
    // While a client's transaction writes, SQLite copies nothing; before the first page better-sqlite3 takes that for the end.
    if (pages > 0 || source.pragma('page_count', { simple: true }) === 0) return pages;
    await sleep(BUSY_POLL_MS);
  }
}

async function copyOnce(source: Database.Database, to: string, onProgress: OnProgress): Promise<number> {
  let restarts = 0;
  let lastRemaining = Number.POSITIVE_INFINITY;
  const { totalPages } = await source.backup(to, {
    progress: ({ totalPages: total, remainingPages: remaining }) => {
      if (remaining > lastRemaining) restarts += 1;
      lastRemaining = remaining;
      onProgress(total - remaining, total);
      return restarts >= MAX_RESTARTS ? ALL_PAGES : PAGES_PER_STEP;
    },
  });
  if (totalPages > 0) onProgress(totalPages, totalPages);
  return totalPages;
}

/**
 * Makes a checked copy of a database that is to replace another, on the same file system as that one.
 * @throws SkylineError `DATABASE_NOT_FOUND`, `NOT_A_DATABASE`, `DATABASE_CORRUPT`, `DISK_FULL`, …; nothing is left then
 */
export async function stage(from: string, staged: string, onProgress: OnProgress): Promise<void> {
  try {
    const before = statSync(from, { throwIfNoEntry: false });
    if (before === undefined) {
      throw new SkylineError('DATABASE_NOT_FOUND', `There is no file at ${from}. The database is as it was.`);
    }
    if (!before.isFile())
      throw new SkylineError(
        'DATABASE_NOT_ALLOWED',
        `${from} is no regular file. The database is as it was.`,
      );
    if (before.size === 0)
      throw new SkylineError('NOT_A_DATABASE', `${from} is empty. The database is as it was.`);
    if (inUse(from)) await copyThroughSqlite(from, staged, onProgress);
    else copyAtRest(from, staged, onProgress);
    // Until the swap gives it the database's own: the source may be read-only.
    chmodSync(staged, 0o600);
    checkDatabase(staged, from);
    syncFile(staged);
  } catch (error) {
    discard(staged);
    throw copyFailure(error, from);
  }
}

/** Removes a staged copy and whatever SQLite left beside it. */
export function discard(staged: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(`${staged}${suffix}`, { force: true });
}

/** Whoever has a database in WAL mode open keeps its `-shm`; a `-journal` may belong to a transaction in progress. */
function inUse(path: string): boolean {
  return ['-shm', '-journal'].some((suffix) => existsSync(`${path}${suffix}`));
}

/** Somebody may be using it: only SQLite knows what belongs to it. */
async function copyThroughSqlite(from: string, staged: string, onProgress: OnProgress): Promise<void> {
  const source = new Database(from, { readonly: true, fileMustExist: true, timeout: 5_000 });
  try {
    await copyPages(source, staged, onProgress);
  } finally {
    source.close();
  }
}

/** A plain copy, with the WAL if one was left: a read-only connection would leave a `-shm` beside the source. */
function copyAtRest(from: string, staged: string, onProgress: OnProgress): void {
  onProgress(0, 1);
  const before = ['', '-wal'].map((suffix) => versionOf(`${from}${suffix}`));
  copyFileSync(from, staged, constants.COPYFILE_FICLONE);
  if (existsSync(`${from}-wal`)) copyFileSync(`${from}-wal`, `${staged}-wal`);
  const after = ['', '-wal'].map((suffix) => versionOf(`${from}${suffix}`));
  if (inUse(from) || before.join() !== after.join()) {
    throw new SkylineError(
      'BUSY',
      `${from} was changed while it was copied. Try again when it is finished; the database is as it was.`,
    );
  }
  onProgress(1, 1);
}

/** Differs when the file has been written. */
function versionOf(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? 'none' : `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}`;
}

/** @throws SkylineError `NOT_A_DATABASE`, `DATABASE_CORRUPT` */
function checkDatabase(path: string, name: string): void {
  const db = new Database(path, { fileMustExist: true });
  try {
    quickCheck(db, name);
  } finally {
    db.close();
  }
}

/**
 * https://sqlite.org/pragma.html#pragma_quick_check
 * @param name the file that the message is about
 * @throws SkylineError `NOT_A_DATABASE`, `DATABASE_CORRUPT`
 */
export function quickCheck(db: Database.Database, name: string): void {
  try {
    const found = db.pragma('quick_check(1)', { simple: true });
    if (found === 'ok') return;
    throw new SkylineError(
      'DATABASE_CORRUPT',
      `${name} fails SQLite's quick_check: ${String(found)}. Get the file again from where it came.`,
    );
  } catch (error) {
    throw fromSqlite(error, name);
  }
}

/**
 * Puts the staged file into the place of a database that nobody of the daemon has open, in one step. The old file stays
 * as `kept`. The WAL's files go first: a new main file beside an old WAL is a corrupt database.
 * @throws SkylineError `CHECKPOINT_BUSY` when the WAL has contents again: another program wrote
 */
export function swap(path: string, staged: string, kept: string): void {
  if (walBytes(path) > 0) {
    const holders = walReaders(path);
    throw new SkylineError(
      'CHECKPOINT_BUSY',
      `${path}: another program has written to the database meanwhile (${describeHolders(holders)}). Try again when it is done.`,
      {
        details: { holders },
      },
    );
  }
  chmodSync(staged, statSync(path).mode & 0o777);
  removeWal(path);
  try {
    linkSync(path, kept);
  } catch (error) {
    if (codeOf(error) === 'EEXIST') throw alreadyThere(kept);
    // No hard links on this file system: then there is a moment without a file, which the maintenance record covers.
    renameSync(path, kept);
  }
  try {
    renameSync(staged, path);
  } catch (error) {
    mendSwap(path, kept);
    throw error;
  }
  syncFolder(path);
}

/** After a swap that was cut off between its steps: the old file has its own name again, and only that. */
export function mendSwap(path: string, kept: string): void {
  const old = statSync(kept, { bigint: true, throwIfNoEntry: false });
  if (old === undefined) return;
  // Of a link to the old file, the link: removing what it leads to would lose the file.
  const now = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (now === undefined) renameSync(kept, path);
  else if (now.ino === old.ino && now.dev === old.dev) rmSync(kept);
}

/** The inverse of {@link swap}, when the new file turned out to be of no use. */
export function swapBack(path: string, kept: string): void {
  removeWal(path);
  renameSync(kept, path);
  syncFolder(path);
}

function removeWal(path: string): void {
  for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
}

function copyFailure(error: unknown, path: string): unknown {
  const code = codeOf(error);
  if (error instanceof SkylineError) return error;
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
    return new SkylineError(
      'DISK_FULL',
      `${path}: no space for the copy. Make space on the disk, then try again.`,
      { cause: error },
    );
  }
  if (code === 'ENOENT') {
    return new SkylineError('INVALID_REQUEST', `${path}: its folder does not exist. Make the folder first.`, {
      cause: error,
    });
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new SkylineError(
      'DATABASE_READONLY',
      `${path}: not permitted (${code}). See the permissions of the file and its folder.`,
      { cause: error },
    );
  }
  return fromSqlite(error, path);
}

function syncFile(path: string): void {
  const fd = openSync(path, 'r+');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
