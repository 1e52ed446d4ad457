import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, readdirSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

const INSERT = ['INSERT INTO t VALUES (1)'];

let ground: Playground;
let wire: Wire;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

/** Starts the daemon and connects. */
async function serve(args: readonly string[] = []): Promise<void> {
  await ground.daemon(args);
  wire = await ground.wire();
}

/** All below the data folder, folders and links included. */
function listing(): string[] {
  return readdirSync(ground.dataDir, { recursive: true }).map(String).sort();
}

async function databases(): Promise<Message[]> {
  const { databases: records } = await wire.request({ type: 'Status' });
  return records as Message[];
}

test('all spellings of one file reach one worker and count one rev', async () => {
  mkdirSync(ground.file('sub'));
  symlinkSync(ground.file('x.db'), ground.file('link.db'));
  symlinkSync('link.db', ground.file('link-to-link.db'));
  symlinkSync(ground.dataDir, join(ground.dir, 'folder-link'));
  await serve();
  const spellings = [
    // The first one meets a link that dangles: the file is made where it points to.
    'link.db',
    'x.db',
    './x.db',
    'sub/../x.db',
    ground.file('x.db'),
    join(ground.dataDir, '.', 'sub', '..', '..', 'data', 'x.db'),
    `${ground.dataDir}//x.db`,
    'link-to-link.db',
    join(ground.dir, 'folder-link', 'x.db'),
    join(ground.dir, 'folder-link', 'link.db'),
  ];
  expect(await wire.exec('link.db', ['CREATE TABLE t (a)'])).toMatchObject({ rev: 1 });
  for (const [at, db] of spellings.entries()) {
    expect(await wire.exec(db, INSERT), db).toMatchObject({ status: 'ok', rev: at + 2, epoch: 1 });
    expect(await wire.request({ type: 'Ping', db })).toMatchObject({
      db_path: ground.file('x.db'),
      exists: true,
      rev: at + 2,
    });
  }
  expect(ground.workers().length).toBe(1);
  expect(await databases()).toMatchObject([{ db_path: ground.file('x.db'), rev: spellings.length + 1 }]);
  await ground.expectCleanEnd();
  expect(listing()).toEqual(['link-to-link.db', 'link.db', 'sub', 'x.db']);
});

test('a spelling that is asked many times at once before its file exists makes one file and one worker', async () => {
  symlinkSync(ground.file('x.db'), ground.file('link.db'));
  await serve();
  const wires = await Promise.all(Array.from({ length: 12 }, () => ground.wire()));
  const names = ['x.db', './x.db', 'link.db', ground.file('x.db')];
  const answers = await Promise.all(
    wires.map((one, at) => one.exec(names[at % names.length], ['CREATE TABLE IF NOT EXISTS t (a)'])),
  );
  expect(answers.map(({ rev }) => rev).sort((a, b) => Number(a) - Number(b))).toEqual(
    wires.map((_, at) => at + 1),
  );
  expect(ground.workers().length).toBe(1);
  await ground.expectCleanEnd();
});

