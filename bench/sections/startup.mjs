import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { INSERT_ENTRY, NOTE } from '../loads.mjs';
import { lastWords, until } from '../playground.mjs';
import { median } from '../statistics.mjs';
import { CLI_MAIN, library, startDaemon } from '../subjects/skylinedb.mjs';
import { makeFiles } from '../subjects/sqlite-file.mjs';

/** Time for the daemon to come to rest between first writes, as between those of a person at work. */
const REST_MS = 250;
const CREATE = 'CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, client, n, note)';

/**
 * How long starting takes, all in milliseconds.
 * @param {import('../playground.mjs').Playground} ground
 * @param {import('../options.mjs').Options} options
 * @param {(what: string) => void} tell
 */
export async function measureStartup(ground, options, tell) {
  const turns = options.quick ? 7 : 21;
  tell(`command line: ${turns} turns`);
  const commands = await commandLine(ground, turns);
  tell(`first write to a new database: ${turns} turns`);
  return { turns, ...commands, ...(await firstWrites(ground, turns)) };
}

/**
 * @param {import('../playground.mjs').Playground} ground
 * @param {number} turns
 */
async function commandLine(ground, turns) {
  const folder = ground.folder('startup');
  const [file = ''] = makeFiles(folder, { load: 'insert', durability: 'normal', databases: 1 });
  const warmDaemon = await startDaemon(ground, []);
  const coldSocket = ground.socket();
  const insert = `INSERT INTO entries (client, n, note) VALUES (0, 0, '${NOTE}')`;
  /** @param {string} socket @param {string[]} args */
  const cli = (socket, args) => timed(ground, [CLI_MAIN, ...args, '--socket', socket]);
  // A file of its own: the warm daemon has the other one open.
  const [coldFile = ''] = makeFiles(ground.folder('cold'), {
    load: 'insert',
    durability: 'normal',
    databases: 1,
  });
  /** @type {Record<'node' | 'warmExec' | 'coldExec', number[]>} */
  const all = { node: [], warmExec: [], coldExec: [] };
  await cli(warmDaemon.socket, ['exec', '--db', file, insert]);
  for (let turn = 0; turn < turns; turn += 1) {
    all.node.push(await timed(ground, ['-e', '0']));
    all.warmExec.push(await cli(warmDaemon.socket, ['exec', '--db', file, insert]));
    all.coldExec.push(await cli(coldSocket, ['exec', '--db', coldFile, insert]));
    await cli(coldSocket, ['shutdown']);
    await until('the daemon has gone', () => !existsSync(coldSocket));
    await sleep(REST_MS / 2);
  }
  await warmDaemon.stop();
  ground.remove(folder);
  ground.remove(dirname(coldFile));
  return { ...medians(all), rounds: all };
}

/**
 * @param {import('../playground.mjs').Playground} ground
 * @param {string[]} args of Node.js
 */
async function timed(ground, args) {
  const began = performance.now();
  const child = ground.start(process.execPath, args);
  const words = lastWords(child);
  const [code] = await once(child, 'exit');
  const ms = performance.now() - began;
  if (code !== 0) throw new Error(`node ${args.join(' ')} ended with ${code}: ${words()}`);
  return ms;
}

/**
 * The same batch to a database that does not exist yet, and again once it is open.
 * @param {import('../playground.mjs').Playground} ground
 * @param {number} turns
 */
async function firstWrites(ground, turns) {
  const folder = ground.folder('first');
  const daemon = await startDaemon(ground, []);
  const { connect } = await library();
  const skyline = await connect({ socket: daemon.socket, autoStart: false });
  /** @type {Record<'firstWrite' | 'warmWrite', number[]>} */
  const all = { firstWrite: [], warmWrite: [] };
  // The first database is for warming up, of this process and of the daemon.
  for (let turn = -1; turn < turns; turn += 1) {
    const db = skyline.database(join(folder, `new${turn}.db`));
    for (const kind of /** @type {const} */ (['firstWrite', 'warmWrite'])) {
      await sleep(REST_MS);
      const began = performance.now();
      await db.batch([CREATE, { sql: INSERT_ENTRY, params: [0, turn, NOTE] }]);
      if (turn >= 0) all[kind].push(performance.now() - began);
    }
  }
  skyline.close();
  await daemon.stop();
  ground.remove(folder);
  return { ...medians(all), firstWriteRounds: all };
}

/**
 * @template {string} Name
 * @param {Record<Name, number[]>} lists
 */
function medians(lists) {
  return /** @type {Record<Name, number | null>} */ (
    Object.fromEntries(Object.entries(lists).map(([name, list]) => [name, median(/** @type {any} */ (list))]))
  );
}
