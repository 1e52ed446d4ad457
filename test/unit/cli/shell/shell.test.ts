import { expect, test } from 'vitest';
import { Output } from '../../../../cli/output.js';
import { Shell } from '../../../../cli/shell/shell.js';
import type { Client } from '../../../../client/client.js';
import { SkylineError } from '../../../../protocol/errors.js';
import { FakeStream } from '../fake-stream.js';

/** A shell whose daemon answers when the test says so. */
function begun() {
  const answers: { resolve(result: object): void; reject(error: unknown): void; signal: AbortSignal }[] = [];
  let hangUps = 0;
  let connects = 0;
  const client = {
    database: () => ({
      exec: (_sql: string, _params: unknown, { signal }: { signal: AbortSignal }) =>
        new Promise((resolve, reject) => answers.push({ resolve, reject, signal })),
    }),
    close: () => {
      hangUps += 1;
      answers.at(-1)?.reject(new SkylineError('CONNECTION_LOST', 'closed', { outcome: 'unknown' }));
    },
  };
  const out = new FakeStream();
  const err = new FakeStream();
  const shell = new Shell({
    screen: { out: new Output(out, {}), err: new Output(err, {}) },
    interactive: true,
    mode: 'tabs',
    connect: async () => {
      connects += 1;
      return client as unknown as Client;
    },
  });
  shell.place = { name: 'x', path: '/x.db', db: '/x.db' };
  const run = async () => {
    const work = shell.run({ kind: 'sql', sql: 'DELETE FROM t', line: 1 }).then(
      () => null,
      (error: unknown) => error,
    );
    await new Promise(setImmediate);
    return { work, answer: answers.at(-1) };
  };
  return { shell, run, err, counts: () => ({ hangUps, connects }) };
}

test('the first interruption stops the statement, and waits for what becomes of it', async () => {
  const { shell, run, counts } = begun();
  expect(shell.interrupt()).toBe(false);
  const { work, answer } = await run();
  expect(shell.interrupt()).toBe(true);
  expect(answer?.signal.aborted).toBe(true);
  answer?.reject(new SkylineError('ABORTED', 'stopped'));
  expect(await work).toMatchObject({
    code: 'ABORTED',
    outcome: 'not_applied',
    message: 'The statement was stopped: nothing of it was applied.',
  });
  expect(counts()).toEqual({ hangUps: 0, connects: 1 });
});

test('the second one waits for nothing: the connection is ended, and the next statement makes another', async () => {
  const { shell, run, counts } = begun();
  const { work } = await run();
  shell.interrupt();
  shell.interrupt();
  expect(await work).toMatchObject({
    outcome: 'unknown',
    message: 'The statement is not waited for any more: whether it is applied is unknown.',
  });
  expect(counts()).toEqual({ hangUps: 1, connects: 1 });
  const next = await run();
  next.answer?.resolve({ rowsAffected: 1 });
  expect(await next.work).toBe(null);
  expect(counts()).toEqual({ hangUps: 1, connects: 2 });
});

test('a statement that was faster says so, after what it has done', async () => {
  const { shell, run, err } = begun();
  const { work, answer } = await run();
  shell.interrupt();
  answer?.resolve({ rowsAffected: 3 });
  expect(await work).toMatchObject({ message: 'It was done before it could be stopped.' });
  expect(err.text).toContain('3 rows changed');
});

test('a failure of its own stays what it is', async () => {
  const { shell, run } = begun();
  const { work, answer } = await run();
  shell.interrupt();
  answer?.reject(new SkylineError('SQL_ERROR', 'no such table: t'));
  expect(await work).toMatchObject({ code: 'SQL_ERROR', message: 'no such table: t' });
});
