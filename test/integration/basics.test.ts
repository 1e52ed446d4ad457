import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';

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
