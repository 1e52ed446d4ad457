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
import { Preload } from '../support/preload.js';
import type { Random } from '../support/random.js';
import { leave } from './kill-storm.js';
import { type StormResult, type StormSetting, sleep } from './storm.js';

/** What may be said of a batch while the disk fails and workers die of it. */
const EXPECTED = new Set([
  'SQL_ERROR not_applied',
  'EXPECTATION_FAILED not_applied',
  'IO_ERROR not_applied',
  'IO_ERROR unknown',
  'DISK_FULL not_applied',
  'DISK_FULL unknown',
  'DATABASE_READONLY not_applied',
  'DATABASE_READONLY unknown',
  'WORKER_CRASHED not_applied',
  'WORKER_CRASHED unknown',
  'SESSION_CONFLICT not_applied',
]);

const POINTS: readonly Pick<Fault, 'on' | 'file'>[] = [
  { on: 'write', file: 'wal' },
  { on: 'write', file: 'wal' },
  { on: 'write', file: 'main' },
  { on: 'sync', file: 'wal' },
  { on: 'sync', file: 'main' },
  { on: 'open', file: 'main' },
  { on: 'open', file: 'wal' },
  { on: 'open', file: 'shm' },
  { on: 'truncate', file: 'wal' },
];

/** A disk that fails again and again, in the middle of writing, syncing, opening, and workers that die of it. */
export async function diskStorm({ ground, random, seconds }: StormSetting): Promise<StormResult> {
  const preload = new Preload('disk-faults');
  try {
    // Nothing can be said without it: that is counted, and is no violation.
    if (preload.missing !== null) return { figures: { [`left out: ${preload.missing}`]: 1 }, violations: [] };
    return await blow({ ground, random, seconds }, preload);
  } finally {
    preload.dispose();
  }
}

async function blow({ ground, random, seconds }: StormSetting, preload: Preload): Promise<StormResult> {
  const db = ground.file('x.db');
  const faults = new DiskFaults(preload, ground.dir, db);
  const daemon = await ground.daemon(['--durability', random.pick(['normal', 'full'])], faults.env);
  const wire = await ground.wire();
  await makeMarks(wire, db);
  const writers = await Promise.all(
    [0, 1, 2].map((at) => {
      const options = { direct: at > 0, pauseMs: 2 };
      return startWriter(ground, {
        db,
        name: `w${at}`,
        inFlight: 1 + random.int(12),
        seed: random.seed(),
        options,
      });
    }),
  );
  const reader = await startReader(ground, db);
  const figures: Record<string, number> = {};
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    const fault = anyFault(random);
    faults.set(fault);
    // It is opened again only by the next one.
    if (fault.on === 'open') for (const pid of ground.workers()) process.kill(pid, 'SIGKILL');
    if (random.chance(0.3))
      void wire.request({ type: 'Checkpoint', db, mode: 'truncate' }).catch(() => undefined);
    await sleep(10 + random.int(100));
    faults.none();
    const what = `${fault.with} at ${fault.on} of ${fault.file}`;
    figures[what] = (figures[what] ?? 0) + faults.hits;
    await sleep(random.int(60));
  }
  const reports = await Promise.all(writers.map((writer) => endOf<WriterReport>(writer)));
  const looks = await endOf<ReaderReport>(reader);
  const lived = daemon.child.exitCode === null;
  await leave(ground);
  const verdict = judge(reports, await readMarks(ground, db));
  const unexpected = Object.keys(verdict.codes).filter((code) => !EXPECTED.has(code));
  return {
    figures: {
      ...figures,
      'batches done': verdict.done,
      'batches failed': verdict.failed,
      'outcomes unknown': verdict.unknown,
      ...Object.fromEntries(
        Object.entries(verdict.codes).map(([code, count]) => [`  of them ${code}`, count]),
      ),
      'looks of readers': looks.looks,
    },
    violations: [
      ...verdict.violations,
      ...looks.violations,
      ...(lived ? [] : ['the daemon has ended']),
      ...unexpected.map((code) => `a failure that nothing explains: ${code}`),
    ],
  };
}

function anyFault(random: Random): Fault {
  const times = 1 + random.int(4);
  const kind = random.pick(['EIO', 'EIO', 'ENOSPC', 'SIGKILL'] as const);
  if (kind === 'SIGKILL' && random.chance(0.3))
    return { on: 'answer', file: 'wal', with: kind, skip: random.int(20), times: 1 };
  const point = random.pick(POINTS);
  // Files are opened seldom, and written all the time.
  const skip = random.int(point.on === 'open' ? 2 : 30);
  return { ...point, with: kind, skip, times: kind === 'SIGKILL' ? 1 : times };
}
