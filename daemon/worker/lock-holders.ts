import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import type { LockHolder } from '../../protocol/messages.js';

/**
 * Who holds SQLite's locks. Linux tells in /proc/locks; other systems do not, and the answer is empty there.
 *
 * In WAL mode the locks are bytes of the `-shm` file (https://sqlite.org/walformat.html#wal_locks): 120 is the write
 * lock, 123 to 127 are the read marks of transactions in progress. In rollback mode they lie far behind the end of the
 * main file (https://sqlite.org/lockingv3.html), from 0x40000000 on.
 */
const WAL_WRITE_BYTE = 120;
/** The dead man's switch: whoever has the WAL open holds it, in a transaction or not (unixLockSharedMemory in os_unix.c). */
const WAL_OPEN_BYTE = 128;
const WAL_READ_FIRST = 123;
const WAL_READ_LAST = 127;
const MAIN_LOCK_FIRST = 0x4000_0000;
const MAIN_LOCK_LAST = 0x4000_01ff;

interface ProcLock {
  readonly pid: number;
  readonly write: boolean;
  readonly inode: string;
  readonly start: number;
  readonly end: number;
}

/** Lines of /proc/locks, such as `3: POSIX  ADVISORY  READ 4711 fe:00:131 124 124`. Waiters (`->`) are left out. */
export function parseProcLocks(text: string): ProcLock[] {
  const locks: ProcLock[] = [];
  for (const line of text.split('\n')) {
    const match =
      /^\d+: (?:POSIX|OFDLCK)\s+\S+\s+(READ|WRITE)\s+(-?\d+)\s+[0-9a-f]+:[0-9a-f]+:(\d+)\s+(\d+)\s+(\d+|EOF)/.exec(
        line,
      );
    if (match === null) continue;
    const [, mode, pid = '0', inode = '', start = '0', end = '0'] = match;
    locks.push({
      pid: Number(pid),
      write: mode === 'WRITE',
      inode,
      start: Number(start),
      end: end === 'EOF' ? Number.POSITIVE_INFINITY : Number(end),
    });
  }
  return locks;
}

/** Processes inside a read transaction on a database in WAL mode, this one excepted. */
export function walReaders(path: string, platform: NodeJS.Platform = process.platform): LockHolder[] {
  return holders(
    `${path}-shm`,
    platform,
    (lock) => lock.start <= WAL_READ_LAST && lock.end >= WAL_READ_FIRST,
  );
}

/** Processes that have a database in WAL mode open, in a transaction or not, this one excepted. */
export function walConnections(path: string, platform: NodeJS.Platform = process.platform): LockHolder[] {
  return holders(`${path}-shm`, platform, (lock) => covers(lock, WAL_OPEN_BYTE));
}

/** Processes that hold a database's write lock, this one excepted. */
export function writers(path: string, platform: NodeJS.Platform = process.platform): LockHolder[] {
  const wal = holders(`${path}-shm`, platform, (lock) => lock.write && covers(lock, WAL_WRITE_BYTE));
  return wal.length > 0
    ? wal
    : holders(
        path,
        platform,
        (lock) =>
          // In EXCLUSIVE locking mode there is no -shm, and the reserved byte stays free.
          lock.write && lock.start <= MAIN_LOCK_LAST && lock.end >= MAIN_LOCK_FIRST,
      );
}

/** Whoever keeps the WAL from being emptied, each once: a writer in its transaction is a reader too. */
export function walUsers(path: string): LockHolder[] {
  const readers = walReaders(path);
  return [...readers, ...writers(path).filter(({ pid }) => !readers.some((reader) => reader.pid === pid))];
}

/** For a person: `pid 4711 (python3 sync.py)`, or that the system does not tell. */
export function describeHolders(found: readonly LockHolder[]): string {
  if (found.length === 0) return 'this system does not tell which process';
  return found
    .map(({ pid, command }) => (command === undefined ? `pid ${pid}` : `pid ${pid} (${command})`))
    .join(', ');
}

function covers(lock: ProcLock, byte: number): boolean {
  return lock.start <= byte && lock.end >= byte;
}

function holders(path: string, platform: NodeJS.Platform, wanted: (lock: ProcLock) => boolean): LockHolder[] {
  if (platform !== 'linux') return [];
  try {
    // stat only: opening and closing the file would drop this process's own locks on it.
    const inode = statSync(path, { bigint: true, throwIfNoEntry: false })?.ino.toString();
    if (inode === undefined) return [];
    const pids = parseProcLocks(readFileSync('/proc/locks', 'utf8'))
      .filter((lock) => lock.inode === inode && lock.pid > 0 && lock.pid !== process.pid && wanted(lock))
      .map((lock) => lock.pid);
    return [...new Set(pids)].filter((pid) => hasOpen(pid, path)).map(describeProcess);
  } catch {
    return [];
  }
}

/** Inode numbers repeat between file systems, so look whether the process has this very file; unknown counts as yes. */
function hasOpen(pid: number, path: string): boolean {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((fd) => linkOf(`${folder}/${fd}`) === path);
  } catch {
    return true;
  }
}

function linkOf(link: string): string | undefined {
  try {
    return readlinkSync(link);
  } catch {
    return undefined;
  }
}

function describeProcess(pid: number): LockHolder {
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim().slice(0, 200);
    return command === '' ? { pid } : { pid, command };
  } catch {
    return { pid };
  }
}
