import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect, SkylineError } from '../../dist/client/index.js';
import { Playground } from '../support/playground.js';
import { Random } from '../support/random.js';

/** Signals that abort at any moment: each answer is true, and nobody else notices. */

const CLIENTS = 5;
const ROUNDS = 40;
const SLOW =
  'INSERT INTO junk WITH RECURSIVE c(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM c LIMIT 150000) SELECT count(*) FROM c';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

test('batches whose signals abort at any moment: what is said of each is so, and all others are applied once', async () => {
  const seed = Date.now();
  const random = new Random(seed);
  await ground.daemon(['--log-level', 'error']);
  const db = ground.file('x.db');
  const applied = new Set<number>();
  const notApplied = new Set<number>();
  let unknown = 0;
  const first = await connect({ socket: ground.socket, autoStart: false });
  await first.database(db).batch(['CREATE TABLE t (n)', 'CREATE TABLE junk (n)']);

  async function work(client: number): Promise<void> {
    const own = new Random(random.seed());
    // Some speak to the worker directly, where only what waits can be stopped.
    const connection = await connect({
      socket: ground.socket,
      autoStart: false,
      direct: client % 2 === 0,
      exactlyOnce: client !== 1,
    });
    const file = connection.database(db);
    for (let round = 0; round < ROUNDS; round += 1) {
      const n = client * 1_000 + round;
      const controller = new AbortController();
      const wanted = own.chance(0.5);
      if (!wanted) setTimeout(() => controller.abort(), own.int(60));
      const insert = { sql: 'INSERT INTO t VALUES (?)', params: [n] };
      try {
        const stmts = own.chance(0.4) ? [insert, SLOW] : [insert];
        await file.batch(stmts, own.chance(0.8) || !wanted ? { signal: controller.signal } : {});
        applied.add(n);
      } catch (error) {
        if (!(error instanceof SkylineError)) throw error;
        const told = `${error.code} ${error.outcome} ${error.message}`;
        // Nobody else's is harmed: but one without a number cannot be told from what was stopped beside it.
        if (wanted) expect(client === 1 && error.outcome === 'unknown', told).toBe(true);
        else if (error.code !== 'ABORTED')
          expect(client === 1 && error.outcome === 'unknown', told).toBe(true);
        if (error.outcome === 'not_applied') notApplied.add(n);
        else unknown += 1;
      }
    }
    connection.close();
  }
  try {
    await Promise.all(Array.from({ length: CLIENTS }, (_, client) => work(client)));
    const rows = await first
      .database(db)
      .all<{ n: number; times: number }>('SELECT n, count(*) AS times FROM t GROUP BY n');
    const there = new Set(rows.map(({ n }) => n));
    expect(rows.filter(({ times }) => times > 1)).toEqual([]);
    expect([...applied].filter((n) => !there.has(n))).toEqual([]);
    expect([...notApplied].filter((n) => there.has(n))).toEqual([]);
    expect(applied.size).toBeGreaterThan(0);
    expect(notApplied.size).toBeGreaterThan(0);
    expect(applied.size + notApplied.size + unknown).toBe(CLIENTS * ROUNDS);
  } catch (error) {
    throw new Error(`seed ${seed}`, { cause: error });
  }
  first.close();
  await ground.expectCleanEnd();
});
