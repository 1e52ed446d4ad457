import { AggregatorRegistry, Registry } from 'prom-client';
import type { Counts } from '../counts.js';
import { cumulative, type HistogramCounts } from '../worker/histogram.js';
import type { SeriesCounts } from './series.js';

/** The daemon's figures at one moment. */
export interface Snapshot {
  readonly version: string;
  /** Seconds since 1970. */
  readonly startedAt: number;
  readonly connections: number;
  readonly attachedClients: number;
  readonly requests: number;
  readonly workers: number;
  readonly spareWorkers: number;
  /** Databases in each state. */
  readonly states: { readonly [state: string]: number };
  /** Errors that were sent to clients, by code. */
  readonly errors: { readonly [code: string]: number };
  readonly series: SeriesCounts;
  /** Of each database that is open. */
  readonly gauges: ReadonlyMap<string, Gauges>;
}

/** How a database stands. */
export interface Gauges {
  readonly walBytes: number;
  readonly queueDepth: number;
  /** Transactions of clients that are open. */
  readonly transactions: number;
}

/** One metric, as prom-client's own registries exchange them. */
interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly aggregator: 'sum';
  readonly values: readonly {
    readonly value: number;
    readonly labels: { readonly [label: string]: string };
    readonly metricName?: string;
  }[];
}

/** The label of what has no series of its own. No file has this path: a path begins with a slash or a drive. */
const OTHERS = '(other)';
/** Buckets end where the counted ones do: 15 µs to 8.4 s. */
const SECONDS = Array.from({ length: 20 }, (_, at) => 2 ** (at + 4) - 1);
/** As many as share a transaction, at most, are 512. */
const BATCHES = Array.from({ length: 9 }, (_, at) => 2 ** (at + 1) - 1);

export const CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

/** The figures as text (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format). */
export async function exposition(snapshot: Snapshot): Promise<string> {
  return await AggregatorRegistry.aggregate([[...ofDaemon(snapshot), ...ofDatabases(snapshot)]]).metrics();
}

function ofDaemon(snapshot: Snapshot): Family[] {
  const { version, startedAt, connections, attachedClients, requests, workers, spareWorkers } = snapshot;
  return [
    simple('gauge', 'skylinedb_info', 'The version that runs; always 1.', [[{ version }, 1]]),
    simple('gauge', 'skylinedb_start_time_seconds', 'When the daemon began, in seconds since 1970.', [
      [{}, startedAt],
    ]),
    simple(
      'gauge',
      'skylinedb_connections',
      'Clients that are connected: to the daemon, to a worker itself.',
      [
        [{ to: 'daemon' }, connections],
        [{ to: 'worker' }, attachedClients],
      ],
    ),
    simple('counter', 'skylinedb_requests_total', "Requests that came to the daemon's own endpoint.", [
      [{}, requests],
    ]),
    simple('counter', 'skylinedb_errors_total', 'Errors that were sent to clients, by their code.', [
      ...Object.entries(snapshot.errors).map(([code, count]) => [{ code }, count] as const),
    ]),
    simple('gauge', 'skylinedb_workers', 'Worker processes that serve a database.', [[{}, workers]]),
    simple('gauge', 'skylinedb_spare_workers', 'Worker processes that serve none yet.', [[{}, spareWorkers]]),
    simple('gauge', 'skylinedb_databases', 'Databases that the daemon knows, by their state.', [
      ...Object.entries(snapshot.states).map(([state, count]) => [{ state }, count] as const),
    ]),
  ];
}

function ofDatabases({ series, gauges }: Snapshot): Family[] {
  const { named, others } = series;
  const counted: (readonly [db: string, counts: Counts])[] = [...named];
  const unnamed = [...gauges].filter(([db]) => !named.has(db)).map(([, all]) => all);
  counted.push([OTHERS, others]);
  const counter = (name: string, help: string, value: (counts: Counts) => number) =>
    simple(
      'counter',
      name,
      help,
      counted.map(([db, counts]) => [{ db }, value(counts)] as const),
    );
  const gauge = (name: string, help: string, key: keyof Gauges) =>
    simple('gauge', name, help, [
      ...[...named.keys()].map((db) => [{ db }, gauges.get(db)?.[key] ?? 0] as const),
      [{ db: OTHERS }, unnamed.reduce((sum, all) => sum + all[key], 0)],
    ]);
  const seconds = (name: string, help: string, counts: (counts: Counts) => HistogramCounts) =>
    histogram(
      name,
      help,
      SECONDS,
      1e6,
      counted.map(([db, all]) => [db, counts(all)] as const),
    );
  return [
    counter('skylinedb_batches_total', 'Batches that were answered.', ({ batches }) => batches),
    counter(
      'skylinedb_batches_failed_total',
      'Batches that were answered with an error.',
      (all) => all.failed,
    ),
    counter('skylinedb_commits_total', 'Transactions that have written.', ({ commits }) => commits),
    counter('skylinedb_checkpoints_total', 'Checkpoints.', ({ checkpoints }) => checkpoints),
    counter('skylinedb_worker_restarts_total', 'Workers that have died.', ({ restarts }) => restarts),
    gauge('skylinedb_wal_bytes', 'Length of the -wal file.', 'walBytes'),
    gauge('skylinedb_queue_depth', 'Batches accepted and not yet answered.', 'queueDepth'),
    gauge('skylinedb_open_transactions', 'Transactions of clients that are open.', 'transactions'),
    seconds(
      'skylinedb_batch_seconds',
      "From a batch's arrival at the worker to its answer.",
      (all) => all.latency,
    ),
    seconds(
      'skylinedb_queue_seconds',
      "From a batch's arrival to the beginning of its group.",
      (all) => all.queue,
    ),
    seconds('skylinedb_execute_seconds', 'Transactions up to their COMMIT.', ({ execute }) => execute),
    seconds('skylinedb_commit_seconds', 'COMMIT of transactions that have written.', ({ commit }) => commit),
    seconds(
      'skylinedb_checkpoint_wait_seconds',
      'Checkpoints that batches may have waited for.',
      (all) => all.checkpointWait,
    ),
    histogram(
      'skylinedb_group_batches',
      'Batches that were done together.',
      BATCHES,
      1,
      counted.map(([db, { groups }]) => [db, groups] as const),
    ),
  ];
}

function simple(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  values: readonly (readonly [labels: Family['values'][number]['labels'], value: number])[],
): Family {
  return {
    name,
    help,
    type,
    aggregator: 'sum',
    values: values.map(([labels, value]) => ({ labels, value })),
  };
}

/** @param scale how many of what was counted are one of the metric's unit */
function histogram(
  name: string,
  help: string,
  bounds: readonly number[],
  scale: number,
  all: readonly (readonly [db: string, counts: HistogramCounts])[],
): Family {
  const values = all.flatMap(([db, counts]) => [
    ...cumulative(counts, bounds).map((value, at) => ({
      metricName: `${name}_bucket`,
      labels: { le: String((bounds[at] ?? 0) / scale), db },
      value,
    })),
    { metricName: `${name}_bucket`, labels: { le: '+Inf', db }, value: counts.count },
    { metricName: `${name}_sum`, labels: { db }, value: counts.sum / scale },
    { metricName: `${name}_count`, labels: { db }, value: counts.count },
  ]);
  return { name, help, type: 'histogram', aggregator: 'sum', values };
}
