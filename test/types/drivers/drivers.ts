/**
 * Compiled, never run: the drivers' types as applications see them, beside those of the libraries that they are for.
 */
import { eq } from 'drizzle-orm';
import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import knex, { type Knex } from 'knex';
import { type Generated, Kysely } from 'kysely';
import { type Client, connect, type Database } from 'skylinedb';
import { drizzle, migrate, type RunResult, type SkylineDrizzle } from 'skylinedb/drizzle';
import { SkylineClient, type SkylineConnectionConfig } from 'skylinedb/knex';
import { SkylineDialect } from 'skylinedb/kysely';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function holds<_Check extends true>(): void {}

interface Schema {
  star: { id: Generated<number>; name: string };
}

export async function withKysely(database: Database): Promise<void> {
  const db = new Kysely<Schema>({
    dialect: new SkylineDialect({ database, transaction: { leaseMs: 1_000 } }),
  });
  new SkylineDialect({ database: async () => (await connect()).database('x.db') });
  const rows = await db.selectFrom('star').select('name').execute();
  holds<Equal<typeof rows, { name: string }[]>>();
  // @ts-expect-error a dialect has a database
  new SkylineDialect({});
}

const star = sqliteTable('star', { id: integer().primaryKey(), name: text().notNull() });

export async function withDrizzle(database: Database): Promise<void> {
  const db = drizzle(database, { schema: { star }, casing: 'snake_case' });
  holds<Equal<typeof db, SkylineDrizzle<{ star: typeof star }>>>();
  await migrate(db, { migrationsFolder: 'drizzle' });
  const rows = await db.select().from(star).where(eq(star.id, 1));
  holds<Equal<typeof rows, { id: number; name: string }[]>>();
  const done = await db.insert(star).values({ name: 'Vega' });
  holds<Equal<typeof done, RunResult>>();
  const first = await db.query.star.findFirst();
  holds<Equal<typeof first, { id: number; name: string } | undefined>>();
  const both = await db.batch([db.insert(star).values({ name: 'Vega' }).returning(), db.select().from(star)]);
  holds<Equal<typeof both, [{ id: number; name: string }[], { id: number; name: string }[]]>>();
  const result = await db.transaction(async (tx) => {
    await tx.delete(star);
    return 7;
  });
  holds<Equal<typeof result, number>>();
  holds<Equal<typeof db.$client, Database>>();
  // @ts-expect-error a database is SkylineDB's, not a path
  drizzle('stars.db');
}

export async function withKnex(): Promise<Client | undefined> {
  const connection: SkylineConnectionConfig = {
    filename: 'stars.db',
    socket: '/run/x',
    transaction: { maxMs: 10_000 },
  };
  const db: Knex = knex({ client: SkylineClient, connection, useNullAsDefault: true });
  await db('star').where({ id: 1 }).select('name');
  await db.destroy();
  return undefined;
}
