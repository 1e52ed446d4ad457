import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import pc from 'picocolors';
import { describe, expect, test } from 'vitest';
import { cells } from '../../../cli/cells.js';
import type { Row, Sample } from '../../../cli/top/sample.js';
import { press, SORTS, START, sorted, type TopState } from '../../../cli/top/state.js';
import { pageOf, snapshot, view } from '../../../cli/top/view.js';

const plain = pc.createColors(false);
const coloured = pc.createColors(true);

const row = (db: string, more: Partial<Row> = {}): Row => ({
  db: `/d/${db}`,
  batches: 0,
  failed: 0,
  p50: null,
  p99: null,
  queue: 0,
  wal: 0,
  blockedBy: null,
  readers: 0,
  heldBy: null,
  clients: 0,
  state: 'open',
  stale: false,
  worker: 12,
  ...more,
});
const sample = (rows: readonly Row[]): Sample => ({
  version: '0.1.0',
  pid: 4711,
  uptimeMs: 65_000,
  dataDir: '/d',
  connections: 3,
  attached: 2,
  workers: 1,
  spares: 1,
  batches: 1234.5,
  errors: 0,
  queue: 2,
  wal: 4096,
  rows,
});
const state = (rows: readonly Row[], more: Partial<TopState> = {}): TopState => ({
  ...START,
  sample: sample(rows),
  ...more,
});
const namesOf = (of: TopState) => sorted(of).map(({ db }) => db.slice(3));

describe('the screen', () => {
  test('has totals, a row for each database, and the keys', () => {
    const busy = row('a.db', { batches: 1234.5, p50: 85, p99: 410, queue: 2, wal: 4096, readers: null });
    expect(
      view(state([row('b.db', { worker: null, state: 'closed' }), busy]), { columns: 100, rows: 8 }, plain),
    ).toEqual([
      'skylinedb 0.1.0  pid 4711  up 1 min 5 s  connections 3 + 2 attached  workers 1 + 1 spare',
      'databases 2  batches/s 1235  errors/s 0  queue 2  WAL 4.0 KB',
      '',
      'database        ▼batches/s     p50     p99 queue       WAL readers clients     state  worker        ',
      'a.db                  1235   85 µs  410 µs     2    4.0 KB       -       0      open      12',
      'b.db                     0       -       -     0       0 B       0       0    closed       -',
      '',
      'q quit  p pause  < > sort  r reverse  ? help',
    ]);
  });

  test('is never larger than the terminal, whatever it has to say and however small that is', () => {
    const name = fc.string({ unit: 'binary', maxLength: 60 });
    fc.assert(
      fc.property(
        fc.array(name, { maxLength: 30 }),
        fc.record({
          sort: fc.constantFrom(...SORTS),
          reverse: fc.boolean(),
          paused: fc.boolean(),
          help: fc.boolean(),
          scroll: fc.nat(40),
          message: fc.option(name),
        }),
        fc.integer({ min: 1, max: 150 }),
        fc.integer({ min: 1, max: 40 }),
        (names, more, columns, rows) => {
          const all = names.map((db, at) =>
            row(db, { batches: at * 1e6, wal: 2 ** at, blockedBy: at === 3 ? ['pid 1 x'] : null }),
          );
          const lines = view(state(all, more), { columns, rows }, coloured);
          expect(lines).toHaveLength(rows);
          for (const line of lines)
            expect(cells(stripVTControlCharacters(line))).toBeLessThanOrEqual(columns);
        },
      ),
    );
  });

  test('leaves out what matters least where there is no room, and keeps a name’s end', () => {
    const narrow = view(state([row('a/very/long/path/to/some/stars.db')]), { columns: 34, rows: 7 }, plain);
    expect(narrow[3]).toBe('database        ▼batches/s     p99');
    expect(narrow[4]).toMatch(/^….*stars\.db +0 +-$/);
  });

  test('tells who keeps a WAL too long, and nothing in a name reaches the terminal', () => {
    const blocked = row('x\x1b[2J.db', { wal: 2 ** 27, blockedBy: ['pid 9 sqlite3'] });
    const lines = view(state([blocked]), { columns: 120, rows: 8 }, plain);
    expect(lines[2]).toBe('The WAL of /d/x\\x1b[2J.db is kept beyond its limit by pid 9 sqlite3');
    expect(lines[4]).toContain('!128.0 MB');
    expect(lines.join('')).not.toContain('\x1b');
  });

  test('tells whose transaction others wait for, when it takes long', () => {
    const heldBy = { who: 'app (pid 9)', sinceMs: 5_000 };
    const lines = view(state([row('x.db', { heldBy, queue: 3 })]), { columns: 120, rows: 8 }, plain);
    expect(lines[2]).toBe('3 wait for a transaction of app (pid 9) on /d/x.db, open for 5 s');
    expect(lines[4]).toMatch(/ tx +12$/);
    const short = { ...heldBy, sinceMs: 20 };
    expect(view(state([row('x.db', { heldBy: short })]), { columns: 120, rows: 8 }, plain)[2]).toBe('');
  });

  test('has colours only where they are wanted', () => {
    const some = state([row('a.db', { state: 'closed' })]);
    expect(view(some, { columns: 80, rows: 8 }, coloured).join('')).toContain('\x1b[');
    expect(view(some, { columns: 80, rows: 8 }, plain).join('')).not.toContain('\x1b');
  });

  test('for a file has all rows, whole', () => {
    const long = `${'long/'.repeat(40)}x.db`;
    const lines = snapshot(
      state([row(long), ...Array.from({ length: 99 }, (_, n) => row(`${n}.db`))]),
      plain,
    );
    expect(lines).toHaveLength(3 + 1 + 100);
    expect(lines.some((line) => line.startsWith(`${long} `) && line.endsWith('12'))).toBe(true);
  });
});

