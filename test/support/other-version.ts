import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { VERSION } from '../../protocol/version.js';
import type { Playground } from './playground.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** This package, installed once more under another version. */
export interface Installed {
  readonly version: string;
  readonly library: string;
  readonly cli: string;
  readonly daemon: string;
}

/** Installs a copy of the compiled package in the playground, which tells another version of itself. */
export function installVersion(ground: Playground, version: string): Installed {
  const dir = join(ground.dir, `skylinedb-${version}`);
  mkdirSync(join(dir, 'dist'), { recursive: true });
  for (const folder of ['bin', 'client', 'protocol'])
    cpSync(join(ROOT, 'dist', folder), join(dir, 'dist', folder), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: 'skylinedb', version, type: 'module' }));
  const bin = join(dir, 'dist/bin');
  const programs = readdirSync(bin).filter((name) => name.endsWith('.cjs'));
  const texts = [...programs.map((name) => join(bin, name)), join(dir, 'dist/protocol/version.js')];
  let changed = 0;
  for (const path of texts) {
    const text = readFileSync(path, 'utf8');
    // The bundler puts it where it is used, too.
    const other = text.replaceAll(/(['"])(\d+\.\d+\.\d+)\1/g, (all, quote, found) => {
      if (found !== VERSION) return all;
      changed += 1;
      return `${quote}${version}${quote}`;
    });
    writeFileSync(path, other);
  }
  // The library's, the command line's, the daemon's and the worker's.
  if (changed < 4) throw new Error(`only ${changed} places tell the version ${VERSION}: build first`);
  return {
    version,
    library: join(dir, 'dist/client/index.js'),
    cli: join(bin, 'cli.cjs'),
    daemon: join(bin, 'daemon.cjs'),
  };
}
