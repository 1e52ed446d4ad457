import {
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseConfig } from '../../../daemon/config.js';
import { ServedDatabase } from '../../../daemon/worker/served-database.js';
import { workerOptions } from '../../support/worker-options.js';

/** A path was resolved, and is a symbolic link when the worker comes to it. */

const AROUND = { platform: 'linux', env: {}, uid: 1000, home: '/home/me' } as const;
const { limits } = parseConfig([], AROUND, '/here');

let dir: string;
let path: string;
let other: string;
let database: ServedDatabase;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sky-turned-'));
  path = join(dir, 'x.db');
  other = join(dir, 'other.db');
  database = new ServedDatabase(workerOptions(path, limits), () => {});
});
afterEach(() => {
  database.close();
  rmSync(dir, { recursive: true, force: true });
});

const REFUSED = { code: 'DATABASE_NOT_ALLOWED', message: expect.stringContaining('symbolic link') };

test('no file is made where a link leads', async () => {
  expect(await database.open()).toBe(false);
  symlinkSync(other, path);
  await expect(database.make()).rejects.toMatchObject(REFUSED);
  expect(existsSync(other)).toBe(false);
});

test('nor is one opened, which has another worker, or lies where none may be served', async () => {
  new Database(other).exec('CREATE TABLE t (a)').close();
  writeFileSync(path, '');
  const opening = database.open();
  // It has looked, and waits for the lock now.
  symlinkSync(other, join(dir, 'aside'));
  renameSync(join(dir, 'aside'), path);
  const before = readFileSync(other);
  await expect(opening).rejects.toMatchObject(REFUSED);
  expect(readFileSync(other)).toEqual(before);
  expect(existsSync(`${path}-owner`)).toBe(false);
});
