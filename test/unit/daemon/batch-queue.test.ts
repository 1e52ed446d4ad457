import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { BatchQueue } from '../../../daemon/batch-queue.js';
import type { Job } from '../../../daemon/job.js';
import type { Position } from '../../../daemon/worker/link.js';
import { LinkKind, monotonicMs } from '../../../daemon/worker/link.js';
import type { Waiter, WorkerProcess } from '../../../daemon/worker-process.js';
import type { SkylineError } from '../../../protocol/errors.js';

/** What becomes of a batch whose worker dies. The workers here only note what they are given. */

interface Given {
  readonly name: string;
  readonly suspect: boolean;
  readonly waiter: Waiter;
  readonly deadline: number;
}

class FakeWorker {
  state = 'serving';
  readonly given: Given[] = [];
  /** Tags of what it is told to be wanted no more. */
  readonly cancelled: number[] = [];
  /** The tag of what it runs; undefined for whatever is asked about. */
  runs: number | undefined;

  request(kind: number, _lane: number, payload: Buffer, deadline: number, waiter: Waiter): number {
    this.given.push({ name: payload.toString(), suspect: kind === LinkKind.Suspect, waiter, deadline });
    return this.given.length;
  }

  cancel(tag: number): void {
    this.cancelled.push(tag);
  }

  isRunning(tag: number): boolean {
    return this.runs === undefined || this.runs === tag;
  }

  get names(): string[] {
    return this.given.map(({ name }) => name);
  }

  started(rev: number): void {
    for (const { waiter } of this.given) waiter.started?.(rev);
  }

  die(): void {
    for (const { waiter } of this.given) waiter.lost({ code: null, signal: 'SIGKILL' });
  }
}

function scene(known: Position | null) {
  const workers: FakeWorker[] = [new FakeWorker()];
  const at = { known, file: known ?? { id: null, epoch: 1, rev: 0 } };
  const current = () => workers.at(-1) as unknown as WorkerProcess;
  const stopWorker = vi.fn();
  const queue = new BatchQueue({
    serving: async () => {
      workers.push(new FakeWorker());
      return current();
    },
    position: async () => at.file,
    known: () => at.known,
    answered: () => undefined,
    stopWorker,
    lastWords: () => '',
    empty: () => undefined,
  });
  const failures = new Map<string, SkylineError>();
  const submit = (name: string, more: Partial<Job> = {}) =>
    queue.submit(
      {
        kind: 'batch',
        lane: 1,
        isWanted: () => true,
        payload: Buffer.from(name),
        deadline: 0,
        session: false,
        reply: () => undefined,
        fail: (error) => failures.set(name, error),
        ...more,
      } as Job,
      current(),
    );
  /** The worker of now. */
  const worker = () => workers.at(-1) as FakeWorker;
  /** Kills it, and waits until all is settled. */
  const die = async () => {
    const next = workers.length + 1;
    const { given } = worker();
    worker().die();
    await vi.waitFor(() => {
      if (workers.length < next && failures.size < given.length) throw new Error('not settled');
    });
  };
  /** What any worker was given. */
  const all = () => workers.flatMap(({ names }) => names);
  return { at, queue, submit, worker, all, die, failures, stopWorker };
}

const AT = { id: 'a', epoch: 1, rev: 10 };

test('what was in hand goes on when the rev is as it was; else only what has a session', async () => {
  const same = scene(AT);
  same.submit('plain');
  same.submit('session', { session: true });
  same.worker().started(10);
  await same.die();
  expect(same.worker().names).toEqual(['plain', 'session']);

  const moved = scene(AT);
  moved.submit('plain');
  moved.submit('session', { session: true });
  moved.worker().started(10);
  moved.at.file = { ...AT, rev: 11 };
  await moved.die();
  expect(moved.worker().names).toEqual(['session']);
  expect(moved.failures.get('plain')).toMatchObject({ code: 'WORKER_CRASHED', outcome: 'unknown' });
});

