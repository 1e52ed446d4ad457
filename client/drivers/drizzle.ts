/** `skylinedb/drizzle`: a driver of Drizzle that writes through the daemon and reads the file directly. */
import type { BatchItem, BatchResponse } from 'drizzle-orm/batch';
import { NoopCache } from 'drizzle-orm/cache/core';
import { DefaultLogger, type Logger, NoopLogger } from 'drizzle-orm/logger';
import { type MigrationConfig, readMigrationFiles } from 'drizzle-orm/migrator';
import {
  createTableRelationsHelpers,
  type ExtractTablesWithRelations,
  extractTablesRelationalConfig,
  type RelationalSchemaConfig,
} from 'drizzle-orm/relations';
import { BaseSQLiteDatabase, SQLiteAsyncDialect } from 'drizzle-orm/sqlite-core';
import type { SQLiteSession } from 'drizzle-orm/sqlite-core/session';
import type { DrizzleConfig } from 'drizzle-orm/utils';
import type { TransactionOptions } from '../begin.js';
import type { Database } from '../database.js';
import { DirectReads } from './direct-reads.js';
import { SkylineSession } from './drizzle-session.js';

/** What `run()` gives. */
export interface RunResult {
  readonly rowsAffected: number;
  /** Where it inserted a row; bigint beyond ±(2^53−1). */
  readonly lastInsertRowid?: number | bigint;
  /** Of a statement that returns rows. */
  readonly rows: readonly unknown[];
}

export interface SkylineDrizzleConfig<TSchema extends Record<string, unknown> = Record<string, never>>
  extends DrizzleConfig<TSchema> {
  /** How long a transaction may last. */
  readonly transaction?: TransactionOptions;
}

/** A database of Drizzle's on SkylineDB. */
export class SkylineDrizzle<
  TSchema extends Record<string, unknown> = Record<string, never>,
> extends BaseSQLiteDatabase<'async', RunResult, TSchema> {
  readonly $client: Database;
  readonly #session: SkylineSession<TSchema, ExtractTablesWithRelations<TSchema>>;

  /** Use {@link drizzle}. */
  constructor(client: Database, config: SkylineDrizzleConfig<TSchema>) {
    const dialect = new SQLiteAsyncDialect(config.casing === undefined ? {} : { casing: config.casing });
    const schema = relationsOf(config.schema);
    const cache = config.cache ?? new NoopCache();
    const session = new SkylineSession<TSchema, ExtractTablesWithRelations<TSchema>>({
      database: client,
      reads: new DirectReads(client),
      dialect,
      schema,
      logger: loggerOf(config.logger),
      cache,
      transaction: config.transaction,
    });
    // The session's type says what sqlite-proxy's callback gives; ours gives what was done.
    super('async', dialect, session as unknown as RunSession<TSchema>, schema);
    this.$client = client;
    // As Drizzle's own drivers do it.
    if (config.cache !== undefined) this.$cache = Object.assign(cache, { invalidate: cache.onMutate });
    this.#session = session;
  }

  /** Runs queries as one transaction, in one message: all of them or none. */
  async batch<U extends BatchItem<'sqlite'>, T extends Readonly<[U, ...U[]]>>(
    queries: T,
  ): Promise<BatchResponse<T>> {
    return (await this.#session.batch(queries)) as BatchResponse<T>;
  }

  /** Use {@link migrate}. */
  async migrate(config: MigrationConfig): Promise<void> {
    await this.#session.migrate(readMigrationFiles(config), config);
  }
}

type RunSession<TSchema extends Record<string, unknown>> = SQLiteSession<
  'async',
  RunResult,
  TSchema,
  ExtractTablesWithRelations<TSchema>
>;

/**
 * Drizzle for a database. Its client stays yours.
 *
 * @example
 * const client = await connect();
 * const db = drizzle(client.database('stars.db'), { schema });
 */
export function drizzle<TSchema extends Record<string, unknown> = Record<string, never>>(
  database: Database,
  config: SkylineDrizzleConfig<TSchema> = {},
): SkylineDrizzle<TSchema> {
  return new SkylineDrizzle(database, config);
}

/**
 * Runs the migrations that drizzle-kit has written and this database does not have yet, as one transaction. Several processes
 * may call it at once: one runs them, the others wait and find it done.
 * @throws SkylineError, or Drizzle's own error with it as `cause`
 */
export async function migrate<TSchema extends Record<string, unknown>>(
  db: SkylineDrizzle<TSchema>,
  config: MigrationConfig,
): Promise<void> {
  await db.migrate(config);
}

function relationsOf<TSchema extends Record<string, unknown>>(
  schema: TSchema | undefined,
): RelationalSchemaConfig<ExtractTablesWithRelations<TSchema>> | undefined {
  if (schema === undefined) return undefined;
  const { tables, tableNamesMap } = extractTablesRelationalConfig<ExtractTablesWithRelations<TSchema>>(
    schema,
    createTableRelationsHelpers,
  );
  return { fullSchema: schema, schema: tables, tableNamesMap };
}

function loggerOf(logger: boolean | Logger | undefined): Logger {
  if (logger === true) return new DefaultLogger();
  return logger === undefined || logger === false ? new NoopLogger() : logger;
}
