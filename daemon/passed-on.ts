import type { RoutedRequest } from '../protocol/messages.js';
import { monotonicMs } from './worker/link.js';

/** What goes to the worker as it came, and what it is to the queue. */
export const PASSED_ON = {
  ExecBatch: 'batch',
  BeginTx: 'begin',
  Exec: 'step',
  Commit: 'step',
  Rollback: 'step',
} as const;

export type PassedOn = Extract<RoutedRequest, { type: keyof typeof PASSED_ON }>;
type MayEnd = Extract<RoutedRequest, { type: 'ExecBatch' | 'BeginTx' | 'Exec' }>;

export function isPassedOn(request: RoutedRequest): request is PassedOn {
  return Object.hasOwn(PASSED_ON, request.type);
}

/**
 * What may end before it is done: by its deadline, or because its client cancels it. How a transaction ends must be known; and
 * so must what became of a batch, where "not begun" would be taken for "not applied".
 */
export function isCancellable(request: RoutedRequest): request is MayEnd {
  if (request.type === 'ExecBatch') return request.only_replay !== true;
  return request.type === 'BeginTx' || request.type === 'Exec';
}

/** A step of a transaction that is open. */
export function isStep(request: RoutedRequest): boolean {
  return isPassedOn(request) && PASSED_ON[request.type] === 'step';
}

/**
 * When its time is over, on the machine's monotonic clock; 0 for never, Infinity for never where its worker is to say when
 * it runs: only what is known to run can be stopped.
 * @param batchTimeoutMs milliseconds for one that does not say; 0 for no limit
 */
export function deadlineOf(request: PassedOn, batchTimeoutMs: number): number {
  if (!isCancellable(request)) return 0;
  const { timeout_ms: ms = batchTimeoutMs || undefined } = request;
  if (ms !== undefined) return monotonicMs() + ms;
  return 'cancellable' in request && request.cancellable === true ? Number.POSITIVE_INFINITY : 0;
}
