import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Change, type Client, connect, type Database, SkylineError } from '../../dist/client/index.js';
import { Playground, until } from '../support/playground.js';

let ground: Playground;
let clients: Client[];
let db: Database;
beforeEach(async () => {
  ground = new Playground();
  clients = [];
  await ground.daemon();
  db = await database();
});
afterEach(async () => {
  for (const client of clients) client.close();
  await ground.dispose();
});

/** The test's database, through a client of its own. */
async function database(): Promise<Database> {
  const client = await connect({ socket: ground.socket, autoStart: false });
  clients.push(client);
  return client.database(ground.file('x.db'));
}

async function take<T>(count: number, from: AsyncIterator<T>): Promise<T[]> {
  const taken: T[] = [];
  while (taken.length < count) {
    const { done, value } = await from.next();
    if (done === true) throw new Error(`it ended after ${taken.length}`);
    taken.push(value);
  }
  return taken;
}

const TABLES = ['CREATE TABLE stars (id INTEGER PRIMARY KEY, name TEXT)', 'CREATE TABLE planets (name TEXT)'];

describe('watch', () => {
  test('tells every change in order, from when it is ready, until the loop is left', async () => {
    const other = await database();
    const watch = db.watch();
    await watch.ready;
    await other.batch(TABLES);
    for (let n = 0; n < 20; n += 1) await other.run('INSERT INTO stars (name) VALUES (?)', [`s${n}`]);
    const changes: Change[] = [];
    for await (const change of watch) {
      changes.push(change);
      if (change.rev === 21) break;
    }
    expect(changes[0]).toEqual({ epoch: 1, rev: 1, tables: ['planets', 'stars'] });
    expect(changes.slice(1).map(({ rev }) => rev)).toEqual(Array.from({ length: 20 }, (_, at) => at + 2));
    expect(await watch.next()).toEqual({ done: true, value: undefined });
    const [client] = clients;
    await until('its subscription is gone', async () => (await client?.status())?.subscriptions === 0);
  });

  test('of some tables, and since some rev', async () => {
    await db.batch(TABLES);
    await using first = db.watch({ tables: ['PLANETS'] });
    await first.ready;
    await db.run("INSERT INTO stars (name) VALUES ('Sol')");
    await db.run("INSERT INTO planets VALUES ('Earth')");
    expect(await take(1, first)).toEqual([{ epoch: 1, rev: 3, tables: ['planets'] }]);
    await using second = db.watch({ since: { epoch: 1, rev: 1 } });
    expect((await take(2, second)).map(({ rev }) => rev)).toEqual([2, 3]);
    await using third = db.watch({ since: { epoch: 9, rev: 1 } });
    expect(await take(1, third)).toEqual([{ epoch: 1, rev: 3, reset: true }]);
  });

  test('shows what other programs write, and a replaced file', async () => {
    await db.batch(TABLES);
    await using watch = db.watch();
    await watch.ready;
    await ground.sqlite3(db.path, "INSERT INTO stars (name) VALUES ('Sol')");
    expect(await take(1, watch)).toEqual([{ epoch: 1, rev: 1, foreign: true }]);
    await db.backup(ground.file('copy.db'));
    await db.replace(ground.file('copy.db'));
    expect(await take(1, watch)).toMatchObject([{ epoch: 2, reset: true }]);
  });

  test('goes on from where it was when its connection ends, and says so', async () => {
    await db.batch(TABLES);
    const said: boolean[] = [];
    await using watch = db.watch({ onConnection: (connected) => said.push(connected) });
    await watch.ready;
    await db.run("INSERT INTO stars (name) VALUES ('Sol')");
    expect(await take(1, watch)).toMatchObject([{ rev: 2 }]);
    for (const pid of ground.daemons()) process.kill(pid, 'SIGKILL');
    await until('nothing is left of it', () => ground.processes().length === 0);
    await until('it has noticed', () => said.length === 1);
    await ground.daemon();
    // What others have written meanwhile, nobody knows.
    expect(await take(1, watch)).toEqual([{ epoch: 1, rev: 2, reset: true }]);
    await (await database()).run("INSERT INTO stars (name) VALUES ('Vega')");
    expect(await take(1, watch)).toMatchObject([{ rev: 3, tables: ['stars'] }]);
    expect(said).toEqual([false, true]);
  });

  test('that is not read keeps only the last thousand, and says that there were more', async () => {
    await db.batch(TABLES);
    await using watch = db.watch();
    await watch.ready;
    const last = 1_500;
    await Promise.all(
      Array.from({ length: last - 1 }, (_, n) => db.run('INSERT INTO planets VALUES (?)', [n])),
    );
    const reader = await database();
    await using probe = reader.watch({ since: { epoch: 1, rev: last - 1 } });
    await take(1, probe);
    await db.ping();
    const changes: Change[] = [];
    for await (const change of watch) {
      changes.push(change);
      if (change.rev === last) break;
    }
    expect(changes.length).toBeLessThan(1_000);
    expect(changes[0]).toEqual({ epoch: 1, rev: 1_002, reset: true });
    expect(changes.slice(1).map(({ rev }) => rev)).toEqual(changes.slice(1).map((_, at) => at + 1_003));
  });

  test('ends without an error with its signal, or its client, or before it has begun', async () => {
    const control = new AbortController();
    const watch = db.watch({ signal: control.signal });
    await watch.ready;
    const next = watch.next();
    control.abort();
    expect(await next).toEqual({ done: true, value: undefined });
    const late = db.watch({ signal: control.signal });
    await late.ready;
    expect(await late.next()).toEqual({ done: true, value: undefined });
    const closed = db.watch();
    await closed.ready;
    const last = closed.next();
    clients[0]?.close();
    expect(await last).toEqual({ done: true, value: undefined });
  });

  test('fails with the reason where it cannot be', async () => {
    const [client] = clients;
    const memory = client?.database(':memory:').watch();
    await expect(memory?.next()).rejects.toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
    await expect(memory?.ready).rejects.toBeInstanceOf(SkylineError);
    expect(await memory?.next()).toEqual({ done: true, value: undefined });
    expect(() => db.watch({ since: { epoch: 1 } as never })).toThrow('since');
    expect(() => db.watch({ tables: 'stars' as never })).toThrow('tables');
  });

  test('keeps the process alive while it waits, and not otherwise', async () => {
    const program = (body: string) =>
      ground.run(process.execPath, [
        '--input-type=module',
        '--eval',
        `import { connect } from ${JSON.stringify(new URL('../../dist/client/index.js', import.meta.url).href)};
         const db = (await connect({ autoStart: false })).database(${JSON.stringify(db.path)});
         ${body}`,
      ]);
    const watched = program(
      'for await (const { rev } of db.watch({ since: { epoch: 1, rev: 0 } })) if (rev === 2) break; console.log("seen");',
    );
    await until('it watches', async () => (await clients[0]?.status())?.subscriptions === 1);
    await db.batch(TABLES);
    await db.run("INSERT INTO planets VALUES ('Earth')");
    expect(await watched).toMatchObject({ code: 0, stdout: 'seen\n' });
    expect(await program('await db.watch().ready; console.log("ready");')).toMatchObject({
      code: 0,
      stdout: 'ready\n',
    });
  });
});

