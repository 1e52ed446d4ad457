import { readdirSync, symlinkSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

test.each([
  [
    'a table of the same name',
    'CREATE TABLE owner (pid, router_pid, endpoint); INSERT INTO owner VALUES (1, 2, 3)',
  ],
  ['tables of its own', 'CREATE TABLE people (name); INSERT INTO people VALUES (4)'],
])("a user's database at x.db-owner, with %s, is not touched", async (_what, schema) => {
  const foreign = ground.file('x.db-owner');
  await ground.sqlite3(foreign, schema);
  const before = await ground.sqlite3(foreign, '.dump');
  await ground.daemon();
  const wire = await ground.wire();
  expect(await wire.exec('x.db', ['CREATE TABLE t (a)'])).toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
  expect(await ground.sqlite3(foreign, '.dump')).toBe(before);
});

test('a link at x.db-owner is not followed', async () => {
  const foreign = ground.file('other.db');
  await ground.sqlite3(
    foreign,
    'CREATE TABLE owner (pid, router_pid, endpoint); INSERT INTO owner VALUES (1, 2, 3)',
  );
  symlinkSync(foreign, ground.file('x.db-owner'));
  symlinkSync(ground.file('nothing'), ground.file('y.db-owner'));
  await ground.daemon();
  const wire = await ground.wire();
  for (const db of ['x.db', 'y.db']) {
    const reply = await wire.exec(db, ['CREATE TABLE t (a)']);
    expect(reply).toMatchObject({ code: 'DATABASE_NOT_ALLOWED', outcome: 'not_applied' });
    expect(String(reply.message)).toContain(`${db}-owner is in the way`);
  }
  expect(await ground.sqlite3(foreign, 'SELECT * FROM owner')).toBe('1|2|3');
  expect(readdirSync(ground.dataDir)).not.toContain('nothing');
});

test.each(['-wal', '-shm', '-journal', '-owner'])(
  'x.db%s is neither a database nor a target beside x.db',
  async (suffix) => {
    await ground.daemon();
    const wire = await ground.wire();
    await wire.exec('x.db', ['CREATE TABLE t (a)']);
    const name = `x.db${suffix}`;
    const refused = { code: 'DATABASE_NOT_ALLOWED', outcome: 'not_applied' };
    expect(await wire.exec(name, ['SELECT 1'])).toMatchObject(refused);
    expect(await wire.request({ type: 'Backup', db: 'x.db', to: name, overwrite: true })).toMatchObject(
      refused,
    );
    expect(await wire.rows('x.db', 'PRAGMA integrity_check')).toEqual([['ok']]);
  },
);
