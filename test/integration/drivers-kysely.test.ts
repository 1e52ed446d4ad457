import {
  CamelCasePlugin,
  type Generated,
  Kysely,
  type Migration,
  Migrator,
  NO_MIGRATIONS,
  sql,
} from 'kysely';
import { jsonArrayFrom, jsonObjectFrom } from 'kysely/helpers/sqlite';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SkylineDialect } from '../../dist/client/drivers/kysely.js';
import { type Client, connect, type Database, SkylineError } from '../../dist/client/index.js';
import { Playground, until } from '../support/playground.js';

interface Schema {
  star: { id: Generated<number>; name: string; magnitude: number | null; constellation_id: number | null };
  constellation: { id: Generated<number>; name: string };
}

let ground: Playground;
let client: Client;
let file: Database;
let db: Kysely<Schema>;
let made = 0;
beforeAll(async () => {
  ground = new Playground();
  await ground.daemon();
});
beforeEach(async () => {
  made += 1;
  client = await connect({ socket: ground.socket, autoStart: false });
  file = client.database(ground.file(`stars-${made}.db`));
  db = new Kysely<Schema>({ dialect: new SkylineDialect({ database: file }) });
});
afterEach(async () => {
  await db.destroy();
  client.close();
});
afterAll(async () => {
  await ground.dispose();
});

async function schema(): Promise<void> {
  await db.schema
    .createTable('constellation')
    .addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
    .addColumn('name', 'text', (column) => column.notNull().unique())
    .execute();
  await db.schema
    .createTable('star')
    .addColumn('id', 'integer', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull().unique())
    .addColumn('magnitude', 'real')
    .addColumn('constellation_id', 'integer', (column) => column.references('constellation.id'))
    .execute();
}

async function stars(): Promise<void> {
  await schema();
  await db
    .insertInto('constellation')
    .values([{ name: 'Lyra' }, { name: 'Canis Major' }])
    .execute();
  await db
    .insertInto('star')
    .values([
      { name: 'Vega', magnitude: 0.03, constellation_id: 1 },
      { name: 'Sheliak', magnitude: 3.52, constellation_id: 1 },
      { name: 'Sirius', magnitude: -1.46, constellation_id: 2 },
    ])
    .execute();
}

/** Batches that the daemon has executed, reads among them. */
async function batches(): Promise<number> {
  const { databases } = await client.status(file.path);
  return databases[0]?.counters.batches ?? 0;
}

async function refusal(work: Promise<unknown>): Promise<SkylineError> {
  const error = await work.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(SkylineError);
  return error as SkylineError;
}

