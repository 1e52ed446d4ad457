import { afterEach, beforeEach, expect, test } from 'vitest';
import { writers } from '../../daemon/worker/lock-holders.js';
import { type DaemonProcess, Playground, until } from '../support/playground.js';
import type { Message, Wire } from '../support/wire.js';

/** Runs until somebody ends it. */
const ENDLESS =
  'INSERT INTO t SELECT 1, n FROM (WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c) SELECT n FROM c WHERE n < 0)';
/** Takes a second or so, then writes one row. */
const LONG =
  "INSERT INTO t SELECT 'long', max(n) FROM (WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < 4000000) SELECT n FROM c)";

let ground: Playground;
let daemon: DaemonProcess;
beforeEach(async () => {
  ground = new Playground();
  daemon = await ground.daemon();
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (session, seq)']);
});
afterEach(async () => {
  await ground.dispose();
});

/** In the file: how often each batch was applied, other than once. */
async function wrong(): Promise<string> {
  return await ground.sqlite3(
    ground.file('x.db'),
    'SELECT session, seq, count(*) FROM t GROUP BY 1, 2 HAVING count(*) <> 1',
  );
}

/** A client that sends what is unanswered again, in order, whenever its connection ends, until all is answered. */
class Resender {
  readonly #session: string;
  readonly #count: number;
  readonly #inFlight: number;
  readonly #unanswered = new Map<number, true>();
  #next = 1;
  replayed = 0;
  answered = 0;

  constructor(session: string, count: number, inFlight: number) {
    this.#session = session;
    this.#count = count;
    this.#inFlight = inFlight;
  }

  async run(): Promise<void> {
    while (this.answered < this.#count) {
      const wire = await ground.wire().catch(() => null);
      if (wire === null) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        continue;
      }
      for (const seq of this.#unanswered.keys()) this.#send(wire, seq);
      await this.#converse(wire);
      wire.destroy();
    }
  }

  async #converse(wire: Wire): Promise<void> {
    for (;;) {
      while (this.#unanswered.size < this.#inFlight && this.#next <= this.#count) {
        this.#unanswered.set(this.#next, true);
        this.#send(wire, this.#next);
        this.#next += 1;
      }
      if (this.#unanswered.size === 0) return;
      const reply = await wire.next();
      if (reply === null) return;
      this.#take(wire, reply);
    }
  }

