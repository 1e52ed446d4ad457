import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CATALOG_FILE, checkDatabaseName } from '../protocol/database-name.js';
import { SkylineError } from '../protocol/errors.js';
import { Reader } from './reader.js';

/**
 * Where the file of a named database is, read from the catalog itself: for whoever reads files directly, and has no time or
 * no daemon to ask.
 * @param dataDir the daemon's data directory
 * @throws SkylineError `DATABASE_NOT_FOUND`, `INVALID_REQUEST`
 */
export function fileOfName(dataDir: string, name: string): string {
  checkDatabaseName(name, 'db');
  const catalog = join(dataDir, CATALOG_FILE);
  if (existsSync(catalog)) {
    using reader = new Reader(catalog);
    const path = reader.rows('SELECT path FROM databases WHERE name = ? AND dropped IS NULL', [name])
      .rows[0]?.[0];
    if (typeof path === 'string') return resolve(dataDir, path);
  }
  throw new SkylineError(
    'DATABASE_NOT_FOUND',
    `There is no database named ${name} in ${dataDir}. Make it with "skylinedb-cli create-database ${name}", or write ./${name} if a file is meant.`,
  );
}