test('commits that the router has not heard of, before the group began, are not taken for the group', async () => {
  const { at, submit, worker, die, failures } = scene(AT);
  submit('plain');
  // Clients on the worker's own socket have brought it to 15; the router has heard of 10.
  worker().started(15);
  at.file = { ...AT, rev: 15 };
  await die();
  expect(worker().names).toEqual(['plain']);
  expect(failures.size).toBe(0);
});

test('a worker that had not opened the file leaves the router with what it knows itself', async () => {
  const { at, submit, worker, die, failures } = scene(AT);
  submit('plain');
  worker().started(-1);
  await die();
  expect(worker().names).toEqual(['plain']);
  worker().started(10);
  at.file = { ...AT, rev: 11 };
  worker().die();
  await vi.waitFor(() => expect(failures.get('plain')).toMatchObject({ outcome: 'unknown' }));
});

test('a batch with a session is given up after three workers, and the truth is told', async () => {
  for (const [rev, outcome] of [
    [10, 'not_applied'],
    [11, 'unknown'],
  ] as const) {
    const { at, submit, worker, die, failures } = scene(AT);
    submit('session', { session: true });
    worker().started(10);
    at.file = { ...AT, rev };
    await die();
    for (let more = 0; more < 2; more += 1) {
      expect(worker().names).toEqual(['session']);
      // The later ones are sure of theirs, but not of the first.
      worker().started(rev);
      worker().die();
      await vi.waitFor(() => {
        if (worker().given.length === 0 || failures.size > 0 || more === 0) return;
        throw new Error('not settled');
      });
      await new Promise(setImmediate);
    }
    expect(failures.get('session')).toMatchObject({ code: 'WORKER_CRASHED', outcome });
  }
});

test('a batch that was stopped at its deadline: with a session, the next worker looks whether it is recorded', async () => {
  for (const [session, rev] of [
    [true, 10],
    [true, 11],
    [false, 11],
  ] as const) {
    const { at, submit, worker, die, failures, stopWorker } = scene(AT);
    submit('late', { session, deadline: monotonicMs() + 1 });
    worker().started(10);
    worker().given[0]?.waiter.running?.();
    await vi.waitFor(() => expect(stopWorker).toHaveBeenCalled());
    at.file = { ...AT, rev };
    await die();
    // Past its deadline no worker begins it, so that it may be given to one whose record is wanted.
    if (session && rev === 11) expect(worker().names).toEqual(['late']);
    else
      expect(failures.get('late')).toMatchObject({
        code: 'TIMEOUT',
        outcome: rev === 10 ? 'not_applied' : 'unknown',
      });
  }
});

