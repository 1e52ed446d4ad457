import { readdirSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Bystander } from '../support/bystander.js';
import { Playground, until } from '../support/playground.js';
import { memoryOf } from '../support/proc.js';
import { Wire } from '../support/wire.js';

const MAX_FRAME = 16 * 1024 * 1024;

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

/** A frame whose payload is these bytes, whatever they are. */
function framed(payload: Buffer | string): Buffer {
  const bytes = Buffer.from(payload);
  return Buffer.concat([header(bytes.length), bytes]);
}

function header(length: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(length);
  return bytes;
}

/** One daemon for all cases of a table, with a client that writes all the while. */
function oneDaemon(): { ground: Playground; bystander: Bystander } {
  const shared = {} as { ground: Playground; bystander: Bystander };
  beforeAll(async () => {
    shared.ground = new Playground();
    await shared.ground.daemon();
    shared.bystander = await Bystander.start(shared.ground);
  });
  afterAll(async () => {
    try {
      await shared.bystander.stop();
      await shared.ground.expectCleanEnd();
    } finally {
      await shared.ground.dispose();
    }
  });
  return shared;
}

async function connections(wire: Wire): Promise<unknown> {
  return (await wire.request({ type: 'Status' })).connections;
}

describe('what is no frame is answered by one error, then the connection ends', () => {
  const cases: readonly (readonly [what: string, bytes: Buffer, code: string])[] = [
    ['a length of 4 GiB', Buffer.from([0xff, 0xff, 0xff, 0xff]), 'FRAME_TOO_LARGE'],
    ['a length of one byte too much', header(MAX_FRAME + 1), 'FRAME_TOO_LARGE'],
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'), 'FRAME_TOO_LARGE'],
    ['a length of zero', header(0), 'PROTOCOL_ERROR'],
    ['garbage of the right length', framed(Buffer.from([0, 1, 2, 3, 0x80, 0xff])), 'PROTOCOL_ERROR'],
    [
      'bytes that are not UTF-8',
      framed(Buffer.from('{"type":"Ping","x":"\xff"}', 'latin1')),
      'PROTOCOL_ERROR',
    ],
    [
      'a surrogate encoded as UTF-8',
      framed(Buffer.from('{"type":"Ping","x":"\xed\xa0\x80"}', 'latin1')),
      'PROTOCOL_ERROR',
    ],
    ['a byte order mark', framed('\ufeff{"type":"Ping"}'), 'PROTOCOL_ERROR'],
    ['half an object', framed('{"type":"Ping"'), 'PROTOCOL_ERROR'],
    ['two objects in one frame', framed('{"type":"Ping"}{"type":"Ping"}'), 'PROTOCOL_ERROR'],
    ['an array', framed('[{"type":"Ping"}]'), 'PROTOCOL_ERROR'],
    ['a number', framed('1'), 'PROTOCOL_ERROR'],
    ['null', framed('null'), 'PROTOCOL_ERROR'],
    ['a text', framed('"Ping"'), 'PROTOCOL_ERROR'],
    ['spaces', framed('    '), 'PROTOCOL_ERROR'],
    ['unclosed brackets', framed('['.repeat(1_000_000)), 'PROTOCOL_ERROR'],
  ];

  const shared = oneDaemon();
  test.each(cases)('%s', async (_what, bytes, code) => {
    const wire = await shared.ground.wire();
    const before = shared.bystander.written;
    // What was asked before is answered before.
    wire.send({ type: 'Ping', id: 'before' });
    wire.raw(bytes);
    wire.raw(Wire.frame({ type: 'ExecBatch', db: 'after.db', stmts: [{ sql: 'CREATE TABLE t (a)' }] }));
    expect(await wire.next()).toMatchObject({ status: 'ok', id: 'before' });
    const error = await wire.next();
    expect(error).toMatchObject({ status: 'error', code, retryable: false, outcome: 'not_applied' });
    expect(error).not.toHaveProperty('id');
    expect(await wire.next()).toBeNull();
    // Nothing behind it was looked at.
    expect(readdirSync(shared.ground.dataDir)).not.toContain('after.db');
    await until('the other client goes on', () => shared.bystander.written > before);
  });
});

