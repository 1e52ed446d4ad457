import { type ClientErrorCode, invalidRequest, messageOf, SkylineError } from '../protocol/errors.js';
import type { ErrorCode } from '../protocol/messages.js';
import { Interruption } from './interruption.js';
import { type Screen, visible } from './output.js';

/** The exit codes of `skylinedb-cli`. */
export const EXIT = { done: 0, refused: 1, usage: 2, noDaemon: 3, closed: 4 } as const;

/** What a shell shows for a program that a signal has ended (https://www.gnu.org/software/bash/manual/bash.html#Exit-Status). */
export const BY_SIGNAL: { readonly [signal: string]: number } = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };

const BY_CODE: { readonly [code in ErrorCode | ClientErrorCode]?: number } = {
  INVALID_REQUEST: EXIT.usage,
  NO_DAEMON: EXIT.noDaemon,
  CONNECTION_LOST: EXIT.noDaemon,
  DATABASE_CLOSED: EXIT.closed,
  DATABASE_PREPARING: EXIT.closed,
};

/** What the process exits with after this error. */
export function exitCodeOf(error: SkylineError): number {
  return BY_CODE[error.code] ?? EXIT.refused;
}

/** The page that says what to do about it. */
export function troubleshooting(code: ErrorCode | ClientErrorCode): string {
  return `docs/troubleshooting.md#${code.toLowerCase()}`;
}

/** A command line that makes no sense. */
export function usageError(message: string): SkylineError {
  return invalidRequest(message);
}

/** The one value of `--json` for a failure: the error frame of the protocol, with the client library's codes too. */
export function errorJson(error: SkylineError): string {
  const { code, message, retryable, outcome, details } = error;
  return JSON.stringify({ status: 'error', code, message, retryable, outcome, ...details });
}

/**
 * Says what went wrong: on stdout as JSON, else on stderr.
 * @returns the exit code, whether something that was given up may still be going on, and the signal that has stopped it
 */
export async function presentError(
  thrown: unknown,
  json: boolean,
  { out, err }: Screen,
): Promise<{ exitCode: number; abandoned: boolean; signal?: NodeJS.Signals }> {
  const error = thrown instanceof SkylineError ? thrown : bug(thrown);
  const say = async () => {
    const { red, dim } = err.colors;
    const message = err.isTerminal ? error.message.split('\n').map(visible).join('\n') : error.message;
    await err.line(`${red('✗')} ${red('Error:')} ${message}`);
    // For a person, who may not have met it before. Wrong usage is mended by --help.
    if (err.isTerminal && exitCodeOf(error) !== EXIT.usage)
      await err.line(`  ${dim(`${error.code}: see ${troubleshooting(error.code)}`)}`);
  };
  try {
    if (json) await out.line(errorJson(error));
    else await say();
  } catch {
    // stdout is what failed: stderr is the last chance. If that fails too, the exit code still tells.
    await say().catch(() => undefined);
  }
  const told = { exitCode: exitCodeOf(error), abandoned: error.code === 'TIMEOUT' };
  return error.cause instanceof Interruption ? { ...told, signal: error.cause.signal } : told;
}

function bug(thrown: unknown): SkylineError {
  const stack = thrown instanceof Error ? (thrown.stack ?? thrown.message) : messageOf(thrown);
  return new SkylineError('INTERNAL', `skylinedb-cli failed; please report this: ${stack}`, {
    outcome: 'unknown',
    cause: thrown,
  });
}
