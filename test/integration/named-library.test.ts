import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, connect } from '../../dist/client/index.js';
import { Playground, until } from '../support/playground.js';

let ground: Playground;
let client: Client;
beforeEach(async () => {
  ground = new Playground();
  await ground.daemon();
  client = await connect({ socket: ground.socket, autoStart: false });
});
afterEach(async ({ task }) => {
  client.close();
  try {
    if (task.result?.state !== 'fail') await ground.expectCleanEnd();
  } finally {
    await ground.dispose();
  }
});

describe('databases by name, in the library', () => {
  test('a name is sent as it is; a reader finds the file', async () => {
    expect(await client.createDatabase('stars')).toMatchObject({ created: true });
    const db = client.database('stars');
    await db.run('CREATE TABLE t (a)');
    await db.run('INSERT INTO t VALUES (?)', [7]);
    const reader = db.reader();
    expect(reader.all('SELECT a FROM t')).toEqual([{ a: 7 }]);
    reader.close();
    expect(await db.ping()).toMatchObject({ db_path: ground.file('stars.db'), rev: 2 });
    expect(await client.status('stars')).toMatchObject({ databases: [{ name: 'stars' }] });
    expect(() => client.database('moons').reader()).toThrow(/create-database moons/);
  });

  test('maintenance gets the path of the file', async () => {
    await client.createDatabase('stars');
    await client.database('stars').run('CREATE TABLE t (a)');
    expect(await client.database('stars').maintenance((path) => path)).toBe(ground.file('stars.db'));
  });

  test('a client that is attached goes on under the new name, and with a new database of the old one', async () => {
    await client.createDatabase('stars', { settings: { durability: 'full', walLimit: 2 ** 21 } });
    const stars = client.database('stars');
    await stars.run('CREATE TABLE t (a)');
    const tasks = Array.from({ length: 100 }, (_, n) => stars.run('INSERT INTO t VALUES (?)', [n]));
    // Not awaited: it goes behind them.
    const renamed = client.renameDatabase('stars', 'suns');
    await Promise.all(tasks);
    expect(await renamed).toMatchObject({ name: 'suns', rev: 101, epoch: 1 });
    const suns = client.database('suns');
    expect((await suns.run('INSERT INTO t VALUES (0)')).rev).toBe(102);
    await expect(stars.run('INSERT INTO t VALUES (1)')).rejects.toMatchObject({ code: 'DATABASE_NOT_FOUND' });
    await client.createDatabase('stars');
    const made = await stars.run('CREATE TABLE other (b)');
    expect(made.epoch).toBeGreaterThan(1);
    expect(await suns.all('SELECT count(*) AS n FROM t')).toEqual([{ n: 101 }]);
  });

  test('dropped and made again: what the client sends afterwards is not taken for what it sent before', async () => {
    await client.createDatabase('stars');
    const db = client.database('stars');
    for (let n = 0; n < 20; n += 1) await db.run('CREATE TABLE IF NOT EXISTS t (a)');
    await client.dropDatabase('stars');
    await client.createDatabase('stars');
    for (let n = 0; n < 20; n += 1) await db.run('CREATE TABLE IF NOT EXISTS t (a)');
    expect(await db.all('SELECT count(*) AS n FROM t')).toEqual([{ n: 0 }]);
    await client.dropDatabase('stars');
    expect((await client.restoreDatabase('stars')).rev).toBe(20);
    expect(await client.configureDatabase('stars', { mmapSize: 0 }, { reset: ['walLimit'] })).toMatchObject({
      settings: { mmap_size: 0 },
    });
    const { databases } = await client.databases();
    expect(databases.map(({ name }) => name)).toEqual(['stars']);
    expect(() => client.configureDatabase('stars', { colour: 'red' } as never)).toThrow(/colour/);
  });
});

describe('two daemons on one data directory', () => {
  test('what one has renamed, the other finds renamed, and makes no file of the old name', async () => {
    await client.createDatabase('stars', { settings: { workerIdleTimeoutMs: 50 } });
    await client.database('stars').run('CREATE TABLE t (a)');
    expect(await client.database('stars').ping()).toMatchObject({ rev: 1 });
    const other = new Playground();
    try {
      await other.daemon([ground.dataDir]);
      const second = await connect({ socket: other.socket, autoStart: false });
      try {
        // The first one has the catalog open for a while; what it serves is not the other's to take.
        const refused = await second.renameDatabase('stars', 'suns').catch((error: unknown) => error);
        expect(refused).toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
        await until('the first one has let go', async () => {
          const reply = await second.renameDatabase('stars', 'suns').catch(() => null);
          return reply !== null;
        });
        await second.close();
        await until('the second one has let go', async () => {
          const reply = await client.databases().catch(() => null);
          return reply !== null;
        });
        await expect(client.database('stars').run('INSERT INTO t VALUES (1)')).rejects.toMatchObject({
          code: 'DATABASE_NOT_FOUND',
        });
        expect((await client.database('suns').run('INSERT INTO t VALUES (1)')).rev).toBe(2);
        expect((await client.databases()).databases.map(({ name }) => name)).toEqual(['suns']);
      } finally {
        second.close();
      }
    } finally {
      await other.dispose();
    }
  });
});
