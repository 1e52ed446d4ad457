import { until } from '../support/playground.js';
import { type StormResult, type StormSetting, sleep } from './storm.js';

/** Databases that take turns in being forgotten: the processor need not wait for one's timer. */
const DATABASES = 12;
const WORKER_IDLE_MS = 3;

/**
 * Requests that arrive just when their database's worker leaves for idleness, over and over: through the router, each with
 * its own database. Each batch is done once, in its order, and rev has no gap.
 */
export async function idleStorm({ ground, random, seconds }: StormSetting): Promise<StormResult> {
  await ground.daemon(['--worker-idle-timeout', `${WORKER_IDLE_MS}ms`, '--log-level', 'error']);
  const violations: string[] = [];
  const seen = new Set<number>();
  const end = performance.now() + seconds * 1000;
  const written = await Promise.all(
    Array.from({ length: DATABASES }, async (_, at) => {
      const db = `${at}.db`;
      const wire = await ground.wire();
      await wire.exec(db, ['CREATE TABLE t (n)']);
      let n = 0;
      while (performance.now() < end && violations.length < 20) {
        n += 1;
        const reply = await wire.exec(db, [{ sql: 'INSERT INTO t VALUES (?)', params: [n] }]);
        if (reply.status !== 'ok' || reply.rev !== n + 1)
          violations.push(`${db}: batch ${n} was answered ${JSON.stringify(reply)}`);
        if (at === 0) for (const pid of ground.workers()) seen.add(pid);
        // Mostly about when the worker leaves.
        if (random.chance(0.8)) await sleep(WORKER_IDLE_MS - 1 + random.int(4));
      }
      const rows = await wire.rows(db, 'SELECT count(*), max(n) FROM t');
      if (JSON.stringify(rows) !== JSON.stringify([[n, n]]))
        violations.push(`${db}: ${JSON.stringify(rows)} is in the file, ${n} were answered`);
      wire.destroy();
      return n;
    }),
  );
  const wire = await ground.wire();
  await wire.request({ type: 'Shutdown' });
  await until('no process is left', () => ground.processes().length === 0);
  const batches = written.reduce((sum, n) => sum + n, 0);
  return { figures: { 'batches done': batches, 'worker processes seen': seen.size }, violations };
}