describe('reading', () => {
  beforeEach(stars);

  test('goes to the file, and sees what was just written', async () => {
    const before = await batches();
    for (let id = 10; id < 60; id += 1) {
      await db
        .insertInto('star')
        .values({ id, name: `star ${id}`, magnitude: null, constellation_id: null })
        .execute();
      const { n } = await db
        .selectFrom('star')
        .select((eb) => eb.fn.countAll<number>().as('n'))
        .executeTakeFirstOrThrow();
      expect(n).toBe(id - 6);
    }
    expect((await batches()) - before).toBe(50);
  });

  test('where, joins, grouping, ordering, limits', async () => {
    const rows = await db
      .selectFrom('star')
      .innerJoin('constellation', 'constellation.id', 'star.constellation_id')
      .where('star.name', 'in', ['Vega', 'Sheliak', 'Nobody'])
      .where((eb) => eb.or([eb('magnitude', '<', 1), eb('magnitude', 'is', null)]))
      .select(['star.name', 'constellation.name as in'])
      .execute();
    expect(rows).toEqual([{ name: 'Vega', in: 'Lyra' }]);
    const counted = await db
      .selectFrom('constellation as c')
      .leftJoin('star as s', 's.constellation_id', 'c.id')
      .groupBy('c.name')
      .having((eb) => eb.fn.count('s.id'), '>', 1)
      .select((eb) => [
        'c.name',
        eb.fn.count<number>('s.id').as('stars'),
        eb.fn.min('s.magnitude').as('brightest'),
      ])
      .execute();
    expect(counted).toEqual([{ name: 'Lyra', stars: 2, brightest: 0.03 }]);
    const second = await db
      .selectFrom('star')
      .select('name')
      .orderBy('magnitude', 'desc')
      .limit(1)
      .offset(1)
      .execute();
    expect(second).toEqual([{ name: 'Vega' }]);
    expect(await db.selectFrom('star').selectAll().where('id', '=', 99).executeTakeFirst()).toBeUndefined();
    await expect(
      db.selectFrom('star').selectAll().where('id', '=', 99).executeTakeFirstOrThrow(),
    ).rejects.toThrow('no result');
  });

  test('WITH that reads goes to the file, WITH that writes to the daemon', async () => {
    const before = await batches();
    const bright = await db
      .with('bright', (qb) => qb.selectFrom('star').where('magnitude', '<', 1).selectAll())
      .selectFrom('bright')
      .select('name')
      .orderBy('name')
      .execute();
    expect(bright).toEqual([{ name: 'Sirius' }, { name: 'Vega' }]);
    const { rows } = await sql<{ n: number }>`
      -- a comment in front
      WITH RECURSIVE count(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM count WHERE n < 4) SELECT n FROM count`.execute(
      db,
    );
    expect(rows.map(({ n }) => n)).toEqual([1, 2, 3, 4]);
    expect(await batches()).toBe(before);
    const changed = await db
      .with('bright', (qb) => qb.selectFrom('star').where('magnitude', '<', 1).select('id'))
      .updateTable('star')
      .set({ magnitude: 0 })
      .where('id', 'in', (qb) => qb.selectFrom('bright').select('id'))
      .executeTakeFirst();
    expect(changed.numUpdatedRows).toBe(2n);
    expect(await batches()).toBe(before + 1);
  });

  test('unions, subqueries, CASE, DISTINCT, raw SQL, VALUES', async () => {
    const names = await db
      .selectFrom('star')
      .select('name')
      .union(db.selectFrom('constellation').select('name'))
      .orderBy('name')
      .execute();
    expect(names).toHaveLength(5);
    const described = await db
      .selectFrom('star')
      .select((eb) => [
        'name',
        eb.case().when('magnitude', '<', 1).then('bright').else('dim').end().as('kind'),
        eb
          .selectFrom('constellation')
          .whereRef('constellation.id', '=', 'star.constellation_id')
          .select('constellation.name')
          .as('in'),
      ])
      .where('name', 'like', 'Sh%')
      .execute();
    expect(described).toEqual([{ name: 'Sheliak', kind: 'dim', in: 'Lyra' }]);
    expect(await db.selectFrom('star').select('constellation_id').distinct().execute()).toHaveLength(2);
    expect((await sql`VALUES (${1}, ${'two'})`.execute(db)).rows).toEqual([{ column1: 1, column2: 'two' }]);
    expect((await sql`EXPLAIN QUERY PLAN SELECT * FROM star`.execute(db)).rows).not.toHaveLength(0);
  });

  test('nested rows as JSON', async () => {
    const rows = await db
      .selectFrom('constellation')
      .select((eb) => [
        'name',
        jsonArrayFrom(
          eb
            .selectFrom('star')
            .whereRef('constellation_id', '=', 'constellation.id')
            .select('star.name')
            .orderBy('id'),
        ).as('stars'),
        jsonObjectFrom(
          eb
            .selectFrom('star')
            .whereRef('constellation_id', '=', 'constellation.id')
            .select('magnitude')
            .limit(1),
        ).as('one'),
      ])
      .where('id', '=', 1)
      .executeTakeFirstOrThrow();
    expect(JSON.parse(rows.stars as unknown as string)).toEqual([{ name: 'Vega' }, { name: 'Sheliak' }]);
    expect(JSON.parse(rows.one as unknown as string)).toEqual({ magnitude: 0.03 });
  });

  test('streams, in the chunks that were asked for, and may be left', async () => {
    await file.load(
      'star',
      Array.from({ length: 1_000 }, (_, id) => ({ id: id + 100, name: `n${id}` })),
    );
    let rows = 0;
    for await (const { id } of db.selectFrom('star').select('id').stream(100)) rows += id > 0 ? 1 : 0;
    expect(rows).toBe(1_003);
    for await (const row of db.selectFrom('star').selectAll().orderBy('id').stream()) {
      expect(row.name).toBe('Vega');
      break;
    }
    // Whoever has left holds nothing: the file can be closed.
    await file.maintenance(() => undefined, { timeoutMs: 2_000 });
    const streaming = async () => {
      for await (const _ of db
        .selectFrom('nonsense' as 'star')
        .selectAll()
        .stream());
    };
    expect(await refusal(streaming())).toMatchObject({ code: 'SQL_ERROR' });
  });

  test('a stream goes on reading what was there when it began', async () => {
    const seen: string[] = [];
    for await (const { name } of db.selectFrom('star').select('name').orderBy('id').stream()) {
      if (seen.push(name) === 1) await db.insertInto('star').values({ id: 99, name: 'Nova' }).execute();
    }
    expect(seen).toEqual(['Vega', 'Sheliak', 'Sirius']);
  });
});

