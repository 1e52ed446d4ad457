import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import {
  type CatalogEntry,
  isLastPage,
  MAKE_CATALOG,
  readEntry,
  readPage,
  removeEntry,
  writeEntry,
  writeUsage,
} from '../../../daemon/catalog-table.js';
import type { Statement } from '../../../protocol/messages.js';

/** The statements on SQLite itself, as the worker would run them. */
function open() {
  const db = new Database(':memory:');
  const run = ({ sql, params, param_sets: sets }: Statement): unknown[][] => {
    const stmt = db.prepare(sql);
    const bind = (values: unknown) => (values === undefined ? [] : [values]);
    if (stmt.reader) return stmt.raw(true).all(...bind(params)) as unknown[][];
    for (const set of sets ?? [params]) stmt.run(...bind(set));
    return [];
  };
  for (const statement of MAKE_CATALOG) run(statement);
  return { db, run };
}

const toPath = (path: string) => path.replace(/^\/d\//, '');
const fromPath = (path: string) => (path.startsWith('/') ? path : `/d/${path}`);

const entry: CatalogEntry = {
  id: 'u1',
  name: 'stars',
  path: '/d/stars.db',
  owner: 'ada',
  created: '2026-08-01T09:00:00.000Z',
  settings: { durability: 'full' },
  dropped: null,
  trash: null,
  position: null,
  intent: null,
};
const dropped: CatalogEntry = {
  ...entry,
  id: 'u2',
  dropped: '2026-08-01T10:00:00.000Z',
  trash: '/d/trash/stars-u2.db',
  position: { id: 'u2', epoch: 3, rev: 9 },
};
const moving: CatalogEntry = {
  ...entry,
  id: 'u3',
  name: 'moons',
  path: '/elsewhere/moons.db',
  intent: {
    op: 'move',
    pid: 7,
    at: '2026-08-01T10:00:00.000Z',
    from: '/d/moons.db',
    to: '/d/suns.db',
    inode: '131',
    after: { name: 'suns', path: '/d/suns.db', dropped: null, trash: '/d/trash/x.db', position: null },
  },
};

test('a row comes back as it was written, and the data directory may have moved meanwhile', () => {
  const { db, run } = open();
  for (const one of [entry, dropped, moving]) run(writeEntry(one, toPath));
  const rows = run(readPage(''));
  expect(rows.map((row) => readEntry(row, fromPath).entry)).toEqual([entry, dropped, moving]);
  expect(isLastPage(rows)).toBe(true);
  expect(db.prepare('SELECT path, trash FROM databases').raw(true).all()).toEqual([
    ['stars.db', null],
    ['stars.db', 'trash/stars-u2.db'],
    ['/elsewhere/moons.db', null],
  ]);
  const moved = readEntry(rows[2] ?? [], (path) => (path.startsWith('/') ? path : `/new/${path}`)).entry;
  expect(moved.intent).toMatchObject({
    from: '/new/moons.db',
    to: '/new/suns.db',
    after: { path: '/new/suns.db' },
  });
});

test('written twice it is there once; its usage is not lost, and is written by itself', () => {
  const { run } = open();
  run(writeEntry(entry, toPath));
  run(writeUsage([['u1', { lastUsed: '2026-08-02T00:00:00.000Z', size: 8192 }]]));
  run(writeUsage([['u1', { lastUsed: null, size: null }]]));
  run(writeEntry({ ...entry, name: 'suns' }, toPath));
  const [row = []] = run(readPage(''));
  expect(readEntry(row, fromPath)).toEqual({
    entry: { ...entry, name: 'suns' },
    usage: { lastUsed: '2026-08-02T00:00:00.000Z', size: 8192 },
  });
  run(removeEntry('u1'));
  expect(run(readPage(''))).toEqual([]);
});

test('SQLite itself keeps two live databases from having one name, in any letter case', () => {
  const { run } = open();
  run(writeEntry(entry, toPath));
  run(writeEntry(dropped, toPath));
  expect(() => run(writeEntry({ ...entry, id: 'u9', name: 'STARS' }, toPath))).toThrow(/UNIQUE/);
});

test('rows come in pages, none twice and none left out', () => {
  const { run } = open();
  const ids = Array.from({ length: 1_203 }, (_, at) => `u${String(at).padStart(5, '0')}`);
  for (const id of ids) run(writeEntry({ ...dropped, id }, toPath));
  const seen: string[] = [];
  for (let rows = run(readPage('')); ; rows = run(readPage(seen.at(-1) ?? ''))) {
    seen.push(...rows.map((row) => readEntry(row, fromPath).entry.id));
    if (isLastPage(rows)) break;
  }
  expect(seen).toEqual(ids);
});
