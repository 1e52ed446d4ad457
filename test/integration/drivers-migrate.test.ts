import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FIXTURES, Playground } from '../support/playground.js';

let ground: Playground;
let file: string;
beforeEach(() => {
  ground = new Playground();
  file = ground.file('stars.db');
});
afterEach(async () => {
  await ground.dispose();
});

/** Ten processes at once, none of which finds a daemon. */
async function ten(fixture: string, ...args: string[]): Promise<unknown[]> {
  const runs = await Promise.all(
    Array.from({ length: 10 }, () => ground.run(process.execPath, [join(FIXTURES, fixture), file, ...args])),
  );
  return runs.map(({ code, stdout, stderr }) => {
    expect(stderr).toBe('');
    expect(code).toBe(0);
    return JSON.parse(stdout) as unknown;
  });
}

/** A folder of migrations as drizzle-kit writes it. */
function migrations(scripts: { readonly [tag: string]: readonly string[] }): string {
  const folder = join(ground.dir, 'migrations');
  mkdirSync(join(folder, 'meta'), { recursive: true });
  const entries = Object.entries(scripts).map(([tag, statements], idx) => {
    writeFileSync(join(folder, `${tag}.sql`), statements.join('--> statement-breakpoint\n'));
    return { idx, version: '6', when: 1_700_000_000_000 + idx, tag, breakpoints: true };
  });
  writeFileSync(
    join(folder, 'meta/_journal.json'),
    JSON.stringify({ version: '7', dialect: 'sqlite', entries }),
  );
  return folder;
}

test("ten processes start Kysely's migrator at once: one runs it, the others wait and find it done", async () => {
  const results = await ten('migrates-with-kysely.mjs');
  expect(results.filter((one) => (one as unknown[]).length > 0)).toEqual([
    ['1-tables Success', '2-rows Success'],
  ]);
  expect(
    await ground.sqlite3(file, 'SELECT name, count(*) FROM ran GROUP BY name; SELECT name FROM star'),
  ).toBe('1-tables|1\n2-rows|1\nVega\nnumber 2');
  expect(await ground.sqlite3(file, 'SELECT name FROM kysely_migration ORDER BY name')).toBe(
    '1-tables\n2-rows',
  );
  // And once more, with everything in place.
  expect((await ten('migrates-with-kysely.mjs')).flat()).toEqual([]);
});

test("ten processes start Drizzle's migrator at once: one runs it, the others wait and find it done", async () => {
  const folder = migrations({
    '0000_tables': [
      'CREATE TABLE star (id integer PRIMARY KEY, name text);\n',
      'CREATE INDEX star_name ON star (name);\n',
    ],
    '0001_rows': [
      "INSERT INTO star (name) VALUES ('Vega');\n",
      "INSERT INTO star (name) SELECT 'number ' || (count(*) + 1) FROM star;\n",
    ],
  });
  const done = [{ created_at: 1_700_000_000_000 }, { created_at: 1_700_000_000_001 }];
  expect(await ten('migrates-with-drizzle.mjs', folder)).toEqual(new Array(10).fill(done));
  expect(await ground.sqlite3(file, 'SELECT name FROM star')).toBe('Vega\nnumber 2');
  expect(await ten('migrates-with-drizzle.mjs', folder)).toEqual(new Array(10).fill(done));
  expect(await ground.sqlite3(file, 'SELECT count(*) FROM star')).toBe('2');
});

test('what drizzle-kit writes to rebuild a table keeps the rows of those that refer to it', async () => {
  const first = [
    'CREATE TABLE constellation (id integer PRIMARY KEY, name text);\n',
    'CREATE TABLE star (id integer PRIMARY KEY, constellation_id integer REFERENCES constellation(id) ON DELETE CASCADE);\n',
    'INSERT INTO constellation VALUES (1, NULL), (2, NULL);\n',
    'INSERT INTO star VALUES (1, 1), (2, 2);\n',
  ];
  const rebuild = [
    'PRAGMA foreign_keys=OFF;',
    "CREATE TABLE `__new_constellation` (`id` integer PRIMARY KEY NOT NULL, `name` text DEFAULT 'none' NOT NULL);\n",
    "INSERT INTO `__new_constellation`(`id`, `name`) SELECT `id`, coalesce(`name`, 'none') FROM `constellation`;",
    'DROP TABLE `constellation`;',
    'ALTER TABLE `__new_constellation` RENAME TO `constellation`;',
    'PRAGMA foreign_keys=ON;',
  ];
  const folder = migrations({ '0000_tables': first, '0001_rebuild': rebuild });
  const { code, stderr } = await ground.run(process.execPath, [
    join(FIXTURES, 'migrates-with-drizzle.mjs'),
    file,
    folder,
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(await ground.sqlite3(file, 'SELECT * FROM star; SELECT * FROM constellation')).toBe(
    '1|1\n2|2\n1|none\n2|none',
  );
});
