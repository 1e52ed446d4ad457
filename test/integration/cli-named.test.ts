import { mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeFile } from '../support/database-files.js';
import { Program } from '../support/program.js';
import { CliPlayground, HAS_TERMINAL, inTerminal, runJson } from './cli-harness.js';

let ground: CliPlayground;
beforeEach(() => {
  ground = new CliPlayground();
});
afterEach(async ({ task }) => {
  try {
    if (task.result?.state !== 'fail') await ground.expectCleanEnd();
  } finally {
    await ground.dispose();
  }
});

const json = (...args: string[]) => runJson(ground, args);

describe('databases by name', () => {
  test('made, written, read, renamed, dropped and restored; from any folder', async () => {
    const made = await ground.cli(['create-database', 'stars']);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    expect(made.stdout).toBe(`✓ Created database: stars\n  file  ${ground.file('stars.db')}\n`);
    const written = await ground.cli(
      ['exec', '--db', 'stars', 'CREATE TABLE t (a)', 'INSERT INTO t VALUES (7)'],
      {
        cwd: '/',
      },
    );
    expect(written).toMatchObject({ code: 0, stdout: '✓ Executed successfully on database: stars\n' });
    expect(await ground.cli(['query', '--db', 'STARS', 'SELECT a FROM t'], { cwd: '/' })).toMatchObject({
      code: 0,
      stdout: 'a\n7\n',
    });
    expect(await json('rename-database', 'stars', 'suns')).toMatchObject({
      exit: 0,
      name: 'suns',
      rev: 1,
      epoch: 1,
    });
    expect(await json('databases')).toMatchObject({ exit: 0, databases: [{ name: 'suns' }], dropped: [] });
    expect(await json('drop-database', 'suns')).toMatchObject({ exit: 0, dropped: true });
    expect(await json('query', '--db', 'suns', 'SELECT 1')).toMatchObject({
      exit: 1,
      code: 'DATABASE_NOT_FOUND',
    });
    expect((await ground.cli(['databases', '--dropped'])).stdout).toContain('suns');
    expect(await json('restore-database', 'suns', '--as', 'stars')).toMatchObject({
      exit: 0,
      name: 'stars',
      rev: 1,
    });
    expect((await ground.cli(['databases'])).stdout).toContain('stars.db');
    expect((await ground.cli(['status'])).stdout).toContain(`stars (${ground.file('stars.db')})`);
  });

  test('a name is read without a daemon', async () => {
    await ground.cli(['create-database', 'stars']);
    await ground.cli(['exec', '--db', 'stars', 'CREATE TABLE t (a)', 'INSERT INTO t VALUES (7)']);
    await ground.cli(['shutdown']);
    const { code, stdout } = await ground.cli(['query', '--db', 'stars', 'SELECT a FROM t']);
    expect([code, stdout]).toEqual([0, 'a\n7\n']);
    expect(await json('query', '--db', 'moons', 'SELECT 1')).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
    expect(ground.daemons()).toEqual([]);
    // A direct reader that is the last one leaves the WAL's files: whoever writes next removes them.
    expect(await json('exec', '--db', 'stars', 'SELECT 1')).toMatchObject({ exit: 0 });
  });

  test('the daemon that runs says where its names are, and not the environment', async () => {
    const elsewhere = join(ground.dir, 'elsewhere');
    await ground.daemon([elsewhere]);
    await ground.cli(['create-database', 'stars']);
    await ground.cli(['exec', '--db', 'stars', 'CREATE TABLE t (a)', 'INSERT INTO t VALUES (7)']);
    expect((await ground.cli(['query', '--db', 'stars', 'SELECT a FROM t'])).stdout).toBe('a\n7\n');
    expect(statSync(join(elsewhere, 'stars.db')).isFile()).toBe(true);
  });

  test('what goes wrong has its exit code, and says what to do', async () => {
    expect(await json('exec', '--db', 'stars', 'SELECT 1')).toMatchObject({
      exit: 1,
      code: 'DATABASE_NOT_FOUND',
      message: expect.stringContaining('./stars'),
    });
    expect(await json('create-database', 'con')).toMatchObject({ exit: 2, code: 'INVALID_REQUEST' });
    await json('create-database', 'stars');
    expect(await json('create-database', 'stars')).toMatchObject({ exit: 1, code: 'DATABASE_EXISTS' });
    expect(await json('create-database', 'stars', '--if-not-exists')).toMatchObject({
      exit: 0,
      created: false,
    });
    expect(await json('drop-database', 'moons')).toMatchObject({ exit: 1, code: 'DATABASE_NOT_FOUND' });
    expect(await json('drop-database', 'moons', '--if-exists')).toMatchObject({ exit: 0, dropped: false });
    await json('exec', '--db', 'stars', 'CREATE TABLE t (a)');
    const reader = Program.fixture(ground, 'idle-reader', [ground.file('stars.db')]);
    await reader.line();
    const refused = await ground.cli(['drop-database', 'stars']);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`pid ${reader.pid}`);
    expect(refused.stderr).toContain('--force');
    expect(await json('drop-database', 'stars', '--force')).toMatchObject({ exit: 0, dropped: true });
    reader.child.stdin?.end();
    await reader.exited;
  });

  test('./stars is a file', async () => {
    expect(await json('exec', '--db', './stars', 'CREATE TABLE t (a)')).toMatchObject({ exit: 0 });
    expect(statSync(ground.file('stars')).isFile()).toBe(true);
  });
});

