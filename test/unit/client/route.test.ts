import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Connection } from '../../../dist/client/connection.js';
import { Route } from '../../../dist/client/route.js';
import { SkylineError } from '../../../dist/protocol/errors.js';

type Sent = {
  readonly message: { [field: string]: unknown };
  resolve(body: object): void;
  reject(error: unknown): void;
};

/** A connection by hand: what was sent waits until the test answers it. */
class Way {
  open = true;
  readonly sent: Sent[] = [];
  attaches = 0;
  async request(message: Sent['message']): Promise<object> {
    expect(message).toEqual({ type: 'Attach', db: '/x.db' });
    this.attaches += 1;
    return { status: 'ok', rev: 3, epoch: 1, endpoint: '/s.w1-1', db_path: '/x.db' };
  }
  close(): void {
    this.open = false;
  }
  post(message: string, waiter: Omit<Sent, 'message'>): number {
    this.sent.push({
      message: JSON.parse(`${message}}`),
      resolve: (body) => waiter.resolve(body),
      reject: (error) => waiter.reject(error),
    });
    return this.sent.length;
  }
  /** The daemon dies. */
  lose(outcome: 'unknown' | 'not_applied' = 'unknown'): void {
    this.open = false;
    for (const { reject } of this.sent.splice(0))
      reject(new SkylineError('CONNECTION_LOST', 'lost', { outcome }));
  }
}

afterEach(() => {
  vi.restoreAllMocks();
});

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

/** @param direct how a worker is reached, where batches may go to it directly */
function begin(direct?: () => Promise<Way>) {
  const ways: Way[] = [];
  const route = new Route('/x.db', {
    router: async () => {
      const way = ways.at(-1)?.open === true ? ways.at(-1) : new Way();
      if (way !== undefined && way !== ways.at(-1)) ways.push(way);
      return way as unknown as Connection;
    },
    leaving: () => undefined,
    worker: async () => {
      if (direct === undefined) throw new Error('no worker has a socket here');
      return (await direct()) as unknown as Connection;
    },
    direct: direct !== undefined,
    exactlyOnce: true,
  });
  const submit = (sql: string, signal?: AbortSignal) => {
    const outcome = route
      .submit(`"stmts":[{"sql":${JSON.stringify(sql)}}]`, (reply) => reply, { signal })
      .then(
        (body) => body,
        (error: unknown) => error,
      );
    return outcome;
  };
  return { route, ways, submit };
}

const OK = { status: 'ok', rev: 3, epoch: 1, rows_affected: 1 };
const closed = () => new SkylineError('DATABASE_CLOSED', 'Database is closed for maintenance.');

test('a refusal of what was sent before does not say that nothing was applied', async () => {
  const { ways, submit } = begin();
  const outcome = submit('INSERT');
  await turn();
  ways[0]?.lose();
  await turn();
  expect(ways[1]?.sent[0]?.message).toMatchObject({ seq: 1 });
  ways[1]?.sent[0]?.reject(closed());
  expect(await outcome).toMatchObject({ code: 'DATABASE_CLOSED', outcome: 'unknown', retryable: false });
});

test('a refusal of what was surely not applied before says so', async () => {
  const { ways, submit } = begin();
  const outcome = submit('INSERT');
  await turn();
  ways[0]?.lose('not_applied');
  await turn();
  ways[1]?.sent[0]?.reject(closed());
  expect(await outcome).toMatchObject({ code: 'DATABASE_CLOSED', outcome: 'not_applied' });
});

test('what may have been applied is only ever sent in the session in which it was sent first', async () => {
  const { ways, submit } = begin();
  const first = submit('A');
  const second = submit('B');
  await turn();
  const session = ways[0]?.sent[0]?.message.session;
  ways[0]?.lose();
  await turn();
  const conflict = new SkylineError('SESSION_CONFLICT', 'replaced', { details: { expected: 1, actual: 2 } });
  ways[1]?.sent.shift()?.reject(conflict);
  expect(await first).toMatchObject({ code: 'SESSION_CONFLICT', outcome: 'unknown' });
  ways[1]?.lose();
  await turn();
  expect(ways[2]?.sent).toHaveLength(1);
  expect(ways[2]?.sent[0]?.message).toMatchObject({ session, seq: 2 });
  ways[2]?.sent[0]?.resolve(OK);
  expect(await second).toEqual(OK);
  // What was never sent begins a new one.
  void submit('C');
  await turn();
  expect(ways[2]?.sent[1]?.message).toMatchObject({
    session: expect.not.stringMatching(String(session)),
    seq: 3,
  });
});