test('a frame over the limit is refused from its header, with the limit named', async () => {
  await ground.daemon(['--max-frame', '4KB']);
  const wire = await ground.wire();
  wire.raw(header(4097));
  expect(await wire.next()).toMatchObject({
    code: 'FRAME_TOO_LARGE',
    limit: 'max_frame',
    limit_value: 4096,
    message: expect.stringContaining('--max-frame'),
  });
  expect(await wire.next()).toBeNull();
});

test('a frame of exactly 16 MiB is carried out, and its value is stored whole', async () => {
  await ground.daemon();
  const bystander = await Bystander.start(ground);
  const wire = await ground.wire();
  const batch = (text: string) =>
    JSON.stringify({
      type: 'ExecBatch',
      id: 1,
      db: 'x.db',
      stmts: [{ sql: 'CREATE TABLE t (a)' }, { sql: 'INSERT INTO t VALUES (?)', params: [text] }],
    });
  const size = MAX_FRAME - batch('').length;
  wire.raw(framed(batch('a'.repeat(size))));
  expect(await wire.next()).toMatchObject({ status: 'ok', id: 1, rows_affected: 1 });
  expect(await wire.rows('x.db', 'SELECT length(a), rtrim(a, ?) FROM t', ['a'])).toEqual([[size, '']]);
  await bystander.stop();
});

test('a frame torn at any byte by a client that hangs up applies nothing and disturbs nobody', async () => {
  await ground.daemon();
  const bystander = await Bystander.start(ground);
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  const frame = Wire.frame({
    type: 'ExecBatch',
    db: 'x.db',
    stmts: [{ sql: 'INSERT INTO t VALUES (1)' }],
  });
  for (let bytes = 0; bytes < frame.length; bytes += 1) {
    const torn = await ground.wire();
    torn.raw(frame.subarray(0, bytes));
    if (bytes % 2 === 0) torn.destroy();
    else torn.socket.end();
    expect(await torn.next()).toBeNull();
  }
  await until('the connections are gone', async () => (await connections(wire)) === 2);
  expect(await wire.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[0]]);
  await bystander.stop();
});

test('a frame that comes in two pieces, cut at any byte, is one request', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  const frame = Wire.frame({
    type: 'ExecBatch',
    db: 'x.db',
    stmts: [{ sql: "INSERT INTO t VALUES ('ä€😀')" }],
  });
  for (let cut = 1; cut < frame.length; cut += 1) {
    wire.raw(frame.subarray(0, cut));
    // An answer from another connection: the first piece has been read by then.
    await (await ground.wire()).request({ type: 'Ping' });
    wire.raw(frame.subarray(cut));
    expect(await wire.next()).toMatchObject({ status: 'ok', rows_affected: 1 });
  }
  expect(await wire.rows('x.db', 'SELECT a, count(*) FROM t GROUP BY a')).toEqual([
    ['ä€😀', frame.length - 1],
  ]);
});

test('frames that are never finished cost no memory, and hold up neither others nor the end', async () => {
  const daemon = await ground.daemon();
  const bystander = await Bystander.start(ground);
  const before = memoryOf(daemon.pid);
  const unfinished: Wire[] = [];
  for (let count = 0; count < 200; count += 1) {
    const wire = await ground.wire();
    wire.raw(Buffer.concat([header(MAX_FRAME), Buffer.from('{"type":"Ping"')]));
    unfinished.push(wire);
  }
  const wire = await ground.wire();
  await until('all have arrived', async () => (await connections(wire)) === 202);
  expect(memoryOf(daemon.pid) - before).toBeLessThan(150);
  await bystander.stop();
  expect(await wire.request({ type: 'Shutdown' })).toMatchObject({ status: 'ok' });
  expect(await daemon.exited).toMatchObject({ code: 0 });
  for (const one of unfinished) expect(await one.next()).toBeNull();
  await ground.expectCleanEnd();
});

