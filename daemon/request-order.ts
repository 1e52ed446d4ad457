import type { RoutedDatabase } from './database.js';
import type { ClientConnection } from './worker/client-connection.js';

/**
 * What a connection's next request has to wait for: an earlier one of its own, where that decides what names mean or
 * whether a database is open. Most connections are not in here.
 */
export class RequestOrder {
  /** Connections with a request in progress that must be finished before their next one for the same database. */
  readonly #gates = new Map<ClientConnection, Map<RoutedDatabase, Promise<unknown>>>();
  /** Connections whose next request has to wait until it is known what names mean. */
  readonly #naming = new Map<ClientConnection, Promise<unknown>>();

  /** Some connection's request waits until it is known what names mean. */
  get naming(): boolean {
    return this.#naming.size > 0;
  }

  /** What this connection's next request waits for, whatever it names. */
  namingOf(connection: ClientConnection): Promise<unknown> | undefined {
    return this.#naming.get(connection);
  }

  /** What this connection sends next waits for it, too: names may mean something else afterwards. */
  afterNaming(connection: ClientConnection, naming: Promise<unknown>, work: () => Promise<void>): void {
    const until = naming.then(work, work);
    this.#naming.set(connection, until);
    void until.then(() => {
      if (this.#naming.get(connection) === until) this.#naming.delete(connection);
    });
  }

  /** What this connection's next request for the database waits for. */
  gateOf(connection: ClientConnection, database: RoutedDatabase): Promise<unknown> | undefined {
    return this.#gates.get(connection)?.get(database);
  }

  /** This connection's next request for the database waits for the promise, which never rejects. */
  gate(connection: ClientConnection, database: RoutedDatabase, until: Promise<unknown>): void {
    const gates = this.#gates.get(connection) ?? new Map<RoutedDatabase, Promise<unknown>>();
    this.#gates.set(connection, gates);
    gates.set(database, until);
    void until.then(() => {
      if (gates.get(database) !== until) return;
      gates.delete(database);
      if (gates.size === 0) this.#gates.delete(connection);
    });
  }

  /** The connection has ended. */
  forget(connection: ClientConnection): void {
    this.#gates.delete(connection);
    this.#naming.delete(connection);
  }
}