test('what may have been applied names the file that was there, whatever is there by the time it is sent again', async () => {
  const { ways, submit } = begin();
  void submit('A');
  await turn();
  const [first] = ways[0]?.sent.splice(0) ?? [];
  expect(first?.message).toMatchObject({ session_database: true });
  first?.resolve({ ...OK, database: 'one' });
  void submit('B');
  void submit('C');
  await turn();
  expect(ways[0]?.sent[0]?.message).not.toHaveProperty('session_database');
  ways[0]?.lose();
  await turn();
  const file = { session_epoch: 1, session_rev: 3, session_database: 'one' };
  const [b, c] = ways[1]?.sent.splice(0) ?? [];
  expect(b?.message).toMatchObject({ seq: 2, ...file });
  expect(c?.message).toMatchObject({ seq: 3, ...file });
  b?.reject(new SkylineError('SESSION_CONFLICT', 'another database', { outcome: 'unknown' }));
  void submit('D');
  await turn();
  const [d] = ways[1]?.sent.splice(0) ?? [];
  expect(d?.message).toMatchObject({ seq: 4, session_database: true });
  expect(d?.message).not.toHaveProperty('session_epoch');
  d?.resolve({ ...OK, rev: 70, database: 'other' });
  c?.reject(new SkylineError('CONNECTION_LOST', 'lost', { outcome: 'unknown' }));
  await turn();
  expect(ways.at(-1)?.sent.at(-1)?.message).toMatchObject({ seq: 3, ...file });
});

test('a batch that the daemon gave up is asked for once, and then known', async () => {
  const { ways, submit } = begin();
  const outcome = submit('INSERT');
  await turn();
  ways[0]?.sent.shift()?.reject(new SkylineError('WORKER_CRASHED', 'three workers', { outcome: 'unknown' }));
  await turn();
  const asked = ways.at(-1)?.sent.at(-1);
  expect(asked?.message).toMatchObject({ seq: 1, only_replay: true });
  asked?.reject(new SkylineError('TIMEOUT', 'nothing is recorded'));
  expect(await outcome).toMatchObject({
    code: 'WORKER_CRASHED',
    outcome: 'not_applied',
    message: 'three workers',
  });
});

/** Sends batches one after the other, each answered by the way on which it comes. */
async function send(count: number, submit: (sql: string) => Promise<unknown>, ways: () => readonly Way[]) {
  for (let n = 0; n < count; n += 1) {
    const outcome = submit('INSERT');
    await turn();
    for (const way of ways()) for (const { resolve } of way.sent.splice(0)) resolve(OK);
    expect(await outcome).toEqual(OK);
  }
}

test('a database whose batches come often gets a way of its own, and must earn it anew when that has ended', async () => {
  vi.spyOn(performance, 'now').mockImplementation(() => 0);
  const workers: Way[] = [];
  const { route, ways, submit } = begin(async () => {
    const worker = new Way();
    workers.push(worker);
    return worker;
  });
  for (let round = 1; round <= 3; round += 1) {
    await send(8, submit, () => ways);
    expect([ways[0]?.attaches, route.isDirect]).toEqual([round - 1, false]);
    await send(100, submit, () => workers);
    expect([ways[0]?.attaches, route.isDirect]).toEqual([round, true]);
    workers.at(-1)?.close();
  }
  expect(ways).toHaveLength(1);
});

test('one whose batches come now and then stays with the router', async () => {
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  const { route, ways, submit } = begin(async () => new Way());
  for (let second = 0; second < 20; second += 1) {
    now += 1_001;
    await send(7, submit, () => ways);
  }
  expect([ways[0]?.attaches, route.isDirect]).toEqual([0, false]);
});

test('what is on its way through the router is answered before the first batch goes directly', async () => {
  vi.spyOn(performance, 'now').mockImplementation(() => 0);
  const worker = new Way();
  const { ways, submit } = begin(async () => worker);
  await send(7, submit, () => ways);
  const early = [submit('A'), submit('B')];
  await turn();
  ways[0]?.sent.shift()?.resolve(OK);
  const late = submit('C');
  await turn();
  expect([ways[0]?.sent.length, ways[0]?.attaches]).toEqual([1, 0]);
  ways[0]?.sent.shift()?.resolve(OK);
  await turn();
  expect(worker.sent.map(({ message }) => message.seq)).toEqual([10]);
  worker.sent[0]?.resolve(OK);
  expect(await Promise.all([...early, late])).toEqual([OK, OK, OK]);
});

test('a worker that cannot be reached is not looked for again at once', async () => {
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  let reachable = false;
  const worker = new Way();
  const { route, ways, submit } = begin(async () => {
    if (!reachable) throw new SkylineError('CONNECTION_LOST', 'its worker has left');
    return worker;
  });
  await send(50, submit, () => ways);
  expect(ways[0]?.attaches).toBe(1);
  reachable = true;
  now += 1_001;
  await send(50, submit, () => [...ways, worker]);
  expect([ways[0]?.attaches, route.isDirect]).toEqual([2, true]);
});

