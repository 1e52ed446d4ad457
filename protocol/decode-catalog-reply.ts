import { asArray, asInteger, asObject, asString, field, flag, optional, orNull, text } from './fields.js';
import type { JsonObject } from './frame.js';
import type {
  CatalogRequest,
  DatabaseSettings,
  DroppedDatabase,
  NamedDatabase,
  ReplyOf,
} from './messages.js';
import { ok, position } from './reply-fields.js';

type Decoders = {
  readonly [Name in CatalogRequest['type']]: (object: JsonObject) => ReplyOf[Name];
};

/** One decoder per reply to a request about the catalog. @throws ProtocolError `INVALID_REQUEST` */
export const catalogReplyDecoders: Decoders = {
  CreateDatabase: (object) => ({
    ...ok(object),
    created: flag(object, 'created'),
    name: text(object, 'name'),
    database_id: text(object, 'database_id'),
    db_path: text(object, 'db_path'),
  }),
  AlterDatabase: (object) => ({
    ...ok(object),
    name: text(object, 'name'),
    settings: settings(object),
    in_effect: flag(object, 'in_effect'),
  }),
  DropDatabase: (object) => ({
    ...ok(object),
    dropped: flag(object, 'dropped'),
    ...optional(object, 'until', asString),
    ...optional(object, 'file_kept', asString),
  }),
  RenameDatabase: standing,
  RestoreDatabase: standing,
  ListDatabases: (object) => ({
    ...ok(object),
    data_dir: text(object, 'data_dir'),
    databases: asArray(field(object, 'databases'), 'databases').map(named),
    dropped: asArray(field(object, 'dropped'), 'dropped').map(dropped),
  }),
  AdoptDirectory: (object) => ({
    ...ok(object),
    adopted: asArray(field(object, 'adopted'), 'adopted').map((value) => {
      const one = asObject(value, 'adopted');
      return { name: text(one, 'name'), db_path: text(one, 'db_path') };
    }),
    skipped: asArray(field(object, 'skipped'), 'skipped').map((value) => {
      const one = asObject(value, 'skipped');
      return { file: text(one, 'file'), reason: text(one, 'reason') };
    }),
  }),
};

function standing(object: JsonObject): ReplyOf['RenameDatabase'] {
  return { ...ok(object), ...position(object), name: text(object, 'name'), db_path: text(object, 'db_path') };
}

function named(value: unknown): NamedDatabase {
  const object = asObject(value, 'databases');
  return {
    name: text(object, 'name'),
    id: text(object, 'id'),
    db_path: text(object, 'db_path'),
    owner: text(object, 'owner'),
    created: text(object, 'created'),
    last_used: orNull(object, 'last_used', asString),
    size: orNull(object, 'size', asInteger),
    settings: settings(object),
  };
}

function dropped(value: unknown): DroppedDatabase {
  const object = asObject(value, 'dropped');
  return {
    name: text(object, 'name'),
    id: text(object, 'id'),
    dropped: text(object, 'dropped'),
    until: text(object, 'until'),
    size: orNull(object, 'size', asInteger),
  };
}

/** A newer daemon may have more settings. */
function settings(object: JsonObject): DatabaseSettings {
  return asObject(field(object, 'settings'), 'settings') as DatabaseSettings;
}
