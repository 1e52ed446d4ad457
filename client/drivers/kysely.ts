/** `skylinedb/kysely`: a dialect of Kysely that writes through the daemon and reads the file directly. */
import {
  CompiledQuery,
  type DatabaseConnection,
  type DatabaseIntrospector,
  type DatabaseMetadataOptions,
  type Dialect,
  type DialectAdapter,
  type Driver,
  type Kysely,
  type QueryCompiler,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type TableMetadata,
  type TransactionSettings,
} from 'kysely';
import type { TransactionOptions } from '../begin.js';
import type { Database } from '../database.js';
import { DriverConnection, objectsOf } from './connection.js';
import { DirectReads } from './direct-reads.js';

export interface SkylineDialectConfig {
  /** The database, or what makes it when the first query comes. Its client stays yours: `destroy` does not close it. */
  readonly database: Database | (() => Promise<Database> | Database);
  /** How long a transaction may last. */
  readonly transaction?: TransactionOptions;
}

/**
 * A dialect for SkylineDB: SQLite's SQL, with transactions that wait for their turn instead of failing, and migrations that
 * several processes may start at once.
 *
 * @example
 * const client = await connect();
 * const db = new Kysely<Schema>({ dialect: new SkylineDialect({ database: client.database('stars.db') }) });
 */
export class SkylineDialect implements Dialect {
  readonly #config: SkylineDialectConfig;

  constructor(config: SkylineDialectConfig) {
    this.#config = Object.freeze({ ...config });
  }

  createDriver(): Driver {
    return new SkylineDriver(this.#config);
  }

  createQueryCompiler(): QueryCompiler {
    return new SqliteQueryCompiler();
  }

  createAdapter(): DialectAdapter {
    return new SkylineAdapter();
  }

  // biome-ignore lint/suspicious/noExplicitAny: Kysely's own signature
  createIntrospector(db: Kysely<any>): DatabaseIntrospector {
    return new SkylineIntrospector(db);
  }
}

/** A transaction has the write lock from its beginning: whoever migrates keeps all others waiting, and they find it done. */
class SkylineAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

/** The daemon's own tables are no part of the application's schema. */
class SkylineIntrospector extends SqliteIntrospector {
  override async getTables(options?: DatabaseMetadataOptions): Promise<TableMetadata[]> {
    const tables = await super.getTables(options);
    return tables.filter(({ name }) => !name.startsWith('_skylinedb_'));
  }
}

class SkylineDriver implements Driver {
  readonly #config: SkylineDialectConfig;
  #database: Database | undefined;
  #reads: DirectReads | undefined;

  constructor(config: SkylineDialectConfig) {
    this.#config = config;
  }

  async init(): Promise<void> {
    const { database } = this.#config;
    this.#database = typeof database === 'function' ? await database() : database;
    this.#reads = new DirectReads(this.#database);
  }

  /** As many as are asked for: a connection of its own is what keeps a transaction apart, and costs nothing. */
  async acquireConnection(): Promise<SkylineConnection> {
    if (this.#database === undefined || this.#reads === undefined)
      throw new Error('The driver has not been initialized.');
    return new SkylineConnection(new DriverConnection(this.#database, this.#reads, this.#config.transaction));
  }

  // As statements, where that can be said in SQL: so they are in Kysely's log, as with its own dialects.
  async beginTransaction(connection: SkylineConnection, { accessMode }: TransactionSettings): Promise<void> {
    if (accessMode === 'read only') await connection.connection.begin({ read: true });
    else await connection.executeQuery(CompiledQuery.raw('begin'));
  }

  async commitTransaction(connection: SkylineConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'));
  }

  async rollbackTransaction(connection: SkylineConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('rollback'));
  }

  async savepoint(connection: SkylineConnection, name: string): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw(`savepoint ${quoted(name)}`));
  }

  async rollbackToSavepoint(connection: SkylineConnection, name: string): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw(`rollback to ${quoted(name)}`));
  }

  async releaseSavepoint(connection: SkylineConnection, name: string): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw(`release ${quoted(name)}`));
  }

  async releaseConnection({ connection }: SkylineConnection): Promise<void> {
    // A BEGIN that was sent as a statement, and forgotten.
    if (connection.inTransaction) await connection.rollback();
  }

  async destroy(): Promise<void> {
    this.#reads?.close();
  }
}

class SkylineConnection implements DatabaseConnection {
  readonly connection: DriverConnection;

  constructor(connection: DriverConnection) {
    this.connection = connection;
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const result = await this.connection.execute(sql, parameters);
    if (result.columns !== undefined) return { rows: objectsOf(result) as R[] };
    const { rowsAffected, lastInsertRowid } = result;
    return {
      rows: [],
      numAffectedRows: BigInt(rowsAffected),
      ...(lastInsertRowid === undefined ? {} : { insertId: BigInt(lastInsertRowid) }),
    };
  }

  async *streamQuery<R>({ sql, parameters }: CompiledQuery, chunkSize = 1): AsyncGenerator<QueryResult<R>> {
    let rows: R[] = [];
    for await (const row of this.connection.stream(sql, parameters)) {
      rows.push(row as R);
      if (rows.length < chunkSize) continue;
      yield { rows };
      rows = [];
    }
    if (rows.length > 0) yield { rows };
  }
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
