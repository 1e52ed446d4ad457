/** Why something was stopped: somebody has pressed Ctrl-C, or has ended this process. */
export class Interruption {
  readonly signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals) {
    this.signal = signal;
  }
}

/**
 * Does what Ctrl-C and SIGTERM are to stop: the signal aborts with an {@link Interruption}. A second one ends the process at
 * once.
 */
export async function stoppable<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = (signal: NodeJS.Signals) => {
    if (controller.signal.aborted) endBy(signal);
    controller.abort(new Interruption(signal));
  };
  // Not once(): proper-lockfile's own listener ends the process when it finds itself alone (signal-exit).
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  try {
    return await work(controller.signal);
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}

/** Ends this process as the signal would have: a script that it is part of ends, too. */
export function endBy(signal: NodeJS.Signals): void {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}
