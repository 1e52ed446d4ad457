import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { DiskFaults } from '../support/disk-faults.js';
import { endOf, judge, makeMarks, readMarks, startWriter, type WriterReport } from '../support/marks.js';
import { Playground, until } from '../support/playground.js';
import { Preload } from '../support/preload.js';

const preload = new Preload('disk-faults');
let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});
afterAll(() => preload.dispose());

test('batches in whose hand workers die: the library knows what became of each', async () => {
  const db = ground.file('x.db');
  const faults = new DiskFaults(preload, ground.dir, db);
  await ground.daemon(['--durability', 'full'], faults.env);
  const wire = await ground.wire();
  await makeMarks(wire, db);
  const writers = await Promise.all(
    [0, 1, 2].map((at) =>
      startWriter(ground, { db, name: `w${at}`, inFlight: 8, seed: at, options: { direct: at > 0 } }),
    ),
  );
  for (let round = 0; round < 15; round += 1) {
    faults.set({ on: 'sync', file: 'main', with: 'SIGKILL', times: 1 });
    await until('hit', async () => {
      await wire.request({ type: 'Checkpoint', db }).catch(() => undefined);
      return faults.hits > 0;
    });
  }
  faults.none();
  const reports = await Promise.all(writers.map((writer) => endOf<WriterReport>(writer)));
  await ground.expectCleanEnd();
  const { codes, violations } = judge(reports, await readMarks(ground, db));
  expect(violations).toEqual([]);
  expect(
    Object.keys(codes).filter((code) => /unknown|SESSION_CONFLICT/.test(code)),
    JSON.stringify(codes),
  ).toEqual([]);
});
