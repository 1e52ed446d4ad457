import { existsSync, readdirSync, statSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  dataFiles,
  fill,
  inMainFileAlone,
  integrity,
  makeFile,
  recordFiles,
  sha256,
  standing,
} from '../support/database-files.js';
import { Fixture } from '../support/fixture.js';
import { Playground, until } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

/** ReplaceDatabase when it succeeds: what it puts in place, what it keeps, and what others see of it. */
const DB = 'stars.db';
const MARKS = 'SELECT DISTINCT mark FROM stars';
const COUNT = 'SELECT count(*) FROM stars';
let ground: Playground;
let wire: Wire;
let file: string;
let fresh: string;

beforeEach(async () => {
  ground = new Playground();
  file = ground.file(DB);
  fresh = ground.file('fresh.db');
  await ground.daemon();
  wire = await ground.wire();
  await fill(wire, DB, 100, 'old');
});
afterEach(async ({ task }) => {
  try {
    if (task.result?.state === 'fail') return;
    await ground.expectCleanEnd();
    expect(await integrity(ground, file)).toBe('ok');
    expect(recordFiles(ground)).toEqual([]);
  } finally {
    await ground.dispose();
  }
});

function replace(more: Message = {}): Promise<Message> {
  return wire.request({ type: 'ReplaceDatabase', db: DB, from: 'fresh.db', ...more });
}

test('the new file is served at the next epoch, the old one is kept whole, the source is untouched', async () => {
  await makeFile(ground, fresh, 30, 'new');
  const before = sha256(fresh);
  const inode = statSync(fresh).ino;
  const reply = await replace();
  expect(reply).toEqual({
    id: expect.anything(),
    status: 'ok',
    replaced: true,
    rev: 0,
    epoch: 2,
    backup: `${file}.before-epoch-2`,
  });
  expect(await wire.rows(DB, MARKS)).toEqual([['new']]);
  expect(await wire.rows(DB, COUNT)).toEqual([[30]]);
  expect(sha256(fresh)).toBe(before);
  expect(statSync(fresh).ino).toBe(inode);
  expect(dataFiles(ground)).toEqual(['fresh.db', DB, `${DB}.before-epoch-2`]);
  expect([existsSync(`${fresh}-wal`), existsSync(`${fresh}-shm`)]).toEqual([false, false]);
  const old = String(reply.backup);
  expect(await inMainFileAlone(ground, old, `${MARKS}; ${COUNT}; PRAGMA integrity_check`)).toBe(
    'old\n100\nok',
  );
  expect(await fill(wire, DB, 1, 'later')).toMatchObject({ rev: 1, epoch: 2 });
  expect(statSync(file).nlink).toBe(1);
});

test('each replacement raises the epoch by one and keeps its own old file', async () => {
  await makeFile(ground, fresh, 3, 'new');
  expect(await replace()).toMatchObject({ epoch: 2, backup: `${file}.before-epoch-2` });
  expect(await replace({ from: `${DB}.before-epoch-2` })).toMatchObject({
    epoch: 3,
    rev: 1,
    backup: `${file}.before-epoch-3`,
  });
  expect(await wire.rows(DB, MARKS)).toEqual([['old']]);
  expect(await replace({ from: `${DB}.before-epoch-3` })).toMatchObject({ epoch: 4, rev: 0 });
  expect(await wire.rows(DB, MARKS)).toEqual([['new']]);
});

test('the kept file is named after the epoch that follows it, in a new daemon too', async () => {
  await makeFile(ground, fresh, 3, 'new');
  expect(await replace()).toMatchObject({ epoch: 2 });
  await wire.request({ type: 'Shutdown' });
  await ground.daemon();
  wire = await ground.wire();
  expect(await replace()).toMatchObject({ epoch: 3, backup: `${file}.before-epoch-3` });
});

test('a source in WAL mode brings what is only in its WAL, and keeps it', async () => {
  await makeFile(ground, fresh, 10, 'new', 'wal');
  const writer = await Fixture.start(
    ground,
    'foreign-writer',
    fresh,
    "INSERT INTO stars (mark) VALUES ('wal')",
  );
  expect(await writer.say()).toBe('committed');
  expect(await replace()).toMatchObject({ replaced: true, epoch: 2 });
  expect(await wire.rows(DB, COUNT)).toEqual([[11]]);
  await writer.end();
  expect(await ground.sqlite3(fresh, COUNT)).toBe('11');
});

test('a source that was left with a WAL brings what is in it, and nothing new appears beside it', async () => {
  await makeFile(ground, fresh, 10, 'new', 'wal');
  const writer = await Fixture.start(
    ground,
    'foreign-writer',
    fresh,
    "INSERT INTO stars (mark) VALUES ('wal')",
  );
  expect(await writer.say()).toBe('committed');
  const taken = ground.file('taken');
  await ground.run('mkdir', [taken]);
  await ground.run('cp', [fresh, `${fresh}-wal`, taken]);
  await writer.end();
  const before = [sha256(`${taken}/fresh.db`), sha256(`${taken}/fresh.db-wal`)];
  expect(await replace({ from: 'taken/fresh.db' })).toMatchObject({ replaced: true, epoch: 2 });
  expect(await wire.rows(DB, COUNT)).toEqual([[11]]);
  expect(readdirSync(taken).sort()).toEqual(['fresh.db', 'fresh.db-wal']);
  expect([sha256(`${taken}/fresh.db`), sha256(`${taken}/fresh.db-wal`)]).toEqual(before);
});

