import { mkdtempSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { parseConfig } from '../../../daemon/config.js';
import type { RoutedDatabase } from '../../../daemon/database.js';
import { Databases } from '../../../daemon/databases.js';
import { MaintenanceRecords } from '../../../daemon/maintenance-records.js';
import { WorkerPool } from '../../../daemon/worker-pool.js';
import type { WorkerProcess } from '../../../daemon/worker-process.js';

/** What others do to the files right before a spelling is resolved: the last moment in which it can be turned. */
const others = vi.hoisted(() => ({ act: () => {} }));
vi.mock('../../../daemon/identity.js', async (original) => {
  const identity = await original<typeof import('../../../daemon/identity.js')>();
  return {
    ...identity,
    canonicalPath: (spelling: string) => {
      others.act();
      return identity.canonicalPath(spelling);
    },
  };
});

const STANDING = { id: 'an id', epoch: 3, rev: 7 };

let dir: string;
let databases: Databases;
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'sky-databases-')));
  const env = { SKYLINEDB_STATE_DIR: join(dir, 'state'), SKYLINEDB_SOCKET: join(dir, 'socket') };
  const config = parseConfig([dir], { platform: 'linux', env, uid: 1000, home: dir }, dir);
  databases = new Databases({
    config,
    pool: new WorkerPool(2),
    spares: {} as never,
    records: new MaintenanceRecords(config.stateDir),
    log: pino({ level: 'silent' }),
  });
});
afterEach(() => {
  others.act = () => {};
  rmSync(dir, { recursive: true, force: true });
});

/** A database that is open, and the times that its worker was killed. */
function openDatabase(name: string): { database: RoutedDatabase; kills: () => number } {
  writeFileSync(join(dir, name), '');
  const database = databases.resolve(name);
  const kill = vi.fn();
  database.workers.adopt({ kill } as unknown as WorkerProcess);
  database.known = STANDING;
  return { database, kills: () => kill.mock.calls.length };
}

/** In one step, as `ln -sfn` does it. */
function turn(link: string, target: string): void {
  symlinkSync(target, join(dir, 'aside'));
  renameSync(join(dir, 'aside'), join(dir, link));
}

test('a link that is turned between the look at it and its resolution leaves the file that it leads to then alone', () => {
  const a = openDatabase('a.db');
  const b = openDatabase('b.db');
  turn('link.db', 'a.db');
  others.act = () => turn('link.db', 'b.db');
  expect(databases.resolve('link.db')).toBe(b.database);
  expect([a.kills(), b.kills()]).toEqual([0, 0]);
  expect(b.database.known).toEqual(STANDING);
});

test('nor does a link that led nowhere make that file look deleted', () => {
  const b = openDatabase('b.db');
  turn('link.db', 'missing.db');
  others.act = () => turn('link.db', 'b.db');
  expect(databases.resolve('link.db')).toBe(b.database);
  expect(b.kills()).toBe(0);
  expect(b.database.known).toEqual(STANDING);
});

test('a file that was exchanged is still noticed: its worker has another one open', async () => {
  const a = openDatabase('a.db');
  // What was read together shares one look.
  await Promise.resolve();
  writeFileSync(join(dir, 'new.db'), '');
  renameSync(join(dir, 'new.db'), join(dir, 'a.db'));
  expect(databases.resolve('a.db')).toBe(a.database);
  expect(a.kills()).toBe(1);
});