test('a file with two hard links is refused by either name, and again served when one name is left', async () => {
  await serve();
  expect(await wire.exec('x.db', ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok' });
  linkSync(ground.file('x.db'), ground.file('y.db'));
  for (const db of ['x.db', 'y.db'])
    for (const type of ['ExecBatch', 'Ping', 'Checkpoint', 'CloseDatabase'])
      expect(await wire.request({ type, db, stmts: [{ sql: 'SELECT 1' }] }), `${type} ${db}`).toMatchObject({
        code: 'DATABASE_NOT_ALLOWED',
        message: expect.stringContaining('hard links'),
      });
  unlinkSync(ground.file('y.db'));
  expect(await wire.exec('x.db', INSERT)).toMatchObject({ status: 'ok', rev: 2 });
  await ground.expectCleanEnd();
});

test('a symbolic link that is turned to another file leads there with the next request', async () => {
  await serve();
  const link = ground.file('link.db');
  for (const name of ['one.db', 'two.db'])
    await wire.exec(name, ['CREATE TABLE t (a)', { sql: 'INSERT INTO t VALUES (?)', params: [name] }]);
  for (const name of ['one.db', 'two.db', 'one.db', 'new.db']) {
    rmSync(link, { force: true });
    symlinkSync(name, link);
    if (name === 'new.db')
      expect(await wire.exec('link.db', ['CREATE TABLE t (a)'])).toMatchObject({ rev: 1 });
    else expect(await wire.rows('link.db', 'SELECT a FROM t')).toEqual([[name]]);
  }
  rmSync(link);
  expect(await wire.request({ type: 'Ping', db: 'link.db' })).toMatchObject({ exists: false, db_path: link });
  await ground.expectCleanEnd();
  expect(listing()).toEqual(['new.db', 'one.db', 'two.db']);
});

test('nothing but a batch that writes makes a file', async () => {
  symlinkSync('missing.db', ground.file('dangling.db'));
  await serve();
  const before = listing();
  for (const db of ['missing.db', 'dangling.db']) {
    const requests: Message[] = [
      { type: 'Ping', db },
      { type: 'Status', db },
      { type: 'CloseDatabase', db },
      { type: 'PrepareForMaintenance', db },
      { type: 'ReopenDatabase', db },
      { type: 'Checkpoint', db },
      { type: 'Backup', db, to: 'copy.db' },
      { type: 'ReplaceDatabase', db, from: 'other.db' },
      { type: 'ExecBatch', db, stmts: [{ sql: 'SELECT 1' }] },
      { type: 'ExecBatch', db, stmts: [{ sql: 'SELECT * FROM t' }] },
      { type: 'ExecBatch', db, stmts: [{ sql: 'CREATE TABLE t (a)' }, { sql: 'INSERT INTO u VALUES (1)' }] },
      { type: 'ExecBatch', db, stmts: [{ sql: 'CREATE TABLE t (a' }] },
      { type: 'ExecBatch', db, stmts: [{ sql: 'BEGIN' }] },
      { type: 'ExecBatch', db, stmts: [{ sql: 'CREATE TABLE t (a)' }], expect_rev: 7 },
    ];
    for (const request of requests) {
      await wire.request(request);
      expect(listing(), JSON.stringify(request)).toEqual(before);
    }
    expect(await wire.request({ type: 'CloseDatabase', db })).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
    expect(await wire.request({ type: 'Ping', db })).toMatchObject({ exists: false, rev: 0, state: 'open' });
  }
  await ground.expectCleanEnd();
  expect(listing()).toEqual(before);
});

test('what is no file is refused with its reason, and nothing is made of it', async () => {
  mkdirSync(ground.file('folder.db'));
  execFileSync('mkfifo', [ground.file('fifo.db')]);
  symlinkSync('circle.db', ground.file('circle.db'));
  writeFileSync(ground.file('plain'), '');
  await serve();
  const before = listing();
  const refused: [db: string, code: string, words: string][] = [
    ['', 'INVALID_REQUEST', 'empty'],
    ['a\0b.db', 'INVALID_REQUEST', 'NUL'],
    ['\ud800.db', 'INVALID_REQUEST', 'surrogate'],
    [':memory:', 'DATABASE_NOT_ALLOWED', 'memory'],
    ['file:x.db', 'DATABASE_NOT_ALLOWED', 'URI'],
    ['FILE:x.db?mode=memory', 'DATABASE_NOT_ALLOWED', 'URI'],
    ['folder.db', 'DATABASE_NOT_ALLOWED', 'folder'],
    ['.', 'DATABASE_NOT_ALLOWED', 'folder'],
    ['/', 'DATABASE_NOT_ALLOWED', 'folder'],
    ['fifo.db', 'DATABASE_NOT_ALLOWED', 'regular'],
    ['/dev/null', 'DATABASE_NOT_ALLOWED', 'regular'],
    ['circle.db', 'DATABASE_NOT_ALLOWED', 'circle'],
    ['missing/x.db', 'DATABASE_NOT_FOUND', 'Make the folder first'],
    ['plain/x.db', 'DATABASE_NOT_FOUND', 'Make the folder first'],
    [`${'n'.repeat(300)}.db`, 'DATABASE_NOT_ALLOWED', 'longer than the file system takes'],
    [`${'n'.repeat(252)}.db`, 'DATABASE_NOT_ALLOWED', 'shorter'],
  ];
  for (const [db, code, words] of refused) {
    const answer = await wire.exec(db, ['CREATE TABLE t (a)']);
    expect(answer, db.slice(0, 30)).toMatchObject({ code, outcome: 'not_applied' });
    expect(answer.message).toContain(words);
    if (!words.includes('shorter'))
      expect(await wire.request({ type: 'Ping', db }), db.slice(0, 30)).toMatchObject({ code });
  }
  expect(listing()).toEqual(before);
  expect(await wire.exec('fine.db', ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok' });
  await ground.expectCleanEnd();
});

test('the longest name that leaves room for what lies beside the file is served', async () => {
  const longest = `${'n'.repeat(255 - '-owner-journal'.length - '.db'.length)}.db`;
  await serve();
  expect(await wire.exec(longest, ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok', rev: 1 });
  await ground.expectCleanEnd();
  expect(listing()).toEqual([longest]);
});

test('names in any script are served, and names that only look the same are two files', async () => {
  const composed = 'Bäume.db'.normalize('NFC');
  const decomposed = composed.normalize('NFD');
  expect(composed).not.toBe(decomposed);
  const names = [composed, decomposed, '星々.db', '🌲 tree.db', " it's; --.db", 'new\nline.db', '%.db'];
  await serve();
  for (const name of names)
    expect(
      await wire.exec(name, ['CREATE TABLE t (a)', { sql: 'INSERT INTO t VALUES (?)', params: [name] }]),
      name,
    ).toMatchObject({ status: 'ok', rev: 1 });
  for (const name of names) expect(await wire.rows(name, 'SELECT a FROM t')).toEqual([[name]]);
  expect(ground.workers().length).toBe(names.length);
  await ground.expectCleanEnd();
  expect(listing()).toEqual([...names].sort());
});

test('nothing outside of --root is served, by whatever way it is named', async () => {
  const outside = join(ground.dir, 'outside');
  mkdirSync(outside);
  for (const folder of ['in', 'in/deep', 'in-not', 'also']) mkdirSync(ground.file(folder));
  symlinkSync(outside, ground.file('in/escape'));
  symlinkSync(join(outside, 'x.db'), ground.file('in/escape.db'));
  symlinkSync(ground.file('in'), join(ground.dir, 'root-link'));
  await serve(['--root', join(ground.dir, 'root-link'), '--root', ground.file('also')]);
  const CREATE = ['CREATE TABLE t (a)'];
  for (const db of [
    'in/a.db',
    'in/deep/b.db',
    'also/c.db',
    join(ground.dir, 'root-link', 'd.db'),
    'in/deep/../e.db',
  ])
    expect(await wire.exec(db, CREATE), db).toMatchObject({ status: 'ok' });
  const escapes = [
    'x.db',
    'in/../x.db',
    'in/escape/x.db',
    'in/escape.db',
    'in-not/x.db',
    '/tmp/x.db',
    undefined,
  ];
  for (const db of escapes) {
    const answer = await wire.exec(db, CREATE);
    expect(answer, db ?? 'default').toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
    expect(answer.message).toContain('--root');
  }
  // A link that is turned outwards after it was used.
  symlinkSync('a.db', ground.file('in/turned.db'));
  expect(await wire.exec('in/turned.db', INSERT)).toMatchObject({ status: 'ok', rev: 2 });
  rmSync(ground.file('in/turned.db'));
  symlinkSync(join(outside, 'x.db'), ground.file('in/turned.db'));
  expect(await wire.exec('in/turned.db', CREATE)).toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
  // Copies neither go out nor come in.
  for (const request of [
    { type: 'Backup', db: 'in/a.db', to: join(outside, 'copy.db') },
    { type: 'Backup', db: 'in/a.db', to: 'in/escape/copy.db' },
    { type: 'ReplaceDatabase', db: 'in/a.db', from: join(outside, 'x.db') },
  ])
    expect(await wire.request(request)).toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
  expect(readdirSync(outside)).toEqual([]);
  await ground.expectCleanEnd();
});
