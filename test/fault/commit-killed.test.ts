import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, connect, type Database } from '../../dist/client/index.js';
import { DiskFaults } from '../support/disk-faults.js';
import { Playground } from '../support/playground.js';
import { Preload } from '../support/preload.js';

/** A worker that dies exactly where it matters to a transaction's commit: a kill at a random moment hardly ever hits these. */
const ROUNDS = 5;

const preload = new Preload('disk-faults');
let ground: Playground;
let client: Client;
let db: Database;
let faults: DiskFaults;
beforeEach(async () => {
  ground = new Playground();
  faults = new DiskFaults(preload, ground.dir, ground.file('x.db'));
  await ground.daemon([], faults.env);
  client = await connect({ socket: ground.socket, autoStart: false });
  db = client.database(ground.file('x.db'));
  await db.exec('CREATE TABLE t (n)');
});
afterEach(async () => {
  faults.none();
  client.close();
  await ground.dispose();
});
afterAll(() => preload.dispose());

describe.skipIf(preload.missing !== null)(
  `workers that die (${preload.missing ?? 'with LD_PRELOAD'})`,
  () => {
    test.each([
      ['before the commit is on disk', { on: 'write', file: 'wal' }, false],
      ['between the commit and its answer', { on: 'answer', file: 'wal' }, true],
    ] as const)('%s: the answer of the commit is true', async (_when, point, applied) => {
      for (let n = 1; n <= ROUNDS; n += 1) {
        const tx = await db.begin();
        await tx.run('INSERT INTO t VALUES (?)', [n]);
        faults.set({ ...point, with: 'SIGKILL', times: 1 });
        const outcome = await tx.commit().then(
          ({ rev }) => rev,
          (error: unknown) => error,
        );
        expect(faults.hits).toBe(1);
        faults.none();
        if (applied) expect(outcome).toBe(n + 1);
        else expect(outcome).toMatchObject({ code: 'TX_EXPIRED', outcome: 'not_applied' });
      }
      const stored = await ground.sqlite3(db.path, 'SELECT count(*) FROM t');
      expect(stored).toBe(applied ? `${ROUNDS}` : '0');
    });
  },
);
