import { afterEach, beforeEach, expect, it } from 'vitest';
import { Playground, until } from '../support/playground.js';
import { Watcher } from '../support/watcher.js';
import type { Message } from '../support/wire.js';

let playground: Playground;
let db: string;
beforeEach(async () => {
  playground = new Playground();
  db = playground.file('x.db');
  await playground.daemon();
});
afterEach(() => playground.dispose());

const revs = (events: readonly Message[]) => events.map(({ rev }) => rev);

it('each rev is told once, however often workers are killed', async () => {
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

it('what a worker had committed and not told is told without anybody asking for it', async () => {
  const writer = await playground.wire();
  await writer.exec(db, ['CREATE TABLE a (x)']);
  const watcher = await Watcher.open(playground, db);
  const { endpoint } = await writer.request({ type: 'Attach', db });
  const attached = await playground.wire(endpoint as string);
  const [worker = 0] = playground.workers();
  // Nothing that the worker says is heard before it is dead.
  for (const pid of playground.daemons()) process.kill(pid, 'SIGSTOP');
  expect(await attached.exec(undefined, ['INSERT INTO a VALUES (1)'])).toMatchObject({ rev: 2 });
  process.kill(worker, 'SIGKILL');
  for (const pid of playground.daemons()) process.kill(pid, 'SIGCONT');
  expect(await watcher.next()).toMatchObject({ event: 'change', rev: 2, epoch: 1 });
  await writer.exec(db, ['INSERT INTO a VALUES (2)']);
  expect(await watcher.next()).toMatchObject({ event: 'change', rev: 3, tables: ['a'] });
});

it('an idle worker that is killed is followed by one that hears of what others write', async () => {
  const writer = await playground.wire();
  await writer.exec(db, ['CREATE TABLE a (x)']);
  const watcher = await Watcher.open(playground, db);
  const [worker = 0] = playground.workers();
  process.kill(worker, 'SIGKILL');
  await until('another worker serves it', () => playground.workers().some((pid) => pid !== worker));
  await playground.sqlite3(db, 'INSERT INTO a VALUES (1)');
  expect(await watcher.next()).toMatchObject({ event: 'change', foreign: true, rev: 1 });
});

it('a new daemon tells whoever comes back from where it was, or to read afresh', async () => {
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

it('a client that is killed leaves no subscription behind', async () => {
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
