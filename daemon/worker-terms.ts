import type { DatabaseSettings } from '../protocol/messages.js';
import type { Config } from './config.js';
import { ROUTER_LANE } from './worker/attached-clients.js';
import type { WorkerOptions } from './worker/link.js';

/** What a database's worker must know from the catalog. */
export interface Terms {
  readonly settings: DatabaseSettings;
  /** Its file is made by `CreateDatabase`: one that is missing is an error, and no batch makes it. */
  readonly mustExist: boolean;
  /** It is the catalog itself, which only the router writes. */
  readonly isCatalog: boolean;
}

/** Of a database without a name. */
export const NO_TERMS: Terms = { settings: {}, mustExist: false, isCatalog: false };
/** Of the catalog: what it holds is in memory, so that it need not stay open. */
export const CATALOG_TERMS: Terms = {
  settings: { worker_idle_timeout_ms: 10_000 },
  mustExist: false,
  isCatalog: true,
};

type Settable = Pick<
  WorkerOptions,
  | 'durability'
  | 'busyTimeoutMs'
  | 'idleTimeoutMs'
  | 'walLimit'
  | 'mmapSize'
  | 'limits'
  | 'mustExist'
  | 'onlyWriter'
>;

/** Bytes of a reply for what is not its rows. */
const REST_OF_REPLY = 64 * 1024;

/** How a database is served: as the instance is configured, except for what the database has set. */
export function workerTerms(config: Config, { settings, mustExist, isCatalog }: Terms): Settable {
  const { limits } = config;
  const { mmap_size: mmapSize } = settings;
  return {
    durability: settings.durability ?? config.durability,
    busyTimeoutMs: settings.busy_timeout_ms ?? config.busyTimeoutMs,
    idleTimeoutMs: settings.worker_idle_timeout_ms ?? config.workerIdleTimeoutMs,
    walLimit: settings.wal_limit ?? config.walLimit,
    ...(mmapSize === undefined ? {} : { mmapSize }),
    limits: {
      ...limits,
      max_statements: settings.max_statements ?? limits.max_statements,
      max_parameters: settings.max_parameters ?? limits.max_parameters,
      // What does not fit into a frame cannot be sent.
      max_sql_bytes: Math.min(settings.max_sql_bytes ?? limits.max_sql_bytes, limits.max_frame),
      max_result_bytes:
        settings.max_result_bytes === undefined
          ? limits.max_result_bytes
          : Math.min(settings.max_result_bytes, Math.max(1024, limits.max_frame - REST_OF_REPLY)),
    },
    ...(mustExist ? { mustExist } : {}),
    ...(isCatalog ? { onlyWriter: ROUTER_LANE } : {}),
  };
}
