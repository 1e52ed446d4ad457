import { checkDatabaseName } from './database-name.js';
import { asSettingNames, decodeSettings } from './decode-settings.js';
import { asBoolean, asString, asTimeout, optional, text } from './fields.js';
import type { JsonObject } from './frame.js';
import type { CatalogRequest } from './messages.js';

type Decoders = {
  readonly [Type in CatalogRequest['type']]: (
    object: JsonObject,
  ) => Omit<Extract<CatalogRequest, { type: Type }>, 'id' | 'type'>;
};

/** One decoder per request about the catalog. @throws ProtocolError `INVALID_REQUEST` */
export const catalogDecoders: Decoders = {
  CreateDatabase: (object) => ({
    name: name(object),
    ...optional(object, 'if_not_exists', asBoolean),
    ...optional(object, 'settings', decodeSettings),
  }),
  AlterDatabase: (object) => ({
    name: name(object),
    ...optional(object, 'settings', decodeSettings),
    ...optional(object, 'reset', asSettingNames),
  }),
  DropDatabase: (object) => ({
    name: name(object),
    ...optional(object, 'if_exists', asBoolean),
    ...optional(object, 'force', asBoolean),
    ...optional(object, 'timeout_ms', asTimeout),
  }),
  RenameDatabase: (object) => ({
    name: name(object),
    to: checkDatabaseName(text(object, 'to'), 'to'),
    ...optional(object, 'force', asBoolean),
    ...optional(object, 'timeout_ms', asTimeout),
  }),
  RestoreDatabase: (object) => ({
    name: name(object),
    ...optional(object, 'as', (value, where) => checkDatabaseName(asString(value, where), where)),
  }),
  ListDatabases: () => ({}),
  AdoptDirectory: (object) => ({ dir: text(object, 'dir') }),
};

function name(object: JsonObject): string {
  return checkDatabaseName(text(object, 'name'));
}
