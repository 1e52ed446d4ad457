import { once } from 'node:events';
import { connect as connectSocket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { encodeFrame, FrameReader } from '../frames.mjs';
import { INSERT_ENTRY, NOTE } from '../loads.mjs';
import { lastWords } from '../playground.mjs';

/** @typedef {import('./index.mjs').Subject} Subject */

const SERVER = fileURLToPath(new URL('../echo-server.mjs', import.meta.url));

/** @type {Subject} */
export const echo = {
  name: 'echo',
  what: 'no database: a Node process that answers the same requests in JSON over a Unix socket, and keeps nothing. What is not faster than this cannot be had from Node, JSON and a socket',
  pipelines: true,
  loads: ['insert'],
  durabilities: ['normal'],
  missing: () => null,
  version: () => `Node.js ${process.version}`,
  start: async (ground) => {
    const socket = ground.socket();
    const child = ground.start(process.execPath, [SERVER, socket], { stdio: ['ignore', 'pipe', 'pipe'] });
    const words = lastWords(child);
    const out = /** @type {import('node:stream').Readable} */ (child.stdout);
    const [line] = await Promise.race([once(out, 'data'), once(child, 'exit').then(() => [''])]);
    if (!String(line).includes('ready')) throw new Error(`The echo did not start: ${words()}`);
    const target = { socket };
    return {
      pids: [child.pid ?? 0],
      target,
      finish: async () => {
        const client = await open(target);
        const { answered } = await client.ask({ type: 'Count' });
        client.close();
        await ground.stop(child);
        return answered;
      },
    };
  },
  connect: async (target, { client: number }) => {
    const client = await open(target);
    return {
      close: client.close,
      batch: (_, n) =>
        client.ask({
          type: 'ExecBatch',
          db: '/data/stars.db',
          stmts: [{ sql: INSERT_ENTRY, params: [number, n, NOTE] }],
          session: '00000000-0000-4000-8000-000000000000',
          seq: n,
          acked: n,
        }),
    };
  },
};

/** @param {{ socket: string }} target */
async function open({ socket: path }) {
  const socket = connectSocket(path);
  await once(socket, 'connect');
  /** @type {Map<number, (answer: any) => void>} */
  const waiting = new Map();
  let last = 0;
  const reader = new FrameReader((text) => {
    const answer = JSON.parse(text);
    waiting.get(answer.id)?.(answer);
    waiting.delete(answer.id);
  });
  socket.on('data', (chunk) => reader.take(chunk));
  return {
    close: () => void socket.destroy(),
    /** @param {object} request @returns {Promise<any>} */
    ask: (request) =>
      new Promise((resolve) => {
        last += 1;
        waiting.set(last, resolve);
        socket.write(encodeFrame(JSON.stringify({ ...request, id: last })));
      }),
  };
}
