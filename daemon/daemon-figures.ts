import type { ErrorCode, MetricsReply, StatusReply } from '../protocol/messages.js';
import { VERSION } from '../protocol/transport/this-package.js';
import type { Config } from './config.js';
import type { Counts } from './counts.js';
import type { RoutedDatabase } from './database.js';
import type { Databases } from './databases.js';
import { figuresOf } from './figures.js';
import type { Snapshot } from './metrics/exposition.js';
import { MetricSeries } from './metrics/series.js';
import type { SpareWorkers } from './spare-workers.js';
import { databaseStatus, type Said } from './status.js';
import type { WorkerChild } from './worker-child.js';

/** What the daemon knows of itself: what the router counts, and what its databases' workers say. */
export class DaemonFigures {
  /** Clients that are connected to the endpoint. */
  connections = 0;
  /** Frames that came from them. */
  requests = 0;
  /** Where metrics are served; null for nowhere. */
  metricsPort: number | null = null;
  readonly #errors = new Map<ErrorCode, number>();
  readonly #config: Config;
  readonly #databases: Databases;
  readonly #spares: SpareWorkers<WorkerChild>;
  readonly #series: MetricSeries;
  readonly #started = performance.now();
  /** Whoever asks while it is being gathered gets the same. */
  #gathering: Promise<MetricsFields> | null = null;

  constructor(config: Config, databases: Databases, spares: SpareWorkers<WorkerChild>) {
    this.#config = config;
    this.#databases = databases;
    this.#spares = spares;
    this.#series = new MetricSeries(config.metricsDatabases);
  }

  /** Milliseconds since it began. */
  get uptime(): number {
    return Math.round(performance.now() - this.#started);
  }

  /** An error was sent to a client. */
  error(code: ErrorCode): void {
    this.#errors.set(code, (this.#errors.get(code) ?? 0) + 1);
  }

  /**
   * The fields of Status.
   * @param said what the router's clients have said of themselves
   */
  async status(databases: readonly RoutedDatabase[], detail: boolean, said: Said): Promise<StatusFields> {
    return {
      version: VERSION,
      pid: process.pid,
      uptime_ms: this.uptime,
      endpoint: this.#config.endpoint,
      data_dir: this.#config.dataDir,
      state_dir: this.#config.stateDir,
      connections: this.connections,
      subscriptions: this.#databases.all().reduce((sum, { subscriptions }) => sum + subscriptions, 0),
      workers: this.#workers,
      spare_workers: this.#spares.size,
      requests: this.requests,
      errors: Object.fromEntries(this.#errors),
      metrics_port: this.metricsPort,
      databases: await Promise.all(
        databases.map((database) =>
          databaseStatus(database, this.#databases.catalog.rows.at(database.path)?.name, detail, said),
        ),
      ),
    };
  }

  /** The same for Prometheus. */
  metrics(): Promise<MetricsFields> {
    this.#gathering ??= this.#gather().finally(() => {
      this.#gathering = null;
    });
    return this.#gathering;
  }

  get #workers(): number {
    return this.#databases.all().filter(({ worker }) => worker !== null).length;
  }

  async #gather(): Promise<MetricsFields> {
    // Most daemons are never asked.
    const { CONTENT_TYPE, exposition } = await import('./metrics/exposition.js');
    return { content_type: CONTENT_TYPE, text: await exposition(await this.#snapshot()) };
  }

  async #snapshot(): Promise<Snapshot> {
    const open = await Promise.all(
      this.#databases
        .all()
        .filter(({ worker }) => worker !== null)
        .map(figuresOf),
    );
    // From here on nothing is waited for: what is counted twice, or not at all, would make series go backwards.
    const counts = new Map<string, Counts>();
    const states: { [state: string]: number } = { open: 0, preparing: 0, closed: 0 };
    for (const database of this.#databases.all()) {
      counts.set(database.path, database.workers.counts);
      states[database.state] = (states[database.state] ?? 0) + 1;
    }
    const { forgotten } = this.#databases;
    const errors: { [code: string]: number } = Object.fromEntries(this.#errors);
    for (const { errors: some } of [forgotten, ...counts.values()])
      for (const [code, count] of Object.entries(some)) errors[code] = (errors[code] ?? 0) + count;
    return {
      version: VERSION,
      startedAt: Math.round((Date.now() - this.uptime) / 1000),
      connections: this.connections,
      attachedClients: open.reduce((sum, { stats }) => sum + (stats?.clients ?? 0), 0),
      requests: this.requests,
      workers: this.#workers,
      spareWorkers: this.#spares.size,
      states,
      errors,
      series: this.#series.update(counts, forgotten, performance.now()),
      gauges: new Map(
        open.map(({ database, walBytes, queueDepth, stats }) => [
          database.path,
          { walBytes, queueDepth, transactions: stats?.transactions.length ?? 0 },
        ]),
      ),
    };
  }
}

type StatusFields = Omit<StatusReply, 'status' | 'id'>;
type MetricsFields = Omit<MetricsReply, 'status' | 'id'>;
