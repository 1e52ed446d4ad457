import { readFileSync } from 'node:fs';
import { until } from './playground.js';

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

/** Processor time of a process so far, in clock ticks (proc(5)); 0 when it has gone. Linux only. */
export function ticksOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    return Number(fields[11]) + Number(fields[12]);
  } catch {
    return 0;
  }
}

/** Waits until a process has nothing more to do. */
export async function untilQuiet(pid: number, onLook: () => void = () => undefined): Promise<void> {
  let last = -1;
  let same = 0;
  await until(`process ${pid} has come to rest`, () => {
    onLook();
    const now = ticksOf(pid);
    same = now === last ? same + 1 : 0;
    last = now;
    return same > 60;
  });
}
