import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect } from '../../dist/client/index.js';
import { Playground } from '../support/playground.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

test('a progress callback that throws fails its own request and no other', async () => {
  await ground.daemon();
  const client = await connect({ socket: ground.socket, autoStart: false });
  const db = client.database(ground.file('x.db'));
  await db.exec('CREATE TABLE t (a)');
  const backup = db.backup(ground.file('copy.db'), {
    onProgress: () => {
      throw new Error('of the application');
    },
  });
  const other = db.exec('INSERT INTO t VALUES (1)');
  await expect(backup).rejects.toThrow('of the application');
  expect(await other).toMatchObject({ rowsAffected: 1 });
  client.close();
});
