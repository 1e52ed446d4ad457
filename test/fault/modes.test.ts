import { chmodSync, statSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

test('a private database stays private: its backup and what replaces it have its mode', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  chmodSync(ground.file('x.db'), 0o600);
  const mode = (name: string) => statSync(ground.file(name)).mode & 0o777;
  expect(await wire.request({ type: 'Backup', db: 'x.db', to: 'copy.db' })).toMatchObject({ status: 'ok' });
  expect(mode('copy.db')).toBe(0o600);
  await ground.sqlite3(ground.file('new.db'), 'CREATE TABLE u (b)');
  chmodSync(ground.file('new.db'), 0o444);
  expect(await wire.request({ type: 'ReplaceDatabase', db: 'x.db', from: 'new.db' })).toMatchObject({
    status: 'ok',
  });
  expect(mode('x.db')).toBe(0o600);
});
