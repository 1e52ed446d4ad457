import knex, { type Knex } from 'knex';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SkylineClient, type SkylineConnectionConfig } from '../../dist/client/drivers/knex.js';
import { type Client, connect, type SkylineError } from '../../dist/client/index.js';
import { Playground, until } from '../support/playground.js';

let ground: Playground;
let client: Client;
let filename: string;
let db: Knex;
const others: Knex[] = [];
beforeEach(async () => {
  ground = new Playground();
  await ground.daemon();
  client = await connect({ socket: ground.socket, autoStart: false });
  filename = ground.file('stars.db');
  db = open();
});
afterEach(async () => {
  for (const one of [db, ...others.splice(0)]) await one.destroy();
  client.close();
  await ground.dispose();
});

function open(more: object = {}): Knex {
  const connection: SkylineConnectionConfig = { filename, socket: ground.socket, autoStart: false, ...more };
  return knex({
    client: SkylineClient,
    connection,
    useNullAsDefault: true,
  });
}

async function stars(): Promise<void> {
  await db.schema.createTable('constellation', (table) => {
    table.increments('id');
    table.string('name').notNullable().unique();
  });
  await db.schema.createTable('star', (table) => {
    table.increments('id');
    table.string('name').notNullable().unique();
    table.float('magnitude');
    table.integer('constellation_id').references('constellation.id').onDelete('CASCADE');
  });
  await db('constellation').insert([{ name: 'Lyra' }, { name: 'Canis Major' }]);
  await db('star').insert([
    { name: 'Vega', magnitude: 0.03, constellation_id: 1 },
    { name: 'Sheliak', magnitude: 3.52, constellation_id: 1 },
    { name: 'Sirius', magnitude: -1.46, constellation_id: 2 },
  ]);
}

async function batches(): Promise<number> {
  return (await client.status(filename)).databases[0]?.counters.batches ?? 0;
}

async function refusal(work: PromiseLike<unknown>): Promise<SkylineError> {
  return (await Promise.resolve(work).then(
    () => expect.fail('it was not refused'),
    (error: unknown) => error,
  )) as SkylineError;
}

