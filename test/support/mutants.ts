import type { Random } from './random.js';
import { Wire } from './wire.js';

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
  { type: 'Attach', db: 'fuzz.db' },
  { type: 'Checkpoint', db: 'fuzz.db', mode: 'truncate' },
  { type: 'Backup', db: 'fuzz.db', to: 'fuzz-copy.db', overwrite: true },
  { type: 'CloseDatabase', db: 'fuzz.db', timeout_ms: 100 },
  { type: 'ReopenDatabase', db: 'fuzz.db' },
  { type: 'PrepareForMaintenance', db: 'fuzz.db', timeout_ms: 100 },
  { type: 'ReplaceDatabase', db: 'fuzz.db', from: 'fuzz-copy.db', timeout_ms: 100 },
  batch({ sql: 'CREATE TABLE IF NOT EXISTS t (a, b)' }, { id: 7 }),
  { type: 'Cancel', id: 8, target: 7 },
  batch({ sql: 'SELECT 1' }, { id: 7, cancellable: true }),
  batch({ sql: 'INSERT INTO t VALUES (?, ?)', params: [1, { $blob: 'AAAA' }] }),
  batch({
    sql: 'INSERT INTO t VALUES (:a, :b)',
    params: { a: { $int: '9223372036854775807' }, b: { $real: '-0' } },
  }),
  batch({ sql: 'SELECT * FROM t LIMIT ?', param_sets: [[1], [2]] }, { results: false, tx: 'none' }),
  batch({ sql: 'DELETE FROM t', expect: { rows_affected: 3 } }, { expect_rev: 4, timeout_ms: 100 }),
  batch({ sql: 'INSERT INTO t VALUES (1, 2)' }, { session: 's', seq: 3, acked: 1, session_epoch: 1 }),
  batch(
    { sql: 'INSERT INTO t VALUES (1, 2)' },
    { session: 's', seq: 4, only_replay: true, session_rev: 2, session_database: 'x' },
  ),
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

/** Some bytes of a right request, wrong in some way. */
export function mutant(random: Random): Buffer {
  let frame = Wire.frame(random.pick(SEEDS));
  for (let times = random.int(4); times > 0; times -= 1) {
    const at = random.int(frame.length);
    const [before, after] = [frame.subarray(0, at), frame.subarray(at)];
    switch (random.int(7)) {
      case 0:
        frame[at] = random.int(256);
        break;
      case 1:
        frame = Buffer.concat([before, frame.subarray(at + random.int(8))]);
        break;
      case 2:
        frame = Buffer.concat([before, random.bytes(random.int(16)), after]);
        break;
      case 3:
        frame = Buffer.concat([before, Buffer.from(random.pick(PIECES)), after]);
        break;
      case 4:
        frame = Buffer.concat([frame, after]);
        break;
      case 5:
        frame = Buffer.concat([before, Wire.frame(random.pick(SEEDS))]);
        break;
      default:
        frame = random.bytes(1 + random.int(64));
    }
    if (frame.length === 0) frame = Buffer.alloc(1);
  }
  // Mostly with a header that fits, so that more than the framing is met.
  if (frame.length > 4 && random.int(4) > 0) frame.writeUInt32LE(frame.length - 4, 0);
  return frame;
}
