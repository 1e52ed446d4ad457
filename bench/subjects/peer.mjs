import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';

const require = createRequire(import.meta.url);

/**
 * The version of a peer's npm client, or null where it is not installed.
 * @param {string} name
 */
export function clientVersion(name) {
  for (const folder of require.resolve.paths(name) ?? []) {
    const file = join(folder, name, 'package.json');
    if (existsSync(file)) return String(require(file).version);
  }
  return null;
}

/** @param {string} name */
export function noClient(name) {
  return clientVersion(name) === null
    ? `not installed: the npm client "${name}" (npm install --prefix bench)`
    : null;
}

/**
 * Where a program lies: in these folders, else in PATH.
 * @param {string} name
 * @param {readonly string[]} [folders]
 */
export function programPath(name, folders = []) {
  const everywhere = [...folders, ...(process.env.PATH ?? '').split(delimiter)];
  return everywhere.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? null;
}

/**
 * The folder of an installed package, from its package.json: some packages hide it from import.
 * @param {string} name
 */
export function packageFolder(name) {
  for (const folder of require.resolve.paths(name) ?? []) {
    const file = join(folder, name, 'package.json');
    if (existsSync(file)) return dirname(file);
  }
  return null;
}
