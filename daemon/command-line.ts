import { type ParseArgsConfig, parseArgs } from 'node:util';
import { messageOf } from '../protocol/errors.js';
import { wrong } from './effective.js';
import { flagOf, SETTING_NAMES, SETTINGS, type Setting } from './settings.js';
import { didYouMean } from './similar.js';

/** What was said on the command line. */
export interface CommandLine {
  /** By the option's name without the dashes. */
  readonly flags: { readonly [flag: string]: unknown };
  readonly dataDir: string | undefined;
}

/** What is no setting: where things are, and what only whoever starts the daemon can say. */
const OTHER_OPTIONS = {
  socket: { type: 'string' },
  'hand-off': { type: 'boolean' },
  'ready-fd': { type: 'string' },
  'print-config': { type: 'boolean' },
} as const;

const OPTIONS: NonNullable<ParseArgsConfig['options']> = {
  ...OTHER_OPTIONS,
  ...Object.fromEntries(
    SETTING_NAMES.map((name) => {
      const { many } = (SETTINGS[name] as Setting<unknown>).kind;
      return [flagOf(name), { type: 'string', ...(many === true ? { multiple: true } : {}) }];
    }),
  ),
};

/**
 * Reads the command line; the values of settings are not looked at yet.
 * @throws SkylineError `INVALID_REQUEST` that names the option
 */
export function readCommandLine(argv: readonly string[]): CommandLine {
  const { values, positionals } = parse(argv);
  if (positionals.length > 1) throw wrong(`one data directory at most, but got ${positionals.join(', ')}.`);
  return { flags: values, dataDir: positionals[0] };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], allowPositionals: true, options: OPTIONS });
  } catch (error) {
    const unknown = /^Unknown option '--([^']*)'/.exec(messageOf(error))?.[1];
    if (unknown === undefined) throw wrong(`${messageOf(error)}.`);
    const options = Object.keys(OPTIONS).map((option) => `--${option}`);
    throw wrong(`there is no option --${unknown}.${didYouMean(`--${unknown}`, options)}`);
  }
}