describe('a signal that aborts', () => {
  const cancelled = (outcome: 'not_applied' | 'unknown') =>
    new SkylineError('CANCELLED', 'cancelled', { outcome });

  /** A batch that was sent, and whose signal has aborted then. */
  async function abortedOnTheWay() {
    const { ways, submit } = begin();
    const controller = new AbortController();
    const outcome = submit('INSERT', controller.signal);
    await turn();
    controller.abort('enough');
    const [batch, cancel] = ways[0]?.sent ?? [];
    expect(cancel?.message).toEqual({ type: 'Cancel', target: 1 });
    return { ways, submit, outcome, batch, cancel };
  }

  test('has the daemon stop what was sent; its answer is what the caller gets', async () => {
    const faster = await abortedOnTheWay();
    faster.batch?.resolve(OK);
    expect(await faster.outcome).toEqual(OK);
    const stopped = await abortedOnTheWay();
    stopped.cancel?.resolve({ status: 'ok', in_flight: true });
    stopped.batch?.reject(cancelled('not_applied'));
    expect(await stopped.outcome).toMatchObject({ code: 'ABORTED', outcome: 'not_applied', cause: 'enough' });
    const failed = await abortedOnTheWay();
    failed.batch?.reject(new SkylineError('SQL_ERROR', 'no such table'));
    expect(await failed.outcome).toMatchObject({ code: 'SQL_ERROR' });
  });

  test('waits two seconds for the answer and no longer; one that comes later is nobody’s', async () => {
    vi.useFakeTimers();
    try {
      const { ways, submit } = begin();
      const controller = new AbortController();
      const outcome = submit('INSERT', controller.signal);
      await vi.advanceTimersByTimeAsync(0);
      controller.abort();
      let over = false;
      void outcome.then(() => {
        over = true;
      });
      await vi.advanceTimersByTimeAsync(1_990);
      expect(over).toBe(false);
      await vi.advanceTimersByTimeAsync(20);
      expect(await outcome).toMatchObject({ code: 'ABORTED', outcome: 'unknown', retryable: false });
      ways[0]?.sent[0]?.resolve(OK);
      void submit('NEXT');
      // It was given up: nobody will ask for its answer.
      expect(ways[0]?.sent.at(-1)?.message).toMatchObject({ seq: 2, acked: 1 });
    } finally {
      vi.useRealTimers();
    }
  });

  test('a daemon that knows no Cancel leaves the outcome open at once', async () => {
    const { outcome, cancel } = await abortedOnTheWay();
    cancel?.reject(new SkylineError('INVALID_REQUEST', 'This daemon has no request of type "Cancel"'));
    expect(await outcome).toMatchObject({ code: 'ABORTED', outcome: 'unknown' });
  });

  test('what was lost on the way is asked about, never run again', async () => {
    for (const answer of ['recorded', 'nothing'] as const) {
      const { ways, outcome } = await abortedOnTheWay();
      ways[0]?.lose();
      await turn();
      expect(ways[1]?.sent).toHaveLength(1);
      expect(ways[1]?.sent[0]?.message).toMatchObject({ seq: 1, only_replay: true });
      if (answer === 'recorded') ways[1]?.sent[0]?.resolve({ ...OK, replayed: true });
      else ways[1]?.sent[0]?.reject(new SkylineError('TIMEOUT', 'nothing is recorded'));
      expect(await outcome).toMatchObject(
        answer === 'recorded' ? { replayed: true } : { code: 'ABORTED', outcome: 'not_applied' },
      );
    }
  });

  test('the same where it waits to be sent again when the signal aborts', async () => {
    const { ways, submit } = begin();
    const controller = new AbortController();
    const outcome = submit('INSERT', controller.signal);
    await turn();
    ways[0]?.lose();
    controller.abort();
    await turn();
    expect(ways[1]?.sent.map(({ message }) => message)).toMatchObject([{ seq: 1, only_replay: true }]);
    ways[1]?.sent[0]?.reject(new SkylineError('TIMEOUT', 'nothing is recorded'));
    expect(await outcome).toMatchObject({ code: 'ABORTED', outcome: 'not_applied' });
  });

  test('what a daemon has refused that leaves is not sent to the next one', async () => {
    const { ways, outcome, batch } = await abortedOnTheWay();
    batch?.reject(new SkylineError('SHUTTING_DOWN', 'it leaves'));
    expect(await outcome).toMatchObject({ code: 'ABORTED', outcome: 'not_applied' });
    await turn();
    expect(ways.flatMap(({ sent }) => sent)).toHaveLength(2);
  });

  test('a batch that was killed with its worker is asked about', async () => {
    const { ways, outcome, batch } = await abortedOnTheWay();
    batch?.reject(cancelled('unknown'));
    await turn();
    const asked = ways[0]?.sent.at(-1);
    expect(asked?.message).toMatchObject({ seq: 1, only_replay: true });
    asked?.reject(new SkylineError('TIMEOUT', 'nothing is recorded'));
    expect(await outcome).toMatchObject({ code: 'ABORTED', outcome: 'not_applied', cause: 'enough' });
  });

  test('what was never sent is nobody’s to stop', async () => {
    const { ways, submit } = begin();
    const controller = new AbortController();
    const outcome = submit('INSERT', controller.signal);
    controller.abort();
    expect(await outcome).toMatchObject({ code: 'ABORTED', outcome: 'not_applied' });
    await turn();
    expect(ways.flatMap(({ sent }) => sent)).toEqual([]);
  });
});
