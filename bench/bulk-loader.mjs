/**
 * Loads many rows, in a process of its own: through the daemon, or in process in one transaction. Arguments: the way, the
 * file, the number of rows, the daemon's socket. Prints the milliseconds that it took from the first row to the last answer.
 */
import BetterSqlite3 from 'better-sqlite3';
import { INSERT_ENTRY, NOTE } from './loads.mjs';
import { library } from './subjects/skylinedb.mjs';

const [way, file = '', count = '0', socket = ''] = process.argv.slice(2);
const total = Number(count);
const took = way === 'direct' ? loadDirectly() : await loadThroughDaemon();
process.send?.(took);
process.disconnect?.();

function loadDirectly() {
  const db = new BetterSqlite3(file);
  db.pragma('synchronous = NORMAL');
  const insert = db.prepare(INSERT_ENTRY);
  const began = performance.now();
  db.transaction(() => {
    for (let n = 0; n < total; n += 1) insert.run(0, n, NOTE);
  }).immediate();
  const ended = performance.now();
  db.close();
  return ended - began;
}

async function loadThroughDaemon() {
  const { connect } = await library();
  const skyline = await connect({ socket, autoStart: false });
  const db = skyline.database(file);
  // Reads only, so it changes nothing: but the worker is up, as the file is open in the other case.
  await db.exec('SELECT 1');
  const began = performance.now();
  await db.load({ sql: INSERT_ENTRY }, entries());
  const ended = performance.now();
  skyline.close();
  return ended - began;
}

function* entries() {
  for (let n = 0; n < total; n += 1) yield [0, n, NOTE];
}
