import type { Dirent } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { refusal } from '../protocol/database-name.js';
import { codeOf, invalidRequest, messageOf, SkylineError } from '../protocol/errors.js';
import type { AdoptDirectoryReply, AdoptProgressEvent, RequestId } from '../protocol/messages.js';
import { type CatalogEntry, newEntry } from './catalog-table.js';
import type { Databases } from './databases.js';
import { lookAt } from './identity.js';
import { isKept } from './kept-file.js';

/** https://sqlite.org/fileformat.html#the_database_header */
const HEADER = 'SQLite format 3\0';
/** What SQLite and the daemon keep beside a database. */
const COMPANION = /-(wal|shm|journal|owner)$/;
/** Files of one folder: they and why they were skipped are one answer. */
const MAX_FILES = 10_000;
/** Names that are given in one transaction, and files between two progress events. */
const PIECE = 50;

type Found = Omit<AdoptDirectoryReply, 'status' | 'id'>;
type Mutable<T> = { -readonly [Name in keyof T]: T[Name] extends readonly (infer One)[] ? One[] : T[Name] };

/**
 * Gives names to the SQLite files of a folder, by where they are: no file is written, moved or opened with SQLite. What is no
 * database, or cannot have its name, is skipped and told. Done again, it adopts what is new.
 * @param dir a checked path
 * @throws SkylineError `DATABASE_NOT_FOUND`, `DATABASE_NOT_ALLOWED`, `INVALID_REQUEST`
 */
export async function adopt(
  databases: Databases,
  dir: string,
  id: RequestId | undefined,
  onEvent: (payload: Buffer) => void,
): Promise<Found> {
  const { catalog } = databases;
  await catalog.ready();
  const files = await filesOf(dir);
  const result: Mutable<Found> = { adopted: [], skipped: [] };
  for (let at = 0; at < files.length || at === 0; at += PIECE) {
    progress(at, files.length, id, onEvent);
    const entries: CatalogEntry[] = [];
    for (const file of files.slice(at, at + PIECE)) {
      try {
        const taken = new Set(entries.map(({ name }) => name.toLowerCase()));
        entries.push(await entryOf(databases, join(dir, file), taken));
      } catch (error) {
        if (error !== UNSEEN) result.skipped.push({ file, reason: messageOf(error) });
      }
    }
    if (entries.length > 0) await catalog.write(entries);
    result.adopted.push(...entries.map(({ name, path }) => ({ name, db_path: path })));
  }
  progress(files.length, files.length, id, onEvent);
  return result;
}

/** Thrown for what nobody would take for a database: the daemon's own files, and what SQLite keeps beside others. */
const UNSEEN = new Error('not worth a word');

/** @throws Error whose message is the reason why it is skipped */
async function entryOf(
  databases: Databases,
  file: string,
  taken: ReadonlySet<string>,
): Promise<CatalogEntry> {
  const path = databases.checkFile(file, 'dir');
  if (path === databases.catalog.path) throw UNSEEN;
  if (isKept(path)) throw new Error('it is the old file of a replaced database');
  if (lookAt(path) === undefined) throw new Error('it is gone');
  await mustBeDatabase(path);
  const known = databases.catalog.rows.at(path);
  if (known !== undefined) throw new Error(`it has the name ${known.name} already`);
  const name = nameOf(path);
  const why = refusal(name);
  if (why !== null) throw new Error(`${name} ${why}`);
  const other = databases.catalog.rows.find(name);
  if (other !== undefined) throw new Error(`the name ${name} belongs to ${other.path}`);
  if (taken.has(name.toLowerCase()))
    throw new Error(`the name ${name} belongs to another file of this folder`);
  return newEntry(name, path);
}

/** The file's own name, without its extension and with `_` for what a name cannot have. */
export function nameOf(path: string): string {
  return basename(path, extname(path))
    .replace(/[^A-Za-z0-9_-]/g, '_')
    .slice(0, 63);
}

async function mustBeDatabase(path: string): Promise<void> {
  // No worker's lock is lost by this: they are other processes.
  const handle = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEADER.length), 0, HEADER.length, 0);
    if (bytesRead === 0) throw new Error('it is empty');
    if (buffer.toString('latin1') !== HEADER) throw new Error('it is no SQLite database, or encrypted');
  } finally {
    await handle.close();
  }
}

async function filesOf(dir: string): Promise<string[]> {
  let found: Dirent[];
  try {
    found = await readdir(dir, { withFileTypes: true });
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT') throw new SkylineError('DATABASE_NOT_FOUND', `There is no folder ${dir}.`);
    if (code === 'ENOTDIR')
      throw invalidRequest(`${dir} is no folder. Name the folder that holds the files.`);
    throw new SkylineError('DATABASE_NOT_ALLOWED', `${dir} cannot be read: ${messageOf(error)}.`);
  }
  const names = new Set(found.map(({ name }) => name));
  const files = found
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map(({ name }) => name)
    .filter((name) => !COMPANION.test(name) || !names.has(name.replace(COMPANION, '')))
    .sort();
  if (files.length > MAX_FILES)
    throw invalidRequest(`${dir} has ${files.length} files; the limit is ${MAX_FILES} for one folder.`);
  return files;
}

function progress(
  done: number,
  total: number,
  id: RequestId | undefined,
  onEvent: (payload: Buffer) => void,
): void {
  const event: AdoptProgressEvent = {
    event: 'progress',
    ...(id === undefined ? {} : { id }),
    files_done: Math.min(done, total),
    files_total: total,
  };
  onEvent(Buffer.from(JSON.stringify(event)));
}
