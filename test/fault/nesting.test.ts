import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

test('a large frame of nothing but brackets is one error, and costs nobody else anything', async () => {
  await ground.daemon();
  const other = await ground.wire();
  await other.exec('x.db', ['CREATE TABLE t (a)']);
  const wire = await ground.wire();
  const payload = Buffer.alloc(16 * 1024 * 1024, '[');
  const header = Buffer.alloc(4);
  header.writeUInt32LE(payload.length);
  wire.raw(Buffer.concat([header, payload]));
  const error = wire.next();
  expect(await other.exec('x.db', ['INSERT INTO t VALUES (1)'])).toMatchObject({ status: 'ok' });
  expect(await error).toMatchObject({
    status: 'error',
    code: 'PROTOCOL_ERROR',
    message: expect.stringContaining('64 levels'),
  });
  expect(await wire.next()).toBeNull();
  await ground.expectCleanEnd();
});
