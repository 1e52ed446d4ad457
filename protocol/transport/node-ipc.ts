import { unlinkSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import nodeIpc from 'node-ipc';

/**
 * The only module that touches node-ipc, and the only one that opens a socket: replacing it by node:net would change
 * this file alone (net.createServer and net.connect, `data` events from the socket itself).
 *
 * node-ipc is used for its listening and connecting only, in raw-buffer mode. What must not be left at its default:
 * - `encoding: 'latin1'`: it reads strings, and utf8 would corrupt bytes;
 * - `unlink: false`: `true` deletes whatever is at the path, a live server's socket or a plain file;
 * - an `error` listener: without one a listen error is silent;
 * - `maxConnections` (100 by default) and `maxRetries` (infinite by default);
 * - what its server does with a connection (read strings, which costs three copies of all that is sent; destroy connections of
 *   others that are half closed): the server of net inside gives them to us instead;
 * - a client's `data` handlers, which copy each chunk through several events: what is read comes to us from the socket itself;
 * - one `new IPC()` each, all with the same options: its parser is global to the module.
 * Its `emit` is not used: writing to the socket keeps backpressure ours and saves a copy. Nobody subscribes to `*`.
 */

/** Bytes in, bytes out. Writing, pausing and ending go to the socket itself. */
export interface ByteStream {
  readonly socket: Socket;
  /** Calls back with every chunk read. One handler per stream; set it before the next turn of the event loop. */
  onData(handler: (chunk: Buffer) => void): void;
}

export interface Listener {
  /** Stops listening and removes the socket file. Open connections stay. */
  close(): Promise<void>;
}

/** Connections that wait or are open at once; beyond it the kernel's queue and then the caller waits. */
const MAX_CONNECTIONS = 16_384;

function newIpc() {
  const ipc = new nodeIpc.IPC();
  Object.assign(ipc.config, {
    rawBuffer: true,
    encoding: 'latin1',
    unlink: false,
    silent: true,
    maxConnections: MAX_CONNECTIONS,
    maxRetries: 0,
    stopRetrying: true,
  });
  return ipc;
}

/**
 * Listens at a Unix socket path or a Windows pipe. The path must be free: removing a dead socket is the caller's
 * decision, who holds the lock that makes it safe. The socket is its owner's alone (0600).
 * @throws the system's error, such as EADDRINUSE or EACCES
 */
export function serve(endpoint: string, onConnection: (stream: ByteStream) => void): Promise<Listener> {
  const ipc = newIpc();
  return new Promise((resolve, reject) => {
    ipc.serve(pipeName(endpoint), () => {
      resolve({
        close: () =>
          new Promise((done) => {
            // The server of net inside: its `close` waits for connections, which the caller ends.
            ipc.server.stop();
            removeSocket(endpoint);
            done();
          }),
      });
    });
    ipc.server.on('error', reject);
    // Binding happens in this call: the socket is never open to others, not even for the moment before chmod.
    const before = process.umask(0o177);
    try {
      ipc.server.start();
    } finally {
      process.umask(before);
    }
    // Before the first connection, which comes in a later turn: what is done with it is ours alone.
    const { server } = ipc.server as unknown as { server: Server };
    server.removeAllListeners('connection');
    server.on('connection', (socket) => {
      // A client that vanished ends in the socket's `close`.
      socket.on('error', () => undefined);
      onConnection(byteStream(socket));
    });
  });
}

/**
 * Connects to an endpoint.
 * @param timeoutMs milliseconds to wait for the connection
 * @throws the system's error: ENOENT and ECONNREFUSED mean that nobody listens; ETIMEDOUT after `timeoutMs`
 */
export function connect(endpoint: string, timeoutMs: number): Promise<ByteStream> {
  const ipc = newIpc();
  return new Promise((resolve, reject) => {
    ipc.connectTo('daemon', endpoint, () => undefined);
    const client = ipc.of.daemon;
    if (client === undefined) {
      reject(new Error('node-ipc made no client'));
      return;
    }
    const socket = (client as unknown as { socket: Socket }).socket;
    const timer = setTimeout(() => {
      socket.destroy();
      reject(
        Object.assign(new Error(`no connection to ${endpoint} within ${timeoutMs} ms`), {
          code: 'ETIMEDOUT',
        }),
      );
    }, timeoutMs);
    client.on('connect', () => {
      clearTimeout(timer);
      resolve(byteStream(socket));
    });
    client.on('error', (error: unknown) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}

/** A connection without node-ipc in between: what it does with what is read ends here. */
function byteStream(socket: Socket): ByteStream {
  socket.removeAllListeners('data');
  return {
    socket,
    // To a client's socket node-ipc has set the encoding: each character is a byte.
    onData: (handler) =>
      socket.on('data', (bytes: Buffer | string) =>
        handler(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes),
      ),
  };
}

/** node-ipc puts the pipe prefix before whatever a server gets, but not before what a client gets. */
export function pipeName(endpoint: string): string {
  return endpoint.replace(/^\\\\\.\\pipe\\/, '');
}

/** libuv removes the file when the server closes; this is for when it was closed already. */
function removeSocket(endpoint: string): void {
  try {
    unlinkSync(endpoint);
  } catch {
    // Gone already, or a pipe.
  }
}
