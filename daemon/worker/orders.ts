import { never, SkylineError } from '../../protocol/errors.js';
import type { JsonObject } from '../../protocol/frame.js';
import type { AttachedClients } from './attached-clients.js';
import type { Copies } from './copies.js';
import { emptyWal } from './empty-wal.js';
import type { OrderJob } from './intake.js';
import type { Order, WorkerOptions, WorkerStats } from './link.js';
import type { ServedDatabase } from './served-database.js';
import { fromSqlite } from './sqlite-errors.js';
import { reopen, swapIn } from './take-over.js';
import { renewWalIndex } from './wal-index.js';

/** What orders work on. */
export interface Desk {
  readonly options: WorkerOptions;
  readonly database: ServedDatabase;
  readonly copies: Copies;
  readonly clients: AttachedClients;
  /** Begins or ends telling of what is committed. */
  watch(on: boolean): void;
  stats(): WorkerStats;
}

/**
 * Carries out one order: whatever is asked of a database, other than its batches.
 * @throws SkylineError
 */
export async function obey(order: Order, job: OrderJob, desk: Desk): Promise<JsonObject> {
  const { database, copies, options } = desk;
  const onEvent = (event: string) => job.event(Buffer.from(event));
  switch (order.op) {
    case 'serve':
      throw new SkylineError('INTERNAL', 'This worker serves a database already.');
    case 'stats':
      return { ...desk.stats() };
    case 'position':
      await database.open();
      return { ...database.position };
    case 'create':
      return { ...(await database.create({ id: order.id, epoch: order.epoch, rev: 0 })) };
    case 'watch':
      if (order.on) await database.open();
      desk.watch(order.on);
      return { ...database.position };
    case 'listen': {
      const endpoint = await desk.clients.listen();
      await database.open();
      return { ...database.position, endpoint };
    }
    case 'checkpoint':
      await database.file();
      return { ...(await database.checkpoint(order.mode)) };
    case 'prepare':
      await emptyWal(database, order.timeoutMs);
      return { ...database.position };
    case 'close': {
      await copies.settled();
      if (order.timeoutMs > 0) await emptyWal(database, order.timeoutMs);
      await database.alone();
      const { position } = database;
      const stats = desk.stats();
      const left = database.leave();
      // Closed for somebody who may put another file there, beside which whoever has this one open keeps its -shm.
      if (order.timeoutMs > 0) renewWalIndex(options.path);
      return { ...position, stats: { ...stats }, left };
    }
    case 'reopen':
      return { ...(await reopen(database, options.known, order)) };
    case 'backup': {
      try {
        const { handle } = (await database.file()).connection;
        return { ...(await copies.backup(handle, order, onEvent)) };
      } catch (error) {
        throw fromSqlite(error, order.to);
      }
    }
    case 'stage':
      await copies.stage(order, onEvent);
      return {};
    case 'swap':
      return { ...(await swapIn(database, options, order)) };
    default:
      return never(order);
  }
}
