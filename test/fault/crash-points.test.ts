import { randomInt } from 'node:crypto';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DiskFaults, type Fault } from '../support/disk-faults.js';
import {
  endOf,
  judge,
  makeMarks,
  type ReaderReport,
  readMarks,
  startReader,
  startWriter,
  type WriterReport,
} from '../support/marks.js';
import { type DaemonProcess, Playground, until } from '../support/playground.js';
import { Preload } from '../support/preload.js';
import { Random } from '../support/random.js';
import type { Wire } from '../support/wire.js';

/**
 * Workers that die exactly where it matters, while programs write through the library: each is killed in the middle of the
 * system call that makes the difference. A kill at a random moment hardly ever hits these.
 */
const ROUNDS = 12;
const POINTS: readonly (readonly [where: string, point: Omit<Fault, 'with' | 'times'>, most: number])[] = [
  ['between the commit and the answer', { on: 'answer', file: 'wal' }, 50],
  ['while it writes to the WAL', { on: 'write', file: 'wal' }, 100],
  ['before the WAL is synced', { on: 'sync', file: 'wal' }, 20],
  ['in the middle of a check-point', { on: 'write', file: 'main' }, 30],
  ['at the end of a check-point', { on: 'sync', file: 'main' }, 1],
];

const preload = new Preload('disk-faults');
let ground: Playground;
let daemon: DaemonProcess;
let faults: DiskFaults;
let db: string;
beforeEach(async () => {
  ground = new Playground();
  db = ground.file('x.db');
  faults = new DiskFaults(preload, ground.dir, db);
  daemon = await ground.daemon(['--durability', 'full'], faults.env);
  await makeMarks(await ground.wire(), db);
});
afterEach(async () => {
  faults.none();
  await ground.dispose();
});
afterAll(() => preload.dispose());

async function written(wire: Wire): Promise<number> {
  return Number((await wire.rows(db, 'SELECT max(id) FROM marks'))[0]?.[0]);
}

describe.skipIf(preload.missing !== null)(
  `workers that die (${preload.missing ?? 'with LD_PRELOAD'})`,
  () => {
    test.each(POINTS)('%s: each batch is applied once, and answered', async (_where, point, most) => {
      const seed = randomInt(2 ** 31);
      const random = new Random(seed);
      const writers = await Promise.all(
        [0, 1, 2].map((at) =>
          startWriter(ground, {
            db,
            name: `w${at}`,
            inFlight: 8,
            seed: random.seed(),
            options: { direct: at > 0 },
          }),
        ),
      );
      const reader = await startReader(ground, db);
      const wire = await ground.wire();
      for (let round = 0; round < ROUNDS; round += 1) {
        faults.set({ ...point, with: 'SIGKILL', times: 1, skip: random.int(most) });
        await until('it was hit', async () => {
          // Else it happens now and then only.
          if (point.file === 'main') await wire.request({ type: 'Checkpoint', db }).catch(() => undefined);
          return faults.hits > 0;
        });
        faults.none();
        // A batch that meets three deaths is given up: here each is to come through.
        const before = await written(wire);
        await until('all that was in hand is answered', async () => (await written(wire)) > before + 60);
      }
      const reports = await Promise.all(writers.map((writer) => endOf<WriterReport>(writer)));
      const looks = await endOf<ReaderReport>(reader);
      expect(daemon.child.exitCode).toBeNull();
      await ground.expectCleanEnd();
      const verdict = judge(reports, await readMarks(ground, db));
      const told = `seed ${seed}: ${JSON.stringify({ ...verdict, violations: [] })}`;
      expect([...verdict.violations, ...looks.violations], told).toEqual([]);
      const expected = ['SQL_ERROR not_applied', 'EXPECTATION_FAILED not_applied'];
      expect(
        Object.keys(verdict.codes).filter((code) => !expected.includes(code)),
        told,
      ).toEqual([]);
      expect(verdict.done, told).toBeGreaterThan(100);
    });
  },
);
