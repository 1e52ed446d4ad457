import { describe, expect, test } from 'vitest';
import { decodeId, decodeRequest } from '../../../protocol/decode-request.js';
import { parseObject } from '../../../protocol/frame.js';
import type { RequestType } from '../../../protocol/messages.js';
import { arrived, BAD_IDS, DAY, refusal, refusesField, WRONG } from './helpers.js';
import { requests, requestTypes } from './samples.js';

const REQUIRED: { readonly [Type in RequestType]?: readonly string[] } = {
  Hello: ['protocol'],
  ReplaceDatabase: ['from'],
  Backup: ['to'],
  CreateDatabase: ['name'],
  AlterDatabase: ['name'],
  DropDatabase: ['name'],
  RenameDatabase: ['name', 'to'],
  RestoreDatabase: ['name'],
  AdoptDirectory: ['dir'],
  Commit: ['tx'],
  Rollback: ['tx'],
  Unsubscribe: ['subscription'],
  Cancel: ['target'],
};
/** What each field must refuse. */
const REFUSED: { readonly [name: string]: readonly unknown[] } = {
  id: BAD_IDS,
  target: BAD_IDS,
  cancellable: WRONG.boolean,
  db: WRONG.string,
  protocol: WRONG.integer,
  client: WRONG.object,
  timeout_ms: WRONG.integer,
  if_older_than: [...WRONG.string, '', '1', '1.2', 'v1.2.3', '1.2.3.4', 'newest'],
  session: WRONG.string,
  seq: [...WRONG.integer, 0],
  acked: WRONG.integer,
  session_epoch: WRONG.integer,
  session_rev: WRONG.integer,
  session_database: [null, false, 1, '', 'x'.repeat(129), {}],
  only_replay: WRONG.boolean,
  tx: [...WRONG.string, '', 'x'.repeat(65)],
  read: WRONG.boolean,
  durable: WRONG.boolean,
  foreign_keys: WRONG.boolean,
  lease_ms: [...WRONG.integer, 0],
  max_ms: [...WRONG.integer, 0],
  allow_missing: WRONG.boolean,
  detail: WRONG.boolean,
  from: WRONG.string,
  to: WRONG.string,
  overwrite: WRONG.boolean,
  mode: [...WRONG.string, 'PASSIVE', '', 'passive '],
  name: [...WRONG.string, '', 'a.db', 'main', 'x'.repeat(64)],
  as: [...WRONG.string, '', 'a/b', 'nul'],
  dir: WRONG.string,
  if_not_exists: WRONG.boolean,
  if_exists: WRONG.boolean,
  force: WRONG.boolean,
  settings: [...WRONG.object, { later: 1 }],
  reset: [...WRONG.array, ['later'], [7]],
  subscription: [...WRONG.integer, 0],
  since: WRONG.object,
  tables: [[], 'a', { 0: 'a' }, Array(257).fill('a')],
};

describe.each(requestTypes)('a request of type %s', (type) => {
  const fields = requests[type];
  const required = REQUIRED[type] ?? [];

  test('is read with all its fields', () => {
    expect(decodeRequest(arrived({ type, id: 'r1', ...fields }))).toEqual({ type, id: 'r1', ...fields });
  });

  test('may leave out its id and every optional field', () => {
    const least = Object.fromEntries(required.map((name) => [name, fields[name]]));
    expect(new Set(Object.keys(decodeRequest(arrived({ type, ...least }))))).toEqual(
      new Set(['type', ...required]),
    );
  });

  test('is refused without a required field, which the message names', () => {
    for (const name of required)
      refusesField(name, () => decodeRequest(arrived({ type, ...fields, [name]: undefined })));
  });

  test('is refused with a wrong type in any field, which the message names', () => {
    for (const name of ['id', ...Object.keys(fields)])
      for (const value of REFUSED[name] ?? expect.fail(`no wrong values for ${name}`))
        refusesField(name, () => decodeRequest(arrived({ type, id: 1, ...fields, [name]: value })));
  });

  test('may have unknown fields, which nobody sees', () => {
    const text = JSON.stringify({ type, ...fields, later: { a: [1] }, TYPE: 1 });
    const padded = `${text.slice(0, -1)},"__proto__":{"db":7,"id":[]},"constructor":null}`;
    expect(decodeRequest(parseObject(padded))).toEqual({ type, ...fields });
  });
});

