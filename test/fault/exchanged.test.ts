import { renameSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';
import type { Wire } from '../support/wire.js';

/** A program that exchanges the file under the daemon without a word. */
let ground: Playground;
let wire: Wire;
beforeEach(async () => {
  ground = new Playground();
  await ground.daemon();
  wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)', 'INSERT INTO t VALUES (1)']);
});
afterEach(async () => {
  await ground.dispose();
});

async function exchange(): Promise<void> {
  await ground.sqlite3(ground.file('new.db'), "CREATE TABLE t (a); INSERT INTO t VALUES ('new')");
  renameSync(ground.file('new.db'), ground.file('x.db'));
}

test('is noticed right after the batch that made the file', async () => {
  await exchange();
  expect(await wire.exec('x.db', ['INSERT INTO t VALUES (2)'])).toMatchObject({ status: 'ok', epoch: 2 });
  expect(await wire.rows('x.db', 'SELECT a FROM t')).toEqual([['new'], [2]]);
});

test('shows in the first Ping, and fails no request', async () => {
  await wire.request({ type: 'Ping', db: 'x.db' });
  await exchange();
  expect(await wire.request({ type: 'Ping', db: 'x.db' })).toMatchObject({ status: 'ok', epoch: 2 });
  await exchange();
  expect(await wire.request({ type: 'Checkpoint', db: 'x.db' })).toMatchObject({ status: 'ok' });
});
