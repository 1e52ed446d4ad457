import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground, until } from '../support/playground.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

const lines = () =>
  readFileSync(join(ground.stateDir, 'daemon.log'), 'utf8')
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { msg: string; level: number });

test('the log is JSON, tells what happened, and has no SQL parameter in it', async () => {
  await ground.daemon(['--log-level', 'trace']);
  const wire = await ground.wire();
  await wire.exec('x.db', [
    'CREATE TABLE t (a UNIQUE)',
    { sql: 'INSERT INTO t VALUES (?)', params: ['secret-4711'] },
  ]);
  await wire.exec('x.db', [{ sql: 'INSERT INTO t VALUES (?)', params: ['secret-4711'] }]);
  await wire.exec('x.db', [{ sql: 'INSERT INTO t VALUES (?)', params: [{ $blob: 'secret-4711' }] }]);
  await wire.request({ type: 'CloseDatabase', db: 'x.db' });
  await ground.expectCleanEnd();
  expect(lines().map(({ msg }) => msg)).toEqual(
    expect.arrayContaining(['listening', 'worker started', 'maintenance state', 'stopped']),
  );
  expect(readFileSync(join(ground.stateDir, 'daemon.log'), 'utf8')).not.toContain('secret');
});

test('--log-level warn leaves out what is only worth knowing', async () => {
  const daemon = await ground.daemon(['--log-level', 'warn']);
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  for (const pid of ground.workers()) process.kill(pid, 'SIGKILL');
  await until('the death is in the log', () => lines().some(({ msg }) => msg === 'worker died'));
  expect(lines().every(({ level }) => level >= 40)).toBe(true);
  daemon.child.kill('SIGTERM');
  await daemon.exited;
});
