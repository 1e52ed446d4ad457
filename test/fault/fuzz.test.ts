import { randomBytes, randomInt } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Bystander } from '../support/bystander.js';
import { Playground, until } from '../support/playground.js';
import { memoryOf } from '../support/proc.js';
import { Wire } from '../support/wire.js';

const SECONDS = 10;

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

const batch = (stmt: object, more: object = {}) => ({
  type: 'ExecBatch',
  db: 'fuzz.db',
  stmts: [stmt],
  ...more,
});
/** Requests that are right, for the mutations to begin with. Shutdown is not among them. */
const SEEDS: readonly object[] = [
  { type: 'Hello', protocol: 1, client: { name: 'fuzz', pid: 1 } },
  { type: 'Ping', id: 'p' },
  { type: 'Ping', db: 'fuzz.db', id: 2 },
  { type: 'Status' },
  { type: 'Checkpoint', db: 'fuzz.db', mode: 'truncate' },
  { type: 'Backup', db: 'fuzz.db', to: 'fuzz-copy.db', overwrite: true },
  { type: 'CloseDatabase', db: 'fuzz.db', timeout_ms: 100 },
  { type: 'ReopenDatabase', db: 'fuzz.db' },
  { type: 'PrepareForMaintenance', db: 'fuzz.db', timeout_ms: 100 },
  { type: 'ReplaceDatabase', db: 'fuzz.db', from: 'fuzz-copy.db', timeout_ms: 100 },
  batch({ sql: 'CREATE TABLE IF NOT EXISTS t (a, b)' }, { id: 7 }),
  batch({ sql: 'INSERT INTO t VALUES (?, ?)', params: [1, { $blob: 'AAAA' }] }),
  batch({
    sql: 'INSERT INTO t VALUES (:a, :b)',
    params: { a: { $int: '9223372036854775807' }, b: { $real: '-0' } },
  }),
  batch({ sql: 'SELECT * FROM t LIMIT ?', param_sets: [[1], [2]] }, { results: false, tx: 'none' }),
  batch({ sql: 'DELETE FROM t', expect: { rows_affected: 3 } }, { expect_rev: 4, timeout_ms: 100 }),
];
const PIECES = [
  '{',
  '}',
  '[',
  ']',
  ':',
  ',',
  '"',
  '\\',
  '\\u0000',
  '\\ud800',
  'null',
  '1e999',
  '-',
  '99999999999999999999',
  '{"$int":""}',
  '__proto__',
  ';',
  "'",
  '\0',
  '\ufeff',
  '😀',
];

function pick<T>(list: readonly T[]): T {
  const one = list[randomInt(list.length)];
  if (one === undefined) throw new Error('an empty list');
  return one;
}

/** Some bytes of a right request, wrong in some way. */
function mutant(): Buffer {
  let frame = Wire.frame(pick(SEEDS));
  for (let times = randomInt(4); times > 0; times -= 1) {
    const at = randomInt(frame.length);
    switch (randomInt(7)) {
      case 0:
        frame[at] = randomInt(256);
        break;
      case 1:
        frame = Buffer.concat([frame.subarray(0, at), frame.subarray(at + randomInt(8))]);
        break;
      case 2:
        frame = Buffer.concat([frame.subarray(0, at), randomBytes(randomInt(16)), frame.subarray(at)]);
        break;
      case 3:
        frame = Buffer.concat([frame.subarray(0, at), Buffer.from(pick(PIECES)), frame.subarray(at)]);
        break;
      case 4:
        frame = Buffer.concat([frame, frame.subarray(at)]);
        break;
      case 5:
        frame = Buffer.concat([frame.subarray(0, at), Wire.frame(pick(SEEDS))]);
        break;
      default:
        frame = randomBytes(1 + randomInt(64));
    }
    if (frame.length === 0) frame = Buffer.alloc(1);
  }
  // Mostly with a header that fits, so that more than the framing is met.
  if (frame.length > 4 && randomInt(4) > 0) frame.writeUInt32LE(frame.length - 4, 0);
  return frame;
}

test(`${SECONDS} seconds of mutated and random frames: the daemon lives, serves others, and answers only what it knows`, async () => {
  const daemon = await ground.daemon(['--log-level', 'error', '--max-workers', '8']);
  const bystander = await Bystander.start(ground);
  const end = performance.now() + SECONDS * 1000;
  const recent: string[] = [];
  /** A mutant may be half a frame, for whose rest the daemon waits: another answer shows that it was read. */
  const heard = async () => {
    const other = await Wire.connect(ground.socket);
    await other.request({ type: 'Ping' });
    other.destroy();
    return null;
  };
  const client = async () => {
    while (performance.now() < end) {
      const wire = await ground.wire();
      const count = 1 + randomInt(20);
      for (let sent = 0; sent < count; sent += 1) {
        const bytes = mutant();
        recent.push(bytes.toString('latin1'));
        recent.splice(0, recent.length - 60);
        wire.raw(bytes);
      }
      pick([() => wire.socket.end(), () => wire.destroy(), () => undefined])();
      for (let taken = 0; taken < count; taken += 1) {
        const reply = await Promise.race([wire.next(), heard()]);
        if (reply === null) break;
        if (reply.code === 'INTERNAL' || reply.code === 'WORKER_CRASHED')
          throw new Error(`${JSON.stringify(reply)} after ${JSON.stringify(recent)}`);
      }
      wire.destroy();
    }
  };
  await Promise.all(Array.from({ length: 4 }, client));
  expect(daemon.child.exitCode, JSON.stringify(recent)).toBeNull();
  await bystander.stop();
  const wire = await ground.wire();
  await until(
    'the connections are gone',
    async () => (await wire.request({ type: 'Status' })).connections === 2,
  );
  expect(memoryOf(daemon.pid)).toBeLessThan(500);
  await wire.request({ type: 'ReopenDatabase', db: 'fuzz.db' });
  expect(await wire.exec('after.db', ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok' });
  for (const name of readdirSync(ground.dataDir).filter((one) => one.endsWith('.db')))
    expect(await ground.sqlite3(ground.file(name), 'PRAGMA integrity_check'), name).toBe('ok');
  await wire.request({ type: 'Shutdown' });
  await until('no process is left', () => ground.processes().length === 0);
});
