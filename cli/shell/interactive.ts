import { createInterface } from 'node:readline';
import { BY_SIGNAL, EXIT, presentError } from '../errors.js';
import { complete } from './completion.js';
import type { History } from './history.js';
import { Input, type Unit } from './input.js';
import type { Shell } from './shell.js';

/**
 * Talks with somebody at a terminal, until they leave.
 * @returns the exit code
 */
export async function interactive(shell: Shell, history: History): Promise<number> {
  const input = new Input();
  const lines = createInterface({
    input: process.stdin,
    output: process.stdout,
    terminal: true,
    history: history.lines,
    historySize: 1_000,
    completer: (line: string, done: (error: null, result: [string[], string]) => void) => {
      void shell.names().then((names) => done(null, complete(line, names)));
    },
  });
  let leave: (code: number) => void = () => undefined;
  const left = new Promise<number>((resolve) => {
    leave = resolve;
  });
  const waiting: Unit[] = [];
  let working = false;
  let open = true;

  const ask = () => {
    // Asking would open the input again.
    if (!open) return;
    lines.setPrompt(input.pending ? `${'-'.repeat(Math.max(0, shell.prompt.length - 2))}> ` : shell.prompt);
    lines.prompt();
  };
  /** One after the other; what is typed meanwhile waits. */
  const work = async () => {
    if (working) return;
    working = true;
    for (let unit = waiting.shift(); unit !== undefined && !shell.over; unit = waiting.shift()) {
      try {
        await shell.run(unit);
      } catch (error) {
        // What somebody has typed behind it was meant for the case that it succeeds.
        waiting.length = 0;
        if (open) await presentError(error, false, shell.screen);
      }
    }
    working = false;
    if (shell.over) lines.close();
    else ask();
  };
  lines.on('line', (line) => {
    history.add(line);
    waiting.push(...input.add(line));
    void work();
  });
  lines.on('SIGINT', () => {
    if (shell.interrupt()) return;
    input.clear();
    // Shows that what was typed is forgotten.
    process.stdout.write('^C\n');
    lines.write(null, { ctrl: true, name: 'e' });
    lines.write(null, { ctrl: true, name: 'u' });
    ask();
  });
  lines.on('close', () => {
    open = false;
    leave(EXIT.done);
  });
  const gone = (signal: NodeJS.Signals) => {
    leave(BY_SIGNAL[signal] ?? EXIT.done);
    lines.close();
  };
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, gone);
  try {
    ask();
    const code = await left;
    if (!shell.over) process.stdout.write('\n');
    shell.interrupt();
    if (await shell.close()) await shell.say('The transaction was rolled back');
    return code;
  } finally {
    for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.off(signal, gone);
  }
}
