import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isPipe } from '../protocol/endpoint.js';
import { codeOf, messageOf, SkylineError } from '../protocol/errors.js';
import type { ShutdownRequest } from '../protocol/messages.js';
import { nativeModuleRemedy } from '../protocol/native-module.js';
import { connect, type Listener, serve } from '../protocol/transport/node-ipc.js';
import { ensureSocketFolder } from '../protocol/transport/socket-folder.js';
import { isOlder, VERSION } from '../protocol/version.js';
import type { Config } from './config.js';
import { DaemonFigures } from './daemon-figures.js';
import { Databases } from './databases.js';
import { AlreadyRunningError, takeOver } from './hand-off.js';
import type { Logger } from './log.js';
import { Maintenance } from './maintenance.js';
import { MaintenanceRecords } from './maintenance-records.js';
import type { MetricsServer } from './metrics/server.js';
import { NamedDatabases } from './named-databases.js';
import { Router } from './router.js';
import type { SpareWorkers } from './spare-workers.js';
import { KernelLock, type LockRefusal } from './worker/kernel-lock.js';
import type { WorkerChild } from './worker-child.js';
import { WorkerPool } from './worker-pool.js';
import { removeWorkerSockets } from './worker-sockets.js';

/** The daemon's life. One edge each, in this order. */
type DaemonState = 'starting' | 'serving' | 'draining' | 'stopped';

/** Milliseconds that a client may take to read its last answers when the daemon leaves. */
const GOODBYE_MS = 2_000;
/** Milliseconds after a hand-off that came at the wrong moment until the next one is welcome. */
const HAND_OFF_AGAIN_MS = 60_000;

/** Milliseconds until a port that was taken is tried again. */
const METRICS_RETRY_MS = 10_000;

/** Milliseconds from the start, and then from one time to the next, until the catalog is looked through. */
const FIRST_TIDY_MS = 1_000;
const TIDY_MS = 10 * 60_000;

/** One daemon: its endpoint, its lock, its router. */
export class Daemon {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #databases: Databases;
  readonly #maintenance: Maintenance;
  readonly #named: NamedDatabases;
  readonly #records: MaintenanceRecords;
  readonly #pool: WorkerPool;
  readonly #spares: SpareWorkers<WorkerChild>;
  readonly #router: Router;
  readonly #figures: DaemonFigures;
  readonly #onStopped: () => void;
  #state: DaemonState = 'starting';
  #lock: KernelLock | null = null;
  #listener: Listener | null = null;
  #draining: Promise<void> | null = null;
  #metrics: MetricsServer | null = null;
  #idleTimer: NodeJS.Timeout | undefined;
  /** When a newer client may ask for the hand-off, on performance.now()'s clock. */
  #handOffAt = 0;
  #tidyTimer: NodeJS.Timeout | undefined;

