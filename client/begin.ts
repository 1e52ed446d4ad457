import { decodeReply } from '../protocol/decode-reply.js';
import { invalidRequest, SkylineError } from '../protocol/errors.js';
import type { BeginTxReply } from '../protocol/messages.js';
import { stopped } from './cancel.js';
import type { Connection } from './connection.js';
import { Transaction } from './transaction.js';
import { type TransactionWay, unlessAborted } from './transaction-way.js';

export interface TransactionOptions {
  /** A consistent snapshot to read: it waits for nobody who writes, and nobody waits for it. Default false. */
  readonly read?: boolean;
  /** Milliseconds without use after which the daemon rolls it back. Default: the daemon's `--tx-lease`, 5 000. */
  readonly leaseMs?: number;
  /** Milliseconds after which the daemon rolls it back in any case; at most its `--tx-max`, 60 000, which is the default. */
  readonly maxMs?: number;
  /** Milliseconds to wait in the daemon until it is its turn. */
  readonly timeoutMs?: number;
  /** On disk before the commit's answer, whatever the daemon's `--durability`. */
  readonly durable?: boolean;
  /**
   * `false`: foreign keys are not enforced inside, for rebuilding a table to which others refer
   * (https://sqlite.org/lang_altertable.html#otheralter). The commit fails if a reference is broken then. Default true.
   */
  readonly foreignKeys?: boolean;
  /** Gives up waiting for its turn. */
  readonly signal?: AbortSignal | undefined;
}

/** Times that a transaction is begun again which the daemon could not begin. */
const MAX_REPEATS = 20;

/** Begins a transaction when it is its turn. */
export async function begin(way: TransactionWay, options: TransactionOptions): Promise<Transaction> {
  const { signal, read = false } = options;
  const fields = fieldsOf(options);
  const done = read ? () => undefined : await way.turn(signal);
  let connection: Connection | null = null;
  try {
    for (let tries = 1; ; tries += 1) {
      // What was sent before comes first, also where it went another way.
      await unlessAborted(way.hooks.settled(), signal);
      connection = await unlessAborted(borrowed(way, signal), signal);
      try {
        const request = { type: 'BeginTx' as const, db: way.db, ...fields };
        const reply = decodeReply('BeginTx', await connection.request(request, { signal }));
        return open(way, connection, reply, read, done);
      } catch (error) {
        if (tries >= MAX_REPEATS || !mayBeginAgain(error)) throw error;
        connection.close();
        way.hooks.giveBack(connection);
        connection = null;
      }
    }
  } catch (error) {
    // Its transaction may begin yet: that ends with the connection.
    const gaveUp = error instanceof SkylineError && error.code === 'ABORTED';
    if (gaveUp) connection?.close();
    if (connection !== null) way.hooks.giveBack(connection);
    done();
    throw gaveUp && connection !== null ? stopped('not_applied', signal?.reason) : error;
  }
}

function open(
  way: TransactionWay,
  connection: Connection,
  reply: BeginTxReply,
  read: boolean,
  done: () => void,
): Transaction {
  return new Transaction(way, connection, reply, read, () => {
    way.hooks.giveBack(connection);
    done();
  });
}

/** A connection that comes when nobody waits for it any more goes back. */
async function borrowed(way: TransactionWay, signal: AbortSignal | undefined): Promise<Connection> {
  const connection = await way.hooks.borrow();
  if (signal?.aborted === true) way.hooks.giveBack(connection);
  return connection;
}

/** A transaction that was only begun has done nothing. */
function mayBeginAgain(error: unknown): boolean {
  return error instanceof SkylineError && ['CONNECTION_LOST', 'SHUTTING_DOWN'].includes(error.code);
}

/** @throws SkylineError `INVALID_REQUEST` naming the option */
function fieldsOf(options: TransactionOptions): object {
  const { read, leaseMs, maxMs, timeoutMs, durable, foreignKeys } = options;
  return {
    ...flag('read', 'read', read),
    ...flag('durable', 'durable', durable),
    ...flag('foreignKeys', 'foreign_keys', foreignKeys),
    ...milliseconds('leaseMs', 'lease_ms', leaseMs, 1),
    ...milliseconds('maxMs', 'max_ms', maxMs, 1),
    ...milliseconds('timeoutMs', 'timeout_ms', timeoutMs, 0),
  };
}

function flag(option: string, name: string, value: unknown): object {
  if (value === undefined) return {};
  if (typeof value !== 'boolean') throw invalidRequest(`The option "${option}" must be true or false.`);
  return { [name]: value };
}

function milliseconds(option: string, name: string, value: unknown, min: number): object {
  if (value === undefined) return {};
  if (typeof value !== 'number' || !Number.isFinite(value) || value < min)
    throw invalidRequest(`The option "${option}" must be a number of milliseconds, from ${min}.`);
  return { [name]: Math.ceil(value) };
}
