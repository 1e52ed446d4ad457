import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';
import { Program } from '../support/program.js';

/** Megabytes that a process may have of its own, whoever pushes. Measured: 106 to 166, and 294 with a budget of 64 MiB. */
const BOUND_MB = 240;
const CONNECTIONS = 200;

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

/** Memory of the process alone, as it is now. */
function privateMegabytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Private_Dirty:\s+(\d+)/m.exec(text)?.[1] ?? Number.NaN) / 1024;
}

test.each([
  ['small batches through the router', false, 10],
  ['batches of 16 KiB through the router', false, 16 * 1024],
  ['small batches straight to the worker', true, 10],
  ['batches of 16 KiB straight to the worker', true, 16 * 1024],
])(
  `${CONNECTIONS} connections that push %s: all is answered, and memory stays bounded`,
  async (_, direct, bytes) => {
    await ground.daemon();
    const wire = await ground.wire();
    const db = ground.file('x.db');
    await wire.exec(db, ['CREATE TABLE t (a)']);
    const attached = direct ? String((await wire.request({ type: 'Attach', db })).endpoint) : ground.socket;
    const args = [attached, db, `${CONNECTIONS}`, `${bytes}`];
    const pusher = Program.fixture(ground, 'pushes', args);
    expect(await pusher.line()).toBe('begun');
    const watched = [...ground.daemons(), ...ground.workers()];
    expect(watched).toHaveLength(2);
    let most = 0;
    // For as long as the database takes for so many batches; meanwhile a modest client is served.
    for (let n = 0; n < 30; n += 1) {
      expect(await wire.exec(db, ['SELECT 1'])).toMatchObject({ status: 'ok' });
      for (const pid of watched) most = Math.max(most, privateMegabytes(pid));
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    const { sent, answered, refused } = JSON.parse(await pusher.ask('stop')) as Record<string, number>;
    for (const pid of watched) most = Math.max(most, privateMegabytes(pid));
    expect(refused).toBe(0);
    expect(answered).toBe(sent);
    expect(await ground.sqlite3(db, 'SELECT count(*) FROM t')).toBe(`${sent}`);
    expect(most).toBeLessThan(BOUND_MB);
  },
  120_000,
);
