import { basename, resolve } from 'node:path';
import type { Client } from '../../client/client.js';
import { CATALOG_FILE, isBareName } from '../../protocol/database-name.js';
import { SkylineError } from '../../protocol/errors.js';

/** A database that the shell works with. */
export interface Place {
  /** What the prompt shows, and what stands before its tables elsewhere. */
  readonly name: string;
  /** Its file. */
  readonly path: string;
  /** What the daemon is asked for: a name follows its file when that gets another one. */
  readonly db: string;
}

/** A database of the daemon, for a list. */
export interface Listed extends Place {
  /** null where the daemon has not had it open yet. */
  readonly state: string | null;
  readonly size: number | null;
}

/**
 * The database that is meant: by its name, or by its file.
 * @param client reached when it is a name
 * @throws SkylineError `DATABASE_NOT_FOUND`
 */
export async function placeOf(db: string, client: () => Promise<Client>): Promise<Place> {
  if (isBareName(db)) return await named(await client(), db);
  return { name: nameOf(db), path: resolve(db), db: resolve(db) };
}

/** The databases that have a name, and the others that the daemon knows. */
export async function listed(client: Client): Promise<Listed[]> {
  const [{ databases: catalog }, { databases: known }] = await Promise.all([
    client.databases(),
    client.status(),
  ]);
  const states = new Map(known.map(({ db_path: path, state }) => [path, state]));
  const own = catalog.map(({ name, db_path: path, size }) => {
    const state = states.get(path) ?? null;
    states.delete(path);
    return { name, path, db: name, state, size };
  });
  const others = [...states]
    .filter(([path]) => basename(path) !== CATALOG_FILE)
    .map(([path, state]) => ({
      name: nameOf(path),
      path,
      db: path,
      state,
      size: null,
    }));
  return [...own, ...others].sort((one, other) => (one.name < other.name ? -1 : 1));
}

/**
 * The database that a name means: the one that has it, else the only known file of that name.
 * @throws SkylineError `DATABASE_NOT_FOUND`, `INVALID_REQUEST` where it could be several
 */
export async function named(client: Client, name: string): Promise<Place> {
  const all = await listed(client);
  const found = all.filter((one) => one.name.toLowerCase() === name.toLowerCase());
  const own = found.find(({ db }) => isBareName(db));
  const [first, ...more] = found;
  if (own !== undefined) return own;
  if (first === undefined)
    throw new SkylineError(
      'DATABASE_NOT_FOUND',
      `There is no database ${JSON.stringify(name)}${all.length === 0 ? '' : `, but ${all.map((one) => one.name).join(', ')}`}. CREATE DATABASE makes it; a file is written with its dot or slash, such as ${name}.db.`,
    );
  if (more.length > 0)
    throw new SkylineError(
      'INVALID_REQUEST',
      `${JSON.stringify(name)} may be ${found.map(({ path }) => path).join(' or ')}. Write the path.`,
    );
  return first;
}

function nameOf(file: string): string {
  return basename(file).replace(/\.(db|sqlite3?)$/i, '');
}