describe('writing', () => {
  beforeEach(schema);

  test('insert tells the id, and RETURNING the row', async () => {
    const first = await db.insertInto('star').values({ name: 'Vega' }).executeTakeFirstOrThrow();
    expect(first).toMatchObject({ insertId: 1n, numInsertedOrUpdatedRows: 1n });
    const row = await db
      .insertInto('star')
      .values({ name: 'Deneb', magnitude: 1 })
      .returningAll()
      .executeTakeFirstOrThrow();
    expect(row).toEqual({ id: 2, name: 'Deneb', magnitude: 1, constellation_id: null });
    const many = await db
      .insertInto('star')
      .values([{ name: 'Altair' }, { name: 'Rigel' }])
      .returning(['id', 'name'])
      .execute();
    expect(many).toEqual([
      { id: 3, name: 'Altair' },
      { id: 4, name: 'Rigel' },
    ]);
    const copied = await db
      .insertInto('constellation')
      .columns(['name'])
      .expression(db.selectFrom('star').select('name').where('id', '>', 2))
      .executeTakeFirstOrThrow();
    expect(copied.numInsertedOrUpdatedRows).toBe(2n);
  });

  test('conflicts: ignored, replaced, updated, refused', async () => {
    await db.insertInto('star').values({ name: 'Vega', magnitude: 1 }).execute();
    const ignored = await db
      .insertInto('star')
      .values({ name: 'Vega' })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirstOrThrow();
    // No id of an insert that was not this one.
    expect(ignored).toMatchObject({ insertId: undefined, numInsertedOrUpdatedRows: 0n });
    expect(
      (await db.insertInto('star').orIgnore().values({ name: 'Vega' }).executeTakeFirstOrThrow())
        .numInsertedOrUpdatedRows,
    ).toBe(0n);
    await db
      .insertInto('star')
      .values({ name: 'Vega', magnitude: 0.03 })
      .onConflict((conflict) =>
        conflict.column('name').doUpdateSet((eb) => ({ magnitude: eb.ref('excluded.magnitude') })),
      )
      .execute();
    expect(await db.selectFrom('star').select(['id', 'magnitude']).execute()).toEqual([
      { id: 1, magnitude: 0.03 },
    ]);
    await db.replaceInto('star').values({ id: 1, name: 'Vega', magnitude: 0 }).execute();
    const error = await refusal(db.insertInto('star').values({ name: 'Vega' }).execute());
    expect(error).toMatchObject({
      code: 'SQL_ERROR',
      outcome: 'not_applied',
      details: { sqlite_code: 'SQLITE_CONSTRAINT_UNIQUE' },
    });
    expect(error.stack).toContain('drivers-kysely.test.ts');
    expect(await db.selectFrom('star').selectAll().execute()).toEqual([
      { id: 1, name: 'Vega', magnitude: 0, constellation_id: null },
    ]);
  });

  test('update and delete count, and return', async () => {
    await db
      .insertInto('star')
      .values([{ name: 'a' }, { name: 'b' }, { name: 'c' }])
      .execute();
    expect(
      (await db.updateTable('star').set({ magnitude: 5 }).where('id', '<', 3).executeTakeFirst())
        .numUpdatedRows,
    ).toBe(2n);
    expect(
      await db
        .updateTable('star')
        .set((eb) => ({ magnitude: eb('magnitude', '+', 1) }))
        .where('id', '=', 1)
        .returning('magnitude')
        .execute(),
    ).toEqual([{ magnitude: 6 }]);
    expect((await db.deleteFrom('star').where('id', '=', 99).executeTakeFirst()).numDeletedRows).toBe(0n);
    expect(await db.deleteFrom('star').where('id', '=', 2).returning('name').executeTakeFirst()).toEqual({
      name: 'b',
    });
    expect((await db.deleteFrom('star').executeTakeFirst()).numDeletedRows).toBe(2n);
  });

  test('values come back as they went in', async () => {
    await sql`CREATE TABLE v (x)`.execute(db);
    const bytes = Buffer.from([0, 1, 255]);
    const values = [null, 1, -0.5, 1.5e300, 2n ** 60n, '', 'Grüße 🌌', bytes, Number.MAX_SAFE_INTEGER];
    for (const x of values) {
      const { rows } = await sql<{ x: unknown }>`INSERT INTO v VALUES (${x}) RETURNING x`.execute(db);
      expect(rows).toEqual([{ x }]);
    }
    const { rows } = await sql<{
      x: unknown;
      t: string;
    }>`SELECT x, typeof(x) AS t FROM v ORDER BY rowid`.execute(db);
    expect(rows.map(({ x }) => x)).toEqual(values);
    expect(rows.map(({ t }) => t)).toEqual([
      'null',
      'integer',
      'real',
      'real',
      'integer',
      'text',
      'text',
      'blob',
      'integer',
    ]);
    expect(Buffer.isBuffer(rows[7]?.x)).toBe(true);
    expect((await sql`SELECT ${true} AS yes, ${false} AS no`.execute(db)).rows).toEqual([{ yes: 1, no: 0 }]);
    for (const wrong of [new Date(), undefined, Number.NaN, { a: 1 }]) {
      expect(await refusal(sql`INSERT INTO v VALUES (${wrong})`.execute(db))).toMatchObject({
        code: 'INVALID_REQUEST',
      });
      expect(await refusal(sql`SELECT ${wrong}`.execute(db))).toMatchObject({ code: 'INVALID_REQUEST' });
    }
  });

  test('a schema: altered, indexed, viewed, dropped, described', async () => {
    await db.schema
      .alterTable('star')
      .addColumn('spectrum', 'text', (column) => column.defaultTo('?'))
      .execute();
    await db.schema.alterTable('star').renameColumn('spectrum', 'class').execute();
    await db.schema.createIndex('star_class').on('star').columns(['class', 'name']).unique().execute();
    await db.schema
      .createView('bright')
      .as(db.selectFrom('star').selectAll().where('magnitude', '<', 1))
      .execute();
    const tables = await db.introspection.getTables();
    expect(tables.map(({ name, isView }) => [name, isView])).toEqual([
      ['bright', true],
      ['constellation', false],
      ['star', false],
    ]);
    expect((await db.introspection.getMetadata()).tables).toEqual(tables);
    expect(
      tables[2]?.columns.map(({ name, isAutoIncrementing, hasDefaultValue }) => [
        name,
        isAutoIncrementing,
        hasDefaultValue,
      ]),
    ).toEqual([
      ['id', true, false],
      ['name', false, false],
      ['magnitude', false, false],
      ['constellation_id', false, false],
      ['class', false, true],
    ]);
    const before = await batches();
    expect(
      (await sql<{ name: string }>`PRAGMA table_info(star)`.execute(db)).rows.map(({ name }) => name),
    ).toContain('class');
    expect((await sql`PRAGMA foreign_key_list(star)`.execute(db)).rows).toHaveLength(1);
    expect(await batches()).toBe(before);
    await db.schema.dropView('bright').execute();
    await db.schema.dropIndex('star_class').execute();
    await db.schema.dropTable('star').execute();
    expect((await db.introspection.getTables()).map(({ name }) => name)).toEqual(['constellation']);
  });

  test('what a connection of its own would be needed for is refused, with the reason', async () => {
    expect(
      await refusal(db.schema.createTable('t').temporary().addColumn('a', 'integer').execute()),
    ).toMatchObject({
      code: 'STATEMENT_NOT_ALLOWED',
    });
    expect(await refusal(sql`PRAGMA journal_mode = DELETE`.execute(db))).toMatchObject({
      code: 'STATEMENT_NOT_ALLOWED',
    });
    expect(await refusal(sql`PRAGMA query_only = OFF`.execute(db))).toMatchObject({
      code: 'STATEMENT_NOT_ALLOWED',
    });
    expect(await refusal(sql`ATTACH ${'x.db'} AS x`.execute(db))).toMatchObject({
      code: 'STATEMENT_NOT_ALLOWED',
    });
    expect(await refusal(sql`SELECT 1; DELETE FROM star`.execute(db))).toMatchObject({ code: 'SQL_ERROR' });
    expect(await refusal(sql`COMMIT; DELETE FROM star`.execute(db))).toMatchObject({
      code: 'STATEMENT_NOT_ALLOWED',
    });
  });

  test('plugins: names in camelCase', async () => {
    const camel = db
      .withPlugin(new CamelCasePlugin())
      .withTables<{ star: { name: string; constellationId: number } }>();
    await camel
      .insertInto('star')
      .values({ name: 'Vega' } as never)
      .execute();
    expect(await camel.selectFrom('star').select(['name', 'constellationId']).execute()).toEqual([
      { name: 'Vega', constellationId: null },
    ]);
  });
});

