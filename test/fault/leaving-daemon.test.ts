import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect } from '../../dist/client/index.js';
import { Playground, until } from '../support/playground.js';

let ground: Playground;
const environment = { ...process.env };
beforeEach(() => {
  ground = new Playground();
  // The library in this process starts a daemon of its own, which must carry the playground's mark.
  Object.assign(process.env, ground.env);
});
afterEach(async () => {
  await ground.dispose();
  process.env = { ...environment };
});

test('a request that a leaving daemon refuses does not cost the answers to those it has accepted', async () => {
  await ground.daemon();
  const client = await connect({ socket: ground.socket, startTimeoutMs: 1_000 });
  const db = client.database(ground.file('x.db'));
  await db.exec('CREATE TABLE t (a)');
  const slow = db.exec(
    'INSERT INTO t SELECT count(*) FROM (WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 6000000) SELECT x FROM c)',
  );
  const wire = await ground.wire();
  const shutdown = wire.request({ type: 'Shutdown' });
  const refused = await ground.wire();
  await until('the daemon refuses', async () => (await refused.request({ type: 'Ping' })).status === 'error');
  const next = db.exec('SELECT 1').catch(() => null);
  expect(await slow).toMatchObject({ rowsAffected: 1, rev: 2 });
  expect(await shutdown).toMatchObject({ status: 'ok' });
  await next;
  client.close();
});
