import { type Command, InvalidArgumentError, Option } from 'commander';

/** What every command takes. */
export interface CommonOptions {
  readonly socket?: string;
  readonly json?: boolean;
  /** Milliseconds. */
  readonly timeout?: number;
}

/** What commands on a database take. */
export interface DatabaseOptions extends CommonOptions {
  /** As the user typed it. */
  readonly db: string;
}

export const DEFAULT_DB = 'data.db';

/** Adds what every command takes. The program takes the same, for whoever writes them in front of the command. */
export function commonOptions(command: Command, timeoutMeans: string): Command {
  return command
    .option(
      '--socket <PATH>',
      "the daemon's endpoint (default: SKYLINEDB_SOCKET, else the user's own place)",
      path,
    )
    .option('--json', 'print exactly one JSON value, also for errors')
    .option('--timeout <TIME>', timeoutMeans, duration);
}

/** Adds `--db`. */
export function databaseOption(command: Command): Command {
  return command.option(
    '--db <DB>',
    "the database: a name, or a file relative to this command's folder",
    path,
    DEFAULT_DB,
  );
}

/** Adds `--db` where leaving it out means the daemon as a whole. */
export function optionalDatabaseOption(command: Command, meaning: string): Command {
  return command.option('--db <DB>', meaning, path);
}

/** An option that takes one of a few words. */
export function wordOption(flags: string, meaning: string, words: readonly string[]): Option {
  return new Option(flags, meaning).choices(words);
}

/** The command's options, over those written in front of it. The types are what the command itself has defined. */
export function optionsOf<Options extends CommonOptions>(command: Command): Options {
  return { ...command.parent?.opts<CommonOptions>(), ...command.opts<Options>() };
}

const UNITS: { readonly [unit: string]: number } = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
/** The protocol's longest time. */
const MAX_DURATION_MS = 24 * 3_600_000;

/** A time as people write it: `5s`, `250ms`, `2m`, `1h`; a plain number is milliseconds, as for the daemon. */
export function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
  const value = match === null ? Number.NaN : Math.round(Number(match[1]) * (UNITS[match[2] ?? 'ms'] ?? 1));
  if (Number.isNaN(value) || value > MAX_DURATION_MS)
    throw new InvalidArgumentError('It takes a time such as 5s, 250ms or 2m, at most 24h.');
  return value;
}

/** A whole number from 0. */
export function whole(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError('It takes a whole number.');
  return value;
}

/** For an option that may be given many times. */
export function collect(text: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), text];
}

function path(text: string): string {
  if (text === '') throw new InvalidArgumentError('It takes a path, not an empty text.');
  return text;
}
