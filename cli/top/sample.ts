import type { DatabaseStatus, StatusReply } from '../../protocol/messages.js';

/** One database between two looks. Rates are per second; null before there were two. */
export interface Row {
  /** Its name in the catalog, or else its path. */
  readonly db: string;
  readonly batches: number | null;
  readonly failed: number | null;
  /** Microseconds of the batches since the last look; null where there were none. */
  readonly p50: number | null;
  readonly p99: number | null;
  readonly queue: number;
  readonly wal: number;
  /** Processes that keep the WAL beyond its limit. */
  readonly blockedBy: readonly string[] | null;
  /** null where the system does not tell. */
  readonly readers: number | null;
  /** Whose transaction the other writers wait for, and for how long it has been open, in milliseconds. */
  readonly heldBy: { readonly who: string; readonly sinceMs: number } | null;
  readonly clients: number;
  readonly state: string;
  readonly stale: boolean;
  readonly worker: number | null;
}

/** All of it at one moment. */
export interface Sample {
  readonly version: string;
  readonly pid: number;
  readonly uptimeMs: number;
  readonly dataDir: string;
  readonly connections: number;
  readonly attached: number;
  readonly workers: number;
  readonly spares: number;
  readonly batches: number | null;
  readonly errors: number | null;
  readonly queue: number;
  readonly wal: number;
  readonly rows: readonly Row[];
}

/** Turns what is counted since the daemon began into what happens now. */
export class Sampler {
  #last: { readonly status: StatusReply; readonly at: number } | null = null;

  /**
   * @param status with `detail`
   * @param at when it came, in milliseconds of a clock that only goes forward
   */
  next(status: StatusReply, at: number): Sample {
    // Another daemon counts from zero.
    const last = this.#last?.status.pid === status.pid ? this.#last : null;
    this.#last = { status, at };
    const seconds = last === null ? null : Math.max(0.001, (at - last.at) / 1000);
    const before = new Map(last?.status.databases.map((database) => [database.db_path, database]));
    const rate = (now: number, then: number | undefined) =>
      seconds === null ? null : Math.max(0, now - (then ?? 0)) / seconds;
    const rows = status.databases.map((database) => {
      const old = before.get(database.db_path);
      return {
        ...rowOf(database),
        batches: rate(database.counters.batches, old?.counters.batches),
        failed: rate(database.counters.failed, old?.counters.failed),
        ...since(database, last === null ? database : old),
      };
    });
    return {
      version: status.version,
      pid: status.pid,
      uptimeMs: status.uptime_ms,
      dataDir: status.data_dir,
      connections: status.connections,
      attached: sum(status.databases, ({ clients }) => clients),
      workers: status.workers,
      spares: status.spare_workers,
      batches: seconds === null ? null : sum(rows, ({ batches }) => batches ?? 0),
      errors: last === null ? null : rate(errorsOf(status), errorsOf(last.status)),
      queue: sum(rows, ({ queue }) => queue),
      wal: sum(rows, ({ wal }) => wal),
      rows,
    };
  }
}

function rowOf(database: DatabaseStatus): Omit<Row, 'batches' | 'failed' | 'p50' | 'p99'> {
  const blocked = database.wal?.blocked ?? null;
  return {
    db: database.name ?? database.db_path,
    queue: database.queue_depth,
    wal: database.wal_bytes,
    blockedBy: blocked?.holders.map(({ pid, command = '' }) => `pid ${pid} ${command}`.trim()) ?? null,
    readers: database.readers ?? null,
    heldBy: holder(database),
    clients: database.clients,
    state: database.state,
    stale: database.stale,
    worker: database.worker_pid,
  };
}

function holder({ transactions = [] }: DatabaseStatus): Row['heldBy'] {
  const held = transactions.find(({ read }) => !read);
  if (held === undefined) return null;
  const { name = 'a client without a name', pid } = held.client ?? {};
  return { who: pid === undefined ? name : `${name} (pid ${pid})`, sinceMs: held.since_ms };
}

/** Percentiles of the batches that came since `old`: by how much each bucket has grown. */
function since(now: DatabaseStatus, old: DatabaseStatus | undefined): Pick<Row, 'p50' | 'p99'> {
  const before = new Map(old?.latency_us?.buckets);
  const grown = (now.latency_us?.buckets ?? []).map(
    ([us, batches]) => [us, batches - (before.get(us) ?? 0)] as const,
  );
  const all = sum(grown, ([, batches]) => batches);
  const percentile = (part: number) => {
    let left = Math.ceil((all * part) / 100);
    for (const [us, batches] of grown) {
      left -= batches;
      if (left <= 0) return us;
    }
    return null;
  };
  return all <= 0 ? { p50: null, p99: null } : { p50: percentile(50), p99: percentile(99) };
}

function errorsOf({ errors, databases }: StatusReply): number {
  const count = (some: { readonly [code: string]: number }) => sum(Object.values(some), (one) => one);
  return count(errors) + sum(databases, ({ counters }) => count(counters.errors));
}

function sum<T>(all: readonly T[], value: (one: T) => number): number {
  return all.reduce((total, one) => total + value(one), 0);
}