test('a source that others read and write meanwhile is copied as of one moment', async () => {
  await makeFile(ground, fresh, 2_000, 'new', 'wal');
  const pair = "INSERT INTO stars (mark) VALUES ('one'), ('two')";
  const writer = await Fixture.start(ground, 'keep-writing', fresh, pair);
  const reader = await Fixture.start(ground, 'hold-read-transaction', fresh);
  expect(await replace()).toMatchObject({ replaced: true });
  await reader.end();
  expect((await writer.end()).code).toBe(0);
  const [[one, two] = []] = await wire.rows(
    DB,
    "SELECT count(*) FILTER (WHERE mark = 'one'), count(*) FILTER (WHERE mark = 'two') FROM stars",
  );
  expect(one).toBe(two);
});

test('another database of the daemon can be the source, and goes on being written', async () => {
  await fill(wire, 'fresh.db', 5, 'new');
  expect(await replace()).toMatchObject({ replaced: true, rev: 1, epoch: 2 });
  expect(await wire.rows(DB, MARKS)).toEqual([['new']]);
  expect(await fill(wire, 'fresh.db', 1)).toMatchObject({ rev: 2, epoch: 1 });
});

test('the new file may have a table named meta: it stays as it is', async () => {
  await ground.sqlite3(
    fresh,
    "CREATE TABLE meta (key TEXT, value BLOB); INSERT INTO meta VALUES ('rev', 99)",
  );
  expect(await replace()).toMatchObject({ rev: 0, epoch: 2 });
  expect(await wire.rows(DB, 'SELECT * FROM meta')).toEqual([['rev', 99]]);
  expect(
    await wire.rows(DB, "SELECT name FROM sqlite_schema WHERE name NOT LIKE '\\_skylinedb\\_%' ESCAPE '\\'"),
  ).toEqual([['meta']]);
});

test('progress comes before the reply, ends at the total, and carries the id', async () => {
  await makeFile(ground, fresh, 3_000, 'new', 'wal');
  const keeper = await Fixture.start(ground, 'idle-reader', fresh, 'rw');
  wire.send({ type: 'ReplaceDatabase', id: 'r', db: DB, from: 'fresh.db' });
  const events: Message[] = [];
  let reply = await wire.next();
  for (; reply !== null && 'event' in reply; reply = await wire.next()) events.push(reply);
  expect(reply).toMatchObject({ status: 'ok', id: 'r', replaced: true });
  expect(events.length).toBeGreaterThan(0);
  for (const event of events) {
    expect(event).toMatchObject({ event: 'progress', id: 'r' });
    expect(event.pages_done).toBeLessThanOrEqual(Number(event.pages_total));
  }
  const last = events.at(-1);
  expect(last?.pages_done).toBe(last?.pages_total);
  await keeper.end();
});

test('an idle reader is not in the way; it keeps the old file, and one that opens it anew sees the new one', async () => {
  await makeFile(ground, fresh, 30, 'new');
  const idle = await Fixture.start(ground, 'idle-reader', file);
  expect(await idle.say(MARKS)).toBe('[["old"]]');
  expect(await replace()).toMatchObject({ replaced: true });
  expect(await idle.say(COUNT)).toBe('[[100]]');
  const anew = await Fixture.start(ground, 'idle-reader', file);
  expect(await anew.say(MARKS)).toBe('[["new"]]');
  await fill(wire, DB, 1, 'later');
  expect(await anew.say(COUNT)).toBe('[[31]]');
  expect(await idle.say(COUNT)).toBe('[[100]]');
  await idle.end();
  await anew.end();
});

test('for whoever looks, (epoch, rev) never goes backwards, and only the state is ever in the way', async () => {
  await makeFile(ground, fresh, 30, 'new');
  let done = false;
  const watch = async (request: Message) => {
    const one = await ground.wire();
    const seen: number[] = [];
    while (!done) {
      const { status, code, epoch, rev } = await one.request(request);
      if (status === 'ok') seen.push(Number(epoch) * 1_000_000 + Number(rev));
      else expect(['DATABASE_PREPARING', 'DATABASE_CLOSED']).toContain(code);
    }
    expect(seen.length).toBeGreaterThan(0);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
  };
  const watchers = Promise.all([
    watch({ type: 'Ping', db: DB }),
    watch({ type: 'ExecBatch', db: DB, stmts: [{ sql: "INSERT INTO stars (mark) VALUES ('w')" }] }),
    watch({ type: 'ExecBatch', db: DB, stmts: [{ sql: COUNT }] }),
  ]);
  for (let round = 2; round < 32; round += 1)
    expect(await replace({ timeout_ms: 20_000 })).toMatchObject({ epoch: round });
  done = true;
  await watchers;
  expect(await standing(wire, DB)).toMatchObject({ state: 'open', epoch: 31 });
});

test('a replacement waits for a reader that leaves during the wait', async () => {
  await makeFile(ground, fresh, 30, 'new');
  const reader = await Fixture.start(ground, 'hold-read-transaction', file);
  await fill(wire, DB, 1, 'old');
  const other = await ground.wire();
  const reply = replace({ timeout_ms: 60_000 });
  await until('it waits', async () => (await standing(other, DB)).state === 'preparing');
  expect(await reader.say()).toBe('left');
  expect(await reply).toMatchObject({ replaced: true, epoch: 2 });
  await reader.end();
  expect(await inMainFileAlone(ground, `${file}.before-epoch-2`, COUNT)).toBe('101');
});
