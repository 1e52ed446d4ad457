import { SkylineError } from '../protocol/errors.js';
import type { JsonObject } from '../protocol/frame.js';
import type { ErrorReply, Statement } from '../protocol/messages.js';
import type { RoutedDatabase } from './database.js';
import { ROUTER_LANE } from './worker/attached-clients.js';
import { COUNTED_REPLY } from './worker/link.js';

/** A worker that dies with a change in hand may have made it: changes say what is to be, and are sent again. */
const MAX_TRIES = 3;

/**
 * Executes a batch on disk, in the catalog's worker.
 * @param catalog the catalog's database, as it is known at each try
 * @returns each statement's rows
 * @throws SkylineError whatever that worker says
 */
export async function execOnCatalog(
  catalog: () => RoutedDatabase,
  stmts: readonly Statement[],
): Promise<readonly (readonly unknown[][])[]> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await once(catalog(), stmts);
    } catch (error) {
      const crashed = error instanceof SkylineError && error.code === 'WORKER_CRASHED';
      if (!crashed || tries >= MAX_TRIES) throw error;
    }
  }
}

function once(
  catalog: RoutedDatabase,
  stmts: readonly Statement[],
): Promise<readonly (readonly unknown[][])[]> {
  return new Promise((resolve, reject) => {
    catalog.submit({
      kind: 'batch',
      isWanted: () => true,
      lane: ROUTER_LANE,
      payload: Buffer.from(JSON.stringify({ type: 'ExecBatch', stmts, durable: true })),
      deadline: 0,
      session: false,
      reply: (payload, worker) => {
        if (payload.length >= COUNTED_REPLY) worker.drained(ROUTER_LANE, payload.length);
        const reply = JSON.parse(payload.toString('utf8')) as JsonObject;
        if (reply.status === 'ok')
          resolve((reply.results as { rows?: unknown[][] }[]).map(({ rows = [] }) => rows));
        else reject(refusedBy(reply as unknown as ErrorReply));
      },
      fail: reject,
    });
  });
}

function refusedBy({ code, message, outcome, retryable, sqlite_code: sqlite }: ErrorReply): SkylineError {
  const details = sqlite === undefined ? {} : { sqlite_code: sqlite };
  return new SkylineError(code, `The catalog: ${message}`, { outcome, retryable, details });
}