describe('live', () => {
  test('yields rows now, and after each change of what the query reads', async () => {
    await db.batch([...TABLES, 'CREATE VIEW bright AS SELECT name FROM stars WHERE id < 3']);
    const rows = db.live<{ name: string }>('SELECT name FROM bright WHERE name <> ? ORDER BY name', ['Sol']);
    expect(await take(1, rows)).toEqual([[]]);
    await db.run("INSERT INTO stars (name) VALUES ('Vega')");
    expect(await take(1, rows)).toEqual([[{ name: 'Vega' }]]);
    // Not of what it does not read: the next rows are those of the change behind it.
    await db.run("INSERT INTO planets VALUES ('Earth')");
    await db.run("INSERT INTO stars (name) VALUES ('Deneb')");
    expect(await take(1, rows)).toEqual([[{ name: 'Deneb' }, { name: 'Vega' }]]);
    await db.batch(['DROP VIEW bright', 'CREATE VIEW bright AS SELECT name FROM planets']);
    expect(await take(1, rows)).toEqual([[{ name: 'Earth' }]]);
    await db.run("INSERT INTO planets VALUES ('Mars')");
    expect(await take(1, rows)).toEqual([[{ name: 'Earth' }, { name: 'Mars' }]]);
    await ground.sqlite3(db.path, 'DELETE FROM planets');
    expect(await take(1, rows)).toEqual([[]]);
    await rows.return();
  });

  test.each([
    ['SELECT count(*) AS n FROM texts', "INSERT INTO texts VALUES ('x')"],
    ["SELECT count(*) AS n FROM texts WHERE texts MATCH 'x'", "INSERT INTO texts VALUES ('x')"],
    ['SELECT (SELECT max(id) FROM stars) AS n', "INSERT INTO stars (name) VALUES ('x')"],
    [
      '; WITH s AS (SELECT * FROM stars) SELECT count(*) AS n FROM s',
      "INSERT INTO stars (name) VALUES ('x')",
    ],
    ['SELECT count(*) AS n FROM sqlite_schema', 'CREATE TABLE more (x)'],
    ["SELECT count(*) AS n FROM pragma_table_info('stars')", 'ALTER TABLE stars ADD COLUMN more'],
    ["SELECT count(*) AS n FROM stars, json_each('[1,2]')", "INSERT INTO stars (name) VALUES ('x')"],
    ['SELECT seq AS n FROM sqlite_sequence', 'INSERT INTO counted VALUES (NULL)'],
    ['PRAGMA user_version', 'PRAGMA user_version = 7'],
  ])('%s hears of %s', async (query, write) => {
    await db.batch([
      ...TABLES,
      'CREATE VIRTUAL TABLE texts USING fts5(body)',
      'CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT)',
      'INSERT INTO counted VALUES (NULL)',
    ]);
    const rows = db.live<{ n: number }>(query);
    const [before] = await take(1, rows);
    await db.exec(write);
    const [after] = await take(1, rows);
    expect(after).not.toEqual(before);
    await rows.return();
  });

  test('of a table-valued function and another table does not hear of a third', async () => {
    await db.batch(TABLES);
    const rows = db.live<{ n: number }>("SELECT count(*) AS n FROM stars, json_each('[1]')");
    await take(1, rows);
    await db.run("INSERT INTO planets VALUES ('Earth')");
    const next = rows.next();
    await db.run("INSERT INTO stars (name) VALUES ('x')");
    expect(await next).toMatchObject({ value: [{ n: 1 }] });
    await rows.return();
  });

  test('ends with its signal, and fails with the reason', async () => {
    await expect(db.live('SELECT 1').next()).rejects.toMatchObject({ code: 'DATABASE_NOT_FOUND' });
    await db.batch(TABLES);
    await expect(db.live('SELECT * FROM nowhere').next()).rejects.toMatchObject({ code: 'SQL_ERROR' });
    await expect(db.live('DELETE FROM stars').next()).rejects.toMatchObject({
      code: 'STATEMENT_NOT_ALLOWED',
    });
    const control = new AbortController();
    const rows = db.live('SELECT * FROM stars', [], { signal: control.signal });
    await take(1, rows);
    const next = rows.next();
    control.abort();
    expect(await next).toEqual({ done: true, value: undefined });
    await until('no subscription is left', async () => (await clients[0]?.status())?.subscriptions === 0);
  });
});
