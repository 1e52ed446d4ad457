import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Playground } from './playground.js';
import type { Message, Wire } from './wire.js';

/** Appends rows of about a kilobyte to the table `stars`, making it if need be; the rows carry a mark. */
export async function fill(wire: Wire, db: string, rows: number, mark = 'a'): Promise<Message> {
  const reply = await wire.exec(db, [
    'CREATE TABLE IF NOT EXISTS stars (id INTEGER PRIMARY KEY, mark TEXT, light BLOB)',
    {
      sql: 'INSERT INTO stars (mark, light) VALUES (?, randomblob(1000))',
      param_sets: Array.from({ length: rows }, () => [mark]),
    },
  ]);
  if (reply.status !== 'ok') throw new Error(JSON.stringify(reply));
  return reply;
}

/** A database made by plain `sqlite3`, with `rows` rows in the table `stars`, in WAL mode or not. */
export async function makeFile(
  ground: Playground,
  file: string,
  rows: number,
  mark: string,
  journal: 'wal' | 'delete' = 'delete',
): Promise<void> {
  await ground.sqlite3(
    file,
    `PRAGMA journal_mode = ${journal};
     CREATE TABLE stars (id INTEGER PRIMARY KEY, mark TEXT, light BLOB);
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
     INSERT INTO stars (mark, light) SELECT '${mark}', randomblob(1000) FROM n;`,
  );
}

/**
 * Asks a copy of the main file without its WAL. The copy is made by another process: this one may have the file open
 * through SQLite, and closing a second descriptor would drop those locks.
 */
export async function inMainFileAlone(ground: Playground, file: string, sql: string): Promise<string> {
  const copy = join(ground.dir, `alone-${process.hrtime.bigint()}.db`);
  await copyFile(file, copy);
  try {
    return await ground.sqlite3(copy, sql);
  } finally {
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${copy}${suffix}`, { force: true });
  }
}

/** `cp`, in a process of its own. */
export function copyFile(from: string, to: string): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile('cp', [from, to], (error) => (error === null ? resolve() : reject(error)));
  });
}

/** `ok`, or what SQLite finds wrong. */
export function integrity(ground: Playground, file: string): Promise<string> {
  return ground.sqlite3(file, 'PRAGMA integrity_check');
}

/** Bytes of the `-wal` beside a database; 0 when there is none. */
export function walBytes(file: string): number {
  return statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0;
}

/** Which of these processes have a database, its `-wal` or its `-shm` open. Linux only. */
export function openers(pids: readonly number[], file: string): number[] {
  const names = new Set(['', '-wal', '-shm'].map((suffix) => `${file}${suffix}`));
  return pids.filter((pid) => {
    try {
      return readdirSync(`/proc/${pid}/fd`).some((fd) => names.has(linkOf(`/proc/${pid}/fd/${fd}`)));
    } catch {
      return false;
    }
  });
}

function linkOf(link: string): string {
  try {
    return readlinkSync(link).replace(/ \(deleted\)$/, '');
  } catch {
    return '';
  }
}

export function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

/** Names in a playground's data folder, SQLite's and the daemon's working files left out. */
export function dataFiles(ground: Playground): string[] {
  return readdirSync(ground.dataDir)
    .filter((name) => !/-(wal|shm|owner|owner-journal)$/.test(name))
    .sort();
}

/** What the daemon remembers of closed databases. */
export function recordFiles(ground: Playground): string[] {
  const folder = join(ground.stateDir, 'maintenance');
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** What `Ping` says of a database. */
export async function standing(
  wire: Wire,
  db: string,
): Promise<{ state: string; epoch: number; rev: number; exists: boolean }> {
  const { state, epoch, rev, exists } = await wire.request({ type: 'Ping', db });
  return { state: String(state), epoch: Number(epoch), rev: Number(rev), exists: exists === true };
}
