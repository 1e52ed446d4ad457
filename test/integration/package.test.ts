import { readdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildNativePart, installPacked, must } from '../support/packed.js';
import { Playground } from '../support/playground.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

let ground: Playground;
let app: string;

/** The package as `npm pack` makes it, in an empty project. better-sqlite3 is not compiled again: its build is copied. */
beforeAll(async () => {
  ground = new Playground();
  app = await installPacked(ground);
  buildNativePart(app);
}, 240_000);

afterAll(async () => {
  await ground.dispose();
});

test('brings node-ipc and its whole tree along, in the locked versions', () => {
  const bundled = join(app, 'node_modules/skylinedb/node_modules');
  expect(
    readdirSync(bundled)
      .filter((name) => !name.startsWith('.'))
      .sort(),
  ).toEqual(['easy-stack', 'event-pubsub', 'js-message', 'js-queue', 'node-ipc']);
  expect(JSON.parse(readFileSync(join(bundled, 'node-ipc/package.json'), 'utf8'))).toMatchObject({
    version: '9.2.1',
  });
});

test('holds what is needed and nothing else', () => {
  const top = readdirSync(join(app, 'node_modules/skylinedb')).sort();
  expect(top).toEqual([
    'ARCHITECTURE.md',
    'CHANGELOG.md',
    'README.md',
    'dist',
    'docs',
    'node_modules',
    'package.json',
  ]);
  expect(readdirSync(join(app, 'node_modules/skylinedb/dist')).sort()).toEqual(['bin', 'client', 'protocol']);
});

test('compiles in a strict TypeScript project, for both of its entries', async () => {
  writeFileSync(
    join(app, 'main.ts'),
    `import { connect, SkylineError } from 'skylinedb';
     import { encodeFrame, PROTOCOL_VERSION } from 'skylinedb/protocol';
     const client = await connect();
     const rows: { a: number }[] = await client.database('x.db').all<{ a: number }>('SELECT 1 AS a');
     export const result: [number, Buffer, 1] = [rows[0]?.a ?? 0, encodeFrame('{}'), PROTOCOL_VERSION];
     export { SkylineError };`,
  );
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  const types = join(ROOT, 'node_modules/@types');
  await must(
    ground.run(
      process.execPath,
      [
        tsc,
        '--noEmit',
        '--strict',
        '--exactOptionalPropertyTypes',
        '--module',
        'nodenext',
        '--target',
        'es2023',
        '--typeRoots',
        types,
        '--types',
        'node',
        'main.ts',
      ],
      { cwd: app },
    ),
  );
}, 120_000);

test('its drivers are there for whoever has their libraries, and ask nothing of whoever has not', async () => {
  const installed = readdirSync(join(app, 'node_modules'));
  for (const driver of ['kysely', 'drizzle', 'knex']) {
    const library = driver === 'drizzle' ? 'drizzle-orm' : driver;
    expect(installed).not.toContain(library);
    const load = `await import('skylinedb/${driver}')`;
    const without = await ground.run(process.execPath, ['--input-type=module', '-e', load], { cwd: app });
    expect(without.stderr).toMatch(new RegExp(`Cannot find (package|module) '${library}`));
  }
  for (const library of ['kysely', 'drizzle-orm', 'knex'])
    symlinkSync(join(ROOT, 'node_modules', library), join(app, 'node_modules', library));
  writeFileSync(
    join(app, 'drivers.mjs'),
    `import { SkylineDialect } from 'skylinedb/kysely';
     import { drizzle, migrate } from 'skylinedb/drizzle';
     import { SkylineClient } from 'skylinedb/knex';
     console.log([SkylineDialect, drizzle, migrate, SkylineClient].map((one) => one.name).join(' '));`,
  );
  const { stdout } = await must(ground.run(process.execPath, ['drivers.mjs'], { cwd: app }));
  expect(stdout.trim()).toBe('SkylineDialect drizzle migrate SkylineClient');
}, 120_000);

test('starts its own daemon from there, by the library and by the command line', async () => {
  writeFileSync(
    join(app, 'write.mjs'),
    `import { connect } from 'skylinedb';
     const client = await connect();
     const db = client.database('app.db');
     await db.batch(['CREATE TABLE t (a)', { sql: 'INSERT INTO t VALUES (?)', params: [7] }]);
     console.log(JSON.stringify({ pid: client.daemon.pid, rows: db.reader().all('SELECT a FROM t') }));`,
  );
  const { stdout } = await must(ground.run(process.execPath, ['write.mjs'], { cwd: app }));
  const { pid, rows } = JSON.parse(stdout) as { pid: number; rows: unknown };
  expect(rows).toEqual([{ a: 7 }]);
  expect(readFileSync(`/proc/${pid}/environ`, 'latin1')).toContain(`SKYLINEDB_SOCKET=${ground.socket}`);
  expect(realpathSync(`/proc/${pid}/cwd`)).toBe('/');

  const cli = await must(
    ground.run('npx', ['skylinedb-cli', 'query', '--json', '--db', 'app.db', 'SELECT a FROM t'], {
      cwd: app,
    }),
  );
  expect(JSON.parse(cli.stdout)).toMatchObject({ rows: [[7]] });
  await must(ground.run('npx', ['skylinedb-cli', 'shutdown'], { cwd: app }));
});
