import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { blobOf, counterOf, loadOf, NOTE, rowsOfBatch } from '../loads.mjs';
import { lastWords, until } from '../playground.mjs';
import { clientVersion, noClient, programPath } from './peer.mjs';

/** @typedef {import('./index.mjs').Subject} Subject */

/** @type {Subject} */
export const redis = {
  name: 'redis',
  what: 'Redis over a Unix socket with ioredis, append-only file; normal: appendfsync everysec, full: always; a list instead of a table, INCR for read-modify-write',
  pipelines: true,
  // 1 MiB blobs are left out: Redis keeps everything in memory.
  loads: ['insert', 'rmw', 'batch100', 'blob1k'],
  durabilities: ['normal', 'full'],
  missing: () =>
    programPath('redis-server') === null
      ? 'not installed: Redis (apt-get install redis-server)'
      : noClient('ioredis'),
  version: () => {
    const text = execFileSync('redis-server', ['--version'], { encoding: 'utf8' });
    return `${/v=(\S+)/.exec(text)?.[1]}, ioredis ${clientVersion('ioredis')}`;
  },
  start,
  connect,
};

/** @type {Subject['start']} */
async function start(ground, { load, durability }) {
  const socket = ground.socket();
  const folder = ground.folder('redis');
  const fsync = durability === 'full' ? 'always' : 'everysec';
  const settings = {
    port: '0',
    unixsocket: socket,
    dir: folder,
    appendonly: 'yes',
    appendfsync: fsync,
    save: '',
  };
  const child = ground.start(
    'redis-server',
    Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
  );
  const words = lastWords(child);
  await until('Redis listens', () => {
    if (child.exitCode !== null) throw new Error(`Redis did not start: ${words()}`);
    return statSync(socket, { throwIfNoEntry: false }) !== undefined;
  });
  const target = { socket };
  return {
    pids: [child.pid ?? 0],
    target,
    finish: async () => {
      const client = await open(target);
      const count = load === 'rmw' ? await sumOfCounters(client) : Number(await client.llen(keyOf(load)));
      client.disconnect();
      await ground.stop(child);
      ground.remove(folder);
      return count;
    },
  };
}

/** @param {string} load */
function keyOf(load) {
  return load.startsWith('blob') ? 'blobs' : 'entries';
}

/** @param {import('ioredis').Redis} client */
async function sumOfCounters(client) {
  const keys = await client.keys('counter:*');
  const values = keys.length === 0 ? [] : await client.mget(keys);
  return values.reduce((sum, value) => sum + Number(value), 0);
}

/** @param {{ socket: string }} target */
async function open({ socket }) {
  const { Redis } = await import('ioredis');
  const client = new Redis({ path: socket, lazyConnect: true });
  await client.connect();
  return client;
}

/** @type {Subject['connect']} */
async function connect(target, { load, client: number }) {
  const client = await open(target);
  const key = keyOf(load);
  const blob = blobOf(loadOf(load).bytes);
  /** @type {Record<string, (slot: number, n: number) => Promise<unknown>>} */
  const batches = {
    insert: (_, n) => client.rpush(key, `${number}:${n}:${NOTE}`),
    rmw: (slot) => client.incr(`counter:${counterOf(number, slot)}`),
    // One command is one transaction.
    batch100: (_, n) => client.rpush(key, ...rowsOfBatch(number, n).map((row) => row.join(':'))),
  };
  return {
    batch: batches[load] ?? (() => client.rpush(key, blob)),
    close: () => client.disconnect(),
  };
}
