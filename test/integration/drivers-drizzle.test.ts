import { and, asc, count, eq, gt, placeholder, relations, sql } from 'drizzle-orm';
import { blob, integer, real, sqliteTable, text, unique } from 'drizzle-orm/sqlite-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { drizzle, type SkylineDrizzle } from '../../dist/client/drivers/drizzle.js';
import { type Client, connect, type Database, SkylineError } from '../../dist/client/index.js';
import { Playground } from '../support/playground.js';

const constellation = sqliteTable('constellation', {
  id: integer().primaryKey({ autoIncrement: true }),
  name: text().notNull().unique(),
});
const star = sqliteTable(
  'star',
  {
    id: integer().primaryKey(),
    name: text().notNull(),
    magnitude: real(),
    constellationId: integer().references(() => constellation.id),
    seen: integer({ mode: 'timestamp_ms' }),
    visible: integer({ mode: 'boolean' }).notNull().default(true),
    tags: text({ mode: 'json' }).$type<string[]>(),
    spectrum: blob({ mode: 'buffer' }),
    age: blob({ mode: 'bigint' }),
  },
  (columns) => [unique().on(columns.name)],
);
const schema = {
  constellation,
  star,
  constellationRelations: relations(constellation, ({ many }) => ({ stars: many(star) })),
  starRelations: relations(star, ({ one }) => ({
    constellation: one(constellation, { fields: [star.constellationId], references: [constellation.id] }),
  })),
};

let ground: Playground;
let client: Client;
let file: Database;
let db: SkylineDrizzle<typeof schema>;
let made = 0;
beforeAll(async () => {
  ground = new Playground();
  await ground.daemon();
});
beforeEach(async () => {
  made += 1;
  client = await connect({ socket: ground.socket, autoStart: false });
  file = client.database(ground.file(`stars-${made}.db`));
  db = drizzle(file, { schema, casing: 'snake_case' });
  await db.run(
    sql`CREATE TABLE constellation (id integer PRIMARY KEY AUTOINCREMENT, name text NOT NULL UNIQUE)`,
  );
  await db.run(sql`CREATE TABLE star (id integer PRIMARY KEY, name text NOT NULL UNIQUE, magnitude real,
    constellation_id integer REFERENCES constellation, seen integer, visible integer NOT NULL DEFAULT true,
    tags text, spectrum blob, age blob)`);
});
afterEach(async () => {
  client.close();
});
afterAll(async () => {
  await ground.dispose();
});

async function stars(): Promise<void> {
  await db.insert(constellation).values([{ name: 'Lyra' }, { name: 'Canis Major' }]);
  await db.insert(star).values([
    { name: 'Vega', magnitude: 0.03, constellationId: 1 },
    { name: 'Sheliak', magnitude: 3.52, constellationId: 1 },
    { name: 'Sirius', magnitude: -1.46, constellationId: 2 },
  ]);
}

async function batches(): Promise<number> {
  return (await client.status(file.path)).databases[0]?.counters.batches ?? 0;
}

/** What Drizzle's error was made of. */
async function causeOf(work: Promise<unknown>): Promise<SkylineError> {
  const error = await work.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  const cause = error instanceof SkylineError ? error : (error as Error | undefined)?.cause;
  expect(cause).toBeInstanceOf(SkylineError);
  return cause as SkylineError;
}