test('a database without a file is empty, and reading does not make one', async () => {
  expect(await db.introspection.getTables()).toEqual([]);
  expect((await sql`SELECT 1 AS one`.execute(db)).rows).toEqual([{ one: 1 }]);
  expect(await refusal(db.selectFrom('star').selectAll().execute())).toMatchObject({ code: 'SQL_ERROR' });
  expect((await file.ping()).exists).toBe(false);
  await stars();
  expect(await db.selectFrom('star').selectAll().execute()).toHaveLength(3);
});

test('the database may be a promise, asked for with the first query, and another Kysely goes on after destroy', async () => {
  await stars();
  let asked = 0;
  const lazy = new Kysely<Schema>({
    dialect: new SkylineDialect({
      database: async () => {
        asked += 1;
        return file;
      },
    }),
  });
  expect(asked).toBe(0);
  await Promise.all([
    lazy.selectFrom('star').selectAll().execute(),
    lazy.selectFrom('star').selectAll().execute(),
  ]);
  expect(asked).toBe(1);
  await lazy.destroy();
  expect(await db.selectFrom('star').selectAll().execute()).toHaveLength(3);
});

describe('transactions', () => {
  beforeEach(stars);

  test('commit, and see their own writes before', async () => {
    const seen = await db.transaction().execute(async (trx) => {
      await trx.insertInto('star').values({ name: 'Deneb' }).execute();
      const inside = await trx
        .selectFrom('star')
        .select('name')
        .where('name', '=', 'Deneb')
        .executeTakeFirst();
      // Outside of it, nobody sees that.
      const outside = await db
        .selectFrom('star')
        .select('name')
        .where('name', '=', 'Deneb')
        .executeTakeFirst();
      return { inside, outside };
    });
    expect(seen).toEqual({ inside: { name: 'Deneb' }, outside: undefined });
    expect(await db.selectFrom('star').selectAll().execute()).toHaveLength(4);
  });

  test('are rolled back by whatever their function throws', async () => {
    const boom = new Error('boom');
    const failing = db.transaction().execute(async (trx) => {
      await trx.deleteFrom('star').execute();
      throw boom;
    });
    await expect(failing).rejects.toBe(boom);
    const refused = await refusal(
      db.transaction().execute(async (trx) => {
        await trx.deleteFrom('star').execute();
        await trx.insertInto('constellation').values({ name: 'Lyra' }).execute();
      }),
    );
    expect(refused.details.sqlite_code).toBe('SQLITE_CONSTRAINT_UNIQUE');
    expect(await db.selectFrom('star').selectAll().execute()).toHaveLength(3);
  });

  test('a statement that fails leaves the transaction as it was', async () => {
    await db.transaction().execute(async (trx) => {
      await trx.insertInto('star').values({ name: 'Deneb' }).execute();
      await refusal(trx.insertInto('star').values({ name: 'Vega' }).execute());
      await trx.insertInto('star').values({ name: 'Altair' }).execute();
    });
    expect(await db.selectFrom('star').selectAll().execute()).toHaveLength(5);
  });

  test('wait for each other instead of failing', async () => {
    await Promise.all(
      Array.from({ length: 20 }, () =>
        db.transaction().execute(async (trx) => {
          const { magnitude } = await trx
            .selectFrom('star')
            .select('magnitude')
            .where('id', '=', 1)
            .executeTakeFirstOrThrow();
          await trx
            .updateTable('star')
            .set({ magnitude: (magnitude ?? 0) + 1 })
            .where('id', '=', 1)
            .execute();
        }),
      ),
    );
    expect(
      (await db.selectFrom('star').select('magnitude').where('id', '=', 1).executeTakeFirstOrThrow())
        .magnitude,
    ).toBeCloseTo(20.03);
  });

  test('that only read see one moment, and stand in nobody’s way', async () => {
    await db
      .transaction()
      .setAccessMode('read only')
      .execute(async (trx) => {
        expect(await trx.selectFrom('star').selectAll().execute()).toHaveLength(3);
        await db.insertInto('star').values({ name: 'Nova' }).execute();
        expect(await trx.selectFrom('star').selectAll().execute()).toHaveLength(3);
        await refusal(trx.insertInto('star').values({ name: 'Nope' }).execute());
      });
    expect(await db.selectFrom('star').selectAll().execute()).toHaveLength(4);
  });

  test('stream what they have written', async () => {
    const names = await db.transaction().execute(async (trx) => {
      await trx.insertInto('star').values({ name: 'Deneb' }).execute();
      const names: string[] = [];
      for await (const { name } of trx.selectFrom('star').select('name').orderBy('name').stream())
        names.push(name);
      return names;
    });
    expect(names).toEqual(['Deneb', 'Sheliak', 'Sirius', 'Vega']);
  });

  test('by hand, with savepoints', async () => {
    const trx = await db.startTransaction().execute();
    await trx.insertInto('star').values({ name: 'a' }).execute();
    const one = await trx.savepoint('one').execute();
    await one.insertInto('star').values({ name: 'b' }).execute();
    const two = await one.savepoint('two "quoted"').execute();
    await two.insertInto('star').values({ name: 'c' }).execute();
    await two.rollbackToSavepoint('two "quoted"').execute();
    await two.insertInto('star').values({ name: 'd' }).execute();
    await two.releaseSavepoint('one').execute();
    await trx.commit().execute();
    expect(trx.isCommitted).toBe(true);
    const added = await db.selectFrom('star').select('name').where('id', '>', 3).orderBy('name').execute();
    expect(added.map(({ name }) => name)).toEqual(['a', 'b', 'd']);

    const undone = await db.startTransaction().execute();
    await undone.deleteFrom('star').execute();
    await undone.rollback().execute();
    expect(await db.selectFrom('star').selectAll().execute()).toHaveLength(6);
  });

  test('as statements on one connection, and forgotten ones are rolled back', async () => {
    await db.connection().execute(async (one) => {
      await sql`BEGIN`.execute(one);
      await one.insertInto('star').values({ name: 'kept' }).execute();
      expect(await refusal(sql`BEGIN`.execute(one))).toMatchObject({ code: 'INVALID_REQUEST' });
      await sql`COMMIT`.execute(one);
      expect(await refusal(sql`COMMIT`.execute(one))).toMatchObject({ code: 'INVALID_REQUEST' });
      await sql`BEGIN IMMEDIATE`.execute(one);
      await one.insertInto('star').values({ name: 'forgotten' }).execute();
    });
    expect(await db.selectFrom('star').select('name').where('id', '>', 3).execute()).toEqual([
      { name: 'kept' },
    ]);
    // Nobody holds the write lock.
    expect((await client.status(file.path)).databases[0]?.transactions).toBeUndefined();
    await db.insertInto('star').values({ name: 'next' }).execute();
  });

  test('that outlive their lease are over, and say so', async () => {
    const short = new Kysely<Schema>({
      dialect: new SkylineDialect({ database: file, transaction: { leaseMs: 50 } }),
    });
    const error = await refusal(
      short.transaction().execute(async (trx) => {
        await trx.insertInto('star').values({ name: 'late' }).execute();
        await until('the lease is over', async () => {
          const { databases } = await client.status(file.path);
          return databases[0]?.transactions === undefined;
        });
        await trx.insertInto('star').values({ name: 'too late' }).execute();
      }),
    );
    expect(error.code).toBe('TX_EXPIRED');
    expect(await db.selectFrom('star').selectAll().execute()).toHaveLength(3);
  });

  test('are in the log, statement by statement', async () => {
    const log: string[] = [];
    const logged = new Kysely<Schema>({
      dialect: new SkylineDialect({ database: file }),
      log: ({ query }) => {
        log.push(query.sql);
      },
    });
    await logged.transaction().execute((trx) => trx.selectFrom('star').select('id').execute());
    expect(log).toEqual(['begin', 'select "id" from "star"', 'commit']);
  });
});

