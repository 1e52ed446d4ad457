import { lstatSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { codeOf, invalidRequest, SkylineError } from '../protocol/errors.js';

/** The database that a request without `db` means. */
export const DEFAULT_DATABASE = 'data.db';

/** What the file system says a file is; two names with the same are the same file. */
export interface FileId {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** How many symbolic links are followed: Linux itself stops at 40 (path_resolution(7)). */
const MAX_LINKS = 40;

/**
 * The absolute path that a request's `db` stands for, before any link is followed.
 * @throws SkylineError `INVALID_REQUEST` for what SQLite would take as something else than a file
 */
export function spellingOf(db: string | undefined, dataDir: string, field = 'db'): string {
  const name = db ?? DEFAULT_DATABASE;
  if (name === '')
    throw invalidRequest(
      `"${field}" is empty. Name a file${field === 'db' ? ', or leave "db" out for the default (data.db)' : ''}.`,
    );
  if (name.includes('\0')) throw invalidRequest(`"${field}" has a NUL character.`);
  if (!name.isWellFormed())
    throw invalidRequest(`"${field}" has a lone surrogate, which no file name can hold.`);
  if (name === ':memory:') throw notAllowed(name, 'is no file: a database in memory cannot be shared');
  if (/^file:/i.test(name)) throw notAllowed(name, 'is a URI; give the plain path');
  return resolve(dataDir, name);
}

/**
 * The file's one true path: every spelling of one file gives the same. The file itself may be missing, its folder may not.
 * @throws SkylineError `DATABASE_NOT_FOUND` (no folder), `DATABASE_NOT_ALLOWED`
 */
export function canonicalPath(spelling: string): string {
  let path = spelling;
  for (let links = 0; links < MAX_LINKS; links += 1) {
    try {
      // The native one also gives the true letter case on file systems that ignore it.
      return realpathSync.native(path);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw unreachable(spelling, error);
    }
    const target = linkTarget(path);
    if (target === undefined) return join(realFolder(path), basename(path));
    // From where the link lies, which may be reached through other links.
    path = resolve(realFolder(path), target);
  }
  throw notAllowed(spelling, 'is a symbolic link that leads in a circle');
}

/** A dangling link names the file that SQLite would create. */
function linkTarget(path: string): string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined;
  } catch {
    return undefined;
  }
}

function realFolder(path: string): string {
  try {
    return realpathSync.native(dirname(path));
  } catch (error) {
    throw unreachable(path, error);
  }
}

/**
 * Looks at the file, following links: what it is, or undefined when there is none. Costs a microsecond or two.
 * @throws SkylineError `DATABASE_NOT_ALLOWED` for folders, devices and files with several names
 */
export function lookAt(path: string): FileId | undefined {
  let stat: ReturnType<typeof statFile>;
  try {
    stat = statFile(path);
  } catch (error) {
    if (codeOf(error) === 'ENOTDIR') return undefined;
    throw unreachable(path, error);
  }
  if (stat === undefined) return undefined;
  if (stat.isDirectory()) throw notAllowed(path, 'is a folder');
  if (!stat.isFile()) throw notAllowed(path, 'is no regular file');
  if (stat.nlink > 1n) {
    throw notAllowed(
      path,
      `has ${stat.nlink} hard links, and SQLite keeps a WAL for each name, which would corrupt it; keep one name and use symbolic links for others`,
    );
  }
  return { dev: stat.dev, ino: stat.ino };
}

/**
 * The same for a path that was resolved before. A link that was put there meanwhile is not the file: the WAL of the one that it
 * leads to has another name.
 */
export function lookAtResolved(path: string): FileId | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ? undefined : lookAt(path);
}

/** @throws SkylineError `DATABASE_NOT_FOUND` */
export function mustExist(path: string): void {
  if (lookAt(path) === undefined)
    throw new SkylineError('DATABASE_NOT_FOUND', `There is no database at ${path}. Check the path.`);
}

function statFile(path: string) {
  return statSync(path, { bigint: true, throwIfNoEntry: false });
}

export function sameFile(one: FileId | undefined, other: FileId | undefined): boolean {
  return one?.ino === other?.ino && one?.dev === other?.dev;
}

/** What SQLite and the daemon keep beside a database. */
const COMPANION = /^(.+)-(wal|shm|journal|owner)$/s;

/**
 * Refuses the names that belong to a database that is there: its WAL as a database, or under a backup, would destroy it.
 * @throws SkylineError `DATABASE_NOT_ALLOWED`
 */
export function refuseCompanion(path: string): void {
  const base = COMPANION.exec(path)?.[1];
  if (base !== undefined && statFile(base)?.isFile() === true)
    throw notAllowed(path, `belongs to the database ${base}; use another name`);
}

/**
 * Checks a resolved path against `--root`.
 * @param roots resolved folders; none means no limit
 * @throws SkylineError `DATABASE_NOT_ALLOWED`
 */
export function checkRoots(path: string, roots: readonly string[]): void {
  if (roots.length === 0) return;
  if (roots.some((root) => path.startsWith(root.endsWith(sep) ? root : `${root}${sep}`))) return;
  throw notAllowed(path, `lies outside of what this daemon may serve (--root ${roots.join(', ')})`);
}

function notAllowed(path: string, why: string): SkylineError {
  return new SkylineError('DATABASE_NOT_ALLOWED', `${path} ${why}.`);
}

function unreachable(path: string, error: unknown): SkylineError {
  const code = codeOf(error) ?? String(error);
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new SkylineError(
      'DATABASE_NOT_FOUND',
      `The folder of ${path} does not exist. Make the folder first: the daemon makes databases, not folders.`,
    );
  }
  if (code === 'ENAMETOOLONG') return notAllowed(path.slice(0, 80), '… is longer than the file system takes');
  if (code === 'ELOOP') return notAllowed(path, 'is a symbolic link that leads in a circle');
  return new SkylineError(
    'DATABASE_NOT_ALLOWED',
    `${path} cannot be reached (${code}). See the permissions of its folders.`,
  );
}