describe('queries', () => {
  test('insert: what was done, what was returned, conflicts', async () => {
    expect(await db.insert(star).values({ name: 'Vega' })).toEqual({
      rows: [],
      rowsAffected: 1,
      lastInsertRowid: 1,
    });
    expect(
      await db
        .insert(star)
        .values([{ name: 'Deneb' }, { name: 'Rigel' }])
        .returning({ id: star.id }),
    ).toEqual([{ id: 2 }, { id: 3 }]);
    expect(await db.insert(star).values({ name: 'Vega' }).onConflictDoNothing()).toEqual({
      rows: [],
      rowsAffected: 0,
    });
    await db
      .insert(star)
      .values({ name: 'Vega', magnitude: 1 })
      .onConflictDoUpdate({ target: star.name, set: { magnitude: 0.03 } });
    expect(await db.select({ magnitude: star.magnitude }).from(star).where(eq(star.id, 1))).toEqual([
      { magnitude: 0.03 },
    ]);
    const cause = await causeOf(db.insert(star).values({ name: 'Vega' }));
    expect(cause).toMatchObject({ code: 'SQL_ERROR', details: { sqlite_code: 'SQLITE_CONSTRAINT_UNIQUE' } });
  });

  test('values: booleans, dates, JSON, blobs, bigints, NULL', async () => {
    const row = {
      id: 7,
      name: 'Grüße 🌌',
      magnitude: null,
      constellationId: null,
      seen: new Date(1_700_000_000_123),
      visible: false,
      tags: ['a', 'b'],
      spectrum: Buffer.from([0, 1, 255]),
      age: 2n ** 70n,
    };
    expect(await db.insert(star).values(row).returning()).toEqual([row]);
    expect(await db.select().from(star)).toEqual([row]);
    expect(
      await db.get(sql`SELECT typeof(visible) AS v, typeof(seen) AS s, typeof(spectrum) AS b FROM star`),
    ).toEqual({
      v: 'integer',
      s: 'integer',
      b: 'blob',
    });
  });

  test('select: joins, grouping, subqueries, CTEs, placeholders, direct from the file', async () => {
    await stars();
    const before = await batches();
    expect(
      await db
        .select({ star: star.name, in: constellation.name })
        .from(star)
        .leftJoin(constellation, eq(constellation.id, star.constellationId))
        .where(and(gt(star.magnitude, 0), eq(constellation.name, 'Lyra')))
        .orderBy(asc(star.magnitude)),
    ).toEqual([
      { star: 'Vega', in: 'Lyra' },
      { star: 'Sheliak', in: 'Lyra' },
    ]);
    expect(
      await db
        .select({ id: star.constellationId, n: count() })
        .from(star)
        .groupBy(star.constellationId)
        .having(gt(count(), 1)),
    ).toEqual([{ id: 1, n: 2 }]);
    const bright = db.$with('bright').as(db.select().from(star).where(gt(star.magnitude, 1)));
    expect(await db.with(bright).select({ name: bright.name }).from(bright)).toEqual([{ name: 'Sheliak' }]);
    const byName = db
      .select({ id: star.id })
      .from(star)
      .where(eq(star.name, placeholder('name')))
      .prepare();
    expect(await byName.all({ name: 'Sirius' })).toEqual([{ id: 3 }]);
    expect(await byName.get({ name: 'Nobody' })).toBeUndefined();
    expect(await byName.values({ name: 'Vega' })).toEqual([[1]]);
    expect(await db.$count(star)).toBe(3);
    expect(await batches()).toBe(before);
  });

  test('relations', async () => {
    await stars();
    expect(
      await db.query.constellation.findMany({
        columns: { name: true },
        with: { stars: { columns: { name: true }, orderBy: asc(star.name) } },
        orderBy: asc(constellation.id),
      }),
    ).toEqual([
      { name: 'Lyra', stars: [{ name: 'Sheliak' }, { name: 'Vega' }] },
      { name: 'Canis Major', stars: [{ name: 'Sirius' }] },
    ]);
    const vega = await db.query.star.findFirst({
      where: eq(star.name, 'Vega'),
      with: { constellation: true },
    });
    expect(vega?.constellation).toEqual({ id: 1, name: 'Lyra' });
    expect(vega?.visible).toBe(true);
    expect(await db.query.star.findFirst({ where: eq(star.name, 'Nobody') })).toBeUndefined();
  });

  test('update and delete', async () => {
    await stars();
    expect(
      await db
        .update(star)
        .set({ magnitude: sql`${star.magnitude} + 1` })
        .where(gt(star.magnitude, 0)),
    ).toMatchObject({ rowsAffected: 2 });
    expect(
      await db
        .update(star)
        .set({ visible: false })
        .where(eq(star.id, 1))
        .returning({ visible: star.visible }),
    ).toEqual([{ visible: false }]);
    expect(await db.delete(star).where(eq(star.id, 99)).returning()).toEqual([]);
    expect(await db.delete(star)).toMatchObject({ rowsAffected: 3 });
  });

  test('SQL by hand: rows are objects', async () => {
    await stars();
    expect(await db.all(sql`SELECT name FROM star WHERE id < ${3} ORDER BY id`)).toEqual([
      { name: 'Vega' },
      { name: 'Sheliak' },
    ]);
    expect(await db.get(sql`SELECT count(*) AS n FROM star`)).toEqual({ n: 3 });
    expect(await db.get(sql`SELECT 1 FROM star WHERE id = 99`)).toBeUndefined();
    expect(await db.values(sql`SELECT id, name FROM star WHERE id = 1`)).toEqual([[1, 'Vega']]);
    expect(await db.run(sql`DELETE FROM star WHERE id > 1`)).toEqual({ rows: [], rowsAffected: 2 });
    expect(await db.all(sql`INSERT INTO star (name) VALUES ('x') RETURNING id`)).toEqual([{ id: 2 }]);
    expect((await causeOf(db.run(sql`BEGIN`))).message).toContain('db.transaction');
    expect(await causeOf(db.all(sql`SELECT nonsense`))).toMatchObject({ code: 'SQL_ERROR' });
    await db.run(sql`DELETE FROM star`);
  });

  test('a batch is one transaction, with the results of each', async () => {
    await stars();
    const before = await batches();
    const results = await db.batch([
      db.insert(star).values({ name: 'Deneb' }).returning({ id: star.id }),
      db.update(star).set({ magnitude: 1 }).where(eq(star.name, 'Deneb')),
      db.query.star.findFirst({ where: eq(star.name, 'Deneb'), columns: { magnitude: true } }),
      db.query.star.findFirst({ where: eq(star.name, 'Nobody') }),
      db.select({ n: count() }).from(star),
      db.all(sql`SELECT name FROM star WHERE id = 4`),
      db.get(sql`SELECT name FROM star WHERE id = 1`),
      db.values(sql`SELECT id FROM star WHERE id = 2`),
      db.run(sql`DELETE FROM star WHERE id = 4`),
    ]);
    expect(results).toEqual([
      [{ id: 4 }],
      { rows: [], rowsAffected: 1 },
      { magnitude: 1 },
      undefined,
      [{ n: 4 }],
      [{ name: 'Deneb' }],
      { name: 'Vega' },
      [[2]],
      { rows: [], rowsAffected: 1 },
    ]);
    expect(await batches()).toBe(before + 1);
    await causeOf(db.batch([db.delete(star), db.insert(constellation).values({ name: 'Lyra' })]));
    expect(await db.$count(star)).toBe(3);
  });
});

