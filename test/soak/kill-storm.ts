import { readFileSync } from 'node:fs';
import {
  endOf,
  judge,
  makeMarks,
  type ReaderReport,
  readMarks,
  type SubscriberReport,
  startReader,
  startSubscriber,
  startWriter,
  type WriterReport,
} from '../support/marks.js';
import { type Playground, until } from '../support/playground.js';
import type { Random } from '../support/random.js';
import { blowsOn, killsOf, type StormResult, type StormSetting, sleep } from './storm.js';

const WRITERS = 4;

/**
 * The file is never replaced and a daemon can always be started, so the outcome is known: but for a batch in whose hand three
 * workers have died, which is given up, and those of its session that others have overtaken by then.
 */
const EXPECTED = new Set([
  'SQL_ERROR not_applied',
  'EXPECTATION_FAILED not_applied',
  'WORKER_CRASHED not_applied',
  'WORKER_CRASHED unknown',
  'SESSION_CONFLICT not_applied',
]);

/**
 * Processes write through the library and read the file, while whatever the daemon is made of is killed at random moments.
 * In the end each answer is compared with the file.
 */
export async function killStorm({ ground, random, seconds, least }: StormSetting): Promise<StormResult> {
  const db = ground.file('x.db');
  await ground.daemon();
  const wire = await ground.wire();
  await makeMarks(wire, db);
  wire.destroy();
  const subscriber = await startSubscriber(ground, db, 1);
  const writers = await Promise.all(
    Array.from({ length: WRITERS }, (_, at) =>
      startWriter(ground, {
        db,
        name: `w${at}`,
        inFlight: 1 + random.int(24),
        seed: random.seed(),
        // One of them stays with the router.
        options: { direct: at > 0, pauseMs: random.pick([0, 0, 2]) },
      }),
    ),
  );
  const readers = [await startReader(ground, db), await startReader(ground, db)];
  const kills = await killAllAlong(ground, random, performance.now() + seconds * 1000, least);
  const reports = await Promise.all(writers.map((writer) => endOf<WriterReport>(writer)));
  const looks = await Promise.all(readers.map((reader) => endOf<ReaderReport>(reader)));
  const lastRev = Math.max(...reports.flatMap(({ done }) => done.map(([, rev]) => rev)));
  subscriber.say(`${lastRev}`);
  const heard = await subscriber.json<SubscriberReport>();
  await subscriber.exited;
  await leave(ground);
  const verdict = judge(reports, await readMarks(ground, db));
  const violations = [
    ...verdict.violations,
    ...looks.flatMap((report) => report.violations),
    ...heard.violations,
  ];
  const unexpected = Object.keys(verdict.codes).filter((code) => !EXPECTED.has(code));
  if (unexpected.length > 0) violations.push(`failures that nothing explains: ${unexpected.join(', ')}`);
  return {
    figures: {
      ...kills,
      'batches done': verdict.done,
      'batches failed': verdict.failed,
      'outcomes unknown': verdict.unknown,
      ...Object.fromEntries(
        Object.entries(verdict.codes).map(([code, count]) => [`  of them ${code}`, count]),
      ),
      'looks of readers': looks.reduce((sum, report) => sum + report.looks, 0),
      'changes told': heard.changes,
      'resets told': heard.resets,
    },
    violations,
  };
}

/**
 * Kills and kills, in all the ways there are, until the time is over.
 * @param least how many `kills` there must be of all ways together
 * @param mostMs milliseconds between two kills, at most, except for a longer pause now and then
 */
export async function killAllAlong(
  ground: Playground,
  random: Random,
  end: number,
  least: StormSetting['least'],
  mostMs = 300,
): Promise<Record<string, number>> {
  const kills: Record<string, number> = {};
  const ways: readonly (readonly [string, () => Promise<number>])[] = [
    ['workers killed', async () => kill(ground.workers())],
    ['workers killed', async () => kill(ground.workers())],
    ['routers killed', async () => kill(ground.daemons())],
    ['spares killed', async () => kill(ground.spares())],
    ['all at once killed', async () => kill(ofTheDaemon(ground))],
    ['killed while they started', () => killNewborn(ground, random)],
    ['killed after a standstill', () => killFrozen(ground, random)],
  ];
  while (blowsOn(end, { kills: killsOf({ figures: kills }) }, least)) {
    // Mostly short, now and then long enough for a check-point in a quiet moment.
    await sleep(random.chance(0.05) ? 1_500 : random.int(mostMs));
    const [what, way] = random.pick(ways);
    kills[what] = (kills[what] ?? 0) + (await way());
  }
  return kills;
}

/** Ends whatever serves, then hits what comes in its place before or while it begins to serve. */
async function killNewborn(ground: Playground, random: Random): Promise<number> {
  const before = new Set(ofTheDaemon(ground));
  kill(before);
  let newborn: number[] = [];
  const patience = performance.now() + 5_000;
  while (newborn.length === 0 && performance.now() < patience) {
    await sleep(2);
    newborn = ofTheDaemon(ground).filter((pid) => !before.has(pid));
  }
  await sleep(random.int(150));
  return kill(ofTheDaemon(ground).filter((pid) => !before.has(pid)));
}

/** Stops a process in the middle of whatever it does, lets the others go on for a moment, then kills it. */
async function killFrozen(ground: Playground, random: Random): Promise<number> {
  const victims = random.chance(0.5) ? ground.workers() : ground.daemons();
  for (const pid of victims) signal(pid, 'SIGSTOP');
  await sleep(random.int(100));
  return kill(victims);
}

/** Everything that the daemon is made of, also what has not yet given itself a name. */
function ofTheDaemon(ground: Playground): number[] {
  return ground.processes().filter((pid) => {
    try {
      return /^skylinedb-|dist\/bin\//.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
    } catch {
      return false;
    }
  });
}

function kill(pids: Iterable<number>): number {
  return [...pids].filter((pid) => signal(pid, 'SIGKILL')).length;
}

function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

/** Tells the last daemon to leave: a file is read when nobody has it open. */
export async function leave(ground: Playground): Promise<void> {
  const wire = await ground.wire().catch(() => null);
  await wire?.request({ type: 'Shutdown' }).catch(() => undefined);
  wire?.destroy();
  await until('the daemon has left', () => ground.processes().length === 0);
}
