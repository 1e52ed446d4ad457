import type { Client } from '../client/client.js';
import { SkylineError } from '../protocol/errors.js';
import type { CommonOptions } from './options.js';

/** How a command wants to meet the daemon. */
export interface Meeting {
  /** Whether to start one when none runs. */
  readonly start: boolean;
  /** Milliseconds for everything together: reaching the daemon, and its answer. Default: for ever. */
  readonly waitMs?: number | undefined;
}

/**
 * Connects, works, and ends the connection.
 * @throws SkylineError `NO_DAEMON`, `TIMEOUT` after `waitMs`, and whatever the work throws
 */
export async function withClient<T>(
  options: CommonOptions,
  { start, waitMs }: Meeting,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  // Not loaded for --help or a wrong command line.
  const { connect } = await import('../client/client.js');
  const meet = async () => {
    const socket = options.socket === undefined ? {} : { socket: options.socket };
    const client = await connect({ ...socket, autoStart: start, name: 'skylinedb-cli' });
    try {
      return await work(client);
    } finally {
      client.close();
    }
  };
  return waitMs === undefined ? await meet() : await within(waitMs, meet());
}

/** The wait begins before the connection: a daemon that hangs accepts connections and says nothing. */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(tooLate(ms)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function tooLate(ms: number): SkylineError {
  return new SkylineError(
    'TIMEOUT',
    `The daemon did not answer within ${ms} ms. Whether the request was carried out is unknown. Allow more with --timeout.`,
    { outcome: 'unknown' },
  );
}
