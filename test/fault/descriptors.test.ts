import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

test('a daemon without descriptors for a worker says so and lives on', async () => {
  // Each round takes two or three descriptors, so that one of them fails while the worker is started.
  const daemon = await ground.daemon([], {}, { via: ['prlimit', '--nofile=48:48'] });
  const wire = await ground.wire();
  const codes = new Set<unknown>();
  for (let round = 0; round < 16; round += 1) {
    codes.add((await wire.exec(`${round}.db`, ['CREATE TABLE t (a)'])).code);
  }
  expect(codes).toContain('WORKER_CRASHED');
  expect(await wire.exec('0.db', ['INSERT INTO t VALUES (1)'])).toMatchObject({ status: 'ok' });
  expect(daemon.child.exitCode).toBeNull();
});
