import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { blobOf, counterOf, loadOf, MAX_CLIENTS, MAX_IN_FLIGHT, NOTE, rowsOfBatch } from '../loads.mjs';
import { lastWords, until } from '../playground.mjs';
import { clientVersion, noClient, programPath } from './peer.mjs';

/** @typedef {import('./index.mjs').Subject} Subject */

/** Debian keeps the server's programs out of PATH, one folder per version. */
const DEBIAN = '/usr/lib/postgresql';
/** The data folder is made once; each run starts the server on it anew. @type {string | null} */
let dataFolder = null;

/** @type {Subject} */
export const postgres = {
  name: 'postgres',
  what: 'PostgreSQL over its Unix socket with the npm client "postgres", one connection per client process; normal: synchronous_commit off, full: on; everything else as it comes',
  pipelines: true,
  loads: ['insert', 'rmw', 'batch100', 'blob1k', 'blob1m'],
  durabilities: ['normal', 'full'],
  missing: () =>
    program('postgres') === null || program('initdb') === null
      ? 'not installed: PostgreSQL (apt-get install postgresql)'
      : (noClient('postgres') ?? (user() === undefined ? 'refuses to run as root: no setpriv here' : null)),
  version: () => {
    const server = execFileSync(program('postgres') ?? 'postgres', ['--version'], { encoding: 'utf8' });
    return `${server.replace('postgres (PostgreSQL) ', '').trim()}, client ${clientVersion('postgres')}`;
  },
  start,
  connect,
};

/** @param {string} name */
function program(name) {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).sort((a, b) => Number(b) - Number(a)) : [];
  return programPath(
    name,
    versions.map((version) => join(DEBIAN, version, 'bin')),
  );
}

/**
 * Whom to run the server as: null for this user, undefined when there is nobody.
 * @returns {{ uid: number, gid: number } | null | undefined}
 */
function user() {
  if (process.getuid?.() !== 0) return null;
  if (programPath('setpriv') === null) return undefined;
  for (const name of ['postgres', 'nobody']) {
    try {
      const [uid, gid] = ['-u', '-g'].map((flag) =>
        Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })),
      );
      if (uid !== undefined && gid !== undefined) return { uid, gid };
    } catch {
      // There is no such user.
    }
  }
  return undefined;
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @returns {[string, string[]]}
 */
function asUser(command, args) {
  const who = user();
  if (!who) return [command, [...args]];
  return ['setpriv', [`--reuid=${who.uid}`, `--regid=${who.gid}`, '--clear-groups', command, ...args]];
}

/** @type {Subject['start']} */
async function start(ground, { load, durability }) {
  const socket = join(dirname(ground.socket()), '.s.PGSQL.5432');
  give(dirname(socket));
  dataFolder ??= makeData(ground);
  const settings = [
    'listen_addresses=',
    `unix_socket_directories=${dirname(socket)}`,
    `synchronous_commit=${durability === 'full' ? 'on' : 'off'}`,
  ];
  const [command, args] = asUser(program('postgres') ?? '', [
    '-D',
    dataFolder,
    ...settings.flatMap((setting) => ['-c', setting]),
  ]);
  // QUIT ends the server and all its processes at once, which KILL does not.
  const child = ground.start(command, args, { endSignal: 'SIGQUIT' });
  const words = lastWords(child);
  await until('PostgreSQL listens', () => {
    if (child.exitCode !== null) throw new Error(`PostgreSQL did not start: ${words()}`);
    return statSync(socket, { throwIfNoEntry: false }) !== undefined;
  });
  const target = { path: socket };
  const sql = await client(target);
  await until('PostgreSQL answers', () =>
    sql`SELECT 1`.then(
      () => true,
      () => false,
    ),
  );
  await sql`SET client_min_messages = warning`;
  await sql`DROP TABLE IF EXISTS entries, counters, blobs`;
  await sql.unsafe(tableOf(load));
  if (load === 'rmw')
    await sql`INSERT INTO counters SELECT id, 0 FROM generate_series(0, ${MAX_CLIENTS * MAX_IN_FLIGHT - 1}) AS id`;
  await sql`CHECKPOINT`;
  return {
    pids: [child.pid ?? 0],
    target,
    finish: async () => {
      const [row] = await sql.unsafe(loadOf(load).count).values();
      // Gives the disk space back before the next subject's turn.
      await sql`DROP TABLE IF EXISTS entries, counters, blobs`;
      await sql.end();
      // INT: PostgreSQL's fast shutdown.
      await ground.stop(child, 'SIGINT');
      return Number(row?.[0]);
    },
  };
}

/** @param {import('../playground.mjs').Playground} ground */
function makeData(ground) {
  const folder = ground.folder('postgres');
  give(folder);
  const options = ['-D', folder, '-U', 'bench', '-A', 'trust', '--no-sync', '--locale=C', '-E', 'UTF8'];
  const [command, args] = asUser(program('initdb') ?? '', options);
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'], cwd: ground.sockets, env: ground.env });
  return folder;
}

/** @param {string} folder */
function give(folder) {
  const who = user();
  if (who) chownSync(folder, who.uid, who.gid);
}

/** @param {string} load */
function tableOf(load) {
  const id = 'id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY';
  if (load === 'rmw') return 'CREATE TABLE counters (id BIGINT PRIMARY KEY, value BIGINT NOT NULL)';
  return load.startsWith('blob')
    ? `CREATE TABLE blobs (${id}, client BIGINT NOT NULL, data BYTEA NOT NULL)`
    : `CREATE TABLE entries (${id}, client BIGINT NOT NULL, n BIGINT NOT NULL, note TEXT NOT NULL)`;
}

/** @param {{ path: string }} target */
async function client({ path }) {
  const { default: open } = await import('postgres');
  return open({ path, username: 'bench', database: 'postgres', max: 1, onnotice: () => undefined });
}

/** @type {Subject['connect']} */
async function connect(target, { load, client: number }) {
  const sql = await client(target);
  await sql`SELECT 1`;
  const blob = blobOf(loadOf(load).bytes);
  /** @type {Record<string, (slot: number, n: number) => PromiseLike<unknown>>} */
  const batches = {
    insert: (_, n) => sql`INSERT INTO entries (client, n, note) VALUES (${number}, ${n}, ${NOTE})`,
    rmw: (slot) =>
      sql`UPDATE counters SET value = value + 1 WHERE id = ${counterOf(number, slot)} RETURNING value`,
    batch100: (_, n) =>
      sql`INSERT INTO entries ${sql(
        rowsOfBatch(number, n).map(([client, at, note]) => ({ client, n: at, note })),
      )}`,
  };
  const batch = batches[load] ?? (() => sql`INSERT INTO blobs (client, data) VALUES (${number}, ${blob})`);
  return {
    // Its queries are promises that begin when they are awaited.
    batch: async (slot, n) => {
      const answer = await /** @type {any} */ (batch(slot, n));
      if (load === 'rmw' && answer.count !== 1) throw new Error('The counter is missing.');
    },
    close: () => sql.end(),
  };
}
