/**
 * What a client sends over and over. A batch is one transaction; each subject does it in the form that is best for it.
 *
 * @typedef {object} Load
 * @property {string} title
 * @property {number} perBatch what a batch adds to the number that is counted afterwards
 * @property {string} schema SQLite's
 * @property {string} count SQL for the number that must equal the acknowledged batches times `perBatch`
 * @property {number} bytes of the blob in each batch, 0 for none
 */

const ENTRIES =
  'CREATE TABLE entries (id INTEGER PRIMARY KEY, client INTEGER NOT NULL, n INTEGER NOT NULL, note TEXT NOT NULL)';
const BLOBS = 'CREATE TABLE blobs (id INTEGER PRIMARY KEY, client INTEGER NOT NULL, data BLOB NOT NULL)';
const COUNTERS = 'CREATE TABLE counters (id INTEGER PRIMARY KEY, value INTEGER NOT NULL)';

/** Each client has a counter of its own for each batch it may have in flight: no update waits for a row. */
export const MAX_CLIENTS = 16;
export const MAX_IN_FLIGHT = 32;
export const FILL_COUNTERS = `INSERT INTO counters (id, value) WITH RECURSIVE ids (id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM ids WHERE id < ${MAX_CLIENTS * MAX_IN_FLIGHT - 1}) SELECT id, 0 FROM ids`;

/** @type {Readonly<Record<string, Load>>} */
export const LOADS = {
  insert: {
    title: 'single insert',
    perBatch: 1,
    schema: ENTRIES,
    count: 'SELECT count(*) FROM entries',
    bytes: 0,
  },
  rmw: {
    title: 'read-modify-write: read a counter and add to it, in one transaction, which must change one row',
    perBatch: 1,
    schema: COUNTERS,
    count: 'SELECT sum(value) FROM counters',
    bytes: 0,
  },
  batch100: {
    title: 'batch of 100 inserts',
    perBatch: 100,
    schema: ENTRIES,
    count: 'SELECT count(*) FROM entries',
    bytes: 0,
  },
  blob1k: {
    title: 'insert of a 1 KiB blob',
    perBatch: 1,
    schema: BLOBS,
    count: 'SELECT count(*) FROM blobs',
    bytes: 1024,
  },
  blob1m: {
    title: 'insert of a 1 MiB blob',
    perBatch: 1,
    schema: BLOBS,
    count: 'SELECT count(*) FROM blobs',
    bytes: 1024 * 1024,
  },
};

/**
 * @param {string} name
 * @returns {Load}
 */
export function loadOf(name) {
  const load = LOADS[name];
  if (load === undefined) throw new Error(`There is no load "${name}".`);
  return load;
}

export const INSERT_ENTRY = 'INSERT INTO entries (client, n, note) VALUES (?, ?, ?)';
export const INSERT_BLOB = 'INSERT INTO blobs (client, data) VALUES (?, ?)';
export const READ_COUNTER = 'SELECT value FROM counters WHERE id = ?';
export const ADD_TO_COUNTER = 'UPDATE counters SET value = value + 1 WHERE id = ?';

/** 32 characters, as a short note has them. */
export const NOTE = 'the quick brown fox jumps over a';

/**
 * The rows of one batch of 100.
 * @param {number} client
 * @param {number} n
 * @returns {[number, number, string][]}
 */
export function rowsOfBatch(client, n) {
  return Array.from({ length: 100 }, (_, at) => [client, n * 100 + at, NOTE]);
}

/**
 * Bytes that do not compress.
 * @param {number} length
 */
export function blobOf(length) {
  const blob = Buffer.alloc(length);
  let state = 1;
  for (let at = 0; at < length; at += 1) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    blob[at] = state >>> 16;
  }
  return blob;
}

/**
 * @param {number} client
 * @param {number} slot
 */
export function counterOf(client, slot) {
  return client * MAX_IN_FLIGHT + slot;
}
