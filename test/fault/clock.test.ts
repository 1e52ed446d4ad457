import { mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Playground, until } from '../support/playground.js';
import { Preload } from '../support/preload.js';
import { Program } from '../support/program.js';

const YEAR = 365 * 24 * 60 * 60;
const preload = new Preload('jumping-clock');

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});
afterAll(() => preload.dispose());

describe.skipIf(preload.missing !== null)(
  `a clock that jumps (${preload.missing ?? 'with LD_PRELOAD'})`,
  () => {
    let clock: string;
    /** Sets the time of day that the daemon's processes see, from now on. */
    const jump = (seconds: number) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(BigInt(seconds));
      // In place: the processes have it mapped.
      writeFileSync(clock, bytes, { flag: 'r+' });
    };
    beforeEach(() => {
      clock = join(ground.dir, 'clock');
      writeFileSync(clock, Buffer.alloc(8));
    });
    const env = () => ({ LD_PRELOAD: preload.library, JUMPING_CLOCK: clock });

    test('ends no batch, no worker and no daemon before its time, and shows in no figure', async () => {
      const daemon = await ground.daemon(['--worker-idle-timeout', '1m', '--idle-timeout', '1m'], env());
      const wire = await ground.wire();
      await wire.exec('x.db', ['CREATE TABLE t (a)']);
      const [worker] = ground.workers();
      for (let round = 0; round < 200; round += 1) {
        jump(((round % 5) - 2) * YEAR);
        const insert = { sql: 'INSERT INTO t VALUES (?)', params: [round] };
        const more = { timeout_ms: 2_000, session: 's', seq: round + 1, acked: round };
        expect(await wire.exec('x.db', [insert], more)).toMatchObject({ status: 'ok', rev: round + 2 });
      }
      expect(ground.workers()).toEqual([worker]);
      expect(daemon.child.exitCode).toBeNull();
      const status = await wire.request({ type: 'Status', db: 'x.db' });
      expect(Number(status.uptime_ms)).toBeLessThan(60_000);
      const [database] = status.databases as { latency_us: { max: number } }[];
      expect(database?.latency_us.max).toBeLessThan(10_000_000);
      await ground.expectCleanEnd();
    });

    test.each([
      ['forwards', YEAR],
      ['back', -YEAR],
    ])('%s: deadlines, idle times and closed databases are kept', async (_where, seconds) => {
      await ground.daemon(['--worker-idle-timeout', '300ms'], env());
      const wire = await ground.wire();
      await wire.exec('x.db', ['CREATE TABLE t (a)']);
      const counting = (most: string) =>
        `INSERT INTO t WITH RECURSIVE c(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM c ${most}) SELECT n FROM c WHERE n < 0`;
      // One that is stopped, though the clock is far from its deadline, and one that is not, though the clock is past it.
      const late = wire.exec('x.db', [counting('')], { timeout_ms: 300 });
      jump(seconds);
      expect(await late).toMatchObject({ code: 'TIMEOUT', outcome: 'not_applied' });
      const long = wire.exec('x.db', [counting('LIMIT 2000000')], { timeout_ms: 20_000 });
      const next = wire.exec('x.db', ['INSERT INTO t VALUES (1)'], { timeout_ms: 20_000 });
      jump(0);
      await new Promise((resolve) => setTimeout(resolve, 50));
      jump(seconds);
      expect(await long).toMatchObject({ status: 'ok' });
      expect(await next).toMatchObject({ status: 'ok', rev: 3 });
      // While it counts how long it has been idle.
      jump(-seconds);
      await until('the worker has left, since it is idle', () => ground.workers().length === 0, 5_000);
      expect(await wire.request({ type: 'CloseDatabase', db: 'x.db' })).toMatchObject({ closed: true });
      jump(0);
      expect(await wire.exec('x.db', ['SELECT 1'])).toMatchObject({ code: 'DATABASE_CLOSED' });
      expect(await wire.request({ type: 'ReopenDatabase', db: 'x.db' })).toMatchObject({
        reopened: true,
        epoch: 1,
        rev: 3,
      });
      await ground.expectCleanEnd();
    });
  },
);

test('what a starter left before the clock was set back does not keep others from starting a daemon', async () => {
  const folder = join(dirname(ground.socket), 'v1.starting');
  mkdirSync(folder);
  const tomorrow = Date.now() / 1000 + 24 * 60 * 60;
  utimesSync(folder, tomorrow, tomorrow);
  const program = Program.fixture(ground, 'connects-once', ['{"startTimeoutMs":5000}']);
  expect(await program.json()).toEqual({ daemon: expect.any(Number) });
  await program.exited;
  await ground.expectCleanEnd();
});
