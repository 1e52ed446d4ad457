import type { WorkerOptions } from '../../daemon/worker/link.js';
import type { Limits } from '../../protocol/messages.js';

/** What a worker is told about its database, for tests that serve one without a process. */
export function workerOptions(
  path: string,
  limits: Limits,
  more: Partial<WorkerOptions> = {},
): WorkerOptions {
  return {
    path,
    endpoint: 'test',
    socket: 'test.w1-1',
    routerPid: process.pid,
    durability: 'normal',
    busyTimeoutMs: 0,
    idleTimeoutMs: 0,
    sessionTtlMs: 0,
    batchTimeoutMs: 0,
    maxIntakeBytes: 16 * 1024 * 1024,
    walLimit: 64 * 1024 * 1024,
    txLeaseMs: 5_000,
    txMaxMs: 60_000,
    limits,
    watched: false,
    known: null,
    ...more,
  };
}