  #take(wire: Wire, reply: Message): void {
    const seq = Number(reply.id);
    if (reply.status === 'ok') {
      if (!this.#unanswered.delete(seq)) throw new Error(`answered twice: ${seq}`);
      expect(reply).toMatchObject({ rows_affected: 1, results: [{ rows: [[this.#session, seq]] }] });
      this.answered += 1;
      if (reply.replayed === true) this.replayed += 1;
    } else {
      // Three workers died with it in hand; or the daemon is about to go.
      expect(['WORKER_CRASHED', 'SHUTTING_DOWN', 'BUSY', 'DATABASE_NOT_ALLOWED']).toContain(reply.code);
      this.#send(wire, seq);
    }
  }

  #send(wire: Wire, seq: number): void {
    const [first = seq] = this.#unanswered.keys();
    wire.send({
      type: 'ExecBatch',
      db: 'x.db',
      id: seq,
      session: this.#session,
      seq,
      acked: first - 1,
      session_epoch: 1,
      stmts: [{ sql: 'INSERT INTO t VALUES (?, ?) RETURNING session, seq', params: [this.#session, seq] }],
    });
  }
}

/** Lets some clients write, and kills something again and again until they are through. */
async function underFire(count: number, rounds: number, kill: () => Promise<void>): Promise<Resender[]> {
  const clients = Array.from({ length: 4 }, (_, index) => new Resender(`s${index}`, count, 16));
  const done = Promise.all(clients.map((client) => client.run()));
  const answered = () => clients.reduce((sum, client) => sum + client.answered, 0);
  for (let round = 1; round <= rounds; round += 1) {
    await until('some more are answered', () => answered() >= (round * 4 * count) / (rounds + 1));
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 10));
    await kill();
  }
  await done;
  expect(await wrong()).toBe('');
  expect(await ground.sqlite3(ground.file('x.db'), 'SELECT count(*) FROM t')).toBe(String(4 * count));
  return clients;
}

test('workers that are killed again and again under load: each batch is applied once and answered', async () => {
  const killed = new Set<number>();
  await underFire(1_500, 25, async () => {
    for (const pid of ground.workers()) {
      killed.add(pid);
      process.kill(pid, 'SIGKILL');
    }
  });
  expect(killed.size).toBeGreaterThan(10);
  // The table's rows and the rev are one.
  const wire = await ground.wire();
  expect(await wire.request({ type: 'Ping', db: 'x.db' })).toMatchObject({ rev: 6_001, epoch: 1 });
  await ground.expectCleanEnd();
}, 120_000);

test('daemons that are killed again and again under load: each batch is applied once and answered', async () => {
  await underFire(1_500, 8, async () => {
    process.kill(daemon.pid, 'SIGKILL');
    await daemon.exited;
    daemon = await ground.daemon();
  });
  await ground.expectCleanEnd();
}, 120_000);

test('daemon and workers that are killed at once: each batch is applied once and answered', async () => {
  await underFire(1_000, 5, async () => {
    for (const pid of ground.processes()) process.kill(pid, 'SIGKILL');
    await daemon.exited;
    daemon = await ground.daemon();
  });
  await ground.expectCleanEnd();
}, 120_000);

/** Waits until the worker of x.db is in a transaction. */
async function running(): Promise<number> {
  let pid = 0;
  await until('the worker is in a transaction', () => {
    const held = writers(ground.file('x.db')).map((writer) => writer.pid);
    pid = ground.workers().find((worker) => held.includes(worker)) ?? 0;
    return pid !== 0;
  });
  return pid;
}

test('a daemon that dies between the commit and the answer: the answer is still to be had', async () => {
  const wire = await ground.wire();
  const batch = { type: 'ExecBatch', db: 'x.db', id: 1, session: 's', seq: 1, stmts: [{ sql: LONG }] };
  wire.send(batch);
  await running();
  // It hears nothing more, but the worker goes on.
  process.kill(daemon.pid, 'SIGSTOP');
  await until('it is committed', async () => {
    return (await ground.sqlite3(ground.file('x.db'), 'SELECT count(*) FROM t')) === '1';
  });
  process.kill(daemon.pid, 'SIGKILL');
  await daemon.exited;
  expect(await wire.next()).toBeNull();
  daemon = await ground.daemon();
  const again = await ground.wire();
  again.send(batch);
  expect(await again.next()).toMatchObject({ id: 1, status: 'ok', rev: 2, replayed: true });
  expect(await ground.sqlite3(ground.file('x.db'), 'SELECT count(*) FROM t')).toBe('1');
});

test('a worker that dies between two statements of "tx": "none": the answer says how far it came', async () => {
  const wire = await ground.wire();
  const stmts = ["INSERT INTO t VALUES ('none', 1)", ENDLESS, "INSERT INTO t VALUES ('none', 3)"];
  const place = { session: 's', seq: 1, tx: 'none' };
  const answer = wire.exec('x.db', stmts, place);
  await until('the first statement is committed', async () => {
    return (await ground.sqlite3(ground.file('x.db'), 'SELECT count(*) FROM t')) === '1';
  });
  process.kill(await running(), 'SIGKILL');
  const cut = { code: 'WORKER_CRASHED', outcome: 'partial', applied: 1, replayed: true, retryable: false };
  expect(await answer).toMatchObject(cut);
  expect(await wire.exec('x.db', stmts, place)).toMatchObject(cut);
  expect(await wire.rows('x.db', 'SELECT seq FROM t')).toEqual([[1]]);
});

test('a batch that kills its workers is given up, and may be sent again under its seq', async () => {
  const wire = await ground.wire();
  const answer = wire.exec('x.db', [ENDLESS], { session: 's', seq: 1 });
  const seen = new Set<number>();
  while (seen.size < 3) {
    const pid = await running();
    if (seen.has(pid)) continue;
    seen.add(pid);
    process.kill(pid, 'SIGKILL');
  }
  expect(await answer).toMatchObject({ code: 'WORKER_CRASHED', outcome: 'not_applied' });
  const next = await wire.exec('x.db', ["INSERT INTO t VALUES ('s', 1)"], { session: 's', seq: 1 });
  expect(next).toMatchObject({ status: 'ok', rev: 2 });
});