describe('settings', () => {
  test('are set as people write them, shown, and taken back', async () => {
    const set = ['--set', 'durability=full', '--set', 'wal_limit=16MB'];
    expect(await json('create-database', 'stars', ...set)).toMatchObject({ exit: 0 });
    expect(
      await json('configure-database', 'stars', 'worker-idle-timeout=30s', 'durability=default'),
    ).toMatchObject({
      exit: 0,
      settings: { wal_limit: 16 * 1024 * 1024, worker_idle_timeout_ms: 30_000 },
    });
    const shown = await ground.cli(['configure-database', 'stars']);
    expect(shown.stdout).toContain('worker_idle_timeout  30000ms');
    expect(shown.stdout).not.toContain('durability');
  });

  test.each(['colour=red', 'wal_limit', 'wal_limit=much', 'max_statements=1KB', 'busy_timeout=5y'])(
    '%s is wrong usage',
    async (text) => {
      expect(await json('create-database', 'stars', '--set', text)).toMatchObject({ exit: 2 });
      expect(ground.daemons()).toEqual([]);
    },
  );
});

describe('adopt', () => {
  /** A folder with two databases, and what else lies about in folders. */
  async function makeFolder(): Promise<string> {
    const dir = join(ground.dir, 'old');
    mkdirSync(dir);
    await makeFile(ground, join(dir, 'stars.db'), 2, 'star');
    await makeFile(ground, join(dir, 'my moons.sqlite'), 1, 'moon', 'wal');
    writeFileSync(join(dir, 'notes.txt'), 'no database');
    writeFileSync(join(dir, 'empty.db'), '');
    writeFileSync(join(dir, 'con.db'), readHeader());
    writeFileSync(join(dir, 'stars.db.before-epoch-2'), readHeader());
    writeFileSync(join(dir, 'stars.db-journal.txt'), 'no database');
    mkdirSync(join(dir, 'folder.db'));
    symlinkSync(join(dir, 'nowhere.db'), join(dir, 'dangling.db'));
    return dir;
  }
  const readHeader = () => Buffer.from('SQLite format 3\0'.padEnd(512, '\0'));

  test('gives names to the files of a folder, changing none, and tells what it skipped', async () => {
    const dir = await makeFolder();
    const before = ['stars.db', 'my moons.sqlite'].map(
      (name) => statSync(join(dir, name), { bigint: true }).mtimeNs,
    );
    const reply = await json('adopt', dir);
    expect(reply).toMatchObject({
      exit: 0,
      adopted: [
        { name: 'my_moons', db_path: join(dir, 'my moons.sqlite') },
        { name: 'stars', db_path: join(dir, 'stars.db') },
      ],
    });
    const skipped = Object.fromEntries(
      (reply.skipped as { file: string; reason: string }[]).map(({ file, reason }) => [file, reason]),
    );
    expect(Object.keys(skipped).sort()).toEqual([
      'con.db',
      'dangling.db',
      'empty.db',
      'notes.txt',
      'stars.db-journal.txt',
      'stars.db.before-epoch-2',
    ]);
    expect(skipped['con.db']).toContain('Windows');
    expect(skipped['stars.db.before-epoch-2']).toContain('replaced');
    expect(skipped['notes.txt']).toContain('no SQLite database');
    const after = ['stars.db', 'my moons.sqlite'].map(
      (name) => statSync(join(dir, name), { bigint: true }).mtimeNs,
    );
    expect(after).toEqual(before);
    expect((await ground.cli(['query', '--db', 'my_moons', 'SELECT mark FROM stars'])).stdout).toBe(
      'mark\nmoon\n',
    );
    const again = await json('adopt', dir);
    expect(again).toMatchObject({ exit: 0, adopted: [] });
    expect(JSON.stringify(again.skipped)).toContain('it has the name stars already');
  });

  test('a name that is taken is told, and a file of another folder stays where it is', async () => {
    const dir = await makeFolder();
    await json('create-database', 'STARS');
    expect(JSON.stringify((await json('adopt', dir)).skipped)).toContain('the name stars belongs to');
    await json('drop-database', 'my_moons');
    expect(statSync(join(dir, 'my moons.sqlite')).isFile()).toBe(true);
    expect(await json('restore-database', 'my_moons')).toMatchObject({ exit: 0, name: 'my_moons' });
    expect(await json('rename-database', 'my_moons', 'moons')).toMatchObject({
      exit: 0,
      db_path: join(dir, 'my moons.sqlite'),
    });
    expect((await ground.cli(['query', '--db', 'moons', 'SELECT mark FROM stars'])).stdout).toBe(
      'mark\nmoon\n',
    );
  });

  test('a folder that is none, is not there, or lies outside of --root', async () => {
    await ground.daemon(['--root', ground.dataDir]);
    expect(await json('adopt', join(ground.dataDir, 'nowhere'))).toMatchObject({
      code: 'DATABASE_NOT_FOUND',
    });
    writeFileSync(ground.file('file'), '');
    expect(await json('adopt', ground.file('file'))).toMatchObject({ exit: 2, code: 'INVALID_REQUEST' });
    expect(await json('adopt', '/tmp')).toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
    await makeFile(ground, ground.file('stars.db'), 1, 'star');
    expect(await json('adopt', ground.dataDir)).toMatchObject({ exit: 0, adopted: [{ name: 'stars' }] });
  });

  test.skipIf(!HAS_TERMINAL)('a bar shows how it gets on, on a terminal', async () => {
    const dir = await makeFolder();
    const { terminal, stdout, code } = await inTerminal(ground, 'err', ['adopt', dir]);
    expect(code).toBe(0);
    expect(terminal).toContain('Adopting [');
    expect(terminal).toContain('files');
    expect(stdout).toContain('✓ Adopted 2 databases');
  });
});