test('a deadline that passes before the next worker has looked leaves the outcome open', async () => {
  const { at, submit, worker, failures } = scene(AT);
  submit('late', { session: true, deadline: monotonicMs() + 150 });
  worker().started(10);
  at.file = { ...AT, rev: 11 };
  worker().die();
  await vi.waitFor(() => expect(worker().names).toEqual(['late']));
  await vi.waitFor(() => expect(failures.get('late')).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' }));
});

test('what was in hand when a worker died is executed by itself, what only waited behind it is not', async () => {
  const { submit, worker } = scene(AT);
  submit('in hand');
  worker().started(10);
  submit('behind');
  worker().die();
  await vi.waitFor(() =>
    expect(worker().given).toMatchObject([
      { name: 'in hand', suspect: true },
      { name: 'behind', suspect: false },
    ]),
  );
});

test('what a worker that cannot open the file says of a batch that the one before may have applied is no last word', async () => {
  const replies: string[] = [];
  const answer = async (reply: object, moved: boolean) => {
    const one = scene(AT);
    one.submit('batch', { session: true, reply: (payload) => replies.push(String(payload)) });
    one.worker().started(10);
    if (moved) one.at.file = { ...AT, rev: 11 };
    await one.die();
    one.worker().given[0]?.waiter.reply(Buffer.from(JSON.stringify(reply)), 11);
    return one.failures.get('batch');
  };
  const failed = { status: 'error', id: 1, message: 'It failed.', retryable: false, outcome: 'not_applied' };
  const cannotOpen = { ...failed, code: 'IO_ERROR', sqlite_code: 'SQLITE_CANTOPEN' };
  expect(await answer(cannotOpen, true)).toMatchObject({
    code: 'IO_ERROR',
    outcome: 'unknown',
    retryable: false,
    details: { sqlite_code: 'SQLITE_CANTOPEN' },
    message: expect.stringContaining('same session and seq'),
  });
  expect(replies).toEqual([]);
  // What is sure: nothing was applied before, or the batch was looked up.
  expect(await answer(cannotOpen, false)).toBeUndefined();
  for (const sure of [
    { code: 'SQL_ERROR' },
    { code: 'IO_ERROR', replayed: true },
    { code: 'SESSION_CONFLICT' },
  ])
    expect(await answer({ ...failed, ...sure }, true)).toBeUndefined();
  expect(await answer({ status: 'ok', id: 1, rev: 11 }, true)).toBeUndefined();
  expect(replies).toHaveLength(5);
});

test('a transaction of a client that has gone is not begun by the next worker, which would not be told', async () => {
  const { submit, worker, die, failures } = scene(AT);
  let isWanted = true;
  submit('mine', { kind: 'begin' });
  submit('gone', { kind: 'begin', isWanted: () => isWanted });
  expect(worker().names).toEqual(['mine', 'gone']);
  isWanted = false;
  await die();
  expect(worker().names).toEqual(['mine']);
  expect(failures.get('gone')).toMatchObject({ outcome: 'not_applied' });
});

test('a step goes to the worker that has its transaction, also when that is to leave', () => {
  const { submit, worker } = scene(AT);
  const leaving = worker();
  leaving.state = 'leaving';
  submit('step', { kind: 'step' });
  submit('batch');
  expect(leaving.names).toEqual(['step']);
});

test('a commit whose worker has died is looked up by the next one: with a session, or if nothing has moved', async () => {
  const { at, submit, worker, die, failures } = scene(AT);
  submit('plain', { kind: 'step' });
  submit('session', { kind: 'step', session: true });
  worker().started(10);
  at.file = { ...AT, rev: 11 };
  await die();
  expect(worker().names).toEqual(['session']);
  expect(failures.get('plain')).toMatchObject({ code: 'WORKER_CRASHED', outcome: 'unknown' });
  const refused = {
    status: 'error',
    code: 'TX_EXPIRED',
    message: 'm',
    retryable: false,
    outcome: 'not_applied',
  };
  // It has looked: that is the answer, and no reason to doubt.
  worker().given[0]?.waiter.reply(Buffer.from(JSON.stringify(refused)), 11);
  expect(failures.has('session')).toBe(false);
});

const ENDLESS = { deadline: Number.POSITIVE_INFINITY };

test('what no worker has yet is cancelled at once, and no worker ever gets it', async () => {
  const { submit, worker, all, failures } = scene(AT);
  worker().state = 'leaving';
  const unwanted = submit('unwanted');
  submit('wanted');
  unwanted.cancel();
  expect(failures.get('unwanted')).toMatchObject({ code: 'CANCELLED', outcome: 'not_applied' });
  unwanted.cancel();
  await vi.waitFor(() => expect(all()).toEqual(['wanted']));
  expect(failures.size).toBe(1);
});

test('what the worker has is cancelled there, by its answer; the worker is left alone', async () => {
  vi.useFakeTimers();
  try {
    const { submit, worker, failures, stopWorker } = scene(AT);
    const replies: string[] = [];
    submit('before');
    const unwanted = submit('unwanted', { reply: (payload) => replies.push(String(payload)) });
    unwanted.cancel();
    unwanted.cancel();
    expect(worker().cancelled).toEqual([2]);
    worker().started(10);
    vi.advanceTimersByTime(60_000);
    worker().given[1]?.waiter.reply(Buffer.from('{"status":"error","code":"CANCELLED"}'), 10);
    unwanted.cancel();
    expect(replies).toEqual(['{"status":"error","code":"CANCELLED"}']);
    expect(worker().cancelled).toEqual([2]);
    expect(failures.size).toBe(0);
    expect(stopWorker).not.toHaveBeenCalled();
  } finally {
    vi.useRealTimers();
  }
});

test.each([
  ['runs already', 'before'],
  ['begins to run before the worker has heard of it', 'after'],
])('a batch that %s is stopped with its worker, after a moment for its answer', async (_what, when) => {
  const { submit, worker, all, die, failures, stopWorker } = scene(AT);
  const unwanted = submit('unwanted', ENDLESS);
  worker().started(10);
  if (when === 'before') worker().given[0]?.waiter.running?.();
  unwanted.cancel();
  if (when === 'after') worker().given[0]?.waiter.running?.();
  expect(stopWorker).not.toHaveBeenCalled();
  await vi.waitFor(() => expect(stopWorker).toHaveBeenCalledWith('cancelled'));
  await die();
  expect(failures.get('unwanted')).toMatchObject({ code: 'CANCELLED', outcome: 'not_applied' });
  expect(all()).toEqual(['unwanted']);
});

test('a worker that runs something else than what was cancelled is not stopped', async () => {
  vi.useFakeTimers();
  try {
    const { submit, worker, stopWorker } = scene(AT);
    const unwanted = submit('unwanted', ENDLESS);
    submit('other', ENDLESS);
    worker().started(10);
    worker().given[0]?.waiter.running?.();
    worker().runs = 2;
    unwanted.cancel();
    vi.advanceTimersByTime(60_000);
    expect(stopWorker).not.toHaveBeenCalled();
    worker().runs = 1;
    vi.advanceTimersByTime(200);
    expect(stopWorker).toHaveBeenCalledWith('cancelled');
  } finally {
    vi.useRealTimers();
  }
});

test('an answer in the moment before it would be stopped is the answer', async () => {
  vi.useFakeTimers();
  try {
    const { submit, worker, failures, stopWorker } = scene(AT);
    const replies: string[] = [];
    const unwanted = submit('unwanted', { ...ENDLESS, reply: (payload) => replies.push(String(payload)) });
    worker().given[0]?.waiter.running?.();
    unwanted.cancel();
    worker().given[0]?.waiter.reply(Buffer.from('{"status":"ok"}'), 11);
    vi.advanceTimersByTime(60_000);
    expect(replies).toEqual(['{"status":"ok"}']);
    expect(failures.size).toBe(0);
    expect(stopWorker).not.toHaveBeenCalled();
  } finally {
    vi.useRealTimers();
  }
});

test('a BeginTx that has begun is not worth a worker', () => {
  vi.useFakeTimers();
  try {
    const { submit, worker, stopWorker } = scene(AT);
    const unwanted = submit('begin', { ...ENDLESS, kind: 'begin' });
    worker().given[0]?.waiter.running?.();
    unwanted.cancel();
    vi.advanceTimersByTime(60_000);
    expect(stopWorker).not.toHaveBeenCalled();
  } finally {
    vi.useRealTimers();
  }
});

test('stopped, but perhaps applied: with a session the next worker only looks; without one it is not known', async () => {
  const stopped = async (session: boolean, reply?: object) => {
    const replies: object[] = [];
    const { at, submit, worker, die, failures, stopWorker } = scene(AT);
    const unwanted = submit('unwanted', {
      ...ENDLESS,
      session,
      reply: (payload) => replies.push(JSON.parse(String(payload))),
    });
    worker().started(10);
    worker().given[0]?.waiter.running?.();
    unwanted.cancel();
    await vi.waitFor(() => expect(stopWorker).toHaveBeenCalled());
    at.file = { ...AT, rev: 11 };
    await die();
    if (reply !== undefined) {
      // It is never run there: its time is over.
      expect(worker().given[0]?.deadline).toBeLessThan(monotonicMs());
      expect(worker().given[0]?.deadline).toBeGreaterThan(0);
      worker().given[0]?.waiter.reply(Buffer.from(JSON.stringify(reply)), 11);
    }
    return replies[0] ?? failures.get('unwanted');
  };
  expect(await stopped(false)).toMatchObject({ code: 'CANCELLED', outcome: 'unknown', retryable: false });
  const recorded = { status: 'ok', replayed: true };
  expect(await stopped(true, recorded)).toEqual(recorded);
  const nothing = { status: 'error', code: 'TIMEOUT', message: 'not begun', outcome: 'not_applied' };
  expect(await stopped(true, nothing)).toMatchObject({ code: 'CANCELLED', outcome: 'not_applied' });
});

test('a worker that dies by itself with what was cancelled: nobody runs that again', async () => {
  const { submit, worker, die, failures } = scene(AT);
  const unwanted = submit('unwanted');
  submit('wanted');
  unwanted.cancel();
  worker().started(10);
  await die();
  expect(worker().names).toEqual(['wanted']);
  expect(failures.get('unwanted')).toMatchObject({ code: 'CANCELLED', outcome: 'not_applied' });
});

test('a step of a transaction that is stopped says that the transaction is over', async () => {
  const { submit, worker, die, failures, stopWorker } = scene(AT);
  const unwanted = submit('step', { ...ENDLESS, kind: 'step' });
  worker().given[0]?.waiter.running?.();
  unwanted.cancel();
  await vi.waitFor(() => expect(stopWorker).toHaveBeenCalled());
  await die();
  expect(failures.get('step')).toMatchObject({
    code: 'CANCELLED',
    outcome: 'not_applied',
    details: { tx_ended: true },
  });
});

describe('a client that has gone', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test.each([
    ['before its batch runs', 'before'],
    ['while it runs', 'after'],
  ])('%s: it may run for a moment, then it is stopped, and nobody runs it again', async (_what, when) => {
    const { queue, submit, worker, all, die, stopWorker } = scene(AT);
    let there = true;
    submit('unwanted', { ...ENDLESS, lane: 7, isWanted: () => there });
    submit('other', { lane: 8 });
    worker().started(10);
    const leave = () => {
      there = false;
      queue.laneClosed(7);
    };
    if (when === 'before') leave();
    worker().given[0]?.waiter.running?.();
    queue.laneClosed(9);
    vi.advanceTimersByTime(60_000);
    if (when === 'after') {
      expect(stopWorker).not.toHaveBeenCalled();
      leave();
    }
    vi.advanceTimersByTime(1_000);
    expect(stopWorker).toHaveBeenCalledWith('cancelled');
    vi.useRealTimers();
    await die();
    expect(all()).toEqual(['unwanted', 'other', 'other']);
  });

  test('whose batch is done in time has it done', () => {
    const { queue, submit, worker, stopWorker } = scene(AT);
    const reply = vi.fn();
    submit('short', { ...ENDLESS, lane: 7, isWanted: () => false, reply });
    worker().given[0]?.waiter.running?.();
    queue.laneClosed(7);
    vi.advanceTimersByTime(900);
    worker().given[0]?.waiter.reply(Buffer.from('{"status":"ok"}'), 11);
    vi.advanceTimersByTime(60_000);
    expect(reply).toHaveBeenCalledOnce();
    expect(stopWorker).not.toHaveBeenCalled();
  });

  test('has what was not in hand carried out by the next worker, and nothing that the last one may have died of', async () => {
    vi.useRealTimers();
    const { submit, worker, all, die } = scene(AT);
    submit('in hand', { isWanted: () => false });
    worker().started(10);
    submit('waits', { isWanted: () => false });
    await die();
    expect(all()).toEqual(['in hand', 'waits', 'waits']);
  });
});
