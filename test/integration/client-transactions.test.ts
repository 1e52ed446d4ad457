import { mkdirSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type Client,
  connect,
  type Database,
  SkylineError,
  type Transaction,
} from '../../dist/client/index.js';
import { Playground, until } from '../support/playground.js';

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

async function opened(name = 'app'): Promise<Database> {
  const client = await connect({ socket: ground.socket, autoStart: false, name });
  clients.push(client);
  return client.database(ground.file('x.db'));
}

async function begun(args: readonly string[] = []): Promise<Database> {
  await ground.daemon(args);
  const db = await opened();
  await db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, n)');
  return db;
}

const COUNT = 'SELECT count(*) AS n FROM t';

describe('db.transaction', () => {
  test('commits when the function resolves, and gives back what it returns', async () => {
    const db = await begun();
    const result = await db.transaction(async (tx) => {
      const { lastInsertRowid } = await tx.run('INSERT INTO t (n) VALUES (?)', [5]);
      expect(await tx.get('SELECT n FROM t WHERE id = ?', [lastInsertRowid ?? 0])).toEqual({ n: 5 });
      expect(await tx.get('SELECT n FROM t WHERE id = -1')).toBeUndefined();
      const { results } = await tx.batch([
        { sql: 'INSERT INTO t (n) VALUES (?)', paramSets: [[1], [2]] },
        'UPDATE t SET n = n + 1',
      ]);
      expect(results.map(({ rowsAffected }) => rowsAffected)).toEqual([2, 3]);
      expect(await db.reader().get(COUNT)).toEqual({ n: 0 });
      return tx.all('SELECT n FROM t ORDER BY n');
    });
    expect(result).toEqual([{ n: 2 }, { n: 3 }, { n: 6 }]);
    expect(await db.ping()).toMatchObject({ rev: 2 });
    expect(db.reader().get(COUNT)).toEqual({ n: 3 });
  });

  test('rolls back when it rejects, with its own error', async () => {
    const db = await begun();
    const mine = new Error('no, not that');
    const work = db.transaction(async (tx) => {
      await tx.run('INSERT INTO t (n) VALUES (1)');
      throw mine;
    });
    await expect(work).rejects.toBe(mine);
    await expect(db.transaction(() => Promise.reject(mine))).rejects.toBe(mine);
    expect(await db.get(COUNT)).toEqual({ n: 0 });
    expect(await db.ping()).toMatchObject({ rev: 1 });
  });
});

describe('foreignKeys: false', () => {
  async function family(): Promise<Database> {
    await ground.daemon();
    const db = await opened();
    await db.batch([
      'CREATE TABLE parent (id INTEGER PRIMARY KEY)',
      'CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent ON DELETE CASCADE)',
      'INSERT INTO parent VALUES (1), (2)',
      'INSERT INTO child VALUES (10, 1), (20, 2)',
    ]);
    return db;
  }
  const REBUILD = [
    'CREATE TABLE parent_new (id INTEGER PRIMARY KEY, name)',
    'INSERT INTO parent_new (id) SELECT id FROM parent',
    'DROP TABLE parent',
    'ALTER TABLE parent_new RENAME TO parent',
  ];
  const CHILDREN = 'SELECT count(*) AS n FROM child';

  test('a table to which others refer can be rebuilt, and they keep their rows', async () => {
    const db = await family();
    await db.transaction((tx) => tx.batch(REBUILD), { foreignKeys: false });
    expect(db.reader().get(CHILDREN)).toEqual({ n: 2 });
    // Whoever comes next has them enforced again, in a batch as in a transaction.
    await expect(db.run('INSERT INTO child VALUES (30, 3)')).rejects.toMatchObject({
      details: { sqlite_code: 'SQLITE_CONSTRAINT_FOREIGNKEY' },
    });
    await db.transaction((tx) => tx.run('DELETE FROM parent WHERE id = 1'));
    expect(db.reader().get(CHILDREN)).toEqual({ n: 1 });
  });

  test('with them, the same takes the rows along', async () => {
    const db = await family();
    await db.transaction((tx) => tx.batch(REBUILD));
    expect(db.reader().get(CHILDREN)).toEqual({ n: 0 });
  });

  test('a commit that would leave a reference to nothing fails, and nothing of it was applied', async () => {
    const db = await family();
    const tx = await db.begin({ foreignKeys: false });
    await tx.run('INSERT INTO child VALUES (30, 3)');
    await expect(tx.commit()).rejects.toMatchObject({
      code: 'SQL_ERROR',
      outcome: 'not_applied',
      message: expect.stringContaining('Row 30 of "child" refers to what is not in "parent"'),
      details: { sqlite_code: 'SQLITE_CONSTRAINT_FOREIGNKEY', tx_ended: true },
    });
    expect(db.reader().get(CHILDREN)).toEqual({ n: 2 });
    const next = await db.begin({ foreignKeys: false });
    await next.run('INSERT INTO child VALUES (30, 3)');
    await next.rollback();
    await expect(db.run('INSERT INTO child VALUES (30, 3)')).rejects.toMatchObject({ code: 'SQL_ERROR' });
  });

  test('is true or false', async () => {
    const db = await family();
    await expect(db.begin({ foreignKeys: 'off' as never })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      message: expect.stringContaining('foreignKeys'),
    });
  });
});

