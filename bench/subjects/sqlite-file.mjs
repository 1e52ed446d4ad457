import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import BetterSqlite3 from 'better-sqlite3';
import { FILL_COUNTERS, loadOf } from '../loads.mjs';

/**
 * Makes the files that a load writes to, in WAL mode, all alike.
 * @param {string} folder
 * @param {import('./index.mjs').Setting} setting
 * @returns {string[]}
 */
export function makeFiles(folder, { load, databases }) {
  const files = Array.from({ length: databases }, (_, at) => join(folder, `db${at}.db`));
  const [first = '', ...others] = files;
  const db = new BetterSqlite3(first);
  db.pragma('journal_mode = WAL');
  db.exec(loadOf(load).schema);
  if (load === 'rmw') db.exec(FILL_COUNTERS);
  db.close();
  for (const file of others) copyFileSync(first, file);
  return files;
}

/**
 * What all files together hold, and whether they are whole. Nobody else may have them open.
 * @param {readonly string[]} files
 * @param {string} load
 */
export function countFiles(files, load) {
  let total = 0;
  for (const file of files) {
    const db = new BetterSqlite3(file);
    total += Number(db.prepare(loadOf(load).count).pluck().get());
    if (files.length === 1) {
      const check = db.pragma('quick_check', { simple: true });
      if (check !== 'ok') throw new Error(`${file} is damaged: ${check}`);
    }
    db.close();
  }
  return total;
}

/**
 * Numbers from 0 to `below`, the same ones in each run.
 * @param {number} seed
 */
export function randomNumbers(seed) {
  let state = (seed + 1) * 2654435761;
  return (/** @type {number} */ below) => {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