describe('PRAGMA foreign_keys on a connection', () => {
  beforeEach(stars);

  test('holds for what that connection does afterwards, and for nobody else', async () => {
    await db.connection().execute(async (one) => {
      await sql`PRAGMA foreign_keys = OFF`.execute(one);
      expect((await sql`PRAGMA foreign_keys`.execute(one)).rows).toEqual([{ foreign_keys: 0 }]);
      expect((await sql`PRAGMA foreign_keys`.execute(db)).rows).toEqual([{ foreign_keys: 1 }]);
      await refusal(db.insertInto('star').values({ name: 'Nova', constellation_id: 99 }).execute());
      await one.transaction().execute(async (trx) => {
        await trx.insertInto('star').values({ name: 'Nova', constellation_id: 99 }).execute();
        await trx.updateTable('star').set({ constellation_id: 1 }).where('name', '=', 'Nova').execute();
      });
      // A statement by itself, too: REPLACE would take along what refers to the row.
      await sql`CREATE TABLE moon (star REFERENCES star ON DELETE CASCADE)`.execute(one);
      await sql`INSERT INTO moon VALUES (1)`.execute(one);
      await one.replaceInto('star').values({ id: 1, name: 'Vega', constellation_id: 1 }).execute();
      expect((await sql`SELECT star FROM moon`.execute(db)).rows).toEqual([{ star: 1 }]);
      const error = await refusal(
        one.updateTable('star').set({ constellation_id: 99 }).where('id', '=', 1).execute(),
      );
      expect(error.details.sqlite_code).toBe('SQLITE_CONSTRAINT_FOREIGNKEY');
      await sql`PRAGMA foreign_keys = ON`.execute(one);
      await refusal(one.deleteFrom('constellation').execute());
    });
    expect(await db.selectFrom('star').selectAll().execute()).toHaveLength(4);
  });

  test('inside a transaction, where SQLite ignores it, is refused if it matters', async () => {
    await db.transaction().execute(async (trx) => {
      expect(await refusal(sql`PRAGMA foreign_keys = OFF`.execute(trx))).toMatchObject({
        code: 'INVALID_REQUEST',
      });
      await sql`PRAGMA foreign_keys = ON`.execute(trx);
      await trx.schema.dropTable('star').execute();
      await sql`PRAGMA foreign_keys = OFF`.execute(trx);
    });
  });
});

