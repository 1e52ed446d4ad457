import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  codeOf,
  invalidRequest,
  isErrorCode,
  messageOf,
  never,
  ProtocolError,
  SkylineError,
  toErrorReply,
} from '../../../protocol/errors.js';
import { ERROR_CODES } from '../../../protocol/messages.js';

/** Written out a second time on purpose: programs match these, none may be renamed or lost. */
const CODES =
  `PROTOCOL_ERROR FRAME_TOO_LARGE INVALID_REQUEST VERSION_MISMATCH DATABASE_NOT_FOUND DATABASE_NOT_ALLOWED
  NOT_A_DATABASE DATABASE_CORRUPT DATABASE_READONLY DATABASE_PREPARING DATABASE_CLOSED
  DATABASE_EXISTS DATABASE_IN_USE SQL_ERROR STATEMENT_NOT_ALLOWED
  EXPECTATION_FAILED BUSY CHECKPOINT_BUSY DISK_FULL IO_ERROR TIMEOUT CANCELLED QUEUE_FULL WORKER_CRASHED RESULT_TOO_LARGE
  SESSION_CONFLICT TX_EXPIRED SHUTTING_DOWN INTERNAL`.split(/\s+/);
const MAY_PASS =
  `DATABASE_PREPARING DATABASE_CLOSED DATABASE_IN_USE BUSY CHECKPOINT_BUSY DISK_FULL TIMEOUT QUEUE_FULL WORKER_CRASHED
  SHUTTING_DOWN`.split(/\s+/);
const CLIENT_CODES = ['NO_DAEMON', 'CONNECTION_LOST', 'ABORTED'] as const;

describe('the error codes', () => {
  test('are those that programs match', () => {
    expect([...ERROR_CODES].sort()).toEqual([...CODES].sort());
  });

  test('are known by name, those of the client library are not the daemon’s', () => {
    for (const code of CODES) expect(isErrorCode(code)).toBe(true);
    for (const code of [...CLIENT_CODES, '', 'busy', '__proto__', 'constructor'])
      expect(isErrorCode(code)).toBe(false);
  });

  test('are retryable when the reason lies outside the request and may pass', () => {
    const retryable = ERROR_CODES.filter((code) => new SkylineError(code, 'm').retryable);
    expect(retryable.sort()).toEqual(MAY_PASS.sort());
    expect(CLIENT_CODES.map((code) => new SkylineError(code, 'm').retryable)).toEqual([true, true, false]);
  });
});

describe('SkylineError', () => {
  test('has a code, a message, its outcome and no details by default', () => {
    const error = new SkylineError('SQL_ERROR', 'm');
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: 'SkylineError',
      code: 'SQL_ERROR',
      message: 'm',
      outcome: 'not_applied',
    });
    expect(error.details).toEqual({});
    expect(error).not.toHaveProperty('cause');
  });

  test('keeps what it is told about outcome, retrying, details and cause', () => {
    const cause = new Error('below');
    const options = { outcome: 'partial', retryable: false, details: { applied: 1 }, cause } as const;
    expect(new SkylineError('BUSY', 'm', options)).toMatchObject(options);
    expect(new SkylineError('SQL_ERROR', 'm', { retryable: true }).retryable).toBe(true);
  });
});

describe('ProtocolError', () => {
  test('ends the connection only where the stream cannot be trusted any more', () => {
    const fatal = ERROR_CODES.filter((code) => new ProtocolError(code, 'm').fatal);
    expect(fatal).toEqual(['PROTOCOL_ERROR', 'FRAME_TOO_LARGE']);
  });

  test('is made for a bad field by invalidRequest', () => {
    const error = invalidRequest('m', { limit: 'max_frame' });
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error).toBeInstanceOf(SkylineError);
    expect(error).toMatchObject({
      name: 'ProtocolError',
      code: 'INVALID_REQUEST',
      details: { limit: 'max_frame' },
    });
    expect(invalidRequest('m').details).toEqual({});
  });
});

describe('toErrorReply', () => {
  test('writes code, message, retryable, outcome and the details beside each other', () => {
    const error = new SkylineError('SQL_ERROR', 'm', {
      details: { sqlite_code: 'SQLITE_ERROR', statement_index: 0 },
    });
    expect(toErrorReply(error)).toEqual({
      status: 'error',
      code: 'SQL_ERROR',
      message: 'm',
      retryable: false,
      outcome: 'not_applied',
      sqlite_code: 'SQLITE_ERROR',
      statement_index: 0,
    });
  });

  test('carries the id of the request, if it has one', () => {
    for (const id of [0, '', 'a', -1]) expect(toErrorReply(invalidRequest('m'), id)).toHaveProperty('id', id);
    expect(toErrorReply(invalidRequest('m'))).not.toHaveProperty('id');
  });

  test('makes INTERNAL with an unknown outcome of whatever is no SkylineError', () => {
    const foreign = fc.oneof(
      fc.constantFrom<unknown>(
        new Error('m'),
        new TypeError('m'),
        { code: 'BUSY' },
        null,
        undefined,
        Symbol('s'),
        [],
      ),
      fc.string(),
      fc.bigInt(),
      fc.double(),
      fc.string().map((text) => new RangeError(text)),
      fc.string().map((text) => Object.assign(new Error(text), { code: 'SQLITE_BUSY', retryable: true })),
    );
    fc.assert(
      fc.property(foreign, (thrown) => {
        const reply = toErrorReply(thrown, 1);
        expect(Object.keys(reply).sort()).toEqual([
          'code',
          'id',
          'message',
          'outcome',
          'retryable',
          'status',
        ]);
        expect(reply).toMatchObject({
          status: 'error',
          id: 1,
          code: 'INTERNAL',
          outcome: 'unknown',
          retryable: false,
        });
        expect(reply.message).toContain(messageOf(thrown));
      }),
    );
  });

  test.each(CLIENT_CODES)('never writes %s, a code of the client library', (code) => {
    expect(toErrorReply(new SkylineError(code, 'm'))).toMatchObject({ code: 'INTERNAL', message: 'm' });
  });
});

describe('messageOf and codeOf', () => {
  test.each<[unknown, string, string | undefined]>([
    [new Error('m'), 'm', undefined],
    [Object.assign(new Error('m'), { code: 'ENOENT' }), 'm', 'ENOENT'],
    [Object.assign(new Error('m'), { code: 5 }), 'm', undefined],
    [new SkylineError('BUSY', 'm'), 'm', 'BUSY'],
    ['text', 'text', undefined],
    [null, 'null', undefined],
    [undefined, 'undefined', undefined],
    [7, '7', undefined],
  ])('tell message and code of %s', (thrown, message, code) => {
    expect(messageOf(thrown)).toBe(message);
    expect(codeOf(thrown)).toBe(code);
  });
});

describe('never', () => {
  test('throws when a value came that the compiler had ruled out', () => {
    expect(() => never('later' as never)).toThrow('unexpected value: "later"');
  });
});
