import { asArray, asObject, asString, field, integer, oneOf, optional, unexpected } from './fields.js';
import type { JsonObject } from './frame.js';
import type { DatabaseState, LockHolder, RequestId } from './messages.js';

/** What several replies and events have in common. Each reader throws a ProtocolError `INVALID_REQUEST`. */

/** The id of the request that is answered. */
export function replyId(object: JsonObject): RequestId | undefined {
  const id = field(object, 'id');
  if (id === undefined || typeof id === 'string' || typeof id === 'number') return id;
  throw unexpected('id', 'a number or a string', id);
}

/** What every answer that is no error has. */
export function ok(object: JsonObject): { status: 'ok'; id?: RequestId } {
  const id = replyId(object);
  return { status: 'ok', ...(id === undefined ? {} : { id }) };
}

/** Where the database stands. */
export function position(object: JsonObject): { rev: number; epoch: number } {
  return { rev: integer(object, 'rev'), epoch: integer(object, 'epoch') };
}

export function state(object: JsonObject): DatabaseState {
  return oneOf(['open', 'preparing', 'closed'])(field(object, 'state'), 'state');
}

/** A field that says `true` or is not there. */
export function asTrue(value: unknown, where: string): true {
  if (value !== true) throw unexpected(where, 'true', value);
  return value;
}

/** Who holds a lock. */
export function holders(object: JsonObject): LockHolder[] {
  return asHolders(field(object, 'holders'), 'holders');
}

export function asHolders(value: unknown, where: string): LockHolder[] {
  return asArray(value, where).map((one) => {
    const holder = asObject(one, where);
    return { pid: integer(holder, 'pid'), ...optional(holder, 'command', asString) };
  });
}
