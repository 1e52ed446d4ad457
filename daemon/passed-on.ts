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

export function isPassedOn(request: RoutedRequest): request is PassedOn {
  return Object.hasOwn(PASSED_ON, request.type);
}

/** A step of a transaction that is open. */
export function isStep(request: RoutedRequest): boolean {
  return isPassedOn(request) && PASSED_ON[request.type] === 'step';
}

/**
 * When its time is over, on the machine's monotonic clock; 0 for never.
 * @param batchTimeoutMs milliseconds for one that does not say; 0 for no limit
 */
export function deadlineOf(request: PassedOn, batchTimeoutMs: number): number {
  // How a transaction ends must be known.
  if (request.type === 'Commit' || request.type === 'Rollback') return 0;
  // So must what became of a batch: "not begun" would be taken for "not applied".
  if (request.type === 'ExecBatch' && request.only_replay === true) return 0;
  const { timeout_ms: ms = batchTimeoutMs || undefined } = request;
  return ms === undefined ? 0 : monotonicMs() + ms;
}