describe('migrations', () => {
  function migrator(migrations: Record<string, Migration>): Migrator {
    return new Migrator({ db, provider: { getMigrations: async () => migrations } });
  }
  const FIRST: Migration = {
    up: (trx) => trx.schema.createTable('a').addColumn('x', 'integer').execute(),
    down: (trx) => trx.schema.dropTable('a').execute(),
  };
  const SECOND: Migration = {
    up: (trx) => trx.schema.alterTable('a').addColumn('y', 'integer').execute(),
    down: (trx) => trx.schema.alterTable('a').dropColumn('y').execute(),
  };

  async function tables(): Promise<string[]> {
    return (await db.introspection.getTables()).map(
      ({ name, columns }) => `${name}(${columns.map((column) => column.name)})`,
    );
  }

  test('up, step by step, and down again', async () => {
    const all = migrator({ '1': FIRST, '2': SECOND });
    expect((await all.migrateUp()).results).toEqual([
      { migrationName: '1', direction: 'Up', status: 'Success' },
    ]);
    expect((await all.migrateToLatest()).results).toHaveLength(1);
    expect(await tables()).toEqual(['a(x,y)']);
    expect((await all.migrateToLatest()).results).toEqual([]);
    expect((await all.migrateDown()).results).toEqual([
      { migrationName: '2', direction: 'Down', status: 'Success' },
    ]);
    expect(await tables()).toEqual(['a(x)']);
    expect((await all.migrateTo(NO_MIGRATIONS)).results).toHaveLength(1);
    expect(await tables()).toEqual([]);
  });

  test('one that fails leaves nothing of all that were to be run', async () => {
    const failing: Migration = {
      up: async (trx) => {
        await trx.schema.createTable('b').addColumn('x', 'integer').execute();
        throw new Error('boom');
      },
    };
    const { error, results } = await migrator({ '1': FIRST, '2': failing, '3': SECOND }).migrateToLatest();
    expect(error).toMatchObject({ message: 'boom' });
    expect(results?.map(({ status }) => status)).toEqual(['Success', 'Error', 'NotExecuted']);
    expect(await tables()).toEqual([]);
    expect((await migrator({ '1': FIRST }).migrateToLatest()).error).toBeUndefined();
    expect(await tables()).toEqual(['a(x)']);
  });
});
