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
