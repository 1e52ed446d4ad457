import { randomUUID } from 'node:crypto';
import { userInfo } from 'node:os';
import type { JsonObject } from '../protocol/frame.js';
import type { DatabaseSettings, Statement, WireValue } from '../protocol/messages.js';
import type { Position } from './worker/link.js';

/**
 * What is about to happen to a database, written before the first step: whoever finds it later, because the daemon was
 * killed, finishes what was done to the files or forgets what was not.
 */
export type Intent = {
  /** The daemon that is at it, and since when. */
  readonly pid: number;
  readonly at: string;
} & (
  | { readonly op: 'create' }
  | {
      readonly op: 'move';
      /** The file's true path before, and afterwards. */
      readonly from: string;
      readonly to: string;
      readonly inode: string;
      /** What the row says once the file has moved. */
      readonly after: Place;
    }
);

/** Where a database is, and whether it is dropped. */
export interface Place {
  readonly name: string;
  /** The file's true path; for a dropped one, where it was. */
  readonly path: string;
  /** When it was dropped, in ISO 8601; null while it is not. */
  readonly dropped: string | null;
  /** Where a dropped one's file lies; null if it was left where it is. */
  readonly trash: string | null;
  /** Where it stood when it was dropped. */
  readonly position: Position | null;
}

/** One row of the catalog, except how it is used. */
export interface CatalogEntry extends Place {
  readonly id: string;
  readonly owner: string;
  readonly created: string;
  readonly settings: DatabaseSettings;
  readonly intent: Intent | null;
}

/** A database that is given a name. */
export function newEntry(name: string, path: string, settings: DatabaseSettings = {}): CatalogEntry {
  const created = new Date().toISOString();
  return {
    ...{ id: randomUUID(), name, path, owner: userName(), created, settings },
    ...{ dropped: null, trash: null, position: null, intent: null },
  };
}

/** In a container the user may have a number alone. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? '');
  }
}

/** When a database was last used, and how large it was: written now and then, without hurry. */
export interface Usage {
  readonly lastUsed: string | null;
  /** Bytes; null before anybody looked. */
  readonly size: number | null;
}

export const CATALOG_VERSION = 1;

/** The columns that a change writes. `last_used` and `size` have a statement of their own. */
const COLUMNS = [
  'id',
  'name',
  'path',
  'owner',
  'created',
  'settings',
  'dropped',
  'trash',
  'position',
  'intent',
] as const;

/** Makes the catalog. NOCASE knows the letters a to z, and names have no others. */
export const MAKE_CATALOG: readonly Statement[] = [
  {
    sql: `CREATE TABLE IF NOT EXISTS databases (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL COLLATE NOCASE,
  path TEXT NOT NULL,
  owner TEXT NOT NULL,
  created TEXT NOT NULL,
  last_used TEXT,
  size INTEGER,
  settings TEXT NOT NULL DEFAULT '{}',
  dropped TEXT,
  trash TEXT,
  position TEXT,
  intent TEXT
)`,
  },
  { sql: 'CREATE UNIQUE INDEX IF NOT EXISTS live_names ON databases (name) WHERE dropped IS NULL' },
  { sql: `PRAGMA user_version = ${CATALOG_VERSION}` },
];

/** Rows per answer: a frame takes them whatever they hold. */
const PAGE = 500;

/** Reads the rows behind this id. */
export function readPage(after: string): Statement {
  return {
    sql: `SELECT ${COLUMNS.join(', ')}, last_used, size FROM databases WHERE id > ? ORDER BY id LIMIT ${PAGE}`,
    params: [after],
  };
}

export function isLastPage(rows: readonly unknown[]): boolean {
  return rows.length < PAGE;
}

/** Writes a row, whether it is there or not: sent twice, it does nothing more. */
export function writeEntry(entry: CatalogEntry, toPath: (path: string) => string): Statement {
  const values: { readonly [Column in (typeof COLUMNS)[number]]: WireValue } = {
    id: entry.id,
    name: entry.name,
    path: toPath(entry.path),
    owner: entry.owner,
    created: entry.created,
    settings: JSON.stringify(entry.settings),
    dropped: entry.dropped,
    trash: entry.trash === null ? null : toPath(entry.trash),
    position: jsonOrNull(entry.position),
    intent: jsonOrNull(withPaths(entry.intent, toPath)),
  };
  return {
    sql: `INSERT INTO databases (${COLUMNS.join(', ')}) VALUES (${COLUMNS.map((column) => `:${column}`).join(', ')})
ON CONFLICT (id) DO UPDATE SET ${COLUMNS.slice(1)
      .map((column) => `${column} = excluded.${column}`)
      .join(', ')}`,
    params: values,
  };
}

export function removeEntry(id: string): Statement {
  return { sql: 'DELETE FROM databases WHERE id = ?', params: [id] };
}

export function writeUsage(usages: Iterable<readonly [id: string, usage: Usage]>): Statement {
  return {
    sql: 'UPDATE databases SET last_used = coalesce(?, last_used), size = coalesce(?, size) WHERE id = ?',
    param_sets: [...usages].map(([id, { lastUsed, size }]) => [lastUsed, size, id]),
  };
}

/** A row as {@link readPage} gives it. Only the daemon writes them: what cannot be read is damage. */
export function readEntry(
  row: readonly unknown[],
  fromPath: (path: string) => string,
): { entry: CatalogEntry; usage: Usage } {
  const [id, name, path, owner, created, settings, dropped, trash, position, intent, lastUsed, size] =
    row as [string, string, string, string, string, string, ...(string | null)[]];
  return {
    entry: {
      id,
      name,
      path: fromPath(path),
      owner,
      created,
      settings: JSON.parse(settings) as DatabaseSettings,
      dropped: dropped ?? null,
      trash: trash === null || trash === undefined ? null : fromPath(trash),
      position: parsed(position) as Position | null,
      intent: withPaths(parsed(intent) as Intent | null, fromPath),
    },
    usage: { lastUsed: lastUsed ?? null, size: (size as unknown as number | null) ?? null },
  };
}

function withPaths(intent: Intent | null, change: (path: string) => string): Intent | null {
  if (intent === null || intent.op === 'create') return intent;
  const { from, to, after } = intent;
  const trash = after.trash === null ? null : change(after.trash);
  return {
    ...intent,
    from: change(from),
    to: change(to),
    after: { ...after, path: change(after.path), trash },
  };
}

function jsonOrNull(value: object | null): string | null {
  return value === null ? null : JSON.stringify(value);
}

function parsed(text: string | null | undefined): JsonObject | null {
  return text === null || text === undefined ? null : (JSON.parse(text) as JsonObject);
}
