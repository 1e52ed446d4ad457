import type { DatabaseStatus } from '../protocol/messages.js';
import type { RoutedDatabase } from './database.js';
import { walBytes } from './worker/checkpoint.js';
import type { WorkerStats } from './worker/link.js';

/** Milliseconds after which Status takes the last known figures of a worker that is busy. */
const STATS_WAIT_MS = 250;

/** One database's figures, its worker's included where that answers. */
export async function databaseStatus(database: RoutedDatabase): Promise<DatabaseStatus> {
  const { worker } = database;
  const fresh =
    worker === null ? null : await soon(worker.order({ op: 'stats' }) as unknown as Promise<WorkerStats>);
  const stats = fresh ?? worker?.lastStats;
  if (fresh !== null && worker !== null) worker.lastStats = fresh;
  const known = database.known ?? { rev: 0, epoch: 1 };
  return {
    db_path: database.path,
    state: database.state,
    // Attached clients' batches are the worker's to tell.
    rev: Math.max(known.rev, fresh?.epoch === known.epoch ? fresh.rev : 0),
    epoch: known.epoch,
    worker_pid: worker?.pid ?? null,
    queue_depth: Math.max(database.depth, fresh?.queueDepth ?? 0),
    wal_bytes: walBytes(database.path),
    ...(stats?.wal ? { wal: stats.wal } : {}),
    counters: {
      batches: stats?.batches ?? 0,
      failed: stats?.failed ?? 0,
      commits: stats?.commits ?? 0,
      checkpoints: stats?.checkpoints ?? 0,
      worker_restarts: database.restarts,
    },
    latency_us: stats?.latencyUs ?? null,
    stale: worker !== null && fresh === null,
  };
}

/** null when it takes too long or fails: a busy worker must not hold up the figures of all others. */
async function soon<T>(work: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), STATS_WAIT_MS);
  });
  try {
    return await Promise.race([work.catch(() => null), late]);
  } finally {
    clearTimeout(timer);
  }
}
