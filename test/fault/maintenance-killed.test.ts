import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  dataFiles,
  fill,
  inMainFileAlone,
  integrity,
  makeFile,
  recordFiles,
  standing,
  walBytes,
} from '../support/database-files.js';
import { Playground, until } from '../support/playground.js';
import { type Message, Wire } from '../support/wire.js';

/** kill -9 of worker or daemon at any moment of a maintenance request. */
const DB = 'stars.db';
const ROUNDS = 24;
let ground: Playground;
let wire: Wire;
let file: string;
let daemon: number;

beforeEach(async () => {
  ground = new Playground();
  file = ground.file(DB);
  await start();
});
afterEach(async ({ task }) => {
  try {
    if (task.result?.state !== 'fail') await ground.expectCleanEnd();
  } finally {
    await ground.dispose();
  }
});

async function start(): Promise<void> {
  daemon = (await ground.daemon()).pid;
  wire = await ground.wire();
}

/** A position as one number that must never get smaller. */
const place = ({ epoch, rev }: Message | { epoch: number; rev: number }) =>
  Number(epoch) * 1_000_000 + Number(rev);

/**
 * Sends the request, kills the victim after a part of the time that the request takes, and brings the daemon back.
 * @returns the reply; null when the daemon died before it
 */
async function cutOff(
  request: Message,
  victim: 'worker' | 'daemon',
  afterMs: number,
): Promise<Message | null> {
  const own = await Wire.connect(ground.socket);
  const reply = own.request(request).catch(() => null);
  const end = performance.now() + afterMs;
  while (performance.now() < end) await new Promise(setImmediate);
  const victims = victim === 'daemon' ? [daemon] : ground.workers();
  for (const pid of victims) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has left by itself.
    }
  }
  const answer = await reply;
  own.destroy();
  if (victim === 'daemon') {
    wire.destroy();
    await until('the daemon is gone', () => !ground.processes().includes(daemon));
    await start();
  }
  return answer;
}

/** After whatever happened: the database is closed or it works, and a Reopen makes it work. */
async function expectUsable(last: number, what: string): Promise<number> {
  await until(`${what}: recovered`, async () => {
    const reply = await wire.request({ type: 'ReopenDatabase', db: DB });
    // The daemon may not have noticed the worker's death yet, or be recovering: both say "try again".
    if (reply.status === 'error')
      expect(['DATABASE_PREPARING', 'WORKER_CRASHED'], what).toContain(reply.code);
    return reply.status === 'ok';
  });
  const written = await fill(wire, DB, 1, 'probe');
  expect(place(written), what).toBeGreaterThan(last);
  expect(await wire.rows(DB, 'PRAGMA integrity_check'), what).toEqual([['ok']]);
  expect(recordFiles(ground), what).toEqual([]);
  return place(written);
}

/** How long a request takes when nobody disturbs it, in milliseconds. */
async function duration(request: Message): Promise<number> {
  const begin = performance.now();
  expect(await wire.request(request)).toMatchObject({ status: 'ok' });
  return performance.now() - begin;
}

for (const type of ['PrepareForMaintenance', 'CloseDatabase']) {
  test(`${type} that is cut off by kill -9 loses no row and leaves the database closed or usable`, async () => {
    await fill(wire, DB, 500);
    const usual = await duration({ type, db: DB });
    let last = await expectUsable(0, 'before');
    let rows = 501;
    for (let round = 0; round < ROUNDS; round += 1) {
      const victim = round % 2 === 0 ? 'worker' : 'daemon';
      const afterMs = Math.random() * usual * 1.3;
      const what = `${type}, ${victim} killed after ${afterMs.toFixed(1)} ms`;
      await fill(wire, DB, 200);
      const reply = await cutOff({ type, db: DB }, victim, afterMs);
      const { state } = await standing(wire, DB);
      if (reply?.closed === true) expect(state, what).toBe('closed');
      if (state === 'closed') {
        expect(walBytes(file), what).toBe(0);
        expect(await inMainFileAlone(ground, file, 'SELECT count(*) FROM stars'), what).toBe(`${rows + 200}`);
      }
      last = await expectUsable(last, what);
      rows += 201;
      expect(await wire.rows(DB, 'SELECT count(*) FROM stars'), what).toEqual([[rows]]);
    }
    expect(last).toBeLessThan(2_000_000);
  });
}

test('ReopenDatabase that is cut off by kill -9 leaves the exchanged file whole, and closed or usable', async () => {
  const fresh = ground.file('fresh.db');
  await fill(wire, DB, 1);
  let last = 0;
  let usual = 0;
  for (let round = -1; round < ROUNDS; round += 1) {
    const mark = `round ${round}`;
    await makeFile(ground, fresh, 1_000, mark);
    expect(await wire.request({ type: 'CloseDatabase', db: DB })).toMatchObject({ closed: true });
    await ground.run('mv', [fresh, file]);
    const request = { type: 'ReopenDatabase', db: DB };
    if (round === -1) {
      usual = await duration(request);
      continue;
    }
    const victim = round % 2 === 0 ? 'worker' : 'daemon';
    const afterMs = Math.random() * usual * 1.3;
    const what = `ReopenDatabase, ${victim} killed after ${afterMs.toFixed(1)} ms`;
    await cutOff(request, victim, afterMs);
    await until(`${what}: closed for good or open`, async () => {
      const { state } = await standing(wire, DB);
      return state === 'open' || walBytes(file) === 0;
    });
    const before = last;
    last = await expectUsable(last, what);
    expect(Math.floor(last / 1_000_000), what).toBeGreaterThan(Math.floor(before / 1_000_000));
    expect(await wire.rows(DB, 'SELECT mark, count(*) FROM stars GROUP BY mark ORDER BY 2'), what).toEqual([
      ['probe', 1],
      [mark, 1_000],
    ]);
  }
});

test('ReplaceDatabase that is cut off by kill -9 leaves the old file or the new one, whole, and nothing else', async () => {
  const fresh = ground.file('fresh.db');
  await fill(wire, DB, 2_000, 'round -2');
  let last = 0;
  let span = 0;
  for (let round = -1; round < ROUNDS * 1.5; round += 1) {
    await ground.run('rm', ['-f', fresh]);
    await makeFile(ground, fresh, 2_000, `round ${round}`);
    const [[old] = []] = await wire.rows(DB, "SELECT DISTINCT mark FROM stars WHERE mark <> 'probe'");
    const request = { type: 'ReplaceDatabase', db: DB, from: 'fresh.db' };
    if (round === -1) {
      span = await duration(request);
      continue;
    }
    const victim = round % 2 === 0 ? 'worker' : 'daemon';
    const afterMs = Math.random() * span;
    const what = `ReplaceDatabase, ${victim} killed after ${afterMs.toFixed(1)} ms`;
    const reply = await cutOff(request, victim, afterMs);
    last = await expectUsable(last, what);
    const marks = await wire.rows(DB, "SELECT mark, count(*) FROM stars WHERE mark <> 'probe' GROUP BY mark");
    expect([[[old, 2_000]], [[`round ${round}`, 2_000]]], what).toContainEqual(marks);
    if (reply?.replaced === true) expect(marks, what).toEqual([[`round ${round}`, 2_000]]);
    // Most of the kills are to fall around the swap, however fast the machine is just now.
    span *= marks[0]?.[0] === old ? 1.1 : 0.8;
    const left = dataFiles(ground).filter((name) => !/^stars\.db\.before-epoch-\d+(-\d+)?$/.test(name));
    expect(left, what).toEqual(['fresh.db', DB]);
    expect(await integrity(ground, fresh)).toBe('ok');
  }
});
