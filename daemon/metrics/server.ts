import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** The only interface: who else may read the figures is not the daemon's to decide. */
const LOOPBACK = '127.0.0.1';
/** Names under which it may be asked. A page in a browser can have its own name point here (DNS rebinding). */
const NAMES: ReadonlySet<string> = new Set([LOOPBACK, 'localhost']);
const MAX_CONNECTIONS = 16;
/** Milliseconds for a request to arrive, and for the next one on the same connection. */
const REQUEST_MS = 5_000;
const KEEP_ALIVE_MS = 65_000;
const MAX_HEADERS = 8 * 1024;

/** What is served. */
export interface Page {
  readonly content_type: string;
  readonly text: string;
}

/** Serves one page, `GET /metrics`, to whoever is on this machine. */
export class MetricsServer {
  readonly #server: Server;
  /** Where it listens. */
  readonly port: number;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  /**
   * @param port 0 for any that is free
   * @param page made for each request
   * @throws whatever listening throws, such as `EADDRINUSE`
   */
  static async listen(port: number, page: () => Promise<Page>): Promise<MetricsServer> {
    const server = createServer(
      {
        maxHeaderSize: MAX_HEADERS,
        headersTimeout: REQUEST_MS,
        requestTimeout: REQUEST_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
        connectionsCheckingInterval: REQUEST_MS,
      },
      (request, response) => void answer(request, response, page),
    );
    server.maxConnections = MAX_CONNECTIONS;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, LOOPBACK, () => {
        server.off('error', reject);
        resolve();
      });
    });
    // No descriptors left to accept with: whoever asked tries again.
    server.on('error', () => undefined);
    return new MetricsServer(server, (server.address() as AddressInfo).port);
  }

  /** Resolves when the port is free. */
  async close(): Promise<void> {
    await new Promise((resolve) => {
      this.#server.close(resolve);
      this.#server.closeAllConnections();
    });
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  page: () => Promise<Page>,
): Promise<void> {
  // A body is not read; what would follow it on the connection neither.
  if (request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined)
    response.setHeader('connection', 'close');
  response.setHeader('x-content-type-options', 'nosniff');
  const refused = refusal(request);
  if (refused !== null) {
    say(response, refused.status, 'text/plain; charset=utf-8', `${refused.message}\n`);
    return;
  }
  try {
    const { content_type: type, text } = await page();
    say(response, 200, type, text);
  } catch {
    say(response, 500, 'text/plain; charset=utf-8', 'The figures could not be gathered. Try again.\n');
  }
}

function say(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

/** Why a request is not answered with the page; null if it is. */
export function refusal({
  method,
  url,
  headers,
}: Pick<IncomingMessage, 'method' | 'url' | 'headers'>): { status: number; message: string } | null {
  const host = headers.host?.replace(/:\d+$/, '').toLowerCase();
  if (host === undefined || !NAMES.has(host))
    return { status: 403, message: `Ask for http://${LOOPBACK}/metrics: no other name is answered.` };
  if (url?.split('?', 1)[0] !== '/metrics') return { status: 404, message: 'There is only /metrics.' };
  if (method !== 'GET') return { status: 405, message: 'There is only GET.' };
  return null;
}
