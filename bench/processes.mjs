import { readdirSync, readFileSync } from 'node:fs';

/** What Linux tells of processes in /proc. Elsewhere everything here is null or empty. */

/** sysconf(_SC_CLK_TCK), which is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** @param {string} path */
function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

/**
 * The fields of /proc/PID/stat from the third (state) on; the second is the name and may hold anything.
 * @param {number | string} pid
 */
function stat(pid) {
  const text = read(`/proc/${pid}/stat`);
  return text === null ? null : text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** @returns {number[]} */
export function allPids() {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}

/**
 * These processes and everything they started, as far as it lives.
 * @param {readonly number[]} roots
 */
export function tree(roots) {
  if (roots.length === 0) return [];
  /** @type {Map<number, number[]>} */
  const children = new Map();
  for (const pid of allPids()) {
    const parent = Number(stat(pid)?.[1] ?? 0);
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const found = [...roots];
  for (let at = 0; at < found.length; at += 1) found.push(...(children.get(found[at] ?? 0) ?? []));
  return found;
}

/**
 * CPU seconds used so far by a tree of processes, children that have ended included. null where it cannot be known.
 * @param {readonly number[]} roots
 */
export function cpuSeconds(roots) {
  if (process.platform !== 'linux') return roots.length === 0 ? 0 : null;
  let ticks = 0;
  for (const pid of tree(roots)) {
    const fields = stat(pid);
    // utime, stime, cutime, cstime: fields 14 to 17 of proc(5).
    for (const at of [11, 12, 13, 14]) ticks += Number(fields?.[at] ?? 0);
  }
  return ticks / TICKS_PER_SECOND;
}

/**
 * @param {number | 'self'} pid
 * @param {'Pss' | 'Private_Dirty'} field Pss: shared pages divided among their users
 * @returns {number | null} bytes
 */
export function memory(pid, field) {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(read(`/proc/${pid}/smaps_rollup`) ?? '');
  return match === null ? null : Number(match[1]) * 1024;
}

/**
 * @param {readonly number[]} roots
 * @returns {number | null} bytes
 */
export function pssOf(roots) {
  if (process.platform !== 'linux') return null;
  return tree(roots).reduce((sum, pid) => sum + (memory(pid, 'Pss') ?? 0), 0);
}

/**
 * Living processes whose environment holds this text when they were started.
 * @param {string} mark
 */
export function pidsWithMark(mark) {
  return allPids().filter((pid) => pid !== process.pid && read(`/proc/${pid}/environ`)?.includes(mark));
}
