import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';
import type { Wire } from '../support/wire.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

const figures = async (wire: Wire) =>
  ((await wire.request({ type: 'Status', db: 'x.db' })).databases as Record<string, unknown>[])[0];

test('of a busy worker has the last known figures; after a restart, the true rev', async () => {
  const daemon = await ground.daemon();
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  await wire.exec('x.db', ['INSERT INTO t VALUES (1)']);
  expect(await figures(wire)).toMatchObject({ rev: 2, counters: { batches: 2 }, stale: false });
  const other = await ground.wire();
  const slow = other.exec('x.db', [
    'WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 6000000) SELECT count(*) FROM c',
  ]);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const busy = await figures(wire);
  expect(busy).toMatchObject({ rev: 2, counters: { batches: 2, commits: 2 }, stale: true });
  expect(busy?.wal_bytes).toBeGreaterThan(0);
  await slow;
  await wire.request({ type: 'Shutdown' });
  await daemon.exited;
  await ground.daemon();
  expect(await figures(await ground.wire())).toMatchObject({ rev: 2, epoch: 1, stale: false });
});
