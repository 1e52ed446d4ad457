import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Finished, Playground } from './playground.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * The package as `npm pack` makes it, installed in an empty project, without the compiled part of better-sqlite3.
 * @returns the project's folder
 */
export async function installPacked(ground: Playground): Promise<string> {
  const app = join(ground.dir, 'app');
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), JSON.stringify({ name: 'app', private: true, type: 'module' }));
  await must(
    ground.run('npm', ['pack', '--ignore-scripts', '--pack-destination', ground.dir], { cwd: ROOT }),
  );
  const tarball = readdirSync(ground.dir).find((name) => name.endsWith('.tgz')) ?? '';
  const flags = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund'];
  await must(ground.run('npm', ['install', ...flags, join(ground.dir, tarball)], { cwd: app }));
  return app;
}

/** What a minute of compiling would make: this checkout's build is copied. */
export function buildNativePart(app: string): void {
  const build = 'node_modules/better-sqlite3/build';
  cpSync(join(ROOT, build), join(app, build), { recursive: true });
}

/** @throws Error with all output unless the program has succeeded */
export async function must(run: Promise<Finished>): Promise<Finished> {
  const done = await run;
  if (done.code !== 0) throw new Error(`exit ${done.code}\n${done.stdout}\n${done.stderr}`);
  return done;
}
