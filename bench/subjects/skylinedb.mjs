import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  ADD_TO_COUNTER,
  blobOf,
  counterOf,
  INSERT_BLOB,
  INSERT_ENTRY,
  loadOf,
  NOTE,
  READ_COUNTER,
  rowsOfBatch,
} from '../loads.mjs';
import { lastWords } from '../playground.mjs';
import { countFiles, makeFiles, randomNumbers } from './sqlite-file.mjs';

/** @typedef {import('./index.mjs').Subject} Subject */

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PACKAGE = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
export const DAEMON_MAIN = join(ROOT, PACKAGE.bin['skylinedb-daemon']);
export const CLI_MAIN = join(ROOT, PACKAGE.bin['skylinedb-cli']);
const LIBRARY = join(ROOT, PACKAGE.exports['.'].default);

/** What the library is told so that it stays with the router. */
const ROUTER_ONLY = { direct: false };

/** The load over many databases, as the targets ask for it. */
const MAX_WORKERS = 32;

/** @returns {Promise<typeof import('../../client/index.js')>} */
export async function library() {
  return await import(LIBRARY);
}

/**
 * Starts a daemon with a socket of its own and waits until it is ready.
 * @param {import('../playground.mjs').Playground} ground
 * @param {readonly string[]} args
 */
export async function startDaemon(ground, args) {
  const socket = ground.socket();
  // A state folder for each daemon: it is not to read what an earlier one remembered.
  const env = { SKYLINEDB_STATE_DIR: join(dirname(socket), 'state') };
  const child = ground.start(
    process.execPath,
    [DAEMON_MAIN, '--socket', socket, '--ready-fd', '3', '--log-level', 'warn', ...args, ground.dir],
    { stdio: ['ignore', 'ignore', 'pipe', 'pipe'], env },
  );
  const words = lastWords(child);
  const ready = /** @type {import('node:stream').Readable} */ (child.stdio[3]);
  const [line] = await Promise.race([once(ready, 'data'), once(child, 'exit').then(() => [''])]);
  if (!String(line).includes('ready')) throw new Error(`The daemon did not start: ${line}${words()}`);
  ready.destroy();
  return {
    socket,
    pid: child.pid ?? 0,
    stop: () => ground.stop(child),
  };
}

/** @type {Pick<Subject, 'pipelines' | 'loads' | 'durabilities' | 'version' | 'start'>} */
const common = {
  pipelines: true,
  loads: ['insert', 'rmw', 'batch100', 'blob1k', 'blob1m', 'many'],
  durabilities: ['normal', 'full'],
  version: () => PACKAGE.version,
  start: async (ground, setting) => {
    const folder = ground.folder('skylinedb');
    const files = makeFiles(folder, setting);
    const workers = setting.databases > 1 ? ['--max-workers', String(MAX_WORKERS)] : [];
    const daemon = await startDaemon(ground, ['--durability', setting.durability, ...workers]);
    return {
      pids: [daemon.pid],
      target: { socket: daemon.socket, files },
      finish: async () => {
        await daemon.stop();
        const count = countFiles(files, setting.load);
        ground.remove(folder);
        return count;
      },
    };
  },
};

const notBuilt = () => (existsSync(LIBRARY) && existsSync(DAEMON_MAIN) ? null : 'not built: npm run build');

/** @type {Subject} */
export const skylinedb = {
  ...common,
  name: 'skylinedb',
  what: 'the client library, by whatever way it goes',
  missing: notBuilt,
  connect: (target, work) => connect(target, work, {}),
};

/** @type {Subject} */
export const skylinedbRouter = {
  ...common,
  name: 'skylinedb-router',
  what: 'the client library, through the router only',
  missing: notBuilt,
  connect: (target, work) => connect(target, work, ROUTER_ONLY),
};

/**
 * @param {{ socket: string, files: string[] }} target
 * @param {import('./index.mjs').Work} work
 * @param {Record<string, unknown>} options
 * @returns {Promise<import('./index.mjs').Session>}
 */
async function connect({ socket, files }, { load, client, databases }, options) {
  const { connect: open } = await library();
  const skyline = await open({ socket, autoStart: false, name: `bench ${client}`, ...options });
  const all = files.map((file) => skyline.database(file));
  const [db] = all;
  if (db === undefined) throw new Error('There is no database.');
  const blob = blobOf(loadOf(load).bytes);
  const random = randomNumbers(client);
  const close = () => skyline.close();
  if (databases > 1) {
    return { close, batch: (_, n) => all[random(all.length)]?.run(INSERT_ENTRY, [client, n, NOTE]) };
  }
  // The file is open when the clients start, as it is for those who open it themselves. This changes nothing in it.
  await db.exec('SELECT 1');
  switch (load) {
    case 'insert':
      return { close, batch: (_, n) => db.run(INSERT_ENTRY, [client, n, NOTE]) };
    case 'rmw':
      return {
        close,
        batch: (slot) => {
          const params = [counterOf(client, slot)];
          const add = { sql: ADD_TO_COUNTER, params, expect: { rowsAffected: 1 } };
          return db.batch([{ sql: READ_COUNTER, params }, add]);
        },
      };
    case 'batch100':
      return {
        close,
        batch: (_, n) => db.batch([{ sql: INSERT_ENTRY, paramSets: rowsOfBatch(client, n) }]),
      };
    default:
      return { close, batch: () => db.run(INSERT_BLOB, [client, blob]) };
  }
}
