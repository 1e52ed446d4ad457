import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';

export interface SoakOptions {
  readonly minutes: number;
  readonly roundSeconds: number;
  readonly seed: number;
  readonly storms: readonly string[];
  /** Leave the files of a round that has failed where they are. */
  readonly keep: boolean;
}

/** Reads the command line; says what is wrong with it, and ends. */
export function readOptions(argv: readonly string[], known: readonly string[]): SoakOptions {
  const help = `Usage: npm run soak -- [options]

  --minutes N        how long (default: 10); 0 for one round
  --round-seconds N  how long each storm blows before it is judged (default: 20)
  --only NAME        only this storm (repeatable): ${known.join(', ')}
  --seed N           repeats the choices of an earlier run
  --keep             keep the files of rounds that failed
`;
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        minutes: { type: 'string' },
        'round-seconds': { type: 'string' },
        seed: { type: 'string' },
        only: { type: 'string', multiple: true },
        keep: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    });
    if (values.help === true) {
      process.stdout.write(help);
      process.exit(0);
    }
    const storms = values.only ?? known;
    const unknown = storms.find((name) => !known.includes(name));
    if (unknown !== undefined) throw new Error(`--only does not know "${unknown}"`);
    return {
      minutes: number('--minutes', values.minutes, 10),
      roundSeconds: number('--round-seconds', values['round-seconds'], 20),
      seed: number('--seed', values.seed, randomInt(2 ** 31)),
      storms,
      keep: values.keep ?? false,
    };
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${help}`);
    process.exit(2);
  }
}

function number(option: string, text: string | undefined, fallback: number): number {
  const value = text === undefined ? fallback : Number(text);
  if (!Number.isFinite(value) || value < 0) throw new Error(`${option} takes a number, but got "${text}"`);
  return value;
}
