import { afterEach, beforeEach, expect, test } from 'vitest';
import { Fixture } from '../support/fixture.js';
import { Playground, until } from '../support/playground.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

test('while a database is being prepared, nobody is told an older rev than an attached client was answered', async () => {
  await ground.daemon();
  const db = ground.file('x.db');
  const wire = await ground.wire();
  await wire.exec(db, ['CREATE TABLE t (a)']);
  const { endpoint } = await wire.request({ type: 'Attach', db });
  const direct = await ground.wire(String(endpoint));
  const reader = await Fixture.start(ground, 'hold-read-transaction', db);
  for (let n = 0; n < 5; n += 1) await direct.exec(db, ['INSERT INTO t VALUES (1)']);
  expect(await wire.request({ type: 'Ping', db })).toMatchObject({ rev: 6, state: 'open' });
  const other = await ground.wire();
  const preparing = other.request({ type: 'PrepareForMaintenance', db, timeout_ms: 3_000 });
  preparing.catch(() => undefined);
  await until(
    'it is being prepared',
    async () => (await wire.request({ type: 'Ping', db })).state === 'preparing',
  );
  expect(await wire.request({ type: 'Ping', db })).toMatchObject({ rev: 6, epoch: 1 });
  await reader.end();
  await preparing;
});
