import { readFileSync } from 'node:fs';

const MIB = 1024;

/** A process's memory in MiB; 0 when it has gone. Linux only. */
export function memoryOf(pid: number): number {
  try {
    const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
    return Number(match?.[1] ?? 0) / MIB;
  } catch {
    return 0;
  }
}

/** True while the process lives; a zombie does not. Linux only. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}
