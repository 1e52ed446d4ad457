import { decodeReply } from '../protocol/decode-reply.js';
import { SETTING_NAMES } from '../protocol/decode-settings.js';
import { invalidRequest } from '../protocol/errors.js';
import type { DatabaseSettings, ReplyOf } from '../protocol/messages.js';
import type { Unnumbered } from './connection.js';

/** What a database has set differently from the daemon. Left out: as the daemon. */
export interface Settings {
  readonly durability?: 'normal' | 'full';
  /** Bytes that its WAL should not exceed. */
  readonly walLimit?: number;
  /** Bytes of the file that SQLite maps into memory: https://sqlite.org/pragma.html#pragma_mmap_size */
  readonly mmapSize?: number;
  /** Milliseconds without requests after which the file is closed; 0 for never. */
  readonly workerIdleTimeoutMs?: number;
  /** Milliseconds to wait for another program's write lock. */
  readonly busyTimeoutMs?: number;
  readonly maxStatements?: number;
  readonly maxParameters?: number;
  readonly maxSqlBytes?: number;
  readonly maxResultBytes?: number;
}

/** How to take a database away from those who use it. */
export interface TakeOptions {
  /** End what can be ended of those who use it, instead of refusing. */
  readonly force?: boolean;
  /** Milliseconds for readers and queued batches to finish. Default 5 000. */
  readonly timeoutMs?: number;
}

/** `walLimit` is `wal_limit` on the wire. */
const WIRE_NAMES = new Map(SETTING_NAMES.map((name) => [camel(name), name]));

/**
 * The settings as the wire has them.
 * @throws SkylineError `INVALID_REQUEST` for a setting that does not exist
 */
export function toWire(settings: Settings): DatabaseSettings {
  return Object.fromEntries(
    Object.entries(settings)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [wireName(name), value]),
  );
}

export function wireName(name: string): keyof DatabaseSettings {
  const found = WIRE_NAMES.get(name);
  if (found === undefined)
    throw invalidRequest(`There is no setting "${name}". There are ${[...WIRE_NAMES.keys()].join(', ')}.`);
  return found;
}

/** Leaves out what is undefined. */
export function given<Fields extends object>(
  fields: Fields,
): { [Name in keyof Fields]?: NonNullable<Fields[Name]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}

/** Sends a request about the catalog and decodes its reply. */
export async function ask<Type extends keyof ReplyOf & Unnumbered['type']>(
  request: (message: Unnumbered) => Promise<{ readonly [field: string]: unknown }>,
  message: Extract<Unnumbered, { type: Type }>,
): Promise<ReplyOf[Type]> {
  return decodeReply(message.type as Type, await request(message));
}

function camel(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
