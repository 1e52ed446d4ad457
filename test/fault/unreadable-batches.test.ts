import { existsSync, readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Bystander } from '../support/bystander.js';
import { Playground, until } from '../support/playground.js';
import { Wire } from '../support/wire.js';

/** Frames whose envelope is right, so that they go to the database's worker, which finds that the rest is not. */

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

function framed(json: string, encoding: BufferEncoding = 'utf8'): Buffer {
  const payload = Buffer.from(json, encoding);
  const header = Buffer.alloc(4);
  header.writeUInt32LE(payload.length);
  return Buffer.concat([header, payload]);
}

const unreadable = (rest: string, encoding?: BufferEncoding) =>
  framed(`{"type":"ExecBatch","id":"broken","db":"x.db",${rest}}`, encoding);
const insert = (n: number, more: object = {}) =>
  Wire.frame({ type: 'ExecBatch', db: 'x.db', stmts: [{ sql: `INSERT INTO t VALUES (${n})` }], ...more });

const KINDS: readonly (readonly [what: string, frame: Buffer])[] = [
  ['a word that is none', unreadable('"stmts":[{"sql":"CREATE TABLE u (a)","params":[nothing]}]')],
  ['brackets that cross', unreadable('"stmts":[{"sql":"CREATE TABLE u (a)"]}')],
  ['a comma too much', unreadable('"stmts":[{"sql":"CREATE TABLE u (a)"},]')],
  ['an escape that is none', unreadable('"stmts":[{"sql":"CREATE TABLE u (a)\\x"}]')],
  ['a line feed in a string', unreadable('"stmts":[{"sql":"CREATE TABLE u\n(a)"}]')],
  ['a number that is none', unreadable('"stmts":[{"sql":"CREATE TABLE u (a)"}],"x":01')],
  [
    'a parameter that is not UTF-8',
    unreadable('"stmts":[{"sql":"CREATE TABLE u (a)"},{"sql":"SELECT ?","params":["\xff"]}]', 'latin1'),
  ],
  [
    'deep nesting',
    unreadable(`"stmts":[{"sql":"CREATE TABLE u (a)"}],"x":${'['.repeat(70_000)}${']'.repeat(70_000)},"y":1`),
  ],
];

/** One error without an id, then the end. */
async function expectTheEnd(wire: Wire): Promise<void> {
  const error = await wire.next();
  expect(error).toMatchObject({
    status: 'error',
    code: 'PROTOCOL_ERROR',
    retryable: false,
    outcome: 'not_applied',
  });
  expect(error).not.toHaveProperty('id');
  expect(await wire.next()).toBeNull();
}

describe.each(KINDS)('%s', (_what, frame) => {
  test('while there is no file: none is made, and nothing behind it is carried out', async () => {
    await ground.daemon();
    const wire = await ground.wire();
    wire.send({ type: 'Ping', id: 'before' });
    wire.raw(Buffer.concat([frame, insert(1), Wire.frame({ type: 'Ping', db: 'x.db', id: 'behind' })]));
    expect(await wire.next()).toMatchObject({ status: 'ok', id: 'before' });
    let last = await wire.next();
    // Whether the router sees what comes behind depends on who finds the fault.
    if (last?.id === 'behind') last = await wire.next();
    expect(last).toMatchObject({ status: 'error', code: 'PROTOCOL_ERROR' });
    expect(last).not.toHaveProperty('id');
    expect(await wire.next()).toBeNull();
    expect(readdirSync(ground.dataDir)).toEqual([]);
    await ground.expectCleanEnd();
  });

  test('while others write: what came before is answered and kept, what comes behind is not done', async () => {
    await ground.daemon();
    const bystander = await Bystander.start(ground, 'x.db');
    const other = await ground.wire();
    await other.exec('x.db', ['CREATE TABLE t (a)']);
    const wire = await ground.wire();
    wire.raw(Buffer.concat([insert(1), insert(2, { id: 2 }), frame, insert(3), insert(4, { id: 4 })]));
    const answers = [await wire.next(), await wire.next()];
    expect(answers).toContainEqual(expect.objectContaining({ status: 'ok', id: 2 }));
    expect(answers.map((answer) => answer?.status)).toEqual(['ok', 'ok']);
    await expectTheEnd(wire);
    expect(await other.rows('x.db', 'SELECT a FROM t ORDER BY a')).toEqual([[1], [2]]);
    expect(await other.rows('x.db', "SELECT 1 FROM sqlite_schema WHERE name = 'u'")).toEqual([]);
    const before = bystander.written;
    await until('the other client goes on', () => bystander.written > before);
    await bystander.stop();
    await ground.expectCleanEnd();
  });

  test('while the database is closed: it is refused as any batch, or as what it is', async () => {
    await ground.daemon();
    const wire = await ground.wire();
    await wire.exec('x.db', ['CREATE TABLE t (a)']);
    expect(await wire.request({ type: 'CloseDatabase', db: 'x.db' })).toMatchObject({ closed: true });
    wire.raw(frame);
    const answer = await wire.next();
    if (answer?.code === 'DATABASE_CLOSED') {
      expect(answer).toMatchObject({ id: 'broken', outcome: 'not_applied' });
      expect(await wire.request({ type: 'Ping' })).toMatchObject({ status: 'ok' });
    } else {
      expect(answer).toMatchObject({ code: 'PROTOCOL_ERROR' });
      expect(await wire.next()).toBeNull();
    }
    const other = await ground.wire();
    expect(await other.request({ type: 'ReopenDatabase', db: 'x.db' })).toMatchObject({ reopened: true });
    expect(
      await other.rows('x.db', 'SELECT name FROM sqlite_schema WHERE type = ? AND name < ?', ['table', 'z']),
    ).toEqual(expect.not.arrayContaining([['u']]));
  });
});

