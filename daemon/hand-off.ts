import { setTimeout as sleep } from 'node:timers/promises';
import { decodeIncoming } from '../protocol/decode-incoming.js';
import { codeOf, messageOf, SkylineError } from '../protocol/errors.js';
import { decodeText, encodeFrame, FrameDecoder, parseObject } from '../protocol/frame.js';
import type { ShutdownRequest } from '../protocol/messages.js';
import { connect } from '../protocol/transport/node-ipc.js';
import { VERSION } from '../protocol/version.js';
import type { KernelLock } from './worker/kernel-lock.js';

/**
 * How a newer daemon takes the place of an older one. It has read its configuration and loaded its code before it asks:
 * what cannot start must not end what runs. The older one refuses requests while it finishes what it has accepted, and
 * frees the endpoint before it answers; if that would take long, it goes on, and so does everybody.
 *
 * It ends: only an older daemon leaves, and only for a newer one, so that each hand-off raises the version.
 */

/** Milliseconds that the older daemon has to finish what it is at: so long everybody waits. */
const FINISH_MS = 2_000;
/** Milliseconds for its answer: beyond the time to finish, workers have ten seconds to close their files. */
const ANSWER_MS = 15_000;
const POLL_MS = 20;

/** Somebody else's daemon has the endpoint: whoever started this one can use that. */
export class AlreadyRunningError extends SkylineError {
  constructor(message: string) {
    super('NO_DAEMON', message);
  }
}

/**
 * Takes the endpoint's lock, from an older daemon if one has it.
 * @param take takes it, or throws
 * @throws AlreadyRunningError when the daemon that runs stays, and why
 */
export async function takeOver(endpoint: string, take: () => KernelLock): Promise<KernelLock> {
  const until = performance.now() + ANSWER_MS;
  for (;;) {
    try {
      return take();
    } catch (error) {
      if (!(error instanceof AlreadyRunningError)) throw error;
      const refusal = await askToLeave(endpoint);
      // One that leaves anyway, or that is just starting, is asked again.
      const passing = refusal === null || PASSING.has(refusal.code);
      if (refusal !== null && (!passing || performance.now() > until))
        throw new AlreadyRunningError(`${error.message} It was asked to leave: ${refusal.message}`);
      if (refusal !== null) await sleep(POLL_MS);
    }
  }
}

const PASSING: ReadonlySet<string> = new Set(['SHUTTING_DOWN', 'CONNECTION_LOST', 'NO_DAEMON']);

/** @returns null when it has left, else why not */
async function askToLeave(endpoint: string): Promise<SkylineError | null> {
  let socket: Awaited<ReturnType<typeof connect>>['socket'] | undefined;
  try {
    const stream = await connect(endpoint, ANSWER_MS);
    socket = stream.socket;
    const request: ShutdownRequest = {
      type: 'Shutdown',
      id: 1,
      if_older_than: VERSION,
      timeout_ms: FINISH_MS,
    };
    stream.socket.write(encodeFrame(JSON.stringify(request)));
    const decoder = new FrameDecoder();
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer within ${ANSWER_MS} ms`)), ANSWER_MS);
      stream.onData((chunk) => {
        decoder.push(chunk);
        try {
          const payload = decoder.next();
          if (payload === null) return;
          const answer = decodeIncoming(parseObject(decodeText(payload)));
          resolve(answer.kind === 'error' ? answer.error : null);
        } catch (error) {
          reject(error);
        }
      });
      stream.socket.on('close', () => {
        clearTimeout(timer);
        resolve(new SkylineError('CONNECTION_LOST', 'it ended the connection.'));
      });
    });
  } catch (error) {
    const gone = codeOf(error) === 'ENOENT' || codeOf(error) === 'ECONNREFUSED';
    return new SkylineError(gone ? 'NO_DAEMON' : 'INTERNAL', `${messageOf(error)}.`);
  } finally {
    socket?.destroy();
  }
}