describe('queries', () => {
  beforeEach(stars);

  test('select reads the file: where, joins, grouping, first, pluck, unions', async () => {
    const before = await batches();
    expect(
      await db('star')
        .join('constellation', 'constellation.id', 'star.constellation_id')
        .where('magnitude', '>', 0)
        .whereIn('constellation.name', ['Lyra', 'Orion'])
        .orderBy('magnitude')
        .select('star.name', { in: 'constellation.name' }),
    ).toEqual([
      { name: 'Vega', in: 'Lyra' },
      { name: 'Sheliak', in: 'Lyra' },
    ]);
    expect(
      await db('star')
        .groupBy('constellation_id')
        .count({ n: '*' })
        .select('constellation_id')
        .having('n', '>', 1),
    ).toEqual([{ n: 2, constellation_id: 1 }]);
    expect(await db('star').where({ name: 'Vega' }).first('id')).toEqual({ id: 1 });
    expect(await db('star').where({ name: 'Nobody' }).first()).toBeUndefined();
    expect(await db('star').orderBy('id').pluck('name')).toEqual(['Vega', 'Sheliak', 'Sirius']);
    expect(await db('star').max({ m: 'magnitude' })).toEqual([{ m: 3.52 }]);
    expect(await db('star').select('name').union(db('constellation').select('name'))).toHaveLength(5);
    expect(
      await db
        .with('bright', db('star').where('magnitude', '<', 1))
        .select('name')
        .from('bright')
        .orderBy('name'),
    ).toEqual([{ name: 'Sirius' }, { name: 'Vega' }]);
    expect(await db.raw('SELECT ? + ? AS sum', [1, 2])).toEqual([{ sum: 3 }]);
    expect(await db.schema.hasTable('star')).toBe(true);
    expect(await db.schema.hasColumn('star', 'magnitude')).toBe(true);
    expect(Object.keys(await db('star').columnInfo())).toEqual([
      'id',
      'name',
      'magnitude',
      'constellation_id',
    ]);
    expect(await batches()).toBe(before);
  });

  test('insert, update, delete: ids, rows, counts, conflicts', async () => {
    expect(await db('star').insert({ name: 'Deneb' })).toEqual([4]);
    expect(await db('star').insert([{ name: 'a' }, { name: 'b' }], ['id', 'name'])).toEqual([
      { id: 5, name: 'a' },
      { id: 6, name: 'b' },
    ]);
    expect(
      await db('star').insert({ name: 'Vega', magnitude: 9 }).onConflict('name').ignore().returning('id'),
    ).toEqual([]);
    await db('star').insert({ name: 'Vega', magnitude: 9 }).onConflict('name').merge();
    expect(await db('star').where({ id: 1 }).first('magnitude')).toEqual({ magnitude: 9 });
    expect(await db('star').where('id', '>', 3).update({ magnitude: 2 })).toBe(3);
    expect(await db('star').where({ id: 4 }).increment('magnitude', 1).returning('magnitude')).toEqual([
      { magnitude: 3 },
    ]);
    expect(await db('star').where({ id: 4 }).delete()).toBe(1);
    expect(await db('star').where({ id: 5 }).update({ magnitude: 7 }, 'name')).toEqual([{ name: 'a' }]);
    const error = await refusal(db('star').insert({ name: 'Vega' }));
    expect(error).toMatchObject({ code: 'SQL_ERROR', details: { sqlite_code: 'SQLITE_CONSTRAINT_UNIQUE' } });
    expect(error.message).toContain('insert into `star`');
    expect(
      await db.batchInsert(
        'star',
        Array.from({ length: 50 }, (_, at) => ({ name: `n${at}` })),
        20,
      ),
    ).toHaveLength(3);
    expect(await db('star').count({ n: '*' })).toEqual([{ n: 55 }]);
  });

  test('values: dates and booleans as numbers, blobs, large integers', async () => {
    await db.schema.createTable('v', (table) => {
      table.specificType('x', 'blob');
    });
    const when = new Date(1_700_000_000_123);
    const values = [true, false, when, Buffer.from([0, 255]), 2n ** 60n, null, 'Grüße 🌌', 0.5];
    for (const x of values) await db('v').insert({ x });
    expect(await db('v').orderBy('rowid').pluck('x')).toEqual([
      1,
      0,
      when.valueOf(),
      Buffer.from([0, 255]),
      2n ** 60n,
      null,
      'Grüße 🌌',
      0.5,
    ]);
    expect(await db('v').where({ x: when }).count({ n: '*' })).toEqual([{ n: 1 }]);
    expect((await refusal(db('v').insert({ x: Number.NaN }))).code).toBe('INVALID_REQUEST');
  });

  test('streams', async () => {
    const names: string[] = [];
    for await (const { name } of db('star').orderBy('name').stream()) names.push(name);
    expect(names).toEqual(['Sheliak', 'Sirius', 'Vega']);
    await expect(async () => {
      for await (const _ of db('nonsense').stream());
    }).rejects.toThrow('no such table');
    await db.transaction(async (trx) => {
      await trx('star').insert({ name: 'Deneb' });
      const seen: unknown[] = [];
      for await (const row of trx('star').select('id').stream()) seen.push(row);
      expect(seen).toHaveLength(4);
    });
  });

  test('events: each query and its response', async () => {
    const seen: string[] = [];
    db.on('query', ({ sql }) => seen.push(sql));
    db.on('query-response', (rows) => seen.push(JSON.stringify(rows)));
    await db('star').where({ id: 1 }).select('name');
    expect(seen).toEqual(['select `name` from `star` where `id` = ?', '[{"name":"Vega"}]']);
  });
});

