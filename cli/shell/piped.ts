import { createInterface } from 'node:readline';
import { SkylineError } from '../../protocol/errors.js';
import { EXIT, exitCodeOf, presentError } from '../errors.js';
import { endBy, type Interruption, stoppable } from '../interruption.js';
import { at } from './commands.js';
import { Input, type Unit } from './input.js';
import type { Shell } from './shell.js';

/**
 * Takes everything from standard input, up to the first error: what follows was written for somebody who had succeeded. Ctrl-C
 * stops the statement that runs, says what became of it, and ends the shell.
 * @returns the exit code
 */
export function piped(shell: Shell, stdin: NodeJS.ReadableStream): Promise<number> {
  return stoppable(async (signal) => {
    const end = () => endBy((signal.reason as Interruption).signal);
    signal.addEventListener('abort', () => {
      if (!shell.interrupt()) end();
    });
    const code = await runAll(shell, stdin, signal);
    if (signal.aborted) end();
    return code;
  });
}

async function runAll(shell: Shell, stdin: NodeJS.ReadableStream, signal: AbortSignal): Promise<number> {
  const lines = createInterface({ input: stdin, crlfDelay: Number.POSITIVE_INFINITY });
  try {
    for await (const unit of units(lines)) {
      try {
        await shell.run(unit);
      } catch (error) {
        await presentError(at(error, `Line ${unit.line}`), false, shell.screen);
        const code = error instanceof SkylineError ? exitCodeOf(error) : EXIT.refused;
        // Whatever is wrong in a script is not this program's command line.
        return code === EXIT.usage ? EXIT.refused : code;
      }
      if (shell.over || shell.screen.out.gone || signal.aborted) break;
    }
    if (!(await shell.close())) return EXIT.done;
    const message = 'The input has ended inside a transaction: it was rolled back. Put COMMIT at its end.';
    await presentError(new SkylineError('TX_EXPIRED', message), false, shell.screen);
    return EXIT.refused;
  } finally {
    lines.close();
  }
}

async function* units(lines: AsyncIterable<string>): AsyncGenerator<Unit> {
  const input = new Input();
  for await (const line of lines) yield* input.add(line);
  yield* input.end();
}
