import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, connect, type Database } from '../../dist/client/index.js';
import { Playground } from '../support/playground.js';

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
