import { readdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isPipe } from '../protocol/endpoint.js';

/** A worker removes its own socket; these are for the ones that were killed. A pipe vanishes with its process. */

/** Removes the socket of a worker that has ended. */
export function removeWorkerSocket(socket: string): void {
  if (!isPipe(socket)) rmSync(socket, { force: true });
}

/**
 * Removes the sockets of workers that were killed together with their router. Only for the holder of the endpoint's lock:
 * a worker that still lives is an orphan then, and nobody's to reach.
 */
export function removeWorkerSockets(endpoint: string): void {
  if (isPipe(endpoint)) return;
  const prefix = `${basename(endpoint)}.w`;
  const folder = dirname(endpoint);
  for (const name of readdirSync(folder)) {
    if (name.startsWith(prefix) && /^\d+-\d+$/.test(name.slice(prefix.length)))
      rmSync(join(folder, name), { force: true });
  }
}
