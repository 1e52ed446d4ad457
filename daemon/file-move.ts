import { existsSync, linkSync, lstatSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { codeOf, messageOf, SkylineError } from '../protocol/errors.js';
import { walBytes } from './worker/checkpoint.js';
import { KernelLock, type LockOwner } from './worker/kernel-lock.js';
import { ownerLockPath } from './worker/owner-lock.js';
import { syncFolder } from './worker/system.js';

/**
 * Gives the file of a database that no worker has open another name, on the same file system, never in the place of
 * another file. For a moment it has both names: {@link mendMove} ends that when the moment was the last.
 * @throws SkylineError `DATABASE_IN_USE`, `DATABASE_EXISTS`, `IO_ERROR`
 */
export function moveFile(from: string, to: string, self: LockOwner): void {
  const lock = ownership(from, self);
  try {
    // A main file without its WAL or journal would lose what was in there.
    if (walBytes(from) > 0 || existsSync(`${from}-journal`))
      throw new SkylineError(
        'DATABASE_IN_USE',
        `${from}: another program has just written to it. Try again.`,
      );
    mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
    if (companions(to).some((path) => existsSync(path)))
      throw new SkylineError(
        'DATABASE_EXISTS',
        `Beside ${to} lies what a database of that name has left (-wal, -shm or -journal). Move it away, or choose another name.`,
      );
    if (isSpellingOf(from, to)) renameSync(from, to);
    else {
      link(from, to);
      syncFolder(to);
      removeName(from);
    }
    syncFolder(to);
  } catch (error) {
    throw error instanceof SkylineError ? error : unmoved(from, to, error);
  } finally {
    lock.release();
  }
}

/**
 * After a move that was cut off: the file has one name again.
 * @param inode the file's, as it was before
 * @returns whether that is the new one
 */
export function mendMove(from: string, to: string, inode: string): boolean {
  const after = fileAt(to);
  if (after === undefined || inodeOf(to) !== inode) return false;
  const before = fileAt(from);
  if (before === undefined) return true;
  if (before.ino !== after.ino || before.dev !== after.dev) return false;
  if (isSpellingOf(from, to)) renameSync(from, to);
  else removeName(from);
  return true;
}

/** What stays the same of a file whatever its name is. */
export function inodeOf(path: string): string {
  return String(fileAt(path)?.ino);
}

/** Both name one file, which has one name: a file system that ignores letter case. */
function isSpellingOf(from: string, to: string): boolean {
  const [one, other] = [fileAt(from), fileAt(to)];
  return one !== undefined && one.ino === other?.ino && one.dev === other.dev && one.nlink === 1n;
}

/** Of a link, itself: it is no name of the file that it leads to, which would be lost if it were taken for one. */
function fileAt(path: string) {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false });
}

/** Removes a database's file, or one of its two names. */
export function removeName(path: string): void {
  for (const companion of companions(path)) rmSync(companion, { force: true });
  rmSync(path, { force: true });
  syncFolder(path);
}

/** Whether a move between these would be one of names only. */
export function onOneFileSystem(file: string, folder: string): boolean {
  return statSync(file, { throwIfNoEntry: false })?.dev === statSync(folder, { throwIfNoEntry: false })?.dev;
}

function link(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EEXIST' || existsSync(to))
      throw new SkylineError(
        'DATABASE_EXISTS',
        `There is a file at ${to} already. Move it away, or choose another name.`,
      );
    if (code === 'ENOENT' || code === 'EXDEV' || code === 'ENOSPC') throw error;
    // No hard links on this file system.
    renameSync(from, to);
  }
}

function companions(path: string): string[] {
  return ['-wal', '-shm', '-journal'].map((suffix) => `${path}${suffix}`);
}

function ownership(path: string, self: LockOwner): KernelLock {
  let lock: ReturnType<typeof KernelLock.acquire>;
  try {
    lock = KernelLock.acquire(ownerLockPath(path), self);
  } catch (error) {
    throw unmoved(path, 'another name', error);
  }
  if (lock instanceof KernelLock) return lock;
  const who = lock.owner === null ? '' : ` (pid ${lock.owner.pid}, at ${lock.owner.endpoint})`;
  throw new SkylineError(
    'DATABASE_IN_USE',
    `${path} is served by another SkylineDB daemon${who}. Try again when that has closed it.`,
  );
}

function unmoved(from: string, to: string, error: unknown): SkylineError {
  const code = codeOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new SkylineError('DISK_FULL', `No space to move ${from} to ${to}. Make space, then try again.`);
  return new SkylineError(
    'IO_ERROR',
    `${from} could not be moved to ${to}: ${messageOf(error)}. See the permissions of both folders.`,
    { cause: error },
  );
}
