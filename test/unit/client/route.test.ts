import { expect, test } from 'vitest';
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

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

function begin() {
  const ways: Way[] = [];
  const route = new Route('/x.db', {
    router: async () => {
      const way = ways.at(-1)?.open === true ? ways.at(-1) : new Way();
      if (way !== undefined && way !== ways.at(-1)) ways.push(way);
      return way as unknown as Connection;
    },
    leaving: () => undefined,
    worker: async () => {
      throw new Error('no worker has a socket here');
    },
    direct: false,
    exactlyOnce: true,
  });
  const submit = (sql: string) => {
    const outcome = route
      .submit(`"stmts":[{"sql":${JSON.stringify(sql)}}]`, (reply) => reply)
      .then(
        (body) => body,
        (error: unknown) => error,
      );
    return outcome;
  };
  return { ways, submit };
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