test('while the worker has to be started: the same, and the worker serves others', async () => {
  const first = await ground.daemon();
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  await wire.request({ type: 'Shutdown' });
  await first.exited;
  await ground.daemon();
  for (const [, frame] of KINDS) {
    const [one, other] = [await ground.wire(), await ground.wire()];
    one.raw(Buffer.concat([insert(1), frame, insert(2)]));
    other.raw(insert(3));
    expect(await other.next()).toMatchObject({ status: 'ok' });
    expect(await one.next()).toMatchObject({ status: 'ok' });
    await expectTheEnd(one);
  }
  const reader = await ground.wire();
  expect(await reader.rows('x.db', 'SELECT a, count(*) FROM t GROUP BY a')).toEqual([
    [1, KINDS.length],
    [3, KINDS.length],
  ]);
  expect(ground.workers()).toHaveLength(1);
  await ground.expectCleanEnd();
});

test('a client that hangs up behind it: what it sent before is done, what it sent behind is not', async () => {
  await ground.daemon();
  const reader = await ground.wire();
  await reader.exec('x.db', ['CREATE TABLE t (a)']);
  for (const [, frame] of KINDS) {
    const wire = await ground.wire();
    wire.raw(Buffer.concat([insert(1), frame, insert(2)]));
    wire.socket.end();
    expect(await wire.next()).toMatchObject({ status: 'ok' });
    await expectTheEnd(wire);
  }
  expect(await reader.rows('x.db', 'SELECT a, count(*) FROM t GROUP BY a')).toEqual([[1, KINDS.length]]);
  await ground.expectCleanEnd();
});

test.each([
  ['short', 0],
  ['long', 5_000],
])(
  'straight to the worker, %s: what came before is answered and kept, what comes behind is not done',
  async (_, length) => {
    await ground.daemon();
    const reader = await ground.wire();
    await reader.exec('x.db', ['CREATE TABLE t (a)']);
    const { endpoint, db_path: db } = await reader.request({ type: 'Attach', db: 'x.db' });
    for (const [, frame] of KINDS) {
      // As long as is not read before its turn.
      const json = frame
        .toString('latin1', 4)
        .replace('"x.db"', JSON.stringify(db))
        .replace('{', `{${' '.repeat(length)}`);
      const wire = await ground.wire(String(endpoint));
      wire.raw(
        Buffer.concat([
          insert(1, { db }),
          insert(2, { db, id: 2 }),
          framed(json, 'latin1'),
          insert(3, { db }),
        ]),
      );
      const answers = [await wire.next(), await wire.next()];
      expect(answers).toContainEqual(expect.objectContaining({ status: 'ok', id: 2 }));
      expect(answers.map((answer) => answer?.status)).toEqual(['ok', 'ok']);
      await expectTheEnd(wire);
    }
    const found = await reader.rows('x.db', 'SELECT a, count(*) FROM t GROUP BY a');
    expect(found).toEqual([1, 2].map((n) => [n, KINDS.length]));
    await ground.expectCleanEnd();
  },
);

test('a broken batch with a deadline is not answered TIMEOUT, and stops nobody', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  wire.raw(
    framed('{"type":"ExecBatch","db":"x.db","timeout_ms":5000,"stmts":[{"sql":"CREATE TABLE t (a)"},]}'),
  );
  await expectTheEnd(wire);
  expect(existsSync(ground.file('x.db'))).toBe(false);
  await ground.expectCleanEnd();
});