describe('decodeRequest', () => {
  test.each([undefined, null, 7, true, [], {}, ['Ping']])(
    'refuses the type %j and names the known ones',
    (type) => {
      const { message } = refusal(() => decodeRequest(arrived({ type, id: 1 })));
      for (const name of ['"type"', ...requestTypes]) expect(message).toContain(name);
    },
  );

  test.each(['ping', 'Ping ', '', 'Subscribe2', '__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'refuses the unknown type %j by its name',
    (type) => {
      const { message } = refusal(() => decodeRequest(arrived({ type })));
      expect(message).toContain(JSON.stringify(type));
      for (const name of requestTypes) expect(message).toContain(name);
    },
  );

  test('does not repeat a long unknown type in full', () => {
    expect(refusal(() => decodeRequest({ type: 'x'.repeat(100_000) })).message.length).toBeLessThan(500);
  });

  test('does not take a type from "__proto__"', () => {
    refusesField('type', () => decodeRequest(parseObject('{"__proto__":{"type":"Shutdown"}}')));
  });

  test('takes the last of duplicate fields', () => {
    expect(decodeRequest(parseObject('{"type":"Shutdown","type":"Ping","db":7,"db":"x.db"}'))).toEqual({
      type: 'Ping',
      db: 'x.db',
    });
  });

  test.each(['name', 'pid', 'version'])('refuses a wrong "%s" of the client in Hello', (name) => {
    for (const value of name === 'pid' ? WRONG.integer : WRONG.string)
      refusesField(name, () =>
        decodeRequest(arrived({ type: 'Hello', protocol: 1, client: { [name]: value } })),
      );
  });

  test.each([
    ['since.epoch', { since: { rev: 1 } }],
    ['since.epoch', { since: { epoch: -1, rev: 1 } }],
    ['since.rev', { since: { epoch: 1 } }],
    ['since.rev', { since: { epoch: 1, rev: '1' } }],
    ['tables[0]', { tables: [''] }],
    ['tables[0]', { tables: [['a']] }],
    ['tables[1]', { tables: ['a', 'x'.repeat(1025)] }],
  ])('refuses a wrong "%s" of a Subscribe', (name, fields) => {
    refusesField(name, () => decodeRequest(arrived({ type: 'Subscribe', ...fields })));
  });

  test('answers another protocol version with VERSION_MISMATCH and both versions', () => {
    for (const protocol of [0, 2, 99]) {
      const error = refusal(() => decodeRequest({ type: 'Hello', protocol }), 'VERSION_MISMATCH');
      expect(error.message).toMatch(new RegExp(`protocol ${protocol}, .* 1\\.`));
      expect(error.fatal).toBe(false);
    }
  });

  test.each(['passive', 'full', 'restart', 'truncate'])('knows the checkpoint mode %s', (mode) => {
    expect(decodeRequest({ type: 'Checkpoint', mode })).toEqual({ type: 'Checkpoint', mode });
  });

  test('caps a timeout at a day, where a timer would fire at once', () => {
    for (const type of ['ExecBatch', 'PrepareForMaintenance', 'CloseDatabase'])
      for (const [sent, taken] of [
        [DAY, DAY],
        [DAY + 1, DAY],
        [2 ** 31, DAY],
        [2 ** 53 - 1, DAY],
        [0, 0],
      ])
        expect(decodeRequest({ type, timeout_ms: sent })).toEqual({ type, timeout_ms: taken });
  });

  test('leaves the statements of an ExecBatch unread', () => {
    expect(decodeRequest(arrived({ type: 'ExecBatch', stmts: 7, tx: 7, durable: 7 }))).toEqual({
      type: 'ExecBatch',
    });
  });
});

describe('decodeId', () => {
  test.each(['', 'a', '𝄞', 'x'.repeat(256), 0, -1, 2 ** 53 - 1, 1 - 2 ** 53])('takes %j', (id) => {
    expect(decodeId({ id })).toBe(id);
  });

  test.each(BAD_IDS)('refuses %j', (id) => {
    refusesField('id', () => decodeId({ id }));
  });

  test('gives undefined for none, whatever the prototype has', () => {
    expect(decodeId({})).toBeUndefined();
    expect(decodeId(parseObject('{"__proto__":{"id":7}}'))).toBeUndefined();
  });
});