async function failure(work: Promise<unknown>): Promise<SkylineError> {
  try {
    await work;
  } catch (error) {
    expect(error).toBeInstanceOf(SkylineError);
    return error as SkylineError;
  }
  throw new Error('it did not fail');
}

describe('what ends a transaction before its function', () => {
  test('a lease that is over: nothing is applied, also where the function does not notice', async () => {
    const db = await begun();
    let late: SkylineError | undefined;
    const error = await failure(
      db.transaction(
        async (tx) => {
          await tx.run('INSERT INTO t (n) VALUES (1)');
          await until('others go on', async () => (await db.run('INSERT INTO t (n) VALUES (2)')).rev === 2);
          late = await failure(tx.run('INSERT INTO t (n) VALUES (3)'));
        },
        { leaseMs: 100 },
      ),
    );
    expect(error).toMatchObject({ code: 'TX_EXPIRED', outcome: 'not_applied' });
    expect(late).toMatchObject({ code: 'TX_EXPIRED', outcome: 'not_applied', retryable: false });
    expect(await db.all('SELECT n FROM t')).toEqual([{ n: 2 }]);
  });

  test('it is run again as often as "retries" says, and no oftener', async () => {
    const db = await begun();
    let runs = 0;
    const work = async (tx: Transaction) => {
      runs += 1;
      await tx.run('INSERT INTO t (n) VALUES (?)', [runs]);
      if (runs < 3) await until('it is over', async () => (await db.run('SELECT 1')).rev === 1);
      return runs;
    };
    expect(await db.transaction(work, { leaseMs: 60, retries: 2 })).toBe(3);
    expect(await db.all('SELECT n FROM t')).toEqual([{ n: 3 }]);
    runs = 0;
    const again = async (tx: Transaction) => {
      runs += 1;
      await tx.run('INSERT OR ROLLBACK INTO t (id) VALUES (1)');
    };
    expect(await failure(db.transaction(again, { retries: 5 }))).toMatchObject({ code: 'SQL_ERROR' });
    expect(runs).toBe(1);
  });

  test('a signal, while it waits for its turn and while it runs', async () => {
    const db = await begun();
    const first = new AbortController();
    const tx = await db.begin();
    const queued = failure(db.transaction(() => undefined, { signal: first.signal }));
    const behind = db.transaction((inner) => inner.run('INSERT INTO t (n) VALUES (1)'));
    const elsewhere = await opened();
    const second = new AbortController();
    const inDaemon = failure(elsewhere.begin({ signal: second.signal }));
    await until('it waits in the daemon', async () => {
      const { databases } = await (clients[0] as Client).status();
      return databases[0]?.queue_depth === 1;
    });
    first.abort();
    second.abort();
    expect(await queued).toMatchObject({ code: 'ABORTED', outcome: 'not_applied' });
    expect(await inDaemon).toMatchObject({ code: 'ABORTED' });
    await tx.rollback();
    expect(await behind).toMatchObject({ rowsAffected: 1 });
    const third = new AbortController();
    const running = failure(
      db.transaction(
        async (inner) => {
          await inner.run('INSERT INTO t (n) VALUES (2)');
          third.abort();
          await new Promise(() => undefined);
        },
        { signal: third.signal },
      ),
    );
    expect(await running).toMatchObject({ code: 'ABORTED' });
    expect(await db.all('SELECT n FROM t')).toEqual([{ n: 1 }]);
  });

  test('its own commit or rollback: the function may do that', async () => {
    const db = await begun();
    await db.transaction(async (tx) => {
      await tx.run('INSERT INTO t (n) VALUES (1)');
      await tx.rollback();
    });
    const state = await db.transaction(async (tx) => {
      await tx.run('INSERT INTO t (n) VALUES (2)');
      expect(await tx.commit()).toMatchObject({ rev: 2, rowsAffected: 1 });
      expect(await failure(tx.commit())).toMatchObject({ code: 'TX_EXPIRED' });
      await tx.rollback();
      return tx.state;
    });
    expect(state).toBe('committed');
    expect(await db.all('SELECT n FROM t')).toEqual([{ n: 2 }]);
  });
});

test('many at once, from several clients, are done one after the other, and none is lost', async () => {
  const db = await begun();
  await db.run('INSERT INTO t VALUES (1, 0)');
  const all = [db, await opened('second'), await opened('third')];
  const increment = (one: Database) =>
    one.transaction(async (tx) => {
      const { n } = (await tx.get<{ n: number }>('SELECT n FROM t WHERE id = 1')) ?? { n: -1 };
      await tx.run('UPDATE t SET n = ? WHERE id = 1', [n + 1]);
      return n;
    });
  const seen = await Promise.all(Array.from({ length: 60 }, (_, at) => increment(all[at % 3] as Database)));
  expect([...seen].sort((one, other) => one - other)).toEqual(Array.from({ length: 60 }, (_, at) => at));
  // Each client's own keep their order.
  for (const client of [0, 1, 2]) {
    const own = seen.filter((_, at) => at % 3 === client);
    expect(own).toEqual([...own].sort((one, other) => one - other));
  }
  expect(await db.get('SELECT n FROM t')).toEqual({ n: 60 });
});

