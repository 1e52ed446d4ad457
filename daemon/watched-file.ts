import { renameSync, rmSync, statSync } from 'node:fs';
import { messageOf } from '../protocol/errors.js';
import { type FileId, lookAtResolved, sameFile } from './identity.js';
import type { Logger } from './log.js';
import { KernelLock } from './worker/kernel-lock.js';
import { ownerLockPath } from './worker/owner-lock.js';

/**
 * What a database's path points to, so that a file that was replaced, deleted or renamed by others is noticed. The WAL
 * of the old file beside the new one would corrupt it: it is put aside, and kept if it has contents.
 */
export class WatchedFile {
  /** What the path pointed to when last looked at. */
  seen: FileId | undefined;
  readonly #path: string;
  readonly #endpoint: string;
  readonly #log: Logger;
  /** What the worker says that it has open. */
  #opened: FileId | undefined;
  /** Another file has come under the worker that is being stopped for it. */
  #exchanged = false;
  /** The WAL of a worker that did not leave by itself; null when there is none. */
  #leftWal: string | null = null;

  constructor(path: string, endpoint: string, log: Logger) {
    this.#path = path;
    this.#endpoint = endpoint;
    this.#log = log;
  }

  /** What the worker has open, or else what the path pointed to when last looked at: what it shows now is compared with this. */
  get id(): FileId | undefined {
    return this.#opened ?? this.seen;
  }

  /** The worker has another file open than the one that the path points to now. */
  get exchanged(): boolean {
    return this.#exchanged;
  }

  /** Takes note of what the path points to now; true for another file than before. */
  see(found: FileId | undefined): boolean {
    const before = this.id;
    this.seen = found;
    return before !== undefined && !sameFile(before, found) && !this.#exchanged;
  }

  /** One is about to open the file: whichever is there by then. */
  workerStarts(): void {
    this.#opened = undefined;
  }

  /** The worker has opened or made a file. The path may have led to another one when it was looked at, and may do so by now. */
  opened(file: FileId): void {
    this.#opened = file;
  }

  /** It was another file than before. */
  exchange(hasWorker: boolean): void {
    if (!hasWorker && (this.#leftWal === null || this.#leftWal !== walIdentity(this.#path))) return;
    this.#log.warn(
      'the file was replaced or deleted while it was open; use replace-database or close-database for that',
    );
    this.#exchanged = true;
    if (!hasWorker) this.#setAside();
  }

  /** No process of the daemon has the file open any more. */
  workerEnded(clean: boolean): void {
    const opened = this.#opened;
    this.#opened = undefined;
    if (!this.#exchanged) this.seen = opened ?? this.seen;
    // Seen to be exchanged before it opened the very file that is there: the WAL belongs to that.
    if (this.#exchanged && opened !== undefined && sameFile(opened, this.#there())) this.#exchanged = false;
    if (this.#exchanged) this.#setAside();
    else this.#leftWal = clean ? null : walIdentity(this.#path);
  }

  #there(): FileId | undefined {
    try {
      return lookAtResolved(this.#path);
    } catch {
      // None that can be served.
      return undefined;
    }
  }

  #setAside(): void {
    this.#exchanged = false;
    this.#leftWal = null;
    const wal = `${this.#path}-wal`;
    try {
      if (walIdentity(this.#path) === null) rmSync(wal, { force: true });
      else renameSync(wal, `${wal}.orphaned-${Date.now()}`);
      rmSync(`${this.#path}-shm`, { force: true });
      // Only its owner may remove the lock file, which the worker that was killed has left.
      const self = { pid: process.pid, routerPid: process.pid, endpoint: this.#endpoint };
      const lock = KernelLock.acquire(ownerLockPath(this.#path), self);
      if (lock instanceof KernelLock) lock.release();
    } catch (error) {
      this.#log.error(`the old WAL could not be set aside: ${messageOf(error)}`);
    }
  }
}

/** Tells one `-wal` file from another of the same name; null when there is none with contents. */
function walIdentity(path: string): string | null {
  const stat = statSync(`${path}-wal`, { bigint: true, throwIfNoEntry: false });
  return stat === undefined || stat.size === 0n ? null : `${stat.dev} ${stat.ino} ${stat.birthtimeNs}`;
}
