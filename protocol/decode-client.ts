import { asInteger, asObject, asString, optional } from './fields.js';
import type { ClientInfo } from './messages.js';

/**
 * What a client says of itself.
 * @throws ProtocolError `INVALID_REQUEST`
 */
export function asClient(value: unknown, where: string): ClientInfo {
  const client = asObject(value, where);
  return {
    ...optional(client, 'name', asString),
    ...optional(client, 'pid', asInteger),
    ...optional(client, 'version', asString),
  };
}