describe('keys', () => {
  const rows = [
    row('a.db', { batches: 1, p99: null, queue: 5 }),
    row('b.db', { batches: 9, p99: 7, queue: 0 }),
    row('c.db', { batches: 1, p99: 700, queue: 1 }),
  ];
  const pressed = (keys: readonly string[], from = state(rows)) =>
    keys.reduce<TopState>((before, key) => press(before, key, 2) ?? expect.fail('it has left'), from);

  test('sort by a column, or by the one beside; what is equal by its name', () => {
    expect(namesOf(state(rows))).toEqual(['b.db', 'a.db', 'c.db']);
    expect(namesOf(pressed(['l']))).toEqual(['c.db', 'b.db', 'a.db']);
    expect(namesOf(pressed(['u']))).toEqual(['a.db', 'c.db', 'b.db']);
    expect(namesOf(pressed(['d', 'r']))).toEqual(['c.db', 'b.db', 'a.db']);
    expect(pressed(['<']).sort).toBe('db');
    expect(pressed(['left', 'left']).sort).toBe('worker');
    expect(pressed(Array.from({ length: SORTS.length }, () => '>')).sort).toBe('batches');
  });

  test('pause, help, and leaving', () => {
    expect(pressed(['p']).paused).toBe(true);
    expect(pressed(['p', 'space']).paused).toBe(false);
    expect(pressed(['?', 'escape'])).toEqual(state(rows));
    for (const key of ['q', 'escape']) expect(press(state(rows), key, 2)).toBe(null);
    expect(pressed(['x', 'F9', ''])).toEqual(state(rows));
  });

  test('scroll no further than there are rows', () => {
    expect(pressed(['down', 'j', 'pagedown', 'end']).scroll).toBe(1);
    expect(pressed(['end', 'up', 'pageup', 'k']).scroll).toBe(0);
    const lines = view(pressed(['d', 'end']), { columns: 80, rows: 7 }, plain);
    expect(pageOf(7)).toBe(2);
    expect(lines.slice(4, 6).map((line) => line.slice(0, 4))).toEqual(['b.db', 'c.db']);
  });
});