test('what was sent before it is done before it, and a snapshot stays as it was', async () => {
  const db = await begun();
  // All of them wait in the daemon, where each connection has its turns.
  const held = await (await opened('other')).begin();
  const earlier = Array.from({ length: 50 }, (_, at) => db.run('INSERT INTO t (n) VALUES (?)', [at]));
  const n = db.transaction((tx) => tx.get(COUNT));
  await until('they wait', async () => {
    const { databases } = await (clients[0] as Client).status();
    return (databases[0]?.queue_depth ?? 0) >= 50;
  });
  await held.rollback();
  expect(await n).toEqual({ n: 50 });
  await Promise.all(earlier);
  await db.transaction(
    async (snapshot) => {
      expect(snapshot.read).toBe(true);
      await db.run('DELETE FROM t');
      expect(await snapshot.get(COUNT)).toEqual({ n: 50 });
      expect(await failure(snapshot.run('DELETE FROM t'))).toMatchObject({ code: 'STATEMENT_NOT_ALLOWED' });
    },
    { read: true },
  );
  expect(await db.get(COUNT)).toEqual({ n: 0 });
});

test('wrong options are refused by name', async () => {
  const db = await begun();
  for (const [option, value] of [
    ['leaseMs', 0],
    ['maxMs', Number.NaN],
    ['timeoutMs', -1],
    ['read', 'yes'],
    ['durable', 1],
  ] as const) {
    const error = await failure(db.begin({ [option]: value }));
    expect(error).toMatchObject({ code: 'INVALID_REQUEST', message: expect.stringContaining(`"${option}"`) });
  }
  expect(await failure(db.transaction(() => 1, { retries: 0.5 }))).toMatchObject({ code: 'INVALID_REQUEST' });
});

describe('a commit whose connection is lost', () => {
  /** A way to the daemon that cuts the connection at the first commit: before it arrives there, or before its answer does. */
  async function cutting(where: 'before' | 'behind'): Promise<Database> {
    const folder = join(ground.dir, 'p');
    mkdirSync(folder, { mode: 0o700 });
    const path = join(folder, 'v1.sock');
    let cut = false;
    proxy = createServer((near) => {
      const far = createConnection(ground.socket);
      let committed = false;
      const end = () => {
        near.destroy();
        far.destroy();
      };
      near.on('data', (bytes) => {
        const isFirst = !cut && bytes.includes('"type":"Commit"');
        if (isFirst) cut = true;
        if (isFirst && where === 'before') end();
        else far.write(bytes);
        if (isFirst) committed = true;
      });
      far.on('data', (bytes) => {
        if (committed) end();
        else near.write(bytes);
      });
      for (const socket of [near, far]) socket.on('close', end).on('error', end);
    });
    await new Promise<void>((resolve) => proxy?.listen(path, resolve));
    const client = await connect({ socket: path, autoStart: false });
    clients.push(client);
    return client.database(ground.file('x.db'));
  }
  let proxy: Server | undefined;
  afterEach(() => {
    proxy?.close();
  });

  test('and was done is known to be done, and is not done again', async () => {
    await begun();
    const db = await cutting('behind');
    let runs = 0;
    const result = await db.transaction(
      async (tx) => {
        runs += 1;
        return (await tx.run('INSERT INTO t (n) VALUES (1)')).rowsAffected;
      },
      { retries: 5 },
    );
    expect({ result, runs }).toEqual({ result: 1, runs: 1 });
    expect(await db.all('SELECT n FROM t')).toEqual([{ n: 1 }]);
    const tx = await db.begin();
    expect(await tx.commit()).toMatchObject({ rev: 2, rowsAffected: 0 });
  });

  test('before it arrived is known not to be done', async () => {
    await begun();
    const db = await cutting('before');
    const tx = await db.begin();
    await tx.run('INSERT INTO t (n) VALUES (1)');
    expect(await failure(tx.commit())).toMatchObject({ code: 'TX_EXPIRED', outcome: 'not_applied' });
    expect(tx.state).toBe('lost');
    expect(await db.get(COUNT)).toEqual({ n: 0 });
  });

  test('is run again by "retries" when it is known not to be done', async () => {
    await begun();
    const db = await cutting('before');
    let runs = 0;
    await db.transaction(
      async (tx) => {
        runs += 1;
        await tx.run('INSERT INTO t (n) VALUES (?)', [runs]);
      },
      { retries: 1 },
    );
    expect(await db.all('SELECT n FROM t')).toEqual([{ n: 2 }]);
  });
});
