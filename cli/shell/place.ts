import { basename, resolve } from 'node:path';
import type { Client } from '../../client/client.js';
import { SkylineError } from '../../protocol/errors.js';

/** A database that the shell works with. */
export interface Place {
  /** What the prompt shows, and what stands before its tables elsewhere. */
  readonly name: string;
  /** Its file. */
  readonly path: string;
}

/** A database of the daemon, for a list. */
export interface Listed extends Place {
  readonly state: string;
  readonly size: number | null;
}

/** The database of a file. */
export function placeOf(file: string): Place {
  return { name: nameOf(file), path: resolve(file) };
}

/** Whether it is a file and no name: it has a dot or a slash. */
export function isFile(db: string): boolean {
  return /[./\\]/.test(db);
}

/** The databases that the daemon knows. */
export async function listed(client: Client): Promise<Listed[]> {
  const { databases } = await client.status();
  return databases
    .map(({ db_path: path, state }) => ({ name: nameOf(path), path, state, size: null }))
    .sort((one, other) => (one.name < other.name ? -1 : 1));
}

/**
 * The database that a name means.
 * @throws SkylineError `DATABASE_NOT_FOUND`, `INVALID_REQUEST` for a name that several have
 */
export async function named(client: Client, name: string): Promise<Place> {
  const all = await listed(client);
  const found = all.filter((one) => one.name.toLowerCase() === name.toLowerCase());
  const [first, ...more] = found;
  if (first === undefined)
    throw new SkylineError(
      'DATABASE_NOT_FOUND',
      `The daemon knows no database ${JSON.stringify(name)}${all.length === 0 ? '' : `, but ${all.map((one) => one.name).join(', ')}`}. A file is written with its dot or slash: ${name}.db.`,
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
