import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeExecBatch } from '../../../protocol/decode-exec-batch.js';
import { decodeIncoming } from '../../../protocol/decode-incoming.js';
import { decodeReply } from '../../../protocol/decode-reply.js';
import { decodeRequest } from '../../../protocol/decode-request.js';
import { ProtocolError } from '../../../protocol/errors.js';
import { decodeText, encodeFrame, FrameDecoder, parseObject } from '../../../protocol/frame.js';
import { decodeCell, decodeParam, FrameText } from '../../../protocol/values.js';
import { anyUnits } from './arbitraries.js';
import {
  batch,
  changed,
  details,
  failure,
  LIMITS,
  places,
  replies,
  replyNames,
  requests,
  requestTypes,
} from './samples.js';

/** How far the inputs of a property came: one that never gets past the frame would prove nothing. */
interface Reached {
  frames: number;
  objects: number;
  accepted: number;
}

function guarded(run: () => unknown, onSuccess?: () => void): void {
  try {
    run();
  } catch (error) {
    if (error instanceof ProtocolError) return;
    throw error;
  }
  onSuccess?.();
}

/** Everything that either side does with bytes from outside. Throws whatever is not a ProtocolError. */
function readAll(bytes: Buffer, reached: Reached): void {
  const decoder = new FrameDecoder(1_000_000);
  decoder.push(bytes);
  guarded(() => {
    for (let payload = decoder.next(); payload !== null; payload = decoder.next()) {
      reached.frames += 1;
      const text = decodeText(payload);
      const object = parseObject(text);
      reached.objects += 1;
      const accepted = () => {
        reached.accepted += 1;
      };
      guarded(() => decodeRequest(object), accepted);
      guarded(() => decodeExecBatch(object, LIMITS), accepted);
      guarded(() => decodeIncoming(object), accepted);
      for (const name of replyNames) guarded(() => decodeReply(name, object), accepted);
      for (const value of [object, ...Object.values(object).flat()]) {
        guarded(() => decodeParam(value, new FrameText(text)), accepted);
        guarded(() => decodeCell(value), accepted);
      }
    }
  });
}

function reads(inputs: fc.Arbitrary<Buffer>, numRuns: number): Reached {
  const reached = { frames: 0, objects: 0, accepted: 0 };
  fc.assert(
    fc.property(inputs, (bytes) => readAll(bytes, reached)),
    { numRuns },
  );
  return reached;
}

/** Values that look like something: tags, names of the protocol, and names that every object has. */
const leaf = fc.oneof(
  fc.constantFrom<unknown>(
    ...requestTypes,
    'ok',
    'error',
    'progress',
    'open',
    'Infinity',
    'AA==',
    '1',
    '-',
    'x',
  ),
  fc.constantFrom<unknown>(
    '__proto__',
    'constructor',
    'toString',
    null,
    true,
    false,
    0,
    -1,
    1e300,
    2 ** 53,
    0.1,
  ),
  anyUnits,
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);
const names = [
  ...['type', 'id', 'db', 'stmts', 'sql', 'params', 'status', 'event', 'code', 'results', 'rows', 'holders'],
  ...['$int', '$real', '$blob', '__proto__', 'constructor', 'toString', 'length', 'hasOwnProperty'],
];
const { value, object } = fc.letrec<{ value: unknown; object: object }>((tie) => ({
  value: fc.oneof({ maxDepth: 3 }, leaf, fc.array(tie('value'), { maxLength: 3 }), tie('object')),
  object: fc
    .array(fc.tuple(fc.oneof(fc.constantFrom(...names), anyUnits), tie('value')), { maxLength: 5 })
    // Unlike an assignment, this makes "__proto__" an own property, as JSON.parse does.
    .map((entries) => Object.fromEntries(entries)),
}));

