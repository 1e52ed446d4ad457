import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, SkylineError } from '../../protocol/errors.js';
import { KernelLock, type LockOwner, NotALockError } from './kernel-lock.js';
import type { WorkerOptions } from './link.js';
import { folderIsWritable, readonlyFolder } from './sqlite-errors.js';
import { isAlive } from './system.js';

/** A holder whose router is dead gets this long to finish by itself before it is killed, in milliseconds. */
const ORPHAN_GRACE_MS = 2_000;
/** How long to wait for an owner that is on its way out, in milliseconds. */
const WAIT_MS = 5_000;
const POLL_MS = 10;

/** The owner lock, or why the folder does not take one: then the file can only be read. */
export type Ownership = KernelLock | SkylineError;

/** A database, and the daemon that is to write it. */
type Owned = Pick<WorkerOptions, 'path' | 'routerPid' | 'endpoint'>;

/** The lock file of a database, beside it: two daemons of any users meet there, whatever their endpoints. */
export function ownerLockPath(databasePath: string): string {
  return `${databasePath}-owner`;
}

/**
 * The one place that decides whether this process may write a database. Waits for an owner that is leaving; kills one
 * whose router has died while it sits in a long statement (SQLite rolls its transaction back).
 * @throws SkylineError `DATABASE_NOT_ALLOWED` naming the owner; `DATABASE_READONLY` when the folder takes no lock file
 */
export async function acquireOwnership(owned: Owned): Promise<KernelLock> {
  const { path: databasePath, routerPid, endpoint } = owned;
  const self: LockOwner = { pid: process.pid, routerPid, endpoint };
  const path = ownerLockPath(databasePath);
  const start = performance.now();
  for (;;) {
    const result = tryAcquire(databasePath, path, self);
    if (result instanceof KernelLock) return result;
    const waited = performance.now() - start;
    const { owner } = result;
    const orphan = owner !== null && !isAlive(owner.routerPid);
    const sameDaemon = owner !== null && owner.routerPid === self.routerPid;
    if (orphan && waited > ORPHAN_GRACE_MS) kill(owner.pid);
    // A live daemon's worker keeps the database until it has been idle: waiting would only delay the answer.
    if (waited > WAIT_MS || (owner !== null && !orphan && !sameDaemon && waited > 250))
      throw refusal(databasePath, owner);
    await sleep(POLL_MS);
  }
}

/**
 * The same to open a file. A folder that takes no lock file still allows reading.
 * @param create the file is to be made
 */
export async function own(owned: Owned, create: boolean): Promise<Ownership> {
  try {
    return await acquireOwnership(owned);
  } catch (error) {
    if (!create && error instanceof SkylineError && error.code === 'DATABASE_READONLY') return error;
    throw error;
  }
}

export function release(owner: Ownership): void {
  if (!(owner instanceof SkylineError)) owner.release();
}

function tryAcquire(databasePath: string, path: string, self: LockOwner) {
  try {
    return KernelLock.acquire(path, self);
  } catch (error) {
    const code = codeOf(error) ?? '';
    if (!folderIsWritable(databasePath) || code === 'EROFS' || code === 'EACCES')
      throw readonlyFolder(databasePath);
    if (code === 'ENAMETOOLONG' || code === 'SQLITE_CANTOPEN') {
      throw new SkylineError(
        'DATABASE_NOT_ALLOWED',
        `${path} cannot be made (${code}); the daemon needs it beside the database. Use a shorter file name.`,
      );
    }
    if (code === 'ENOSPC' || code === 'SQLITE_FULL') {
      throw new SkylineError(
        'DISK_FULL',
        `${path}: no space for the daemon's lock file. Make space on the disk, then try again.`,
      );
    }
    if (error instanceof NotALockError || code === 'SQLITE_NOTADB') {
      throw new SkylineError(
        'DATABASE_NOT_ALLOWED',
        `${path} is in the way: the daemon needs this name for its lock. Move that file elsewhere.`,
      );
    }
    throw error;
  }
}

function refusal(databasePath: string, owner: LockOwner | null): SkylineError {
  const who =
    owner === null
      ? 'Another SkylineDB daemon'
      : `Another SkylineDB daemon (worker pid ${owner.pid}, daemon pid ${owner.routerPid}, endpoint ${owner.endpoint})`;
  return new SkylineError(
    'DATABASE_NOT_ALLOWED',
    `${who} serves ${databasePath}. Send your requests there, or end it first: skylinedb-cli shutdown${owner === null ? '' : ` --socket ${owner.endpoint}`}.`,
    owner === null ? {} : { details: { holders: [{ pid: owner.pid }] } },
  );
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone meanwhile, or another user's: the refusal names it.
  }
}
