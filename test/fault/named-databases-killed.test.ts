import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Playground, until } from '../support/playground.js';
import { Preload } from '../support/preload.js';
import type { Message, Wire } from '../support/wire.js';

/**
 * Processes that end right before a system call on a name in the data directory, at each of these calls in turn, router and
 * workers alike. Afterwards a database is what it was or what it was to be, and nothing in between.
 */
const preload = new Preload('name-kills');
let ground: Playground;
let control: string;
let wire: Wire;

beforeEach(async () => {
  ground = new Playground();
  control = join(ground.dir, 'name-kills');
  writeFileSync(control, Buffer.alloc(12));
});
afterEach(async ({ task }) => {
  try {
    if (task.result?.state !== 'fail') await ground.expectCleanEnd();
  } finally {
    await ground.dispose();
  }
});
afterAll(() => preload.dispose());

/** From now on, with this many calls let through. */
function arm(skip: number): void {
  const bytes = Buffer.alloc(12);
  bytes.writeInt32LE(skip, 4);
  bytes.writeInt32LE(1, 0);
  writeFileSync(control, bytes, { flag: 'r+' });
}

/** @returns whether a process was ended */
function disarm(): boolean {
  const bytes = readFileSync(control);
  writeFileSync(control, Buffer.alloc(12), { flag: 'r+' });
  return bytes.readInt32LE(8) === 1;
}

/** A daemon that runs, also where the last one was ended. */
async function again(): Promise<void> {
  if (ground.daemons().length === 0) {
    await until('what is left of it has gone', () => ground.processes().length === 0);
    await ground.daemon([], {
      LD_PRELOAD: preload.library,
      NAME_KILLS: control,
      NAME_KILLS_DIR: ground.dataDir,
    });
  }
  wire = await ground.wire();
}

interface Listed {
  readonly live: readonly string[];
  readonly dropped: readonly string[];
}

async function listed(): Promise<Listed> {
  const { databases, dropped } = await wire.request({ type: 'ListDatabases' });
  const names = (list: unknown) => (list as { name: string }[]).map(({ name }) => name);
  return { live: names(databases), dropped: names(dropped) };
}

/** Nothing is half done: no intent, every file has one name, and is where the catalog says. */
async function expectWhole({ live, dropped }: Listed): Promise<void> {
  const rows = await wire.rows(
    'skylinedb-catalog.db',
    'SELECT intent FROM databases WHERE intent IS NOT NULL',
  );
  expect(rows).toEqual([]);
  const trash = ground.file('skylinedb-trash');
  const kept = existsSync(trash) ? readdirSync(trash).filter((name) => name.endsWith('.db')) : [];
  expect(kept).toHaveLength(dropped.length);
  const files = readdirSync(ground.dataDir).filter((name) => /^(one|two)\.db$/.test(name));
  expect(files).toEqual(live.map((name) => `${name}.db`));
  for (const file of [...files.map((name) => ground.file(name)), ...kept.map((name) => join(trash, name))])
    expect(statSync(file).nlink).toBe(1);
}

/** One change, and what each of its two ends looks like. */
interface Change {
  readonly request: Message;
  readonly before: Listed;
  readonly after: Listed;
  /** From the state after it to the one before it. */
  undo(): Promise<Message>;
}

const CHANGES: readonly (readonly [string, Change])[] = [
  [
    'create',
    {
      request: { type: 'CreateDatabase', name: 'two' },
      before: { live: ['one'], dropped: [] },
      after: { live: ['one', 'two'], dropped: [] },
      undo: async () => {
        await wire.request({ type: 'DropDatabase', name: 'two' });
        return await forget('two');
      },
    },
  ],
  [
    'rename',
    {
      request: { type: 'RenameDatabase', name: 'one', to: 'two' },
      before: { live: ['one'], dropped: [] },
      after: { live: ['two'], dropped: [] },
      undo: () => wire.request({ type: 'RenameDatabase', name: 'two', to: 'one' }),
    },
  ],
  [
    'drop',
    {
      request: { type: 'DropDatabase', name: 'one' },
      before: { live: ['one'], dropped: [] },
      after: { live: [], dropped: ['one'] },
      undo: () => wire.request({ type: 'RestoreDatabase', name: 'one' }),
    },
  ],
  [
    'restore',
    {
      request: { type: 'RestoreDatabase', name: 'one' },
      before: { live: [], dropped: ['one'] },
      after: { live: ['one'], dropped: [] },
      undo: () => wire.request({ type: 'DropDatabase', name: 'one' }),
    },
  ],
];

/** Removes a dropped one as if its week were over. */
async function forget(name: string): Promise<Message> {
  await wire.request({ type: 'Shutdown' });
  await until('it is gone', () => ground.processes().length === 0);
  const old = "UPDATE databases SET dropped = '2020-01-01T00:00:00.000Z' WHERE name = ";
  await ground.sqlite3(ground.file('skylinedb-catalog.db'), `${old}'${name}' AND dropped IS NOT NULL`);
  await again();
  await until('it is removed', async () => !(await listed()).dropped.includes(name));
  return { status: 'ok' };
}

describe.skipIf(preload.missing !== null)(`kills (${preload.missing ?? 'with LD_PRELOAD'})`, () => {
  test.each(CHANGES)('%s: whichever call is the last, it is done or it is not', async (_name, change) => {
    await again();
    await wire.request({ type: 'CreateDatabase', name: 'one' });
    await wire.exec('one', ['CREATE TABLE t (a)', "INSERT INTO t VALUES ('vega')"]);
    if (change.before.dropped.length > 0) await wire.request({ type: 'DropDatabase', name: 'one' });
    const seen = new Set<string>();
    for (let skip = 0; ; skip += 1) {
      arm(skip);
      const reply = await wire.request(change.request).catch((): Message => ({ status: 'lost' }));
      const hit = disarm();
      await again();
      const now = await listed();
      const told = `call ${skip}: ${JSON.stringify({ reply, now })}`;
      const done = JSON.stringify(now) === JSON.stringify(change.after);
      if (!done) expect(now, told).toEqual(change.before);
      if (reply.status === 'ok') expect(done, told).toBe(true);
      if (reply.outcome === 'not_applied') expect(done, told).toBe(false);
      seen.add(`${reply.status === 'lost' ? 'router' : 'worker'} ${done ? 'after' : 'before'}`);
      await expectWhole(now);
      if (done) expect(await change.undo(), told).toMatchObject({ status: 'ok' });
      if (!hit) break;
    }
    if (change.before.dropped.length > 0) await wire.request({ type: 'RestoreDatabase', name: 'one' });
    expect(await wire.exec('one', ['SELECT a FROM t'])).toMatchObject({
      rev: 1,
      epoch: 1,
      results: [{ rows: [['vega']] }],
    });
    // The calls were hit: some before the point from which there is no way back, and some behind it.
    if (_name !== 'create')
      expect([...seen]).toEqual(expect.arrayContaining(['router before', 'router after']));
    expect([...seen].some((one) => one.startsWith('worker'))).toBe(true);
  });
});
