import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

test('a link that is turned in and out of --root all the time never leads out of it', async () => {
  const outside = join(ground.dir, 'outside');
  mkdirSync(outside);
  mkdirSync(ground.file('in'));
  await ground.daemon(['--root', ground.file('in')]);
  const wires = [await ground.wire(), await ground.wire(), await ground.wire()];
  const link = ground.file('in/turning.db');
  const aside = ground.file('in/.aside');
  // Whoever comes first finds the table, and never a place where there is no link: a file of that name would be made.
  await wires[0]?.exec(ground.file('in/a.db'), ['CREATE TABLE t (a)']);
  symlinkSync('a.db', link);
  const codes: Record<string, number> = {};
  for (let round = 0; round < 400; round += 1) {
    // Turned in one step, while requests that were sent before are on their way.
    const replies = wires.map((wire, at) =>
      wire.exec(link, [at === 0 ? 'CREATE TABLE IF NOT EXISTS t (a)' : 'INSERT INTO t VALUES (1)']),
    );
    for (const target of [join(outside, 'x.db'), join('..', '..', 'outside', 'y.db'), 'a.db']) {
      symlinkSync(target, aside);
      renameSync(aside, link);
      if (round % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    for (const reply of await Promise.all(replies)) {
      const code = String(reply.code ?? reply.status);
      codes[code] = (codes[code] ?? 0) + 1;
    }
    if (round % 7 === 0) {
      rmSync(link);
      symlinkSync(round % 2 === 0 ? join(outside, 'x.db') : 'a.db', link);
    }
  }
  expect(readdirSync(outside)).toEqual([]);
  expect(Object.keys(codes).sort()).toEqual(['DATABASE_NOT_ALLOWED', 'ok']);
  await ground.expectCleanEnd();
});
