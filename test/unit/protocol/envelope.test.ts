import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { decodeRequest } from '../../../protocol/decode-request.js';
import { readBatchEnvelope } from '../../../protocol/envelope.js';
import { ProtocolError } from '../../../protocol/errors.js';
import { decodeText, parseObject } from '../../../protocol/frame.js';
import { anyUnits } from './arbitraries.js';

/** What the whole frame means: a batch's envelope, null for any other request or a wrong one; undefined when it is broken. */
function whole(payload: Buffer): object | null | undefined {
  try {
    const request = decodeRequest(parseObject(decodeText(payload)));
    return request.type === 'ExecBatch' || request.type === 'Exec' ? request : null;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return error.fatal ? undefined : null;
  }
}

/** @returns whether it was a batch that is right */
function agrees(payload: Buffer): boolean {
  const expected = whole(payload);
  const read = readBatchEnvelope(payload);
  // What is broken may pass: it is parsed whole by whoever executes it.
  if (expected !== undefined) expect(read, payload.toString('latin1')).toEqual(expected);
  return expected !== undefined && expected !== null;
}

const batch = (members: string) => Buffer.from(`{"type":"ExecBatch"${members}}`);

test.each([
  ['{"type":"ExecBatch"}', {}],
  ['\n{ "type"\t: "ExecBatch" , "id" :\r\n7 }\n ', { id: 7 }],
  ['{"type":"Ping","type":"ExecBatch","db":"a","id":1,"db":"b","id":"2"}', { db: 'b', id: '2' }],
  ['{"\\u0074\\u0079\\u0070\\u0065":"\\u0045xecBatch","\\u0064b":"\\u00e4\\ud83d\\ude00"}', { db: 'ä😀' }],
  ['{"db":{"a":[1]},"type":"ExecBatch","db":"x"}', { db: 'x' }],
  ['{"stmts":[{"type":"Ping","db":"no","id":9}],"type":"ExecBatch","db":"x"}', { db: 'x' }],
  ['{"a":"\\"","b":"\\\\","c":"}]\\\\\\"","type":"ExecBatch","timeout_ms":1e3}', { timeout_ms: 1000 }],
  ['{"type":"ExecBatch","session":"\\u0073","seq":7}', { session: 's' }],
  [
    '{"type":"ExecBatch","\\u006f\\u006e\\u006c\\u0079\\u005f\\u0072\\u0065\\u0070\\u006c\\u0061\\u0079":true}',
    { only_replay: true },
  ],
  ['{"__proto__":{"db":"no"},"constructor":1,"type":"ExecBatch"}', {}],
  ['{"ty\\/pe":1,"d":2,"dbs":3,"tx":"none","timeout_m":4,"äöü":5,"type":"ExecBatch","id":-0}', { id: -0 }],
  ['{"type":"ExecBatch","db":"ä€😀\u0000"}'.replace('\u0000', '\\u0000'), { db: 'ä€😀\0' }],
  ['{"type":"ExecBatch","timeout_ms":99999999999}', { timeout_ms: 86_400_000 }],
])('%s', (json, fields) => {
  expect(readBatchEnvelope(Buffer.from(json))).toEqual({ type: 'ExecBatch', ...fields });
  expect(agrees(Buffer.from(json))).toBe(true);
});

test('the statements of a transaction are as long as those of a batch, and are not read either', () => {
  const json = '{"type":"Exec","tx":"t","session":"s","stmts":[{}],"timeout_ms":5,"id":1}';
  expect(readBatchEnvelope(Buffer.from(json))).toEqual({ type: 'Exec', id: 1, timeout_ms: 5 });
  expect(agrees(Buffer.from(json))).toBe(true);
});

test.each([
  '{}',
  '{"type":"Ping"}',
  '{"type":"ExecBatch","type":"Ping"}',
  '{"type":["ExecBatch"]}',
  '{"type":"ExecBatch","id":1.5}',
  '{"type":"ExecBatch","id":null}',
  '{"type":"ExecBatch","db":["x"]}',
  '{"type":"ExecBatch","db":"x","db":{}}',
  '{"type":"ExecBatch","timeout_ms":-1}',
  '{"type":"ExecBatch","session":7}',
  '{"type":"ExecBatch","only_replay":1}',
  `{"type":"ExecBatch","id":"${'i'.repeat(257)}"}`,
])('what is no batch, or a wrong one, is left to the parser: %s', (json) => {
  expect(whole(Buffer.from(json))).toBeNull();
  expect(readBatchEnvelope(Buffer.from(json))).toBeNull();
});

test.each([
  '',
  '{',
  '{"type":"ExecBatch"',
  '{"type":"ExecBatch",}',
  '{"type":"ExecBatch"}}',
  '{"type":"ExecBatch"}{}',
  '["type","ExecBatch"]',
  '{"type":"ExecBatch","db":"x}',
  '{"type":"ExecBatch","db"}',
  '{"type":"ExecBatch","id":}',
  '{"type":"ExecBatch","id":01}',
  '{"type":"ExecBatch","db":"\\x"}',
  '\ufeff{"type":"ExecBatch"}',
])('what is broken where it is read is left to the parser: %s', (json) => {
  expect(whole(Buffer.from(json))).toBeUndefined();
  expect(readBatchEnvelope(Buffer.from(json))).toBeNull();
});

