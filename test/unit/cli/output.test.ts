import { describe, expect, test } from 'vitest';
import { details, done, Output, replyReport, visible } from '../../../cli/output.js';
import { FakeStream, systemError } from './fake-stream.js';

describe('writing', () => {
  test('gathers small pieces, and large ones leave in between', async () => {
    const stream = new FakeStream();
    const output = new Output(stream, {});
    await output.write(Array.from({ length: 1000 }, () => 'x'));
    expect([stream.writes, stream.text.length]).toEqual([1, 1000]);
    await output.write(Array.from({ length: 100 }, () => 'x'.repeat(5_000)));
    expect(stream.text.length).toBe(501_000);
    expect(stream.writes).toBeGreaterThan(5);
    await output.write('');
    await output.write([]);
    expect(stream.text.length).toBe(501_000);
  });

  test.each(['EPIPE', 'ERR_STREAM_DESTROYED'])(
    'a reader that left (%s) is no error, and nothing more is made',
    async (code) => {
      const stream = new FakeStream();
      const output = new Output(stream, {});
      stream.failure = systemError(code);
      let made = 0;
      await output.write(
        (function* () {
          for (; made < 1000; made += 1) yield 'x'.repeat(10_000);
        })(),
      );
      expect(made).toBeLessThan(10);
      await output.line('more');
      expect(stream.writes).toBe(1);
      expect(stream.listeners).toBe(1);
    },
  );

  test('a full disk is one', async () => {
    const stream = new FakeStream();
    const output = new Output(stream, {});
    stream.failure = systemError('ENOSPC');
    await expect(output.write('x')).rejects.toMatchObject({ code: 'IO_ERROR', outcome: 'unknown' });
  });
});

describe('colours', () => {
  test.each<[string, boolean, { [name: string]: string }, boolean]>([
    ['a terminal', true, {}, true],
    ['a terminal with NO_COLOR empty', true, { NO_COLOR: '' }, true],
    ['a terminal with NO_COLOR', true, { NO_COLOR: '1' }, false],
    ['a dumb terminal', true, { TERM: 'dumb' }, false],
    ['no terminal', false, {}, false],
    ['no terminal, whatever the environment says', false, { FORCE_COLOR: '1', CI: '1' }, false],
  ])('%s', (_name, isTTY, env, coloured) => {
    const output = new Output(new FakeStream(isTTY), env);
    expect(done(output, 'ok')).toBe(coloured ? '\x1b[32m✓\x1b[39m ok' : '✓ ok');
  });
});

test('details stand below each other, and their values cannot reach the terminal', () => {
  const output = new Output(new FakeStream(), {});
  expect(
    details(output, [
      ['a', '1'],
      ['long', '\x1b[2J'],
    ]),
  ).toBe('  a     1\n  long  \\x1b[2J\n');
  expect(details(output, [])).toBe('');
});

test.each<[string, string]>([
  ['plain 星 é 👩‍👩‍👧', 'plain 星 é 👩‍👩‍👧'],
  ['a\nb\r\tc', 'a\\nb\\r\\tc'],
  ['\x1b[31m\x00\x7f\x9b', '\\x1b[31m\\x00\\x7f\\x9b'],
  ['\u202eabc\u2066\u2028', '\\u202eabc\\u2066\\u2028'],
])('%j is shown as %s', (text, shown) => {
  expect(visible(text)).toBe(shown);
});

test("a reply's id stays inside", () => {
  const report = replyReport({ status: 'ok', id: 7, rev: 1 }, async () => undefined);
  expect([...report.json()].join('')).toBe('{"status":"ok","rev":1}');
});