describe('transactions', () => {
  beforeEach(stars);

  test('commit, roll back, see what they have written', async () => {
    await db.transaction(async (trx) => {
      await trx('star').insert({ name: 'Deneb' });
      expect(await trx('star').count({ n: '*' })).toEqual([{ n: 4 }]);
      expect(await db('star').count({ n: '*' })).toEqual([{ n: 3 }]);
    });
    const boom = new Error('boom');
    await expect(
      db.transaction(async (trx) => {
        await trx('star').delete();
        throw boom;
      }),
    ).rejects.toBe(boom);
    const trx = await db.transaction();
    await db('star').where({ id: 1 }).transacting(trx).delete();
    await trx.rollback();
    expect(await db('star').count({ n: '*' })).toEqual([{ n: 4 }]);
    await expect(trx('star').select()).rejects.toThrow('already complete');
  });

  test('nested ones are savepoints', async () => {
    await db.transaction(async (trx) => {
      await trx('star').insert({ name: 'a' });
      await expect(
        trx.transaction(async (inner) => {
          await inner('star').insert({ name: 'b' });
          throw new Error('boom');
        }),
      ).rejects.toThrow('boom');
      await trx.transaction(async (inner) => {
        await inner('star').insert({ name: 'c' });
      });
    });
    expect(await db('star').where('id', '>', 3).pluck('name')).toEqual(['a', 'c']);
  });

  test('wait for each other', async () => {
    await Promise.all(
      Array.from({ length: 20 }, () =>
        db.transaction(async (trx) => {
          const { magnitude } = await trx('star').where({ id: 2 }).first('magnitude');
          await trx('star')
            .where({ id: 2 })
            .update({ magnitude: magnitude + 1 });
        }),
      ),
    );
    expect((await db('star').where({ id: 2 }).first('magnitude')).magnitude).toBeCloseTo(23.52);
  });

  test('that outlive their lease are over, and say so', async () => {
    const short = open({ transaction: { leaseMs: 50 } });
    others.push(short);
    const error = await refusal(
      short.transaction(async (trx) => {
        await trx('star').insert({ name: 'late' });
        await until('the lease is over', async () => {
          const { databases } = await client.status(filename);
          return databases[0]?.transactions === undefined;
        });
        await trx('star').insert({ name: 'too late' });
      }),
    );
    expect(error.code).toBe('TX_EXPIRED');
    expect(await db('star').count({ n: '*' })).toEqual([{ n: 3 }]);
  });
});

describe('tables that others refer to', () => {
  beforeEach(stars);

  test('are rebuilt without taking the others’ rows along', async () => {
    await db.schema.alterTable('constellation', (table) => {
      table.text('name').notNullable().alter();
    });
    expect(await db('star').count({ n: '*' })).toEqual([{ n: 3 }]);
    await db.schema.alterTable('star', (table) => {
      table.dropColumn('magnitude');
    });
    expect(Object.keys(await db('star').columnInfo())).toEqual(['id', 'name', 'constellation_id']);
    // They are enforced as before.
    expect(await db.raw('PRAGMA foreign_keys')).toEqual([{ foreign_keys: 1 }]);
    await refusal(db('star').insert({ name: 'Nova', constellation_id: 99 }));
    await db('constellation').where({ id: 1 }).delete();
    expect(await db('star').count({ n: '*' })).toEqual([{ n: 1 }]);
  });

  test('inside a transaction it is refused, since SQLite would ignore that they are to be off', async () => {
    const error = await refusal(
      db.transaction((trx) =>
        trx.schema.alterTable('constellation', (table) => {
          table.text('name').notNullable().alter();
        }),
      ),
    );
    expect(error.message).toContain('before the transaction begins');
    expect(await db('star').count({ n: '*' })).toEqual([{ n: 3 }]);
  });

  test('are refused a change that leaves a reference to nothing', async () => {
    await expect(
      db.transaction(
        async (trx) => {
          await trx('constellation').where({ id: 1 }).delete();
        },
        { enforceForeignCheck: false } as never,
      ),
    ).rejects.toThrow('foreign key violations');
    expect(await db('constellation').count({ n: '*' })).toEqual([{ n: 2 }]);
  });
});

test('what cannot be configured is said, and a daemon that was not there is looked for again', async () => {
  const nameless = knex({
    client: SkylineClient,
    connection: {} as { filename: string },
    useNullAsDefault: true,
  });
  others.push(nameless);
  expect((await refusal(nameless.raw('SELECT 1'))).message).toContain('connection.filename');
  const early = open({ socket: `${ground.socket}-2` });
  others.push(early);
  expect((await refusal(early.raw('SELECT 1'))).code).toBe('NO_DAEMON');
  await ground.daemon(['--socket', `${ground.socket}-2`]);
  expect(await early.raw('SELECT 1 AS one')).toEqual([{ one: 1 }]);
});
