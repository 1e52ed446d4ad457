import { describe, expect, test } from 'vitest';
import { EXIT, errorJson, exitCodeOf, presentError, usageError } from '../../../cli/errors.js';
import { Output } from '../../../cli/output.js';
import { type ClientErrorCode, SkylineError } from '../../../protocol/errors.js';
import { ERROR_CODES, type ErrorCode } from '../../../protocol/messages.js';
import { FakeStream, systemError } from './fake-stream.js';

const CLIENT_CODES: readonly ClientErrorCode[] = ['NO_DAEMON', 'CONNECTION_LOST', 'ABORTED'];

test('every code has its exit code', () => {
  const by = new Map<number, (ErrorCode | ClientErrorCode)[]>();
  for (const code of [...ERROR_CODES, ...CLIENT_CODES]) {
    const exit = exitCodeOf(new SkylineError(code, ''));
    by.set(exit, [...(by.get(exit) ?? []), code]);
  }
  expect(by.get(EXIT.usage)).toEqual(['INVALID_REQUEST']);
  expect(by.get(EXIT.noDaemon)).toEqual(['NO_DAEMON', 'CONNECTION_LOST']);
  expect(by.get(EXIT.closed)).toEqual(['DATABASE_PREPARING', 'DATABASE_CLOSED']);
  expect([...by.keys()].sort()).toEqual([1, 2, 3, 4]);
});

test("the JSON is the protocol's error, with the client's codes too", () => {
  const error = new SkylineError('CONNECTION_LOST', 'gone', { outcome: 'unknown', details: { applied: 2 } });
  expect(JSON.parse(errorJson(error))).toEqual({
    status: 'error',
    code: 'CONNECTION_LOST',
    message: 'gone',
    retryable: error.retryable,
    outcome: 'unknown',
    applied: 2,
  });
});

describe('where it is said', () => {
  function screen(isTTY = false) {
    const streams = { out: new FakeStream(isTTY), err: new FakeStream(isTTY) };
    return { streams, out: new Output(streams.out, {}), err: new Output(streams.err, {}) };
  }

  test('on stderr, for people', async () => {
    const at = screen();
    expect(await presentError(usageError('What?'), false, at)).toEqual({ exitCode: 2, abandoned: false });
    expect([at.streams.out.text, at.streams.err.text]).toEqual(['', '✗ Error: What?\n']);
  });

  test('on stdout, as JSON', async () => {
    const at = screen();
    expect((await presentError(new SkylineError('NO_DAEMON', 'none'), true, at)).exitCode).toBe(3);
    expect(JSON.parse(at.streams.out.text)).toMatchObject({ status: 'error', code: 'NO_DAEMON' });
    expect(at.streams.err.text).toBe('');
  });

  test('in red on a terminal, which the message cannot reach', async () => {
    const at = screen(true);
    await presentError(new SkylineError('SQL_ERROR', 'a\x1b[2Jb\nc'), false, at);
    expect(at.streams.err.text).toContain('\x1b[31m✗\x1b[39m \x1b[31mError:\x1b[39m a\\x1b[2Jb\nc\n');
  });

  test('with the section of the documentation, where a person reads it', async () => {
    const at = screen(true);
    await presentError(new SkylineError('BUSY', 'held'), false, at);
    expect(at.streams.err.text).toContain('BUSY: see docs/troubleshooting.md#busy');
    const pipe = screen();
    await presentError(new SkylineError('BUSY', 'held'), false, pipe);
    expect(pipe.streams.err.text).toBe('✗ Error: held\n');
    const usage = screen(true);
    await presentError(usageError('What?'), false, usage);
    expect(usage.streams.err.text).not.toContain('docs/');
  });

  test('on stderr when stdout fails', async () => {
    const at = screen();
    at.streams.out.failure = systemError('ENOSPC');
    expect((await presentError(new SkylineError('IO_ERROR', 'full'), true, at)).exitCode).toBe(1);
    expect(at.streams.err.text).toBe('✗ Error: full\n');
    at.streams.err.failure = systemError('ENOSPC');
    expect((await presentError(new SkylineError('IO_ERROR', 'full'), true, at)).exitCode).toBe(1);
  });

  test('a bug is called one', async () => {
    const at = screen();
    expect(await presentError(new TypeError('x is not a function'), true, at)).toMatchObject({ exitCode: 1 });
    expect(JSON.parse(at.streams.out.text)).toMatchObject({
      code: 'INTERNAL',
      outcome: 'unknown',
      message: expect.stringMatching(/report this: TypeError: x is not a function\n/),
    });
  });

  test('what timed out may still be going on', async () => {
    expect(await presentError(new SkylineError('TIMEOUT', ''), false, screen())).toEqual({
      exitCode: 1,
      abandoned: true,
    });
  });
});
