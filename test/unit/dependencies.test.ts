import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

interface LockedPackage {
  readonly version: string;
  readonly integrity?: string;
  readonly dependencies?: { readonly [name: string]: string };
  readonly resolved?: string;
}
const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
  packages: { readonly [path: string]: LockedPackage };
};
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  dependencies: { [name: string]: string };
  peerDependenciesMeta: { [name: string]: { optional: boolean } };
  bundleDependencies: string[];
  allowScripts: { [name: string]: boolean };
};

/**
 * node-ipc has had malicious releases (9.1.6, 9.2.2, 9.2.3, 10.1.1-10.1.3, 11.0.0, 11.1.0, 12.0.1). This is the whole tree
 * of the one version that is used, with the hashes it was looked at with.
 */
const NODE_IPC_TREE = {
  'node-ipc': [
    '9.2.1',
    'sha512-mJzaM6O3xHf9VT8BULvJSbdVbmHUKRNOH7zDDkCrA1/T+CVjq2WVIDfLt0azZRXpgArJtl3rtmEozrbXPZ9GaQ==',
  ],
  'event-pubsub': [
    '4.3.0',
    'sha512-z7IyloorXvKbFx9Bpie2+vMJKKx1fH1EN5yiTfp8CiLOTptSYy1g8H4yDpGlEdshL1PBiFtBHepF2cNsqeEeFQ==',
  ],
  'js-message': [
    '1.0.7',
    'sha512-efJLHhLjIyKRewNS9EGZ4UpI8NguuL6fKkhRxVuMmrGV2xN/0APGdQYwLFky5w9naebSZ0OwAGp0G6/2Cg90rA==',
  ],
  'js-queue': [
    '2.0.2',
    'sha512-pbKLsbCfi7kriM3s1J4DDCo7jQkI58zPLHi0heXPzPlj0hjUsm+FesPUbE0DSbIVIK503A36aUBoCN7eMFedkA==',
  ],
  'easy-stack': [
    '1.0.1',
    'sha512-wK2sCs4feiiJeFXn3zvY0p41mdU5VUgbgs1rNsc/y5ngFUijdWd+iIN8eoyuZHKB8xN6BL4PdWmzqFmxNg6V2w==',
  ],
} as const;

/** Everything below a package in the lock file, by npm's rule: the nearest node_modules wins; here all lie at the top. */
function treeOf(name: string, seen = new Set<string>()): Set<string> {
  if (seen.has(name)) return seen;
  seen.add(name);
  for (const dependency of Object.keys(lock.packages[`node_modules/${name}`]?.dependencies ?? {}))
    treeOf(dependency, seen);
  return seen;
}

test('node-ipc is exactly 9.2.1, and nothing new has appeared under it', () => {
  expect(manifest.dependencies['node-ipc']).toBe('9.2.1');
  expect([...treeOf('node-ipc')].sort()).toEqual(Object.keys(NODE_IPC_TREE).sort());
  const copies = Object.keys(lock.packages).filter((path) =>
    Object.keys(NODE_IPC_TREE).some((name) => path.endsWith(`node_modules/${name}`)),
  );
  expect(copies).toHaveLength(Object.keys(NODE_IPC_TREE).length);
});

test.each(Object.entries(NODE_IPC_TREE))(
  '%s is locked by version and hash, and is what is installed',
  (name, [version, integrity]) => {
    const locked = lock.packages[`node_modules/${name}`];
    expect(locked?.version).toBe(version);
    expect(locked?.integrity).toBe(integrity);
    const installed = JSON.parse(readFileSync(join(ROOT, 'node_modules', name, 'package.json'), 'utf8')) as {
      version: string;
    };
    expect(installed.version).toBe(version);
  },
);

test('the tree travels inside the package: whoever installs it gets these versions', () => {
  expect(manifest.bundleDependencies).toEqual(['node-ipc']);
});

test('one module imports node-ipc', () => {
  const importers = sources().filter((file) =>
    /from 'node-ipc'|require\('node-ipc'\)/.test(readFileSync(join(ROOT, file), 'utf8')),
  );
  expect(importers).toEqual([join('protocol', 'transport', 'node-ipc.ts')]);
});

test.each([
  ['kysely', /^client\/drivers\/kysely\.ts$/],
  ['drizzle-orm', /^client\/drivers\/drizzle[\w-]*\.ts$/],
  ['knex', /^client\/drivers\/knex\.ts$/],
])('only its own driver imports %s, which whoever does not use it need not have', (name, driver) => {
  const mentions = new RegExp(`(?:from |import\\(|require\\()'${name}(?:/[^']*)?'`);
  const importers = sources().filter((file) => mentions.test(readFileSync(join(ROOT, file), 'utf8')));
  expect(importers.length).toBeGreaterThan(0);
  expect(importers.map((file) => file.replaceAll('\\', '/')).filter((file) => !driver.test(file))).toEqual(
    [],
  );
  expect(manifest.dependencies[name]).toBeUndefined();
  expect(manifest.peerDependenciesMeta[name]).toEqual({ optional: true });
});

test('the lock file keeps a hash for every package and names no download host', () => {
  for (const [path, locked] of Object.entries(lock.packages)) {
    if (path === '') continue;
    expect(locked.integrity, path).toMatch(/^sha512-/);
    expect(locked.resolved, path).toBeUndefined();
  }
});

test('only reviewed packages may run scripts when they are installed', () => {
  const scripts = Object.entries(lock.packages)
    .filter(([, locked]) => 'hasInstallScript' in locked && !('optional' in locked && 'os' in locked))
    .filter(([path]) => path !== '')
    .map(([path]) => path.replace(/^.*node_modules\//, ''));
  // By name: npm cannot match a version in a lock file that names no download host. The lock file pins it.
  expect(scripts.sort()).toEqual(Object.keys(manifest.allowScripts).sort());
});

function sources(): string[] {
  const found: string[] = [];
  const walk = (folder: string) => {
    for (const name of readdirSync(join(ROOT, folder))) {
      const path = join(folder, name);
      if (statSync(join(ROOT, path)).isDirectory()) walk(path);
      else if (path.endsWith('.ts')) found.push(path);
    }
  };
  for (const folder of ['protocol', 'client', 'daemon', 'cli']) walk(folder);
  return found;
}
