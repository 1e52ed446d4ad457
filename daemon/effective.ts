import { delimiter, dirname } from 'node:path';
import { SkylineError } from '../protocol/errors.js';
import { describe } from '../protocol/fields.js';
import type { ConfigFile } from './config-file.js';
import {
  fallbackOf,
  flagOf,
  SETTING_NAMES,
  SETTINGS,
  type Setting,
  type SettingName,
  type Values,
  variableOf,
} from './settings.js';
import { didYouMean, similar } from './similar.js';

/** Where a value comes from, the strongest first. */
export type Source = 'flag' | 'environment' | 'file' | 'default';

/** One setting as it holds. */
export interface Effective {
  readonly name: SettingName;
  /** As people write it. */
  readonly value: string;
  readonly source: Source;
  /** The option, the variable, or the file with its line; empty for a default. */
  readonly where: string;
  readonly default: string;
  readonly help: string;
}

/** Variables that are no settings: they say where things are, or are for clients. */
const OTHER_VARIABLES = [
  'SKYLINEDB_SOCKET',
  'SKYLINEDB_DATA_DIR',
  'SKYLINEDB_STATE_DIR',
  'SKYLINEDB_HAND_OFF',
];

interface Given {
  readonly source: Source;
  readonly where: string;
  readonly value: unknown;
  /** The folder in which relative paths belong. */
  readonly base: string;
}

/**
 * What holds: flags before the environment before the configuration files, in their order, before the defaults.
 * @throws SkylineError `INVALID_REQUEST` for a value that is none, an unknown name in a file, or a variable that looks like a
 *   setting misspelt
 */
export function settle(
  flags: { readonly [flag: string]: unknown },
  env: { readonly [variable: string]: string | undefined },
  files: readonly ConfigFile[],
  cwd: string,
): { values: Values; effective: readonly Effective[] } {
  refuseUnknown(env, files);
  const values: { [name: string]: unknown } = {};
  const effective: Effective[] = [];
  for (const name of SETTING_NAMES) {
    const { kind, fallback, help } = SETTINGS[name] as Setting<unknown>;
    const all = given(name, flags, env, files, cwd);
    // Those that do not count are checked as well: one day they will.
    const read = all.map((one) => readValue(name, kind, one));
    const [first] = all;
    values[name] = first === undefined ? fallback : read[0];
    effective.push({
      name,
      value: kind.format(values[name]),
      source: first?.source ?? 'default',
      where: first?.where ?? '',
      default: fallbackOf(name),
      help,
    });
  }
  return { values: values as unknown as Values, effective };
}

/** Where a setting is given, the strongest first. An empty variable is none. */
function given(
  name: SettingName,
  flags: { readonly [flag: string]: unknown },
  env: { readonly [variable: string]: string | undefined },
  files: readonly ConfigFile[],
  cwd: string,
): Given[] {
  const flag = flagOf(name);
  const variable = variableOf(name);
  const all: Given[] = [];
  if (flags[flag] !== undefined)
    all.push({ source: 'flag', where: `--${flag}`, value: flags[flag], base: cwd });
  const set = env[variable];
  if (set) {
    const value = (SETTINGS[name] as Setting<unknown>).kind.many === true ? set.split(delimiter) : set;
    all.push({ source: 'environment', where: variable, value, base: cwd });
  }
  for (const { path, entries } of files)
    for (const entry of entries)
      if (entry.name === name)
        all.push({
          source: 'file',
          where: `${path}:${entry.line}`,
          value: entry.value,
          base: dirname(path),
        });
  return all;
}

function readValue(name: SettingName, kind: Setting<unknown>['kind'], one: Given): unknown {
  if (kind.many !== true) return readOne(name, kind, one);
  const values = Array.isArray(one.value) ? one.value : [one.value];
  return values.flatMap((value) => readOne(name, kind, { ...one, value }));
}

function readOne(
  name: SettingName,
  kind: Setting<unknown>['kind'],
  { source, where, value, base }: Given,
): unknown {
  // In a file, numbers need no quotes.
  const text = typeof value === 'number' || typeof value === 'bigint' ? String(value) : value;
  const read = typeof text === 'string' ? kind.parse(text, base) : undefined;
  if (read !== undefined) return read;
  const meant = typeof text === 'string' ? didYouMean(text, kind.takes.split(' or ')) : '';
  const got = typeof text === 'string' ? `"${text}"` : describe(value);
  throw wrong(
    `${source === 'file' ? `${where}: ${name}` : where} takes ${kind.takes}, but got ${got}.${meant}`,
  );
}

function refuseUnknown(
  env: { readonly [variable: string]: string | undefined },
  files: readonly ConfigFile[],
): void {
  for (const { path, entries } of files) {
    const stray = entries.find(({ name }) => !Object.hasOwn(SETTINGS, name));
    if (stray !== undefined) {
      const meant = didYouMean(stray.name.replaceAll('-', '_'), SETTING_NAMES);
      throw wrong(`${path}:${stray.line}: there is no setting "${stray.name}".${meant}`);
    }
  }
  // A program may have variables of its own that begin so: only what looks like one of ours is taken for a mistake.
  const known = [...SETTING_NAMES.map(variableOf), ...OTHER_VARIABLES];
  for (const variable of Object.keys(env)) {
    if (!variable.startsWith('SKYLINEDB_') || known.includes(variable)) continue;
    const meant = similar(
      variable.slice('SKYLINEDB_'.length),
      known.map((one) => one.slice('SKYLINEDB_'.length)),
    );
    if (meant !== undefined)
      throw wrong(
        `the environment has ${variable}, which means nothing. Did you mean SKYLINEDB_${meant}? Unset the other.`,
      );
  }
}

/** What was asked for with options, variables or files makes no sense. */
export function wrong(what: string): SkylineError {
  return new SkylineError('INVALID_REQUEST', `skylinedb-daemon: ${what} See skylinedb-daemon --help.`);
}
