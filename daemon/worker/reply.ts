import { digits } from '../../protocol/digits.js';
import type { RequestId } from '../../protocol/messages.js';

/** The text of a successful reply: its id, then the fields that do not depend on who asked. */
export function okReply(id: RequestId | undefined, fields: string): string {
  return `{"status":"ok"${idField(id)},${fields}}`;
}

/** `,"id":…` for a message to the client, or nothing. */
export function idField(id: RequestId | undefined): string {
  if (id === undefined) return '';
  return `,"id":${typeof id === 'number' ? digits(id) : JSON.stringify(id)}`;
}
