import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground, until } from '../support/playground.js';

const LIBRARY = new URL('../../dist/client/index.js', import.meta.url).href;

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

test('a batch is in the file when it is answered, for any SQLite to see', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  const reply = await wire.exec('stars.db', [
    'CREATE TABLE stars (id INTEGER PRIMARY KEY, name TEXT)',
    { sql: 'INSERT INTO stars (name) VALUES (?)', params: ['Sirius'] },
  ]);
  expect(reply).toMatchObject({ status: 'ok', rev: 1, epoch: 1, rows_affected: 1 });
  expect(await ground.sqlite3(ground.file('stars.db'), 'SELECT * FROM stars')).toBe('1|Sirius');
  await ground.expectCleanEnd();
});

test('a request without db means data.db in the data directory', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  expect(await wire.exec(undefined, ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok' });
  expect(await ground.sqlite3(ground.file('data.db'), 'SELECT count(*) FROM t')).toBe('0');
});

test('a relative name of the library belongs to the working directory of its process', async () => {
  const cwd = join(ground.dir, 'elsewhere');
  mkdirSync(cwd);
  const program = `import { connect } from ${JSON.stringify(LIBRARY)};
    const client = await connect();
    await client.database('here.db').exec('CREATE TABLE t (a)');
    client.close();`;
  const { code, stderr } = await ground.run(process.execPath, ['--input-type=module', '-e', program], {
    cwd,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(existsSync(join(cwd, 'here.db'))).toBe(true);
  expect(existsSync(ground.file('here.db'))).toBe(false);
});

test('rev counts each batch that writes and no other, across restarts, and nothing else is added to the schema', async () => {
  const daemon = await ground.daemon();
  const wire = await ground.wire();
  const revOf = async (...stmts: string[]) => (await wire.exec('x.db', stmts)).rev;
  expect(await revOf('CREATE TABLE t (a INTEGER PRIMARY KEY)')).toBe(1);
  expect(await revOf('SELECT * FROM t')).toBe(1);
  expect(await revOf('INSERT INTO t VALUES (1)', 'INSERT INTO t VALUES (2)', 'UPDATE t SET a = a + 10')).toBe(
    2,
  );
  expect(await revOf('DELETE FROM t WHERE a = 99')).toBe(3);
  expect(await revOf('PRAGMA table_info(t)')).toBe(3);
  expect(await wire.exec('x.db', ['INSERT INTO t VALUES (11)'])).toMatchObject({ status: 'error' });
  const replies = await Promise.all(
    Array.from({ length: 20 }, (_, at) => wire.exec('x.db', [`INSERT INTO t VALUES (${100 + at})`])),
  );
  expect(replies.map(({ rev }) => rev)).toEqual(Array.from({ length: 20 }, (_, at) => 4 + at));
  process.kill(daemon.pid, 'SIGKILL');
  await daemon.exited;
  await until('its worker has left', () => ground.processes().length === 0);
  await ground.daemon();
  const next = await ground.wire();
  expect(await next.request({ type: 'Ping', db: 'x.db' })).toMatchObject({ rev: 23, epoch: 1 });
  expect(await next.exec('x.db', ['INSERT INTO t VALUES (1)'])).toMatchObject({ rev: 24, epoch: 1 });
  const ours =
    "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE name <> 't' ORDER BY name)";
  expect(await ground.sqlite3(ground.file('x.db'), ours)).toMatch(/^_skylinedb_\w+(,_skylinedb_\w+)*$/);
});
