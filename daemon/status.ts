import type { ClientInfo, DatabaseStatus, TransactionStatus } from '../protocol/messages.js';
import type { RoutedDatabase } from './database.js';
import { figuresOf } from './figures.js';
import { FIRST_ATTACHED_LANE } from './worker/attached-clients.js';
import { bucketTop, type HistogramCounts, percentiles } from './worker/histogram.js';
import type { OpenTransactionStatus } from './worker/link.js';
import { walReaders } from './worker/lock-holders.js';

/** What the router's own client on this lane has said of itself. */
export type Said = (lane: number) => ClientInfo | undefined;

/**
 * One database's record in Status, its worker's figures included where that answers.
 * @param name in the catalog
 * @param detail whether all that was counted of the latency is told, not only its percentiles, and how many read the file
 */
export async function databaseStatus(
  database: RoutedDatabase,
  name: string | undefined,
  detail: boolean,
  said: Said,
): Promise<DatabaseStatus> {
  const { counts, stats, stale, walBytes, queueDepth } = await figuresOf(database);
  const known = database.known ?? { rev: 0, epoch: 1 };
  const latency = percentiles(counts.latency);
  return {
    ...(name === undefined ? {} : { name }),
    db_path: database.path,
    state: database.state,
    // Attached clients' batches are the worker's to tell.
    rev: Math.max(known.rev, !stale && stats?.epoch === known.epoch ? stats.rev : 0),
    epoch: known.epoch,
    worker_pid: database.worker?.pid ?? null,
    queue_depth: queueDepth,
    clients: stats?.clients ?? 0,
    ...(detail ? readersOf(database) : {}),
    wal_bytes: walBytes,
    ...(stats?.wal ? { wal: stats.wal } : {}),
    ...transactionsOf(stats?.transactions ?? [], said),
    counters: {
      batches: counts.batches,
      failed: counts.failed,
      commits: counts.commits,
      checkpoints: counts.checkpoints,
      worker_restarts: counts.restarts,
      errors: counts.errors,
    },
    latency_us: latency && { ...latency, ...(detail ? { buckets: bucketList(counts.latency) } : {}) },
    queue_us: percentiles(counts.queue),
    execute_us: percentiles(counts.execute),
    commit_us: percentiles(counts.commit),
    group_batches: percentiles(counts.groups),
    checkpoint_wait_us: percentiles(counts.checkpointWait),
    stale,
    ...(database.warnings.list.length === 0 ? {} : { warnings: database.warnings.list }),
  };
}

/** Its worker is none: it is there to write. */
function readersOf({ path, worker }: RoutedDatabase): { readers?: number } {
  if (process.platform !== 'linux') return {};
  return { readers: worker === null ? 0 : walReaders(path).filter(({ pid }) => pid !== worker.pid).length };
}

/** `[largest, count]` of each bucket that holds something. */
function bucketList({ buckets }: HistogramCounts): [number, number][] {
  const list: [number, number][] = [];
  for (let at = 0; at < buckets.length; at += 2)
    list.push([bucketTop(buckets[at] ?? 0), buckets[at + 1] ?? 0]);
  return list;
}

function transactionsOf(
  open: readonly OpenTransactionStatus[],
  said: Said,
): { transactions?: TransactionStatus[] } {
  if (open.length === 0) return {};
  return {
    transactions: open.map(({ lane, ...one }) => {
      const client = lane < FIRST_ATTACHED_LANE ? said(lane) : one.client;
      return client === undefined ? one : { ...one, client };
    }),
  };
}
