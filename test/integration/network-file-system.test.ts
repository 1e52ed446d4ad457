import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { Playground, until } from '../support/playground.js';
import { Preload } from '../support/preload.js';

let ground: Playground;
let preload: Preload;
beforeAll(() => {
  preload = new Preload('other-file-system');
});
afterAll(() => {
  preload.dispose();
});
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  try {
    await ground.expectCleanEnd();
  } finally {
    await ground.dispose();
  }
});

test('a database on a network file system is served, and warned of: in the log once, and in Status', async ({
  skip,
}) => {
  if (preload.missing !== null) skip(preload.missing);
  const far = join(ground.dir, 'far');
  mkdirSync(far);
  await ground.daemon([], { LD_PRELOAD: preload.library, OTHER_FILE_SYSTEM: `0x6969:${far}` });
  const wire = await ground.wire();
  for (const db of [join(far, 'x.db'), 'y.db', join(far, 'x.db')])
    expect(await wire.exec(db, ['CREATE TABLE IF NOT EXISTS t (a)'])).toMatchObject({ status: 'ok' });
  const warned = async () => {
    const { databases } = (await wire.request({ type: 'Status' })) as {
      databases: { db_path: string; warnings?: { code: string; message: string }[] }[];
    };
    return databases.filter(({ warnings }) => warnings !== undefined);
  };
  await until('it is warned of', async () => (await warned()).length > 0);
  expect(await warned()).toMatchObject([
    {
      db_path: join(far, 'x.db'),
      warnings: [{ code: 'NETWORK_FILE_SYSTEM', message: expect.stringContaining('(nfs)') }],
    },
  ]);
  const { stdout } = await ground.cli(['status']);
  expect(stdout).toMatch(/far\/x\.db: The file lies on a network file system \(nfs\)/);
  // A worker that opens it again is no second warning.
  await wire.request({ type: 'CloseDatabase', db: join(far, 'x.db') });
  await wire.request({ type: 'ReopenDatabase', db: join(far, 'x.db') });
  await wire.exec(join(far, 'x.db'), ['INSERT INTO t VALUES (1)']);
  const log = readFileSync(join(ground.stateDir, 'daemon.log'), 'utf8');
  expect(log.split('\n').filter((line) => line.includes('"file_system":"nfs"'))).toHaveLength(1);
});