describe('objects that are odd, but objects, are answered, and the connection goes on', () => {
  // Below the size from which on nesting is bounded: see protocol/frame.ts.
  const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
  const batch = (stmt: string, more = '') => `{"type":"ExecBatch","db":"x.db"${more},"stmts":[${stmt}]}`;
  const cases: readonly (readonly [what: string, json: string, answer: object])[] = [
    ['deep nesting in an unknown field', `{"type":"Ping","x":${deep}}`, { status: 'ok' }],
    ['deep nesting as an id', `{"type":"Ping","id":${deep}}`, { code: 'INVALID_REQUEST' }],
    ['deep nesting as a type', `{"type":${deep}}`, { code: 'INVALID_REQUEST' }],
    ['deep nesting as db', `{"type":"ExecBatch","db":${deep},"stmts":[]}`, { code: 'INVALID_REQUEST' }],
    [
      'deep nesting as a parameter',
      batch(`{"sql":"SELECT ?","params":[${deep}]}`),
      { code: 'INVALID_REQUEST', statement_index: 0, parameter: 0 },
    ],
    ['deep nesting as a statement', batch(deep), { code: 'INVALID_REQUEST', statement_index: 0 }],
    ['a type twice: the last one counts', '{"type":"Nothing","type":"Ping"}', { status: 'ok' }],
    ['an id twice: the last one counts', '{"type":"Ping","id":1,"id":2}', { status: 'ok', id: 2 }],
    ['__proto__ with a type', '{"__proto__":{"type":"Ping"}}', { code: 'INVALID_REQUEST' }],
    ['the type __proto__', '{"type":"__proto__"}', { code: 'INVALID_REQUEST' }],
    ['the type constructor', '{"type":"constructor","id":7}', { code: 'INVALID_REQUEST', id: 7 }],
    [
      '__proto__ with a statement',
      batch('{"__proto__":{"sql":"SELECT 1"}}'),
      { code: 'INVALID_REQUEST', statement_index: 0 },
    ],
    [
      'a parameter called __proto__',
      batch('{"sql":"SELECT :__proto__","params":{"__proto__":5}}'),
      { status: 'ok', results: [expect.objectContaining({ rows: [[5]] })] },
    ],
    ['an id that is too large', '{"type":"Ping","id":9007199254740993}', { code: 'INVALID_REQUEST' }],
    ['an id beyond all numbers', '{"type":"Ping","id":1e999}', { code: 'INVALID_REQUEST' }],
    ['an id with a fraction', '{"type":"Ping","id":1.5}', { code: 'INVALID_REQUEST' }],
    [
      'an id of a thousand characters',
      `{"type":"Ping","id":"${'i'.repeat(1000)}"}`,
      { code: 'INVALID_REQUEST' },
    ],
    [
      'a timeout beyond all numbers',
      batch('{"sql":"SELECT 1"}', ',"timeout_ms":1e999'),
      { code: 'INVALID_REQUEST' },
    ],
    [
      'a timeout of a thousand years',
      batch('{"sql":"SELECT 1"}', ',"timeout_ms":31536000000000'),
      { status: 'ok' },
    ],
    [
      'a parameter that JSON rounds',
      batch('{"sql":"SELECT ?","params":[12345678901234567890]}'),
      { code: 'INVALID_REQUEST', statement_index: 0, parameter: 0 },
    ],
    [
      'a parameter beyond all numbers',
      batch('{"sql":"SELECT ?","params":[1e999]}'),
      { code: 'INVALID_REQUEST', statement_index: 0, parameter: 0 },
    ],
    ['a number of a million digits', `{"type":"Ping","x":${'9'.repeat(1_000_000)}}`, { status: 'ok' }],
    ['an object without anything', '{}', { code: 'INVALID_REQUEST' }],
  ];

  const shared = oneDaemon();
  test.each(cases)('%s', async (_what, json, answer) => {
    const wire = await shared.ground.wire();
    wire.raw(framed(json));
    expect(await wire.next()).toMatchObject(answer);
    expect(await wire.request({ type: 'Ping' })).toMatchObject({ status: 'ok' });
  });

  test('a db twice: router and worker take the same one', async () => {
    await ground.daemon();
    const wire = await ground.wire();
    wire.raw(framed('{"type":"ExecBatch","db":"a.db","db":"b.db","stmts":[{"sql":"CREATE TABLE t (a)"}]}'));
    expect(await wire.next()).toMatchObject({ status: 'ok' });
    expect(await ground.sqlite3(ground.file('b.db'), 'SELECT count(*) FROM t')).toBe('0');
    expect(readdirSync(ground.dataDir)).not.toContain('a.db');
  });
});
