import { closeSync, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { codeOf } from '../../protocol/errors.js';

/** Whether a process lives. An orphan that nobody has waited for counts as alive for a while. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

/** Makes a rename in the file's folder last. Windows cannot open folders, and needs not. */
export function syncFolder(path: string): void {
  let fd: number;
  try {
    fd = openSync(dirname(path), 'r');
  } catch {
    return;
  }
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
