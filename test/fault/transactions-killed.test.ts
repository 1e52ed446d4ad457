import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, connect, type Database } from '../../dist/client/index.js';
import { DiskFaults } from '../support/disk-faults.js';
import { Playground, until } from '../support/playground.js';
import { Preload } from '../support/preload.js';
import { Program } from '../support/program.js';

/** Transactions that are open when somebody is killed: they are applied wholly or not at all, and keep nobody waiting. */
const LIBRARY = new URL('../../dist/client/index.js', import.meta.url).href;
const SUM = 'SELECT count(*) || coalesce(group_concat(n), 0) FROM t';

const preload = new Preload('disk-faults');
let ground: Playground;
let client: Client;
let db: Database;
let faults: DiskFaults;
beforeEach(async () => {
  ground = new Playground();
  faults = new DiskFaults(preload, ground.dir, ground.file('x.db'));
  // A lease so long that waiting for it would be noticed.
  const env = preload.missing === null ? faults.env : {};
  await ground.daemon(['--tx-lease', '10m', '--tx-max', '10m'], env);
  client = await connect({ socket: ground.socket, startTimeoutMs: 60_000 });
  db = client.database(ground.file('x.db'));
  await db.exec('CREATE TABLE t (n)');
});
afterEach(async () => {
  faults.none();
  client.close();
  await ground.dispose();
});
afterAll(() => preload.dispose());

test('the client is killed: nothing of its transaction stays, and whoever waits behind it goes on at once', async () => {
  const wire = await ground.wire();
  const connections = async () => (await wire.request({ type: 'Status' })).connections;
  const before = await connections();
  const program = new Program(
    ground.start(process.execPath, [
      '--input-type=module',
      '-e',
      `import { connect } from ${JSON.stringify(LIBRARY)};
       const client = await connect();
       const tx = await client.database(${JSON.stringify(db.path)}).begin();
       await tx.run('INSERT INTO t VALUES (1)');
       console.log('open');
       process.stdin.resume();`,
    ]),
  );
  expect(await program.line()).toBe('open');
  const behind = db.run('INSERT INTO t VALUES (2)');
  await program.kill();
  expect(await behind).toMatchObject({ rev: 2 });
  expect(await ground.sqlite3(db.path, SUM)).toBe('12');
  await until('its connections are gone', async () => (await connections()) === before);
});

test.each(['worker', 'daemon'] as const)(
  'the %s is killed: the transaction is over and nothing of it is applied; the next one works',
  async (victim) => {
    const tx = await db.begin();
    await tx.run('INSERT INTO t VALUES (1)');
    for (const pid of victim === 'worker' ? ground.workers() : ground.daemons()) process.kill(pid, 'SIGKILL');
    const error = await tx.run('INSERT INTO t VALUES (2)').then(
      () => null,
      (failure: unknown) => failure,
    );
    expect(error).toMatchObject({ code: 'TX_EXPIRED', outcome: 'not_applied' });
    expect(tx.state).toBe('lost');
    await expect(tx.commit()).rejects.toMatchObject({ code: 'TX_EXPIRED' });
    await db.transaction(async (next) => {
      expect(await next.all('SELECT n FROM t')).toEqual([]);
      await next.run('INSERT INTO t VALUES (3)');
    });
    expect(await ground.sqlite3(db.path, SUM)).toBe('13');
    expect(await db.ping()).toMatchObject({ rev: 2, epoch: 1 });
  },
);

describe.skipIf(preload.missing !== null)(`at the commit (${preload.missing ?? 'with LD_PRELOAD'})`, () => {
  test.each([
    ['before the commit is on disk', { on: 'write', file: 'wal' }, false],
    ['between the commit and its answer', { on: 'answer', file: 'wal' }, true],
  ] as const)('the worker is killed %s: the answer is true', async (_when, point, applied) => {
    for (let n = 1; n <= 5; n += 1) {
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
    expect(stored).toBe(applied ? '5' : '0');
  });
});
