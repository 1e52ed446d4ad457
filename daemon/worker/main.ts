import { Socket } from 'node:net';
import { basename } from 'node:path';
import { FrameDecoder } from '../../protocol/frame.js';
import { GatheredWrites } from '../../protocol/transport/gathered-writes.js';
import {
  decodeLink,
  encodeLink,
  LinkKind,
  linkHeader,
  MAX_LINK_FRAME,
  type Order,
  type Outlet,
} from './link.js';
import { DatabaseService } from './service.js';
import { warmUp } from './warm-up.js';

/** A worker process: serves the database that its router names, then perhaps another, and leaves with its router. */
const LINK_FD = 3;
const SPARE_TITLE = 'skylinedb-spare';
const NOTHING = Buffer.alloc(0);

process.title = SPARE_TITLE;
const link = new Socket({ fd: LINK_FD, readable: true, writable: true });
const output = new GatheredWrites(link);
const decoder = new FrameDecoder(MAX_LINK_FRAME);
let service: DatabaseService | null = null;
/** Settles when the clients of all databases that were closed here have got their last answers. */
let goodbyes: Promise<void> = Promise.resolve();

const outlet: Outlet = {
  send(kind, tag, lane, number, payload) {
    if (typeof payload === 'string') output.writeFrame(linkHeader(kind, tag, lane, number), payload);
    else for (const part of encodeLink(kind, tag, lane, number, payload)) output.write(part);
  },
  notice(notice) {
    outlet.send(LinkKind.Notice, 0, 0, 0, Buffer.from(JSON.stringify(notice)));
  },
  flushed() {
    output.flush();
    if (link.writableLength === 0) return undefined;
    return new Promise((resolve) => link.write(NOTHING, () => resolve()));
  },
  closed(goodbye) {
    service = null;
    process.title = SPARE_TITLE;
    goodbyes = goodbyes.then(() => goodbye);
  },
};

link.on('data', (chunk: Buffer) => {
  decoder.push(chunk);
  for (let frame = decoder.next(); frame !== null; frame = decoder.next()) {
    const message = decodeLink(frame);
    if (service !== null) {
      service.receive(message);
      continue;
    }
    // What else comes was on its way when the last database was closed.
    if (message.kind !== LinkKind.Order) continue;
    const order = JSON.parse(message.payload.toString('utf8')) as Order;
    if (order.op !== 'serve') continue;
    process.title = `skylinedb-worker ${basename(order.options.path)}`;
    service = new DatabaseService(order.options, outlet);
  }
});

// The router has died: no answer can reach anybody. Work is synchronous, so no commit is cut in two by leaving here.
link.on('close', () => {
  if (service === null) {
    void goodbyes.then(() => process.exit(0));
    return;
  }
  try {
    service.abandon();
  } finally {
    process.exit(0);
  }
});
link.on('error', () => link.destroy());

// Ctrl-C and a service manager's TERM reach the whole group; the router finishes what was accepted and says when to go.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.on('SIGHUP', () => undefined);

outlet.notice({ event: 'ready' });

// A spare has the time for it now.
setImmediate(() => {
  if (service === null) warmUp();
});
