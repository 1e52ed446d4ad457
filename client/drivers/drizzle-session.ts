import type { BatchItem } from 'drizzle-orm/batch';
import type { Cache } from 'drizzle-orm/cache/core';
import type { WithCacheConfig } from 'drizzle-orm/cache/core/types';
import { is } from 'drizzle-orm/entity';
import type { Logger } from 'drizzle-orm/logger';
import type { MigrationConfig, MigrationMeta } from 'drizzle-orm/migrator';
import type { RelationalSchemaConfig, TablesRelationalConfig } from 'drizzle-orm/relations';
import type { Query } from 'drizzle-orm/sql';
import type { SQLiteAsyncDialect } from 'drizzle-orm/sqlite-core';
import { SQLiteRaw } from 'drizzle-orm/sqlite-core/query-builders/raw';
import type { SelectedFieldsOrdered } from 'drizzle-orm/sqlite-core/query-builders/select.types';
import type { SQLiteExecuteMethod } from 'drizzle-orm/sqlite-core/session';
import {
  type PreparedQueryConfig,
  type RemoteCallback,
  RemotePreparedQuery,
  SQLiteProxyTransaction,
  SQLiteRemoteSession,
} from 'drizzle-orm/sqlite-proxy';
import { invalidRequest, SkylineError } from '../../protocol/errors.js';
import type { SqlInput } from '../../protocol/values.js';
import type { ExecResult } from '../batch.js';
import type { TransactionOptions } from '../begin.js';
import type { Database } from '../database.js';
import { DriverConnection, objectsOf, withBuffers } from './connection.js';
import type { DirectReads } from './direct-reads.js';
import { foreignKeysPragma, transactionWord } from './statement-kind.js';

/** What a session and those of its transactions have in common. */
export interface SessionParts<TSchema extends TablesRelationalConfig> {
  readonly database: Database;
  readonly reads: DirectReads;
  readonly dialect: SQLiteAsyncDialect;
  readonly schema: RelationalSchemaConfig<TSchema> | undefined;
  readonly logger: Logger;
  readonly cache: Cache;
  readonly transaction: TransactionOptions | undefined;
}

/**
 * Drizzle's own session for a SQLite that is elsewhere (`drizzle-orm/sqlite-proxy`), where each transaction has a connection of
 * its own, and rows of SQL that was written by hand are objects.
 */
export class SkylineSession<
  TFullSchema extends Record<string, unknown>,
  TSchema extends TablesRelationalConfig,