describe('transactions', () => {
  test('commit, roll back, and see what they have written', async () => {
    await stars();
    const n = await db.transaction(async (tx) => {
      await tx.insert(star).values({ name: 'Deneb' });
      expect(await db.$count(star)).toBe(3);
      return await tx.$count(star);
    });
    expect(n).toBe(4);
    const boom = new Error('boom');
    await expect(
      db.transaction(async (tx) => {
        await tx.delete(star);
        throw boom;
      }),
    ).rejects.toBe(boom);
    await expect(db.transaction(async (tx) => tx.rollback())).rejects.toThrow('Rollback');
    expect(await db.$count(star)).toBe(4);
    expect(await db.transaction(async (tx) => (await tx.query.star.findMany()).length)).toBe(4);
  });

  test('nested ones are savepoints', async () => {
    await db.transaction(async (tx) => {
      await tx.insert(star).values({ name: 'a' });
      await expect(
        tx.transaction(async (inner) => {
          await inner.insert(star).values({ name: 'b' });
          await inner.transaction(async (innermost) => {
            await innermost.insert(star).values({ name: 'c' });
          });
          expect(await inner.$count(star)).toBe(3);
          inner.rollback();
        }),
      ).rejects.toThrow('Rollback');
      await tx.transaction(async (inner) => {
        await inner.insert(star).values({ name: 'd' });
      });
    });
    expect((await db.select({ name: star.name }).from(star)).map(({ name }) => name)).toEqual(['a', 'd']);
  });

  test('wait for each other', async () => {
    await stars();
    await Promise.all(
      Array.from({ length: 20 }, () =>
        db.transaction(async (tx) => {
          const [row] = await tx.select({ magnitude: star.magnitude }).from(star).where(eq(star.id, 2));
          await tx
            .update(star)
            .set({ magnitude: (row?.magnitude ?? 0) + 1 })
            .where(eq(star.id, 2));
        }),
      ),
    );
    expect((await db.select().from(star).where(eq(star.id, 2)))[0]?.magnitude).toBeCloseTo(23.52);
  });
});

test('everything is logged, with its parameters', async () => {
  const log: [string, unknown[]][] = [];
  const logged = drizzle(file, { logger: { logQuery: (query, params) => void log.push([query, params]) } });
  await logged.all(sql`SELECT ${1} AS one`);
  await logged.batch([logged.run(sql`DELETE FROM star`)]);
  expect(log).toEqual([
    ['SELECT ? AS one', [1]],
    ['DELETE FROM star', []],
  ]);
});
