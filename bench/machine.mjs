import { execFileSync } from 'node:child_process';
import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { cpus, loadavg, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { median } from './statistics.mjs';
import { SUBJECTS } from './subjects/index.mjs';

/** Above this the machine has something else to do than to be measured. */
const QUIET_LOAD = 0.5;

/**
 * What the figures depend on.
 * @param {string} dir where the databases lie
 */
export function describeMachine(dir) {
  const [first] = cpus();
  const [load = 0] = loadavg();
  const { device, filesystem } = mountOf(dir);
  return {
    date: new Date().toISOString(),
    commit: commit(),
    system: `${type()} ${release()}`,
    cpu: first?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    device,
    filesystem,
    fdatasyncMs: fdatasyncMs(dir),
    loadBefore: load,
    busy: load > QUIET_LOAD,
    node: process.version,
    subjects: SUBJECTS.map((subject) => {
      const missing = subject.missing();
      const { name, what } = subject;
      return { name, what, missing, version: missing === null ? subject.version() : null };
    }),
  };
}

/** @typedef {ReturnType<typeof describeMachine>} Machine */

function commit() {
  try {
    /** @type {import('node:child_process').ExecFileSyncOptionsWithStringEncoding} */
    const options = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] };
    const cwd = new URL('..', import.meta.url);
    const id = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { ...options, cwd }).trim();
    const changed = execFileSync('git', ['status', '--porcelain'], { ...options, cwd }).trim() !== '';
    return changed ? `${id} with changes` : id;
  } catch {
    return 'unknown';
  }
}

/** @param {string} dir */
function mountOf(dir) {
  let best = { at: '', device: 'unknown', filesystem: 'unknown' };
  try {
    for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
      const [device = '', at = '', filesystem = ''] = line.split(' ');
      const inside = at === '/' || dir === at || dir.startsWith(`${at}/`);
      if (at !== '' && inside && at.length >= best.at.length) best = { at, device, filesystem };
    }
  } catch {
    // Only Linux tells.
  }
  return best;
}

/**
 * What one durable write of 4 KiB costs here, without any database: the floor of everything that says "full".
 * @param {string} dir
 */
function fdatasyncMs(dir) {
  const path = join(dir, 'fdatasync');
  const file = openSync(path, 'w');
  const page = Buffer.alloc(4096, 1);
  const times = Array.from({ length: 60 }, () => {
    const began = performance.now();
    writeSync(file, page);
    fdatasyncSync(file);
    return performance.now() - began;
  });
  closeSync(file);
  rmSync(path);
  return median(times);
}