> extends SQLiteRemoteSession<TFullSchema, TSchema> {
  readonly #parts: SessionParts<TSchema>;
  readonly #connection: DriverConnection;

  constructor(parts: SessionParts<TSchema>, connection = open(parts)) {
    const { dialect, schema, logger, cache } = parts;
    super(callbackOf(connection, false), dialect, schema, undefined, { logger, cache });
    this.#parts = parts;
    this.#connection = connection;
  }

  override prepareQuery<T extends PreparedQueryConfig>(
    query: Query,
    fields: SelectedFieldsOrdered | undefined,
    executeMethod: SQLiteExecuteMethod,
    isResponseInArrayMode: boolean,
    customResultMapper?: (rows: unknown[][]) => unknown,
    queryMetadata?: { type: 'select' | 'update' | 'delete' | 'insert'; tables: string[] },
    cacheConfig?: WithCacheConfig,
  ): RemotePreparedQuery<T> {
    const byHand = fields === undefined && customResultMapper === undefined;
    return new RemotePreparedQuery<T>(
      callbackOf(this.#connection, byHand),
      query,
      this.#parts.logger,
      this.#parts.cache,
      queryMetadata,
      cacheConfig,
      fields,
      executeMethod,
      isResponseInArrayMode,
      customResultMapper,
    );
  }

  /** All or nothing, in one message to the daemon. */
  override async batch<T extends BatchItem<'sqlite'>[] | readonly BatchItem<'sqlite'>[]>(
    items: T,
  ): Promise<unknown[]> {
    const queries = (items as unknown as readonly Preparable[]).map((item) => item._prepare());
    const statements = queries.map((query) => {
      const { sql, params } = query.getQuery();
      this.#parts.logger.logQuery(sql, params);
      return { sql, params: params as SqlInput[] };
    });
    const { results } = await this.#parts.database.batch(statements);
    return queries.map((query, at) => {
      const byHand = is(query, SQLiteRaw);
      const { method } = query.getQuery();
      // Of SQL that was written by hand Drizzle takes the first row itself.
      const asked = byHand && method === 'get' ? 'all' : method;
      return query.mapResult(replyOf(withBuffers(results[at] as ExecResult), asked, byHand), true);
    });
  }

  override transaction<T>(run: (tx: SQLiteProxyTransaction<TFullSchema, TSchema>) => Promise<T>): Promise<T> {
    if (this.#connection.inTransaction) return this.#asTransaction().transaction(run);
    return this.#within((session) => run(session.#asTransaction()));
  }

  /**
   * Drizzle looks for what is done before it begins its transaction: all who start at once would find nothing. So it looks
   * inside of one. Where nothing is to be done, nobody waits for that.
   */
  async migrate(migrations: MigrationMeta[], config: MigrationConfig): Promise<void> {
    const done = this.#migratedUntil(config.migrationsTable ?? '__drizzle_migrations');
    const pending = migrations.filter(({ folderMillis }) => folderMillis > done);
    if (pending.length === 0) return;
    // drizzle-kit turns them off where it rebuilds a table; inside the transaction it would be too late.
    const foreignKeys = !pending.some((one) => one.sql.some((sql) => foreignKeysPragma(sql) === false));
    await this.#within((session) => this.#parts.dialect.migrate(migrations, session, config), {
      foreignKeys,
    });
  }

  /** The time of the newest migration that was run; before all of them if none was. */
  #migratedUntil(table: string): number {
    try {
      const sql = `SELECT max(created_at) FROM "${table.replaceAll('"', '""')}"`;
      return Number(this.#parts.reads.rows(sql, [])?.rows?.[0]?.[0] ?? Number.NEGATIVE_INFINITY);
    } catch (error) {
      // There is no such table yet; whatever else it is, the migration will meet it.
      if (error instanceof SkylineError && error.code === 'SQL_ERROR') return Number.NEGATIVE_INFINITY;
      throw error;
    }
  }

  async #within<T>(
    run: (session: SkylineSession<TFullSchema, TSchema>) => Promise<T>,
    options: { readonly foreignKeys?: boolean } = {},
  ): Promise<T> {
    const connection = open(this.#parts);
    await connection.begin(options);
    let result: T;
    try {
      result = await run(new SkylineSession(this.#parts, connection));
    } catch (error) {
      await connection.rollback();
      throw error;
    }
    await connection.commit();
    return result;
  }

  #asTransaction(): SQLiteProxyTransaction<TFullSchema, TSchema> {
    return new SQLiteProxyTransaction('async', this.#parts.dialect, this, this.#parts.schema);
  }
}

/** What all of Drizzle's queries have, and its types do not show. */
interface Preparable {
  _prepare(): {
    getQuery(): Query & { method: Method };
    mapResult(reply: unknown, isFromBatch: boolean): unknown;
  };
}
type Method = 'run' | 'all' | 'values' | 'get';

function open<TSchema extends TablesRelationalConfig>(parts: SessionParts<TSchema>): DriverConnection {
  return new DriverConnection(parts.database, parts.reads, parts.transaction);
}

function callbackOf(connection: DriverConnection, byHand: boolean): RemoteCallback {
  return async (sql, params, method) => {
    // Its session would not know of it, and all who share that would be in the same transaction.
    if (transactionWord(sql) !== undefined || (!connection.inTransaction && setsForeignKeys(sql)))
      throw invalidRequest(
        'Drizzle begins and ends transactions itself, and what is set for one connection it cannot keep to one: use db.transaction().',
      );
    return replyOf(await connection.execute(sql, params), method, byHand);
  };
}

function setsForeignKeys(sql: string): boolean {
  return typeof foreignKeysPragma(sql) === 'boolean';
}

/** A result as `drizzle-orm/sqlite-proxy` takes it: for `get` the row itself, for `run` what was done. */
function replyOf(result: ExecResult, method: Method, byHand: boolean): { rows: unknown[] } {
  const { rowsAffected, lastInsertRowid } = result;
  const rows = byHand && method !== 'values' ? objectsOf(result) : (result.rows ?? []);
  switch (method) {
    case 'run':
      return {
        rows: rows as unknown[],
        rowsAffected,
        ...(lastInsertRowid === undefined ? {} : { lastInsertRowid }),
      } as { rows: unknown[] };
    case 'get':
      return { rows: rows[0] as unknown as unknown[] };
    default:
      return { rows: rows as unknown[] };
  }
}
