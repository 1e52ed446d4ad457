/** `skylinedb/knex`: a client of Knex that writes through the daemon and reads the file directly. */
import { createRequire } from 'node:module';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Knex } from 'knex';
import { invalidRequest } from '../../protocol/errors.js';
import type { TransactionOptions } from '../begin.js';
import { type Client, connect } from '../client.js';
import type { ConnectOptions } from '../options.js';
import { DriverConnection, objectsOf } from './connection.js';
import { DirectReads } from './direct-reads.js';

/** What stands under `connection` in Knex's configuration: the file, and how to reach the daemon. */
export interface SkylineConnectionConfig extends ConnectOptions {
  /** The database's file; a relative path belongs to this process's working directory. */
  readonly filename: string;
  /** How long a transaction may last. */
  readonly transaction?: TransactionOptions;
}

/** Of a query that is on its way through Knex. */
interface KnexQuery {
  readonly sql: string;
  readonly bindings?: readonly unknown[];
  response?: unknown;
  context?: { readonly lastID: number | bigint | undefined; readonly changes: number };
}

/** Knex's client for better-sqlite3: its SQL, its way to treat values and results. Knex's types do not show it. */
interface SqliteClient extends Knex.Client {
  _formatBindings(bindings: readonly unknown[] | undefined): unknown[];
  poolDefaults(): { min: number; max: number; propagateCreateError: boolean };
  destroy(callback?: (error?: unknown) => void): Promise<void>;
}
const Client_BetterSQLite3 = createRequire(import.meta.url)(
  'knex/lib/dialects/better-sqlite3/index.js',
) as Omit<typeof Knex.Client, 'prototype'> & (new (config: Knex.Config) => SqliteClient);

/** What all connections of one Knex have in common. */
interface Opened {
  readonly client: Client;
  readonly reads: DirectReads;
}

/**
 * For Knex's configuration. One connection to the daemon serves all connections of Knex's pool; `destroy` ends it.
 *
 * @example
 * const db = knex({ client: SkylineClient, connection: { filename: 'stars.db' }, useNullAsDefault: true });
 */
export class SkylineClient extends Client_BetterSQLite3 {
  // Knex makes the clients of its transactions from the prototype alone: they have no private fields.
  /** @internal */
  declare opened: Promise<Opened> | undefined;

  /** @internal */
  _driver(): object {
    return {};
  }

  /** @internal */
  override async acquireRawConnection(): Promise<DriverConnection> {
    const { filename, transaction, ...options } = this.connectionSettings as SkylineConnectionConfig;
    if (typeof filename !== 'string')
      throw invalidRequest('Knex has no "connection.filename": it names the database.');
    this.opened ??= open(filename, options);
    try {
      const { client, reads } = await this.opened;
      return new DriverConnection(client.database(filename), reads, transaction);
    } catch (error) {
      // The next query tries again.
      this.opened = undefined;
      throw error;
    }
  }

  /** @internal */
  override async destroyRawConnection(connection: DriverConnection): Promise<void> {
    if (connection.inTransaction) await connection.rollback();
  }

  /** @internal */
  async _query(connection: DriverConnection, query: KnexQuery): Promise<KnexQuery> {
    if (query.sql === '') throw new Error('The query is empty');
    const result = await connection.execute(query.sql, this._formatBindings(query.bindings));
    const { rowsAffected: changes, lastInsertRowid } = result;
    if (result.columns !== undefined) query.response = objectsOf(result);
    else {
      query.response = { changes, lastInsertRowid };
      query.context = { lastID: lastInsertRowid, changes };
    }
    return query;
  }

  /** @internal */
  async _stream(connection: DriverConnection, query: KnexQuery, stream: Writable): Promise<void> {
    const rows = connection.stream(query.sql, this._formatBindings(query.bindings));
    await pipeline(Readable.from(rows), stream);
  }

  /** Connections cost nothing here: each transaction has one, and reads need not wait for it. */
  override poolDefaults(): { min: number; max: number; propagateCreateError: boolean } {
    return { ...super.poolDefaults(), min: 0, max: 10 };
  }

  override async destroy(callback?: (error?: unknown) => void): Promise<void> {
    const opened = this.opened;
    this.opened = undefined;
    try {
      await super.destroy(callback);
    } finally {
      const { client, reads } = (await opened?.catch(() => undefined)) ?? {};
      reads?.close();
      client?.close();
    }
  }
}

async function open(filename: string, options: ConnectOptions): Promise<Opened> {
  const client = await connect(options);
  return { client, reads: new DirectReads(client.database(filename)) };
}
