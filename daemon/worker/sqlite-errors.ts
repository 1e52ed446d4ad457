import { accessSync, constants } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { codeOf, messageOf, SkylineError } from '../../protocol/errors.js';
import type { ErrorCode, ErrorDetails } from '../../protocol/messages.js';

/** SQLite's primary result codes (https://sqlite.org/rescode.html) and the code that programs match. */
const CODES: readonly (readonly [prefix: string, code: ErrorCode, advice: string])[] = [
  ['SQLITE_BUSY', 'BUSY', 'Another program holds a lock on the database; try again when it is done.'],
  ['SQLITE_LOCKED', 'BUSY', 'Another connection holds a lock on the database; try again when it is done.'],
  ['SQLITE_FULL', 'DISK_FULL', 'Make space on the disk, then send the batch again.'],
  [
    'SQLITE_IOERR_CORRUPTFS',
    'DATABASE_CORRUPT',
    'The file system reports damage; restore the file from a backup.',
  ],
  ['SQLITE_IOERR', 'IO_ERROR', 'The disk or file system failed; see the system log.'],
  ['SQLITE_CORRUPT', 'DATABASE_CORRUPT', 'Restore the file from a backup (see replace-database).'],
  ['SQLITE_NOTADB', 'NOT_A_DATABASE', 'The file is no SQLite database, or it is encrypted.'],
  ['SQLITE_READONLY', 'DATABASE_READONLY', 'The file or its folder is not writable for this user.'],
  ['SQLITE_PERM', 'DATABASE_READONLY', 'The file or its folder is not writable for this user.'],
  [
    'SQLITE_CANTOPEN',
    'IO_ERROR',
    'SQLite cannot open the file; see that its folder exists and its permissions are right.',
  ],
  ['SQLITE_NOMEM', 'INTERNAL', 'The worker has run out of memory.'],
];

/** True for what SQLite itself reports. */
export function isSqliteError(error: unknown): boolean {
  return error instanceof Database.SqliteError;
}

/** True when a lock stood in the way and waiting may help. */
export function isBusy(error: unknown): boolean {
  const code = codeOf(error);
  return error instanceof Database.SqliteError && code !== undefined && /^SQLITE_(BUSY|LOCKED)/.test(code);
}

/**
 * Turns whatever better-sqlite3 threw into a SkylineError. Errors that are SkylineErrors already stay themselves.
 * @param path the database's file, for the message and for telling a read-only folder from other failures
 */
export function fromSqlite(error: unknown, path: string, details: ErrorDetails = {}): SkylineError {
  if (error instanceof SkylineError) {
    return Object.keys(details).length === 0 ? error : withDetails(error, details);
  }
  if (error instanceof Database.SqliteError) {
    const mapped = CODES.find(([prefix]) => error.code.startsWith(prefix));
    const all = { ...details, sqlite_code: error.code };
    if (mapped === undefined)
      return new SkylineError('SQL_ERROR', `SQLite: ${error.message}`, { details: all, cause: error });
    const [, code, advice] = mapped;
    if (error.code.startsWith('SQLITE_CANTOPEN') && !folderIsWritable(path)) return readonlyFolder(path, all);
    return new SkylineError(code, `${path}: ${error.message}. ${advice}`, { details: all, cause: error });
  }
  // better-sqlite3 checks some things itself and throws TypeError or RangeError: values, lengths, statement counts.
  return new SkylineError('SQL_ERROR', `SQLite: ${messageOf(error)}`, { details, cause: error });
}

/** The error for a database whose folder does not take new files: WAL needs `-wal` and `-shm` beside the database. */
export function readonlyFolder(path: string, details: ErrorDetails = {}): SkylineError {
  return new SkylineError(
    'DATABASE_READONLY',
    `${path}: the folder is not writable for this user, and a database in WAL mode needs files beside it. Change the folder's permissions or move the database.`,
    { details },
  );
}

export function folderIsWritable(path: string): boolean {
  try {
    accessSync(dirname(path), constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The same error, of what may have been applied although it has failed. */
export function perhapsApplied(error: SkylineError): SkylineError {
  const { code, message, details } = error;
  return new SkylineError(code, message, { outcome: 'unknown', details, cause: error });
}

function withDetails(error: SkylineError, details: ErrorDetails): SkylineError {
  return new SkylineError(error.code, error.message, {
    outcome: error.outcome,
    retryable: error.retryable,
    details: { ...details, ...error.details },
    cause: error.cause ?? error,
  });
}
