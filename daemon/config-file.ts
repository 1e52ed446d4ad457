import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf, messageOf, SkylineError } from '../protocol/errors.js';

/** Its name, in the data directory and in the state folder. */
export const CONFIG_FILE = 'skylinedb.toml';
/** Bytes: whatever is longer is something else. */
const MAX_BYTES = 1024 * 1024;

/** A configuration file as it was read: names and values are not checked yet. */
export interface ConfigFile {
  readonly path: string;
  readonly entries: readonly ConfigEntry[];
}

export interface ConfigEntry {
  readonly name: string;
  readonly value: unknown;
  /** From 1. */
  readonly line: number;
}

/**
 * The configuration files in these folders, in their order; folders without one are passed over.
 * @throws SkylineError `INVALID_REQUEST` when one cannot be read, or is no TOML (https://toml.io)
 */
export async function readConfigFiles(folders: readonly string[]): Promise<ConfigFile[]> {
  const files: ConfigFile[] = [];
  for (const path of new Set(folders.map((folder) => join(folder, CONFIG_FILE)))) {
    const text = read(path);
    if (text !== null) files.push(await parseConfigFile(path, text));
  }
  return files;
}

/** @throws SkylineError `INVALID_REQUEST` naming the file and the line */
export async function parseConfigFile(path: string, text: string): Promise<ConfigFile> {
  // Most daemons have no such file, and somebody waits for each to start.
  const { parse, TomlError } = await import('smol-toml');
  try {
    const lines = text.split('\n');
    const entries = Object.entries(parse(text)).map(([name, value]) => ({
      name,
      value,
      line: lineOf(name, lines),
    }));
    return { path, entries };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [what = ''] = error.message.split('\n');
    throw wrong(`${path}:${error.line}`, what.replace(/^Invalid TOML document: /, ''));
  }
}

/** null when there is none. */
function read(path: string): string | null {
  try {
    const stat = statSync(path);
    if (!stat.isFile()) throw new Error('it is no file');
    if (stat.size > MAX_BYTES) throw new Error(`it has ${stat.size} bytes; the limit is ${MAX_BYTES}`);
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return null;
    throw wrong(path, messageOf(error));
  }
}

/** A file of ours has one name on a line, and nothing nested. */
function lineOf(name: string, lines: readonly string[]): number {
  const starts = [`${name}`, `"${name}"`, `'${name}'`, `[${name}]`];
  const index = lines.findIndex((line) => {
    const [key = ''] = line.trim().split(/\s*[=.]/);
    return starts.includes(key);
  });
  return index + 1;
}

function wrong(where: string, why: string): SkylineError {
  return new SkylineError('INVALID_REQUEST', `The configuration file ${where} cannot be used: ${why}.`);
}
