import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Catalog } from '../../../daemon/catalog.js';
import { CatalogRows } from '../../../daemon/catalog-rows.js';
import { type CatalogEntry, newEntry } from '../../../daemon/catalog-table.js';
import { CatalogUpkeep } from '../../../daemon/catalog-upkeep.js';
import type { Databases } from '../../../daemon/databases.js';
import { NameTurns } from '../../../daemon/name-turns.js';

const DAY_MS = 24 * 60 * 60 * 1000;

let dir: string;
let rows: CatalogRows;
/** What happens while a row is being removed from the catalog. */
let meanwhile: () => void;
let upkeep: CatalogUpkeep;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sky-upkeep-'));
  rows = new CatalogRows();
  meanwhile = () => {};
  const catalog: Partial<Catalog> = {
    rows,
    exists: true,
    ready: async () => {},
    flush: async () => {},
    remove: async (id: string) => {
      meanwhile();
      rows.drop(id);
    },
  };
  const databases = { catalog, all: () => [] } as unknown as Databases;
  upkeep = new CatalogUpkeep(databases, new NameTurns(), pino({ level: 'silent' }));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A database that was dropped some days ago, with its file. */
function dropped(name: string, days: number): CatalogEntry {
  const trash = join(dir, `${name}.db`);
  writeFileSync(trash, name);
  const at = new Date(Date.now() - days * DAY_MS).toISOString();
  const entry = { ...newEntry(name, join(dir, 'data', `${name}.db`)), dropped: at, trash };
  rows.keep(entry);
  return entry;
}

const namesLeft = () => rows.all().map(({ name }) => name);

test('what was dropped seven days ago is removed for good, and nothing younger', async () => {
  const [old, young] = [dropped('old', 7.1), dropped('young', 6.9)];
  await upkeep.tidy();
  expect(namesLeft()).toEqual(['young']);
  expect([old, young].map(({ trash }) => existsSync(String(trash)))).toEqual([false, true]);
});

test('what was restored and dropped again meanwhile has its seven days', async () => {
  dropped('first', 8);
  const second = dropped('second', 8);
  meanwhile = () => rows.keep({ ...second, dropped: new Date().toISOString() });
  await upkeep.tidy();
  expect(namesLeft()).toEqual(['second']);
  expect(existsSync(String(second.trash))).toBe(true);
});

test('what was restored meanwhile stays', async () => {
  dropped('first', 8);
  const second = dropped('second', 8);
  meanwhile = () => rows.keep({ ...second, dropped: null, trash: null });
  await upkeep.tidy();
  expect(namesLeft()).toEqual(['second']);
});
