import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DiskFaults } from '../support/disk-faults.js';
import { FIXTURES, finished, Playground, until } from '../support/playground.js';
import { Preload } from '../support/preload.js';
import { Watcher } from '../support/watcher.js';
import type { Message } from '../support/wire.js';

const preload = new Preload('disk-faults');
let playground: Playground;
let db: string;
beforeEach(async () => {
  playground = new Playground();
  db = playground.file('x.db');
  await playground.daemon();
});
afterEach(() => playground.dispose());
afterAll(() => preload.dispose());

const revs = (events: readonly Message[]) => events.map(({ rev }) => rev);

test('each rev is told once, however often workers are killed', async () => {
  const writer = await playground.wire();
  await writer.exec(db, ['CREATE TABLE a (x)']);
  const watcher = await Watcher.open(playground, db);
  let last = 1;
  for (let kills = 0; kills < 5; kills += 1) {
    for (let n = 0; n < 200; n += 1)
      writer.send({ type: 'ExecBatch', db, stmts: [{ sql: 'INSERT INTO a VALUES (1)' }] });
    const answers = (async () => {
      for (let n = 0; n < 200; n += 1) {
        if (n === 20 * (kills + 1)) for (const pid of playground.workers()) process.kill(pid, 'SIGKILL');
        const reply = await writer.next();
        // Without a session, what was in the worker's hand is not sent to the next one.
        if (reply?.status === 'ok') last = Math.max(last, reply.rev as number);
      }
    })();
    await answers;
  }
  const { rev } = await writer.exec(db, ['DELETE FROM a']);
  const events = await watcher.until((event) => event.rev === rev);
  expect(revs(events)).toEqual(Array.from({ length: events.length }, (_, at) => at + 2));
  expect(events.every(({ event, epoch }) => event === 'change' && epoch === 1)).toBe(true);
  expect(rev).toBeGreaterThan(last);
});

describe.skipIf(preload.missing !== null)(
  `killed right behind the commit (${preload.missing ?? 'LD_PRELOAD'})`,
  () => {
    test('what a worker had committed and not told is told without anybody asking for it', async () => {
      const faults = new DiskFaults(preload, playground.dir, db);
      await playground.cli(['shutdown']);
      await until('the daemon has gone', () => playground.processes().length === 0);
      await playground.daemon([], faults.env);
      const writer = await playground.wire();
      await writer.exec(db, ['CREATE TABLE a (x)']);
      const watcher = await Watcher.open(playground, db);
      const { endpoint } = await writer.request({ type: 'Attach', db });
      const attached = await playground.wire(endpoint as string);
      const [worker = 0] = playground.workers();
      faults.set({ on: 'answer', file: 'wal', with: 'SIGKILL', times: 1 });
      await expect(attached.exec(undefined, ['INSERT INTO a VALUES (1)'])).rejects.toThrow(
        'ended before the answer',
      );
      faults.none();
      expect(playground.workers()).not.toContain(worker);
      // Which tables, nobody knows any more.
      expect(await watcher.next()).toEqual({ event: 'change', subscription: 1, db, epoch: 1, rev: 2 });
      await writer.exec(db, ['INSERT INTO a VALUES (2)']);
      expect(await watcher.next()).toMatchObject({ event: 'change', rev: 3, tables: ['a'] });
    });
  },
);

test('an idle worker that is killed is followed by one that hears of what others write', async () => {
  const writer = await playground.wire();
  await writer.exec(db, ['CREATE TABLE a (x)']);
  const watcher = await Watcher.open(playground, db);
  const [worker = 0] = playground.workers();
  process.kill(worker, 'SIGKILL');
  await until('another worker serves it', () => playground.workers().some((pid) => pid !== worker));
  await playground.sqlite3(db, 'INSERT INTO a VALUES (1)');
  expect(await watcher.next()).toMatchObject({ event: 'change', foreign: true, rev: 1 });
});

