import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeIncoming } from '../../../protocol/decode-incoming.js';
import { SkylineError, toErrorReply } from '../../../protocol/errors.js';
import { parseObject } from '../../../protocol/frame.js';
import { ERROR_CODES } from '../../../protocol/messages.js';
import { arrived, refusal, refusesField, WRONG } from './helpers.js';
import { details, failure } from './samples.js';

describe('decodeIncoming', () => {
  const errorOf = (object: object): SkylineError => {
    const incoming = decodeIncoming(arrived(object));
    if (incoming.kind !== 'error') throw new Error(`not an error: ${incoming.kind}`);
    return incoming.error;
  };

  test('tells a reply, an error, a progress event and an event of a later version apart', () => {
    const body = arrived({ status: 'ok', id: 'a', pages: 1 });
    expect(decodeIncoming(body)).toEqual({ kind: 'reply', id: 'a', body });
    expect(decodeIncoming(arrived(failure))).toMatchObject({ kind: 'error', id: 3 });
    const event = { event: 'progress', id: 1, pages_done: 2, pages_total: 5 };
    expect(decodeIncoming(arrived(event))).toEqual({ kind: 'progress', id: 1, event });
    expect(decodeIncoming({ event: 'later', subscription: 1 })).toEqual({ kind: 'unknown' });
  });

  const place = { subscription: 3, db: '/d/x.db', epoch: 1 };
  const wal = { event: 'wal', subscription: 3, db: '/d/x.db', limit: 5 };
  const events = [
    { event: 'change', ...place, rev: 4, tables: ['a', 'b'] },
    { event: 'change', ...place, rev: 4, tables: [] },
    { event: 'change', ...place, rev: 4, foreign: true },
    { event: 'reset', ...place, rev: 9 },
    { ...wal, blocked: true, wal_bytes: 7, holders: [{ pid: 1, command: 'sh' }, { pid: 2 }] },
    { ...wal, blocked: false, wal_bytes: 7, lasted_ms: 20 },
  ];
  test.each(events)('reads the event %j of a subscription, and no unknown field of it', (event) => {
    expect(decodeIncoming(arrived({ ...event, later: 1 }))).toEqual({ kind: 'subscription', event });
  });

  test.each(events)('refuses the event %j with a wrong field', (event) => {
    for (const name of Object.keys(event).filter((field) => field !== 'event'))
      refusesField(name, () => decodeIncoming(arrived({ ...event, [name]: null })));
  });

  test('takes a progress event without an id', () => {
    const event = { event: 'progress', pages_done: 0, pages_total: 0 };
    expect(decodeIncoming(arrived(event))).toEqual({ kind: 'progress', id: undefined, event });
  });

  test.each([{}, { status: 'OK' }, { status: true }, { event: 7 }, { event: null }, { status: null, id: 1 }])(
    '%j is neither a reply nor an event, and the stream is lost',
    (object) => {
      expect(refusal(() => decodeIncoming(object), 'PROTOCOL_ERROR').fatal).toBe(true);
    },
  );

  test('reads own fields only', () => {
    refusal(() => decodeIncoming(parseObject('{"__proto__":{"status":"ok"}}')), 'PROTOCOL_ERROR');
    refusal(() => decodeIncoming(Object.create({ status: 'ok' })), 'PROTOCOL_ERROR');
  });

  test('refuses ids and progress fields of a wrong type by name', () => {
    for (const id of [null, true, [], {}]) refusesField('id', () => decodeIncoming({ status: 'ok', id }));
    for (const name of ['pages_done', 'pages_total'])
      for (const wrong of [...WRONG.integer, undefined])
        refusesField(name, () =>
          decodeIncoming({ event: 'progress', pages_done: 1, pages_total: 2, [name]: wrong }),
        );
  });

  test('keeps every detail of an error', () => {
    const error = errorOf({ ...failure, ...details, later: 1 });
    expect(error).toBeInstanceOf(SkylineError);
    expect(error).toMatchObject({ code: 'BUSY', message: 'm', retryable: true, outcome: 'not_applied' });
    expect(error.details).toEqual(details);
    expect(errorOf({ ...failure, parameter: 2 }).details).toEqual({ parameter: 2 });
  });

  test.each(['LATER_CODE', '', 'busy', '__proto__', 'NO_DAEMON', 'CONNECTION_LOST', 'ABORTED'])(
    'makes INTERNAL of the code %j, which no daemon of this version sends, and keeps the rest',
    (code) => {
      const error = errorOf({ ...failure, code, outcome: 'partial', retryable: true, applied: 1 });
      expect(error).toMatchObject({ code: 'INTERNAL', message: 'm', outcome: 'partial', retryable: true });
      expect(error.details).toEqual({ applied: 1 });
    },
  );

  test.each<[string, readonly unknown[]]>([
    ['code', [...WRONG.string, undefined]],
    ['message', [...WRONG.string, undefined]],
    ['retryable', [...WRONG.boolean, undefined]],
    ['outcome', [...WRONG.string, undefined, 'applied']],
    ['sqlite_code', WRONG.string],
    ['statement_index', WRONG.integer],
    ['parameter', [null, true, 1.5, -1, [], {}]],
    ['applied', WRONG.integer],
    ['limit', WRONG.string],
    ['limit_value', WRONG.integer],
    ['holders', [...WRONG.array, [null], ['x'], [[]]]],
    ['pid', [[{}], [{ pid: 'x' }]]],
    ['command', [[{ pid: 1, command: 7 }]]],
    ['expected', WRONG.integer],
    ['actual', WRONG.integer],
  ])('refuses a wrong "%s" of an error and names it', (name, values) => {
    const place = ['pid', 'command'].includes(name) ? 'holders' : name;
    for (const value of values)
      refusesField(name, () => decodeIncoming(arrived({ ...failure, [place]: value })));
  });

  test('reads back every error that the daemon can write', () => {
    const any = fc.record(
      {
        code: fc.constantFrom(...ERROR_CODES),
        message: fc.string(),
        outcome: fc.constantFrom('not_applied', 'unknown', 'partial'),
        retryable: fc.boolean(),
        details: fc.constantFrom({}, details, { parameter: 0 }),
        id: fc.oneof(fc.string(), fc.integer()),
      },
      { requiredKeys: ['code', 'message', 'outcome', 'details', 'retryable'] },
    );
    fc.assert(
      fc.property(any, ({ code, message, id, ...options }) => {
        const written = new SkylineError(code, message, options);
        const incoming = decodeIncoming(arrived(toErrorReply(written, id)));
        expect(incoming).toMatchObject({ kind: 'error', error: { code, message, ...options } });
        expect(incoming).toHaveProperty('id', id);
      }),
    );
  });
});
