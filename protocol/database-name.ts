import { invalidRequest } from './errors.js';

/** What a database may be called. Pure: client, daemon and command line agree on it. */

/** The catalog's file, in the data directory. */
export const CATALOG_FILE = 'skylinedb-catalog.db';

const NAME = /^[A-Za-z0-9_-]{1,63}$/;
/** https://learn.microsoft.com/windows/win32/fileio/naming-a-file: device names, whatever their extension. */
const WINDOWS_DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)$/i;
/** SQLite's own schemas: https://sqlite.org/lang_naming.html */
const SQLITE_SCHEMA = /^(main|temp)$/i;
const OURS = /^_?skylinedb/i;

/**
 * Whether a `db` is a name: whatever has no slash and no dot is none of a file. `./stars` is the file of that name.
 * A colon belongs to `:memory:`, `file:` and Windows drives, which are no names either.
 */
export function isBareName(db: string): boolean {
  return db !== '' && !/[\\/.:\0]/.test(db);
}

/** Two spellings of one name give the same. */
export function nameKey(name: string): string {
  return name.toLowerCase();
}

/**
 * @param where the request's field, for the message
 * @throws ProtocolError `INVALID_REQUEST`
 */
export function checkDatabaseName(name: string, where = 'name'): string {
  const why = refusal(name);
  if (why === null) return name;
  const shown = JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
  throw invalidRequest(`"${where}": ${shown} ${why}.`);
}

/** Why a database cannot be called so; null when it can. */
export function refusal(name: string): string | null {
  if (!NAME.test(name))
    return 'is no name for a database: it takes 1 to 63 letters (a to z), digits, "_" and "-"; a file is named with its folder or extension, such as ./x or x.db';
  if (WINDOWS_DEVICE.test(name)) return 'is a device on Windows; choose another name';
  if (SQLITE_SCHEMA.test(name)) return 'is a name that SQLite uses itself; choose another name';
  if (OURS.test(name)) return "is one of the daemon's own names; choose another";
  return null;
}
