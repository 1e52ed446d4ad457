import { SkylineError } from '../protocol/errors.js';
import { nativeModuleRemedy } from '../protocol/native-module.js';

/** Another file, or `-shm`, has come to the path in the middle of the work: it is done once more, on that one. */
export class Exchanged extends Error {
  readonly code = 'SQLITE_BUSY';
  override readonly message = 'its files were exchanged again and again while they were read';
}

/** The `-shm`, which readers need, too, cannot be made or written. */
const CANNOT_SHARE = /^SQLITE_(CANTOPEN|READONLY_(RECOVERY|CANTINIT|CANTLOCK|DIRECTORY))/;

/** What SQLite says about a file that is read directly. */
export function readFailure(path: string, error: unknown, code: string): SkylineError {
  const message = error instanceof Error ? error.message : String(error);
  const remedy = nativeModuleRemedy(error);
  if (remedy !== null) return new SkylineError('IO_ERROR', remedy, { cause: error });
  if (code === 'SQLITE_NOTADB')
    return new SkylineError('NOT_A_DATABASE', `${path}: ${message}.`, { cause: error });
  if (code.startsWith('SQLITE_CORRUPT'))
    return new SkylineError('DATABASE_CORRUPT', `${path}: ${message}.`, { cause: error });
  if (code.startsWith('SQLITE_BUSY'))
    return new SkylineError('BUSY', `${path}: ${message}. Another process holds it; try again.`, {
      cause: error,
    });
  if (error instanceof Exchanged) return new SkylineError('BUSY', `${path}: ${message}.`);
  if (code === 'SQLITE_READONLY_ROLLBACK') {
    return new SkylineError(
      'BUSY',
      `${path}: whoever wrote it last was cut off in the middle. The next write through the daemon repairs it; try again.`,
      { cause: error },
    );
  }
  if (CANNOT_SHARE.test(code)) {
    return new SkylineError(
      'IO_ERROR',
      `${path}: ${message}. A database in WAL mode can only be read by whoever may write its -shm, and make one in its folder.`,
      { cause: error },
    );
  }
  return new SkylineError('SQL_ERROR', `SQLite: ${message}`, {
    cause: error,
    details: code === '' ? {} : { sqlite_code: code },
  });
}