test('bytes that are not UTF-8 are left to the parser, wherever they are', () => {
  for (const json of ['{"type":"ExecBatch","db":"\xff"}', '{"type":"ExecBatch","stmts":["\xed\xa0\x80"]}'])
    expect(readBatchEnvelope(Buffer.from(json, 'latin1'))).toBeNull();
});

test('what is broken between passes: only a parser finds it', () => {
  expect(readBatchEnvelope(batch(',"stmts":[{]},"x":nothing,"db":"x.db"'))).toEqual({
    type: 'ExecBatch',
    db: 'x.db',
  });
});

/** JSON text of a value, in spellings that JSON.stringify does not use. */
const space = fc.constantFrom('', '', '', ' ', '\n', '\t\r ', '          ');
const escaped = (text: string) =>
  [...text].map((one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');
const string = (text: fc.Arbitrary<string>) =>
  fc.tuple(text, fc.boolean()).map(([one, all]) => (all ? `"${escaped(one)}"` : JSON.stringify(one)));
const awkward = fc.constantFrom(
  '\\',
  '"',
  '\\"',
  '\\\\',
  '}',
  ']',
  ',"db":"no"',
  '{"type":1',
  'ExecBatch',
  'ä',
);
const anyString = string(
  fc.oneof(
    anyUnits,
    fc.array(awkward, { maxLength: 30 }).map((parts) => parts.join('')),
  ),
);
const scalar = fc.oneof(
  anyString,
  fc.constantFrom('null', 'true', 'false', '0', '-0', '1e3', '-1.5E-7', '9007199254740993', '1e999'),
  fc.integer().map(String),
);
const name = fc.constantFrom(
  'type',
  'id',
  'db',
  'timeout_ms',
  'session',
  'stmts',
  'tx',
  '__proto__',
  'd',
  'types',
  '',
);
const key = fc.oneof({ weight: 5, arbitrary: string(name) }, { weight: 1, arbitrary: anyString });
const { value, object } = fc.letrec<{ value: string; object: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    scalar,
    fc.tuple(space, fc.array(tie('value'), { maxLength: 4 })).map(([s, all]) => `[${s}${all.join(`${s},`)}]`),
    tie('object'),
  ),
  object: fc
    .tuple(space, fc.array(fc.tuple(key, tie('value')), { maxLength: 4 }))
    .map(([s, all]) => `{${s}${all.map(([k, v]) => `${k}${s}:${s}${v}${s}`).join(`,${s}`)}}`),
}));
/** Mostly right: members of a batch and others in any order, some of them twice. */
const member = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(string(fc.constant('type')), string(fc.constant('ExecBatch'))) },
  { weight: 3, arbitrary: fc.tuple(string(fc.constant('db')), anyString) },
  { weight: 3, arbitrary: fc.tuple(string(fc.constant('id')), fc.oneof(fc.nat().map(String), anyString)) },
  { weight: 1, arbitrary: fc.tuple(string(fc.constant('timeout_ms')), fc.nat().map(String)) },
  { weight: 1, arbitrary: fc.tuple(string(fc.constant('session')), anyString) },
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom('"stmts"', '"x"', '"a\\"b"', '"long key"'), value) },
  { weight: 1, arbitrary: fc.tuple(key, value) },
);
const frame = fc
  .tuple(space, fc.array(member, { minLength: 1, maxLength: 8 }))
  .map(([s, all]) => `${s}{${s}${all.map(([k, v]) => `${k}${s}:${s}${v}${s}`).join(`,${s}`)}}${s}`);

test('of every frame that is JSON it reads what parsing the whole gives', () => {
  let right = 0;
  fc.assert(
    fc.property(fc.oneof({ weight: 5, arbitrary: frame }, { weight: 1, arbitrary: object }), (json) => {
      if (agrees(Buffer.from(json))) right += 1;
    }),
    { numRuns: 3000 },
  );
  expect(right).toBeGreaterThan(500);
});

test('a frame with a few bytes changed is read as the parser reads it, or is broken', () => {
  const byte = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(...Buffer.from('{}[]:,"\\ 0e')));
  const changes = fc.array(fc.tuple(fc.nat(), byte), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(frame, changes, fc.nat(10), (json, edits, cut) => {
      const payload = Buffer.from(json);
      for (const [at, put] of edits) payload[at % payload.length] = put;
      agrees(payload);
      agrees(payload.subarray(0, Math.max(1, payload.length - cut)));
    }),
    { numRuns: 3000 },
  );
});

test('random bytes never throw', () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void agrees(Buffer.from(bytes))));
});

test('16 MiB are skipped, not parsed', () => {
  const size = 16 * 1024 * 1024;
  const rows = batch(`,"stmts":[${'[1,"a"],'.repeat(size / 8)}1],"db":"x.db"`);
  const text = batch(`,"stmts":["${'a'.repeat(size)}"],"db":"x.db"`);
  const parse = vi.spyOn(JSON, 'parse');
  onTestFinished(() => parse.mockRestore());
  for (const payload of [rows, text]) {
    expect(readBatchEnvelope(payload)).toEqual({ type: 'ExecBatch', db: 'x.db' });
  }
  for (const [parsed] of parse.mock.calls) expect(parsed.length).toBeLessThan(100);
});