test('a new daemon tells whoever comes back from where it was, or to read afresh', async () => {
  const writer = await playground.wire();
  await writer.exec(db, ['CREATE TABLE a (x)']);
  await Watcher.open(playground, db);
  await writer.exec(db, ['INSERT INTO a VALUES (1)']);
  for (const pid of playground.daemons()) process.kill(pid, 'SIGKILL');
  await until('nothing is left of it', () => playground.processes().length === 0);
  await playground.daemon();
  const here = await Watcher.open(playground, db, { since: { epoch: 1, rev: 2 } });
  const behind = await Watcher.open(playground, db, { since: { epoch: 1, rev: 1 } });
  expect(await behind.next()).toMatchObject({ event: 'reset', epoch: 1, rev: 2 });
  await (await playground.wire()).exec(db, ['INSERT INTO a VALUES (1)']);
  expect(await here.next()).toMatchObject({ event: 'change', rev: 3, tables: ['a'] });
  expect(await behind.next()).toMatchObject({ event: 'change', rev: 3, tables: ['a'] });
});

test('a client that is killed leaves no subscription behind', async () => {
  const writer = await playground.wire();
  await writer.exec(db, ['CREATE TABLE a (x)']);
  const watcher = await Watcher.open(playground, db);
  watcher.wire.send({ type: 'Subscribe', db });
  watcher.wire.destroy();
  await until('no subscription is left', async () => {
    return (await writer.request({ type: 'Status' })).subscriptions === 0;
  });
  await writer.exec(db, ['INSERT INTO a VALUES (1)']);
  await playground.expectCleanEnd();
});

interface Told {
  readonly change?: { readonly epoch: number; readonly rev: number; readonly reset?: true };
  readonly rows?: readonly { readonly n: number; readonly sum: number }[];
}

test('watch and live miss nothing, whichever of worker and daemon is killed, and however often', async () => {
  const writer = await playground.wire();
  await writer.exec(db, ['CREATE TABLE counts (who TEXT, n INTEGER)']);
  const query = 'SELECT count(*) AS n, ifnull(sum(n), 0) AS sum FROM counts';
  const watching = playground.start(process.execPath, [join(FIXTURES, 'watches.mjs'), db, query]);
  const told: Told[] = [];
  let rest = '';
  watching.stdout?.on('data', (text) => {
    const lines = (rest + String(text)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) told.push(JSON.parse(line) as Told);
  });
  const changes = () => told.flatMap(({ change }) => change ?? []);
  const rows = () => told.flatMap((one) => one.rows ?? []);
  const counting = playground.start(process.execPath, [
    join(FIXTURES, 'counts-through-all.mjs'),
    db,
    'w',
    '4',
  ]);
  const counted = finished(counting);
  for (let kills = 0; kills < 6; kills += 1) {
    const [changed, read] = [changes().length, rows().length];
    await until('both have told of more', () => changes().length > changed + 20 && rows().length > read + 2);
    for (const pid of kills % 2 === 0 ? playground.workers() : playground.daemons())
      process.kill(pid, 'SIGKILL');
  }
  counting.stdin?.write('stop\n');
  expect((await counted).code).toBe(0);
  // By hand, from the file itself.
  const sqlite = async (sql: string) => JSON.parse(await playground.sqlite3(db, sql)) as number[];
  const [rev] = await sqlite('SELECT json_array(rev) FROM _skylinedb_database');
  const [n, sum] = await sqlite('SELECT json_array(count(*), sum(n)) FROM counts');
  await until('they have told of the last', () => changes().at(-1)?.rev === rev && rows().at(-1)?.n === n);
  expect(rows().at(-1)).toEqual({ n, sum });
  const counts = rows().map((row) => row.n);
  expect(counts).toEqual([...counts].sort((one, other) => one - other));
  // In order, and without a gap that is not told.
  for (const [at, { epoch, rev: next, reset }] of changes().entries()) {
    const before = changes()[at - 1];
    expect(epoch).toBe(1);
    if (before === undefined) continue;
    if (reset === true) expect(next).toBeGreaterThanOrEqual(before.rev);
    else expect(next).toBe(before.rev + 1);
  }
  expect(changes().filter(({ reset }) => reset === true).length).toBeLessThanOrEqual(4);
  watching.kill('SIGKILL');
});
