import { expect, test } from 'vitest';
import { NameTurns } from '../../../daemon/name-turns.js';

/** Work that ends when it is told to. */
function work(log: string[], name: string) {
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const run = async () => {
    log.push(`${name} begins`);
    await ended;
    log.push(`${name} ends`);
    return name;
  };
  return { run, end };
}

/** Until everything that can go on has gone on. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

test('one thing at a time for a name, whatever its letter case; others do not wait', async () => {
  const turns = new NameTurns();
  const log: string[] = [];
  const [a, b, c] = [work(log, 'a'), work(log, 'b'), work(log, 'c')];
  const all = [turns.run(['stars'], a.run), turns.run(['STARS'], b.run), turns.run(['moons'], c.run)];
  await settled();
  expect(log).toEqual(['a begins', 'c begins']);
  a.end();
  await settled();
  expect(log.slice(2)).toEqual(['a ends', 'b begins']);
  b.end();
  c.end();
  expect(await Promise.all(all)).toEqual(['a', 'b', 'c']);
});

test('who has two names waits for both, and is waited for under both', async () => {
  const turns = new NameTurns();
  const log: string[] = [];
  const [a, b, c] = [work(log, 'a'), work(log, 'b'), work(log, 'c')];
  const all = [turns.run(['x'], a.run), turns.run(['y', 'x'], b.run), turns.run(['y'], c.run)];
  await settled();
  expect(log).toEqual(['a begins']);
  a.end();
  await settled();
  expect(log).toEqual(['a begins', 'a ends', 'b begins']);
  b.end();
  c.end();
  await Promise.all(all);
  expect(log.at(-1)).toBe('c ends');
});

test('what fails is told to whoever asked, and keeps nobody from coming next', async () => {
  const turns = new NameTurns();
  const failed = turns.run(['x'], () => Promise.reject(new Error('no')));
  const next = turns.run(['x'], async () => 'done');
  await expect(failed).rejects.toThrow('no');
  expect(await next).toBe('done');
});