const valid: readonly object[] = [
  ...requestTypes.map((type) => ({ type, id: 1, ...requests[type] })),
  batch,
  ...Object.values(replies),
  { ...failure, ...details },
  { event: 'progress', id: 1, pages_done: 1, pages_total: 2 },
];

/** A valid message with something else in one or two of its places. */
const spoiled = fc
  .tuple(fc.constantFrom(...valid), fc.array(fc.tuple(fc.nat(), value), { minLength: 1, maxLength: 2 }))
  .map(([start, edits]) => {
    let message = start;
    for (const [pick, put] of edits) {
      const all = places(message);
      const [path] = all[pick % all.length] ?? [['type']];
      message = changed(message, path, put);
    }
    return JSON.stringify(message);
  });

test('random bytes never throw anything but a ProtocolError', () => {
  const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));
  reads(bytes, 300);
  const framed = fc
    .uint8Array({ minLength: 1, maxLength: 255 })
    .map((array) => Buffer.from([array.length, 0, 0, 0, ...array]));
  expect(reads(framed, 300).frames).toBe(300);
});

test('JSON of any type never throws anything but a ProtocolError', () => {
  const { objects } = reads(
    fc.oneof(value, object).map((any) => encodeFrame(JSON.stringify(any))),
    500,
  );
  expect(objects).toBeGreaterThan(200);
});

test('a parameter or cell of any JSON never throws anything but a ProtocolError', () => {
  const tagged = fc
    .tuple(fc.constantFrom('$int', '$real', '$blob', 'x'), value)
    .map(([tag, content]) => ({ [tag]: content }));
  const frames = fc.array(fc.oneof(tagged, value)).map((params) => encodeFrame(JSON.stringify({ params })));
  expect(reads(frames, 300).accepted).toBeGreaterThan(300);
});

test('a wrong value at any one place of any message never throws anything but a ProtocolError', () => {
  const wrong = [
    null,
    true,
    -1,
    0.5,
    1e300,
    'x',
    '',
    '__proto__',
    [],
    [null],
    [[]],
    {},
    { $int: 'x' },
    { a: null },
  ];
  const reached = { frames: 0, objects: 0, accepted: 0 };
  for (const message of valid)
    for (const [path] of places(message))
      for (const put of wrong) readAll(encodeFrame(JSON.stringify(changed(message, path, put))), reached);
  expect(reached.objects).toBeGreaterThan(1000);
});

test('messages of the protocol with random values never throw anything but a ProtocolError', () => {
  const { objects, accepted } = reads(
    spoiled.map((text) => encodeFrame(text)),
    1500,
  );
  expect(objects).toBeGreaterThan(1200);
  expect(accepted).toBeGreaterThan(1500);
});

test('messages with a few bytes changed never throw anything but a ProtocolError', () => {
  // Mostly printable ones: the others end at the check for UTF-8.
  const byte = fc.oneof(fc.integer({ min: 0x20, max: 0x7e }), fc.integer({ min: 0, max: 255 }));
  const change = fc.tuple(fc.nat(), byte);
  const changes = fc.array(change, { minLength: 1, maxLength: 3 });
  const frames = fc.tuple(fc.constantFrom(...valid), changes).map(([message, edits]) => {
    const frame = encodeFrame(JSON.stringify(message));
    for (const [at, byte] of edits) frame[at % frame.length] = byte;
    return frame;
  });
  expect(reads(frames, 700).objects).toBeGreaterThan(50);
});

test('deep nesting at any place never throws anything but a ProtocolError', () => {
  const deep = [
    `${'['.repeat(20_000)}${']'.repeat(20_000)}`,
    `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`,
  ];
  const reached = { frames: 0, objects: 0, accepted: 0 };
  for (const message of valid)
    for (const [path] of places(message).slice(0, 12))
      for (const json of deep)
        readAll(encodeFrame(JSON.stringify(changed(message, path, '@')).replace('"@"', json)), reached);
  expect(reached.objects).toBeGreaterThan(100);
});
