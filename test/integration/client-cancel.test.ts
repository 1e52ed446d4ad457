import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, connect, type Database, SkylineError } from '../../dist/client/index.js';
import { untilDirect } from '../support/direct.js';
import { Playground, until } from '../support/playground.js';

/** What becomes of a batch, and of a transaction's statement, whose signal aborts. */

const ENDLESS =
  'INSERT INTO t WITH RECURSIVE c(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c';

let ground: Playground;
let clients: Client[];
beforeEach(() => {
  ground = new Playground();
  clients = [];
});
afterEach(async () => {
  for (const client of clients) client.close();
  await ground.dispose();
});

async function connected(): Promise<Client> {
  const client = await connect({ socket: ground.socket, autoStart: false });
  clients.push(client);
  return client;
}

async function begun(args: readonly string[] = []): Promise<Database> {
  await ground.daemon(args);
  const db = (await connected()).database(ground.file('x.db'));
  await db.exec('CREATE TABLE t (a)', [], { timeoutMs: 60_000 });
  return db;
}

async function failure(work: Promise<unknown>): Promise<SkylineError> {
  try {
    await work;
  } catch (error) {
    expect(error).toBeInstanceOf(SkylineError);
    return error as SkylineError;
  }
  throw new Error('it did not fail');
}

/** The worker is too busy to tell its figures. */
async function runs(db: Database): Promise<void> {
  const asker = await connected();
  await until('it runs', async () => (await asker.status(db.path)).databases[0]?.stale === true);
}

async function waits(db: Database, depth: number): Promise<void> {
  const asker = await connected();
  await until('it waits', async () => {
    const { databases } = await asker.status(db.path);
    return databases[0]?.queue_depth === depth;
  });
}

describe('a batch', () => {
  test('that runs is stopped: nothing is applied, and what follows is done, once', async () => {
    const db = await begun();
    const controller = new AbortController();
    const running = failure(db.run(ENDLESS, [], { signal: controller.signal }));
    const behind = db.run('INSERT INTO t VALUES (1)');
    await runs(db);
    controller.abort('enough');
    expect(await running).toMatchObject({
      code: 'ABORTED',
      outcome: 'not_applied',
      retryable: false,
      cause: 'enough',
    });
    expect(await behind).toMatchObject({ rev: 2, rowsAffected: 1 });
    expect(await db.run('INSERT INTO t VALUES (2)')).toMatchObject({ rev: 3 });
    expect(await db.all('SELECT a FROM t')).toEqual([{ a: 1 }, { a: 2 }]);
  });

  test('that waits for somebody’s transaction is left out', async () => {
    const db = await begun();
    const holder = (await connected()).database(db.path);
    const tx = await holder.begin();
    const controller = new AbortController();
    const waiting = failure(db.run('INSERT INTO t VALUES (1)', [], { signal: controller.signal }));
    const behind = db.run('INSERT INTO t VALUES (2)');
    await waits(db, 2);
    controller.abort();
    expect(await waiting).toMatchObject({ code: 'ABORTED', outcome: 'not_applied' });
    await tx.commit();
    expect(await behind).toMatchObject({ rev: 2 });
    expect(await db.all('SELECT a FROM t')).toEqual([{ a: 2 }]);
  });

  test('with a signal that says nothing is as ever, the daemon’s own time for it included', async () => {
    const db = await begun(['--batch-timeout', '300ms']);
    const { signal } = new AbortController();
    const patient = { signal, timeoutMs: 60_000 };
    expect(await db.run('INSERT INTO t VALUES (1)', [], patient)).toMatchObject({ rev: 2 });
    expect(await failure(db.run(ENDLESS, [], { signal }))).toMatchObject({
      code: 'TIMEOUT',
      outcome: 'not_applied',
    });
  });

  test('on the worker’s own socket is stopped while it waits; while it runs, it is only not waited for', async () => {
    const db = await begun();
    await db.run('INSERT INTO t VALUES (0)');
    await untilDirect(clients[0] as Client, db);
    const holder = (await connected()).database(db.path);
    const tx = await holder.begin();
    const first = new AbortController();
    const waiting = failure(db.run('INSERT INTO t VALUES (1)', [], { signal: first.signal }));
    await waits(db, 1);
    first.abort();
    expect(await waiting).toMatchObject({ code: 'ABORTED', outcome: 'not_applied' });
    await tx.rollback();
    const second = new AbortController();
    const running = failure(db.run(ENDLESS, [], { signal: second.signal, timeoutMs: 6_000 }));
    await runs(db);
    second.abort();
    expect(await running).toMatchObject({ code: 'ABORTED', outcome: 'unknown' });
    expect(await db.all('SELECT a FROM t WHERE a > 0')).toEqual([]);
  });
});

describe('a transaction’s statement', () => {
  test('that runs is stopped, and the transaction is over with it', async () => {
    const db = await begun();
    const tx = await db.begin();
    await tx.run('INSERT INTO t VALUES (1)');
    const controller = new AbortController();
    const running = failure(tx.run(ENDLESS, [], { signal: controller.signal }));
    await runs(db);
    controller.abort('enough');
    expect(await running).toMatchObject({
      code: 'ABORTED',
      outcome: 'not_applied',
      details: { tx_ended: true },
      cause: 'enough',
    });
    expect(tx.state).toBe('lost');
    expect(await failure(tx.commit())).toMatchObject({ code: 'TX_EXPIRED' });
    expect(await db.all('SELECT a FROM t')).toEqual([]);
    // The connection is whole: the next transaction has it.
    await db.transaction((next) => next.run('INSERT INTO t VALUES (2)'));
    expect(await db.all('SELECT a FROM t')).toEqual([{ a: 2 }]);
  });

  test('that waits for another one of it is left out, and the transaction goes on', async () => {
    const db = await begun();
    const tx = await db.begin();
    const controller = new AbortController();
    const slow =
      'INSERT INTO t WITH RECURSIVE c(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM c LIMIT 300000) SELECT count(*) FROM c';
    const first = tx.run(slow);
    const unwanted = failure(tx.run('INSERT INTO t VALUES (1)', [], { signal: controller.signal }));
    const third = tx.run('INSERT INTO t VALUES (3)');
    controller.abort();
    expect(await unwanted).toMatchObject({ code: 'ABORTED', outcome: 'not_applied' });
    expect(await first).toMatchObject({ rowsAffected: 1 });
    await third;
    expect(await tx.commit()).toMatchObject({ rev: 2 });
    expect(await db.all('SELECT a FROM t')).toEqual([{ a: 300_000 }, { a: 3 }]);
  });
});
