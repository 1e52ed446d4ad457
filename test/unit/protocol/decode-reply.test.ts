import { describe, expect, test } from 'vitest';
import { decodeReply } from '../../../protocol/decode-reply.js';
import { parseObject } from '../../../protocol/frame.js';
import type { ReplyOf } from '../../../protocol/messages.js';
import { arrived, refusal, refusesField, WRONG } from './helpers.js';
import { changed, LIMITS, type Path, places, replies, replyNames } from './samples.js';

const OPTIONAL = [
  'wal',
  'transactions',
  'client',
  'name',
  'database',
  'command',
  'replayed',
  'results_omitted',
  'results',
  'last_insert_rowid',
  'columns',
  'rows',
  'buckets',
  'readers',
  'SQL_ERROR',
  'INVALID_REQUEST',
  'hand_off',
  'warnings',
  // Older daemons have fewer.
  ...Object.keys(LIMITS).filter((name) => name !== 'max_frame'),
  'until',
  'file_kept',
  'subscriptions',
];
/** What some fields take besides the type that the sample shows. */
const ALSO: { readonly [field: string]: readonly unknown[] } = {
  worker_pid: [null],
  latency_us: [null],
  queue_us: [null],
  execute_us: [null],
  commit_us: [null],
  group_batches: [null],
  checkpoint_wait_us: [null],
  metrics_port: [null],
  checkpoint_us: [null],
  blocked: [null],
  last_insert_rowid: [7, -1],
  last_used: ['x'],
  size: [null],
};

/** The field that a message about this place names. */
function fieldAt(path: Path): string {
  return String(path.findLast((step) => typeof step === 'string' && step !== '$int'));
}

function wrongFor(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return WRONG.array;
  if (value === null) return ['x', true, [], -1];
  if (value === true) return [...WRONG.boolean, undefined];
  const { string, integer, boolean, object } = WRONG;
  const table: { readonly [type: string]: readonly unknown[] } = { string, number: integer, boolean, object };
  return table[typeof value] ?? [];
}

describe.each(replyNames)('a reply to %s', (name) => {
  const sample = replies[name];
  const checked = places(sample).filter(([path]) => path[0] !== 'status');

  test('is read with all its fields, and without an id too', () => {
    expect(decodeReply(name, arrived(sample))).toEqual(sample);
    for (const id of [0, 'r'])
      expect(decodeReply(name, arrived({ ...sample, id }))).toEqual({ ...sample, id });
  });

  test('is refused with a wrong type at any place, and the field is named', () => {
    for (const [path, value] of checked) {
      const field = fieldAt(path);
      for (const wrong of wrongFor(value)) {
        if (ALSO[field]?.includes(wrong) || (wrong === undefined && OPTIONAL.includes(field))) continue;
        refusesField(field, () => decodeReply(name, arrived(changed(sample, path, wrong))));
      }
    }
  });

  test('is refused without a field that every daemon of this version sends', () => {
    for (const [path] of checked) {
      const last = path.at(-1);
      if (typeof last === 'number' || OPTIONAL.includes(String(last))) continue;
      refusesField(fieldAt(path), () => decodeReply(name, arrived(changed(sample, path, undefined))));
    }
  });

  test('may have unknown fields, which nobody sees', () => {
    expect(decodeReply(name, arrived({ ...sample, later: [1] }))).toEqual(sample);
  });

  test('is refused with an id that is neither number nor string', () => {
    for (const id of [null, true, [], {}])
      refusesField('id', () => decodeReply(name, arrived({ ...sample, id })));
  });
});

describe('decodeReply', () => {
  test('takes the name of a database, and the data directory, from daemons that know names', () => {
    const [first] = replies.Status.databases;
    const named = { ...replies.Status, databases: [{ ...first, name: 'stars' }] };
    expect(decodeReply('Status', arrived(named)).databases[0]?.name).toBe('stars');
    const hello = { ...replies.Hello, data_dir: '/d' };
    expect(decodeReply('Hello', arrived(hello))).toEqual(hello);
    refusesField('data_dir', () => decodeReply('Hello', arrived({ ...hello, data_dir: 7 })));
  });

  test('takes a batch reply without results', () => {
    const { results, ...bare } = replies.ExecBatch;
    expect(results).toBeDefined();
    expect(decodeReply('ExecBatch', arrived(bare))).toEqual(bare);
  });

  test.each<[keyof ReplyOf, string]>([
    ['PrepareForMaintenance', 'checkpointed'],
    ['CloseDatabase', 'closed'],
    ['ReplaceDatabase', 'replaced'],
  ])('takes no %s reply whose "%s" is false for a success', (name, field) => {
    refusesField(field, () => decodeReply(name, arrived({ ...replies[name], [field]: false })));
  });

  test.each(['open', 'preparing', 'closed'] as const)('knows the state %s', (state) => {
    expect(decodeReply('PingDatabase', arrived({ ...replies.PingDatabase, state })).state).toBe(state);
  });

  test('refuses a state it does not know and says which there are', () => {
    const { message } = refusal(() =>
      decodeReply('PingDatabase', arrived({ ...replies.PingDatabase, state: 'OPEN' })),
    );
    expect(message).toBe('"state" must be "open" or "preparing" or "closed", but is "OPEN".');
  });

  test('reads no field from "__proto__"', () => {
    const text = '{"status":"ok","__proto__":{"pages":1,"bytes":1}}';
    refusesField('pages', () => decodeReply('Backup', parseObject(text)));
  });
});