  /** @param onStopped when nothing is left to do: the process may exit */
  constructor(config: Config, spares: SpareWorkers<WorkerChild>, log: Logger, onStopped: () => void) {
    this.#config = config;
    this.#log = log;
    this.#onStopped = onStopped;
    this.#records = new MaintenanceRecords(config.stateDir);
    this.#pool = new WorkerPool(config.maxWorkers, () => this.#watchIdle());
    this.#spares = spares;
    this.#databases = new Databases({ config, pool: this.#pool, spares, records: this.#records, log });
    this.#maintenance = new Maintenance(this.#records, log);
    this.#figures = new DaemonFigures(config, this.#databases, spares);
    this.#named = new NamedDatabases(this.#databases, this.#maintenance, log, config.endpoint);
    this.#router = new Router(config, this.#databases, this.#maintenance, this.#named, this.#figures, log, {
      shutdown: (request) => this.#asked(request),
      handOff: () => this.#mayHandOff,
      activity: () => this.#watchIdle(),
    });
  }

  /**
   * Takes the endpoint's lock and listens.
   * @throws SkylineError when another daemon has the endpoint, or it cannot be used
   */
  async start(): Promise<void> {
    const { endpoint } = this.#config;
    ensureSocketFolder(endpoint, process.getuid?.() ?? -1);
    mkdirSync(this.#config.stateDir, { recursive: true, mode: 0o700 });
    mkdirSync(this.#config.dataDir, { recursive: true, mode: 0o700 });
    const take = () => takeLock(endpoint, this.#config.stateDir);
    this.#lock = this.#config.handOff ? await takeOver(endpoint, take) : take();
    try {
      await removeDeadSocket(endpoint);
      removeWorkerSockets(endpoint);
      this.#listener = await serve(endpoint, (stream) => this.#router.clients.connect(stream));
    } catch (error) {
      this.#lock.release();
      throw startFailure(endpoint, error);
    }
    this.#state = 'serving';
    this.#log.info({ endpoint, data: this.#config.dataDir }, 'listening');
    this.#records.sweep();
    for (const record of this.#records.all((error) => this.#log.error(messageOf(error)))) {
      if (record.state !== 'closed') void this.#maintenance.recover(record, this.#databases.at(record.db));
    }
    this.#tidySoon(FIRST_TIDY_MS);
    this.#watchIdle();
    void this.#serveMetrics();
  }

  /**
   * A client has asked the daemon to leave.
   * @throws SkylineError when what it makes a condition does not hold
   */
  async #asked({ if_older_than: version, timeout_ms: timeoutMs }: ShutdownRequest): Promise<void> {
    // Looked at here, and not by whoever asks: the daemon that it means may have been followed by a newer one already.
    if (version !== undefined && !isOlder(VERSION, version))
      throw new SkylineError(
        'EXPECTATION_FAILED',
        `This daemon is skylinedb ${VERSION}, which is not older than ${version}: it stays.`,
      );
    if (timeoutMs !== undefined && !(await this.#becomesQuiet(timeoutMs)))
      throw new SkylineError(
        'TIMEOUT',
        `The daemon could not finish within ${timeoutMs} ms what it is at, and goes on. Ask again later.`,
      );
    await this.shutdown(
      version === undefined ? 'a client asked for it' : `a daemon of version ${version} follows`,
    );
  }

  /** Whether a newer client may ask it to leave: not where somebody started it by hand, who would wonder where it is. */
  get #mayHandOff(): boolean {
    return this.#config.readyFd !== null && performance.now() >= this.#handOffAt;
  }

  /**
   * Refuses requests until everything that was accepted is finished.
   * @returns false when that takes longer: then requests are taken again
   */
  async #becomesQuiet(timeoutMs: number): Promise<boolean> {
    const late = AbortSignal.timeout(timeoutMs);
    this.#router.refusing = true;
    const quiet = await Promise.race([this.#quiet(late), aborted(late)]);
    if (quiet || this.#state !== 'serving') return true;
    // Each try keeps everybody waiting: the next one is not to come at once.
    this.#handOffAt = performance.now() + HAND_OFF_AGAIN_MS;
    this.#router.refusing = false;
    return false;
  }

  /** Attached clients are heard of by their workers alone: one that answers is not in a long statement of theirs. */
  async #quiet(late: AbortSignal): Promise<boolean> {
    await until(() => !this.#router.naming || late.aborted);
    const databases = this.#databases.all();
    while (!databases.every((database) => database.idle)) {
      if (late.aborted) return false;
      await Promise.all(databases.map((database) => database.finish(late)));
    }
    await Promise.allSettled(databases.map(({ worker }) => worker?.order({ op: 'stats' })));
    return true;
  }

  /** In a quiet moment: what is asked at the start comes first. */
  #tidySoon(ms: number): void {
    this.#tidyTimer = setTimeout(() => {
      if (this.#state !== 'serving') return;
      void this.#named.upkeep.tidy().then(() => this.#tidySoon(TIDY_MS));
    }, ms).unref();
  }

  /** Finishes what was accepted, closes everything and leaves. Resolves when only the goodbyes are left. */
  shutdown(reason: string): Promise<void> {
    this.#draining ??= this.#drain(reason);
    return this.#draining;
  }

  /** For an end that waits for nothing: SQLite undoes what they had not committed. */
  killWorkers(): void {
    this.#spares.close();
    for (const database of this.#databases.all()) database.worker?.kill();
  }

  async #drain(reason: string): Promise<void> {
    this.#state = 'draining';
    clearTimeout(this.#idleTimer);
    clearTimeout(this.#tidyTimer);
    this.#log.info({ reason }, 'shutting down');
    this.#router.refusing = true;
    // Names lead to databases that nobody has used yet: only then it is known what there is to finish.
    await until(() => !this.#router.naming);
    await this.#named.upkeep.writeUse();
    this.#spares.close();
    const databases = this.#databases.all();
    // Each worker is told to close behind what it has, and gives its clients' transactions a moment; a worker that starts meanwhile is waited for.
    while (!databases.every((database) => database.finished))
      await Promise.all(databases.map((database) => database.finish(undefined, false)));
    await Promise.allSettled(databases.map((database) => database.closeWorker()));
    // From here on the endpoint is free: whoever asked gets the answer when the next daemon could start.
    await this.#metrics?.close();
    await this.#listener?.close();
    this.#lock?.release();
    setImmediate(() => void this.#goodbye());
  }

  async #goodbye(): Promise<void> {
    this.#router.clients.disconnect();
    const end = performance.now() + GOODBYE_MS;
    await until(() => this.#router.clients.size === 0 || performance.now() > end);
    this.#router.clients.destroy();
    this.#state = 'stopped';
    this.#log.info('stopped');
    this.#onStopped();
  }

  /** A port that is taken is no reason not to serve databases. */
  async #serveMetrics(): Promise<void> {
    const { metricsPort } = this.#config;
    if (metricsPort === null) return;
    const { MetricsServer } = await import('./metrics/server.js');
    while (this.#state === 'serving') {
      try {
        const server = await MetricsServer.listen(metricsPort, () => this.#figures.metrics());
        if (this.#draining !== null) return await server.close();
        this.#metrics = server;
        this.#figures.metricsPort = server.port;
        this.#log.info({ port: server.port }, 'metrics');
        return;
      } catch (error) {
        this.#log.error(
          { port: metricsPort, err: error },
          `metrics cannot be served on port ${metricsPort}: ${messageOf(error)}. The daemon tries again`,
        );
        await new Promise((resolve) => setTimeout(resolve, METRICS_RETRY_MS).unref());
      }
    }
  }

  /** Sets the clock for leaving when there is neither client nor worker. Called whenever one of them has come or gone. */
  #watchIdle(): void {
    if (this.#config.idleTimeoutMs === 0 || this.#state !== 'serving') return;
    clearTimeout(this.#idleTimer);
    if (this.#router.clients.size > 0 || this.#pool.size > 0) return;
    this.#idleTimer = setTimeout(() => void this.shutdown('idle'), this.#config.idleTimeoutMs);
  }
}

/** One daemon per endpoint: decided by a lock that the kernel holds while the process lives. */
function takeLock(endpoint: string, stateDir: string): KernelLock {
  // A pipe has no folder: its lock lives in the user's state folder.
  const path = isPipe(endpoint)
    ? join(stateDir, `${endpoint.replace(/^.*\\/, '')}.lock`)
    : `${endpoint}.lock`;
  let lock: KernelLock | LockRefusal;
  try {
    lock = KernelLock.acquire(path, { pid: process.pid, routerPid: process.pid, endpoint });
  } catch (error) {
    // The first thing of a daemon's that needs SQLite.
    const remedy = nativeModuleRemedy(error);
    if (remedy !== null) throw new SkylineError('NO_DAEMON', remedy, { retryable: false, cause: error });
    throw new SkylineError(
      'NO_DAEMON',
      `The lock file ${path} cannot be used: ${messageOf(error)}. Move it away if it is something else, or choose another --socket.`,
      { cause: error },
    );
  }
  if (lock instanceof KernelLock) return lock;
  const who = lock.owner === null ? '' : ` (pid ${lock.owner.pid})`;
  throw new AlreadyRunningError(
    `Another daemon instance is already running${who} at ${endpoint}. Use that one, end it with "skylinedb-cli shutdown", or choose another --socket.`,
  );
}

/** After kill -9 the socket's file remains. Only the holder of the lock may remove it, and only if nobody answers there. */
async function removeDeadSocket(endpoint: string): Promise<void> {
  if (isPipe(endpoint)) return;
  try {
    const stream = await connect(endpoint, 1_000);
    stream.socket.destroy();
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ECONNREFUSED') rmSync(endpoint, { force: true });
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return;
    throw error;
  }
  throw new SkylineError(
    'NO_DAEMON',
    `Something else listens at ${endpoint}. End it, or choose another --socket.`,
  );
}

function startFailure(endpoint: string, error: unknown): SkylineError {
  if (error instanceof SkylineError) return error;
  return new SkylineError(
    'NO_DAEMON',
    `The daemon cannot listen at ${endpoint} in ${dirname(endpoint)}: ${messageOf(error)}. Choose another place with --socket.`,
    { cause: error },
  );
}

/** Resolves with false when the signal says so. */
function aborted(signal: AbortSignal): Promise<false> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(false), { once: true });
  });
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
