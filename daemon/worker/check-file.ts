import { lstatSync, statSync } from 'node:fs';
import { SkylineError } from '../../protocol/errors.js';

/**
 * Whether there is a file that may be served.
 * @throws SkylineError `DATABASE_NOT_ALLOWED` for folders, devices and files with several names
 */
export function checkFile(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return false;
  if (!stat.isFile())
    throw new SkylineError(
      'DATABASE_NOT_ALLOWED',
      `${path} is ${stat.isDirectory() ? 'a folder' : 'no regular file'}, not a database.`,
    );
  if (stat.nlink > 1) {
    throw new SkylineError(
      'DATABASE_NOT_ALLOWED',
      `${path} has ${stat.nlink} hard links. SQLite keeps a WAL for each name, which would corrupt it: keep one name, use symbolic links for others.`,
    );
  }
  return true;
}

/**
 * Refuses a path that has become a symbolic link since it was resolved, right before SQLite would follow it: the file that it
 * leads to may lie where none may be served, or have a worker of its own.
 * @throws SkylineError `DATABASE_NOT_ALLOWED`
 */
export function refuseLink(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() !== true) return;
  throw new SkylineError(
    'DATABASE_NOT_ALLOWED',
    `${path} has just become a symbolic link. Nothing was done. Send the request again: the link is followed then, if it may be.`,
  );
}

/** What needs a file that is there was asked of one that is not. */
export function notFound(path: string): SkylineError {
  return new SkylineError(
    'DATABASE_NOT_FOUND',
    `There is no database at ${path}. Check the path; a first ExecBatch that writes would create it.`,
  );
}

/** The file of a database with a name is not where the catalog says. Making an empty one would hide that. */
export function fileGone(path: string): SkylineError {
  return new SkylineError(
    'DATABASE_NOT_FOUND',
    `The file of this named database is gone: ${path}. Put it back, or end the name with "skylinedb-cli drop-database".`,
  );
}
