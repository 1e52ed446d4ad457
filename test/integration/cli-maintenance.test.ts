import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { finished } from '../support/playground.js';
import { CliPlayground, makeTable, runJson } from './cli-harness.js';

let ground: CliPlayground;
beforeEach(() => {
  ground = new CliPlayground();
});
afterEach(async () => {
  await ground.dispose();
});

describe('maintenance', () => {
  test('prepare, close, reopen; meanwhile writes are exit code 4', async () => {
    await makeTable(ground);
    const insert = ['exec', '--db', 'x.db', 'INSERT INTO t VALUES (1, 1)'];
    const prepare = await ground.cli(['prepare-for-maintenance', '--db', 'x.db']);
    expect(prepare).toMatchObject({ code: 0, stdout: '✓ Prepared for maintenance: x.db\n', stderr: '' });
    expect(await runJson(ground, insert)).toMatchObject({ exit: 4, code: 'DATABASE_PREPARING' });
    expect(await runJson(ground, ['prepare-for-maintenance', '--db', 'x.db'])).toEqual({
      exit: 0,
      status: 'ok',
      checkpointed: true,
    });
    const close = await ground.cli(['close-database', '--db', './x.db', '--timeout', '10s']);
    expect(close).toMatchObject({ code: 0, stdout: '✓ Closed for maintenance: ./x.db\n', stderr: '' });
    expect(await runJson(ground, ['close-database', '--db', 'x.db'])).toEqual({
      exit: 0,
      status: 'ok',
      closed: true,
    });
    expect(await runJson(ground, insert)).toMatchObject({ exit: 4, code: 'DATABASE_CLOSED' });
    const refused = await ground.cli(insert);
    expect([refused.code, refused.stdout]).toEqual([4, '']);
    expect(refused.stderr).toMatch(/^✗ Error: Database is closed for maintenance.*reopen-database/);
    expect(await runJson(ground, ['ping', '--db', 'x.db'])).toMatchObject({ exit: 0, state: 'closed' });
    expect((await ground.cli(['checkpoint', '--db', 'x.db'])).code).toBe(4);
    expect((await ground.cli(['backup', '--db', 'x.db', 'y.db'])).code).toBe(4);
    expect(await ground.cli(['reopen-database', '--db', 'x.db'])).toMatchObject({
      code: 0,
      stdout: '✓ Open again: x.db\n',
    });
    expect((await ground.cli(['reopen-database', '--db', 'x.db'])).stdout).toBe('✓ Open already: x.db\n');
    expect(await runJson(ground, ['reopen-database', '--db', 'x.db'])).toEqual({
      exit: 0,
      status: 'ok',
      reopened: false,
      rev: 1,
      epoch: 1,
    });
    expect((await ground.cli(insert)).code).toBe(0);
  });

  test('closed outlives the daemon; a file that is gone needs --allow-missing', async () => {
    await makeTable(ground);
    await ground.cli(['close-database', '--db', 'x.db']);
    await ground.cli(['shutdown']);
    expect((await ground.cli(['exec', '--db', 'x.db', 'CREATE TABLE u (a)'])).code).toBe(4);
    rmSync(ground.file('x.db'));
    expect((await ground.cli(['reopen-database', '--db', 'x.db'])).code).toBe(1);
    expect((await ground.cli(['reopen-database', '--db', 'x.db', '--allow-missing'])).code).toBe(0);
    expect((await ground.cli(['exec', '--db', 'x.db', 'CREATE TABLE u (a)'])).code).toBe(0);
  });

  test('a reader that stays is named, and the database is open again', async () => {
    await makeTable(ground);
    await ground.cli(['exec', '--db', 'x.db', 'INSERT INTO t VALUES (1, 1)']);
    const reader = ground.start('sqlite3', ['-batch', ground.file('x.db')]);
    reader.stdin?.write("BEGIN; SELECT 'reads', a FROM t;\n");
    await new Promise((resolve) => reader.stdout?.once('data', resolve));
    await ground.cli(['exec', '--db', 'x.db', 'INSERT INTO t VALUES (2, 2)']);
    const busy = await runJson(ground, ['close-database', '--db', 'x.db', '--timeout', '50ms']);
    expect(busy).toMatchObject({ exit: 1, code: 'CHECKPOINT_BUSY' });
    const truncate = ['checkpoint', '--db', 'x.db', '--mode', 'truncate'];
    expect(await runJson(ground, truncate)).toMatchObject({ exit: 1, status: 'ok', busy: true });
    expect(await ground.cli(truncate)).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^✗ Error: /),
    });
    expect((await ground.cli(['exec', '--db', 'x.db', 'INSERT INTO t VALUES (3, 3)'])).code).toBe(0);
    const ended = finished(reader);
    reader.stdin?.end('.quit\n');
    await ended;
    const done = await ground.cli(truncate);
    expect(done).toMatchObject({ code: 0, stdout: '✓ Checkpoint done on database: x.db\n', stderr: '' });
    expect(await runJson(ground, ['checkpoint', '--db', 'x.db'])).toEqual({
      exit: 0,
      status: 'ok',
      log: 0,
      checkpointed: 0,
      busy: false,
    });
  });

  test('backup', async () => {
    await makeTable(ground);
    const { code, stdout, stderr } = await ground.cli(['backup', '--db', 'x.db', 'copy.db']);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^✓ Backed up database: x\.db\n {2}copy +copy\.db\n {2}size .* pages?\n$/);
    expect(await ground.sqlite3(ground.file('copy.db'), 'SELECT count(*) FROM t')).toBe('0');
    const again = await ground.cli(['backup', '--db', 'x.db', 'copy.db']);
    expect(again.code).not.toBe(0);
    expect(again.stderr).toMatch(/exists already.*--overwrite/);
    await ground.cli(['exec', '--db', 'x.db', 'INSERT INTO t VALUES (1, 1)']);
    expect(await runJson(ground, ['backup', '--db', 'x.db', 'copy.db', '--overwrite'])).toEqual({
      exit: 0,
      status: 'ok',
      pages: expect.any(Number),
      bytes: expect.any(Number),
    });
    expect(await ground.sqlite3(ground.file('copy.db'), 'SELECT count(*) FROM t')).toBe('1');
    expect(await runJson(ground, ['backup', '--db', 'none.db', 'y.db'])).toMatchObject({
      exit: 1,
      code: 'DATABASE_NOT_FOUND',
    });
  });

  test('replace-database', async () => {
    await makeTable(ground);
    await ground.sqlite3(ground.file('new.db'), 'CREATE TABLE fresh (a)');
    const { code, stdout, stderr } = await ground.cli(['replace-database', '--db', 'x.db', 'new.db']);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^✓ Replaced database: x\.db\n {2}old file +\/.*\n {2}rev .*\n {2}epoch +2\n$/);
    expect(await ground.sqlite3(ground.file('x.db'), 'SELECT count(*) FROM fresh')).toBe('0');
    const json = await runJson(ground, ['replace-database', '--db', 'x.db', 'new.db']);
    expect(json).toMatchObject({ exit: 0, status: 'ok', replaced: true, epoch: 3 });
    expect(existsSync(String(json.backup))).toBe(true);
    writeFileSync(ground.file('bad.db'), 'no database, but long enough to be taken for one. '.repeat(20));
    expect(await runJson(ground, ['replace-database', '--db', 'x.db', 'bad.db'])).toMatchObject({
      exit: 1,
      code: 'NOT_A_DATABASE',
    });
    expect((await ground.cli(['exec', '--db', 'x.db', 'INSERT INTO fresh VALUES (1)'])).code).toBe(0);
  });
});
