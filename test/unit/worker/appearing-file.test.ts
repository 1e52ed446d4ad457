import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseConfig } from '../../../daemon/config.js';
import { PositionWriter } from '../../../daemon/worker/position-table.js';
import { ServedDatabase } from '../../../daemon/worker/served-database.js';
import { workerOptions } from '../../support/worker-options.js';

const AROUND = { platform: 'linux', env: {}, uid: 1000, home: '/home/me' } as const;
const { limits } = parseConfig([], AROUND, '/here');

let dir: string;
let path: string;
let database: ServedDatabase;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sky-appearing-'));
  path = join(dir, 'x.db');
  database = new ServedDatabase(workerOptions(path, limits), () => {});
});
afterEach(() => {
  database.close();
  rmSync(dir, { recursive: true, force: true });
});

const STANDING = { id: 'its own id', epoch: 3, rev: 50 };

/** A database with a history comes to the path, as `mv` or a rename brings it. */
function fileArrives(): void {
  const db = new Database(path);
  db.exec('CREATE TABLE t (a)');
  new PositionWriter(db).write(STANDING);
  db.close();
}

test('a file that appears before the first batch makes one goes on from where it stands', async () => {
  expect(await database.open()).toBe(false);
  fileArrives();
  await database.make();
  expect(database.position).toEqual(STANDING);
});

test('a file that appears while a named database is made is not taken for the new one', async () => {
  const made = database.create({ id: 'the new id', epoch: 1, rev: 0 });
  // It has looked, and waits for the lock now.
  fileArrives();
  await expect(made).rejects.toMatchObject({ code: 'DATABASE_EXISTS' });
  expect(database.position).toEqual(STANDING);
});

test('a file that is made is new', async () => {
  const position = { id: 'the new id', epoch: 2, rev: 0 };
  expect(await database.create(position)).toEqual(position);
});
