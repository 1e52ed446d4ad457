import type { Counts } from './counts.js';
import type { RoutedDatabase } from './database.js';
import { walBytes } from './worker/checkpoint.js';
import type { WorkerStats } from './worker/link.js';

/** Milliseconds after which the last known figures of a worker that is busy are taken. */
const STATS_WAIT_MS = 250;

/** One database's figures now. */
export interface Figures {
  readonly database: RoutedDatabase;
  /** What all of its workers have counted. */
  readonly counts: Counts;
  /** What the worker that serves it now says, or has last said; null where there is none. */
  readonly stats: WorkerStats | null;
  /** The worker was too busy to answer. */
  readonly stale: boolean;
  readonly walBytes: number;
  /** Batches accepted and not yet answered. */
  readonly queueDepth: number;
}

/** Asks the database's worker, if there is one. A busy one must not hold up the figures of all others. */
export async function figuresOf(database: RoutedDatabase): Promise<Figures> {
  const asked = database.worker;
  const fresh = asked !== null && (await soon(asked.order({ op: 'stats' })));
  // It may have left meanwhile.
  const { worker } = database;
  const stats = worker?.lastStats ?? null;
  const stale = worker !== null && (worker !== asked || !fresh);
  return {
    database,
    counts: database.workers.counts,
    stats,
    stale,
    walBytes: walBytes(database.path),
    queueDepth: Math.max(database.depth, stale ? 0 : (stats?.queueDepth ?? 0)),
  };
}

/** Whether it is done without failing or taking too long. */
async function soon(work: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), STATS_WAIT_MS);
  });
  const done = work.then(
    () => true,
    () => false,
  );
  try {
    return await Promise.race([done, late]);
  } finally {
    clearTimeout(timer);
  }
}
