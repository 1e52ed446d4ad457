import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { SkylineError } from '../../protocol/errors.js';
import { type Answer, type Ask, MORE } from './reading-messages.js';

// Beside the bundled program.
const MAIN = fileURLToPath(new URL('../bin/shell-reader.cjs', import.meta.url));

/** Thrown for a statement that is not one that only reads. */
export class Writes extends Error {}

/** Reads files in a process of its own, which is killed when somebody does not want to wait any more. */
export class Reads {
  #child: ChildProcess | null = null;
  /** One thing at a time. */
  #turn: Promise<void> = Promise.resolve();

  /** Starts the process, if there is none: the first statement then need not wait for it. */
  prepare(): ChildProcess {
    if (this.#child?.connected === true) return this.#child;
    const child = fork(MAIN, [], {
      // bigint and Uint8Array arrive as they are.
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: [],
      env: { ...process.env, ELECTRON_RUN_AS_NODE: '1' },
    });
    child.unref();
    child.channel?.unref();
    this.#child = child;
    return child;
  }

  /**
   * Asks for something.
   * @param piece told of each piece, and waited for before the next one
   * @throws SkylineError the statement's, or `ABORTED`; Writes
   */
  ask(ask: Ask, signal: AbortSignal, piece: (answer: Answer) => Promise<void>): Promise<void> {
    const asked = this.#turn.then(() => this.#ask(ask, signal, piece));
    this.#turn = asked.catch(() => undefined);
    return asked;
  }

  async #ask(ask: Ask, signal: AbortSignal, piece: (answer: Answer) => Promise<void>): Promise<void> {
    const child = this.prepare();
    child.ref();
    child.channel?.ref();
    try {
      await new Promise<void>((resolve, reject) => {
        let pieces = Promise.resolve();
        const end = (work: () => void) => {
          child.off('message', take);
          child.off('exit', gone);
          child.off('error', unstarted);
          signal.removeEventListener('abort', stop);
          work();
        };
        const stop = () => {
          child.kill('SIGKILL');
          this.#child = null;
          end(() => reject(new SkylineError('ABORTED', 'The statement was stopped.', { retryable: false })));
        };
        const gone = (code: number | null, by: NodeJS.Signals | null) =>
          end(() =>
            reject(
              new SkylineError(
                'INTERNAL',
                `The process that reads ended (${by ?? `code ${code}`}): the result may be too large for it. Ask for fewer rows (LIMIT).`,
              ),
            ),
          );
        const unstarted = (error: Error) =>
          end(() =>
            reject(new SkylineError('INTERNAL', `No process to read with can be started: ${error.message}.`)),
          );
        const take = (answer: Answer) => {
          if (answer.kind === 'end') end(resolve);
          else if (answer.kind === 'writes') end(() => reject(new Writes()));
          else if (answer.kind === 'error') end(() => reject(failure(answer)));
          else
            pieces = pieces
              .then(() => piece(answer))
              .then(
                () => void child.send(MORE),
                (error: unknown) => {
                  // What is printed to has failed: the rest is not wanted.
                  child.kill('SIGKILL');
                  this.#child = null;
                  end(() => reject(error));
                },
              );
        };
        child.on('message', take);
        child.on('exit', gone);
        child.on('error', unstarted);
        if (signal.aborted) stop();
        else {
          signal.addEventListener('abort', stop);
          child.send(ask);
        }
      });
    } finally {
      child.unref();
      child.channel?.unref();
    }
  }

  /** Ends the process. Idempotent. */
  close(): void {
    this.#child?.kill('SIGKILL');
    this.#child = null;
  }
}

function failure({ code, message, sqliteCode }: Answer & { readonly kind: 'error' }): SkylineError {
  return new SkylineError(code, message, {
    details: sqliteCode === undefined ? {} : { sqlite_code: sqliteCode },
  });
}
