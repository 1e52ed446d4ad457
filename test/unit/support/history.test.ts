import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { judgeHistory, type Operation, type Registers, type Step } from '../../support/history.js';

const START: Registers = { rev: 0, values: [0, 0] };
const KEYS = 2;

function operation(begun: number, ended: number, ...steps: Step[]): Operation {
  return { name: JSON.stringify(steps), begun, ended, steps };
}

function verdict(history: readonly Operation[], start = START): string {
  return judgeHistory(history, start).verdict;
}

describe('histories that are known to be good or bad', () => {
  const set = (value: number, key = 0): Step => ({ set: value, key });
  const is = (value: number, key = 0): Step => ({ is: value, key });
  const add = (value: number, key = 0): Step => ({ add: value, key });
  const never = Infinity;
  test.each<[string, 'explained' | 'impossible', Operation[]]>([
    ['nothing at all', 'explained', []],
    ['a write, then a read of it', 'explained', [operation(0, 1, set(1)), operation(2, 3, is(1))]],
    [
      'a write, then a read of what was before',
      'impossible',
      [operation(0, 1, set(1)), operation(2, 3, is(0))],
    ],
    ['a read beside a write sees either', 'explained', [operation(0, 9, set(1)), operation(1, 8, is(0))]],
    [
      'two reads beside a write see it come',
      'explained',
      [operation(0, 9, set(1)), operation(1, 2, is(0)), operation(3, 4, is(1))],
    ],
    [
      'two reads beside a write see it go again',
      'impossible',
      [operation(0, 9, set(1)), operation(1, 2, is(1)), operation(3, 4, is(0))],
    ],
    ['a value that nobody has written', 'impossible', [operation(0, 9, set(1)), operation(1, 8, is(2))]],
    [
      'two that both replace the same value',
      'impossible',
      [operation(0, 9, is(0), set(1)), operation(0, 9, is(0), set(2))],
    ],
    [
      'of two that replace the same value one is refused',
      'explained',
      [operation(0, 9, is(0), set(1)), operation(0, 9, { isNot: 0, key: 0 })],
    ],
    [
      'a refusal although nobody could have been first',
      'impossible',
      [operation(0, 1, { isNot: 0, key: 0 }), operation(2, 3, is(0), set(1))],
    ],
    [
      'a counter that has counted one of two twice',
      'impossible',
      [operation(0, 9, add(1)), operation(0, 9, add(1)), operation(10, 11, is(3))],
    ],
    [
      'two counts that were told the same number',
      'impossible',
      [operation(0, 9, add(1), is(1)), operation(0, 9, add(1), is(1))],
    ],
    [
      'the answers of two that came one after the other, exchanged',
      'impossible',
      [operation(0, 1, add(1), is(2)), operation(2, 3, add(1), is(1))],
    ],
    ['a lost answer of what took place', 'explained', [operation(0, never, set(1)), operation(2, 3, is(1))]],
    ['a lost answer of what never did', 'explained', [operation(0, never, set(1)), operation(2, 3, is(0))]],
    [
      'a lost answer of what took place much later',
      'explained',
      [operation(0, never, set(1)), operation(2, 3, is(0)), operation(4, 5, is(1))],
    ],
    [
      'what is taken back although it has no answer',
      'impossible',
      [operation(0, never, set(1)), operation(2, 3, is(1)), operation(4, 5, is(0))],
    ],
    ['before it was asked for', 'impossible', [operation(5, never, set(1)), operation(2, 3, is(1))]],
    [
      'half of a transaction',
      'impossible',
      [operation(0, 9, set(1, 0), set(1, 1)), operation(1, 8, is(1, 0), is(0, 1))],
    ],
    [
      'two that each read what the other writes, both too early (write skew)',
      'impossible',
      [operation(0, 9, is(0, 0), set(1, 1)), operation(0, 9, is(0, 1), set(1, 0))],
    ],
    [
      'two readers that see two writes in different orders',
      'impossible',
      [
        operation(0, 9, set(1, 0)),
        operation(0, 9, set(1, 1)),
        operation(1, 8, is(1, 0), is(0, 1)),
        operation(1, 8, is(0, 0), is(1, 1)),
      ],
    ],
  ])('%s: %s', (_what, wanted, history) => {
    expect(verdict(history)).toBe(wanted);
  });

  test('a rev that was told is checked, too', () => {
    const first = operation(0, 9, set(1));
    const second = operation(0, 9, set(2));
    const look = { ...operation(10, 11, is(1)), rev: 2 };
    expect(verdict([{ ...first, rev: 2 }, { ...second, rev: 1 }, look])).toBe('explained');
    expect(verdict([{ ...first, rev: 1 }, { ...second, rev: 2 }, look])).toBe('impossible');
    expect(verdict([{ ...first, rev: 2 }, { ...second, rev: 2 }, look])).toBe('impossible');
    expect(verdict([{ ...first, rev: 3 }, { ...second, rev: 1 }, look])).toBe('impossible');
  });

  test('what nothing explains is told: how far it goes, and what could not follow', () => {
    const judgement = judgeHistory([operation(0, 1, set(1)), operation(2, 3, is(7))], START);
    expect(judgement).toMatchObject({
      verdict: 'impossible',
      order: [{ begun: 0 }],
      registers: { rev: 1, values: [1, 0] },
      stuck: [{ begun: 2 }],
    });
  });
});

/** What a client asks for, before anybody has answered. */
type Wish =
  | { readonly kind: 'read' | 'readBoth' | 'add' | 'move'; readonly key: number }
  | { readonly kind: 'replace'; readonly key: number; readonly from: number }
  | { readonly kind: 'write'; readonly key: number };

const key = fc.nat(KEYS - 1);
const wish: fc.Arbitrary<Wish> = fc.oneof(
  fc.record({ kind: fc.constantFrom('read', 'readBoth', 'add', 'move'), key }),
  fc.record({ kind: fc.constant('write' as const), key }),
  fc.record({ kind: fc.constant('replace' as const), key, from: fc.nat(3) }),
);

/** Carries a wish out, and answers truly. Each write has a value of its own. */
function carryOut(values: number[], one: Wish, unique: number): Step[] {
  const now = values[one.key] ?? 0;
  const is = (at: number): Step => ({ is: values[at] ?? 0, key: at });
  const write = (at: number, step: Step, to: number): Step => {
    values[at] = to;
    return step;
  };
  switch (one.kind) {
    case 'read':
      return [is(one.key)];
    case 'readBoth':
      return [is(0), is(1)];
    case 'write':
      return [write(one.key, { set: unique, key: one.key }, unique)];
    case 'add':
      return [write(one.key, { add: 1, key: one.key }, now + 1), is(one.key)];
    case 'move': {
      const other = 1 - one.key;
      const there = values[other] ?? 0;
      return [
        write(one.key, { add: -1, key: one.key }, now - 1),
        write(other, { add: 1, key: other }, there + 1),
        is(0),
        is(1),
      ];
    }
    case 'replace':
      if (now !== one.from) return [{ isNot: one.from, key: one.key }];
      return [is(one.key), write(one.key, { set: unique, key: one.key }, unique)];
  }
}

/**
 * A true history: each takes place at a moment of its own, and was begun some time before and answered some time after it.
 * Some answers are lost, and some that were lost never took place.
 */
const trueHistory = fc
  .array(
    fc.record({
      wish,
      before: fc.nat(6),
      behind: fc.nat(6),
      fate: fc.constantFrom('told', 'told', 'lost', 'never'),
    }),
    { maxLength: 40 },
  )
  .map((list) => {
    const values = [...START.values];
    let rev = 0;
    return list.map(({ wish: one, before, behind, fate }, at): Operation => {
      const begun = at - before;
      if (fate === 'never') return operation(begun, Infinity, { set: 1_000_000 + at, key: one.key });
      const steps = carryOut(values, one, 1_000 + at);
      if (steps.some((step) => 'set' in step || 'add' in step)) rev += 1;
      if (fate === 'told') return { ...operation(begun, at + behind, ...steps), rev };
      return operation(begun, Infinity, ...steps);
    });
  });

const withoutRevs = (history: readonly Operation[]) => history.map(({ rev: _rev, ...one }) => one);

/** A true history whose operations came one after the other: whatever is answered otherwise is wrong. */
const oneByOne = fc.array(wish, { minLength: 1, maxLength: 30 }).map((list) => {
  const values = [...START.values];
  return list.map((one, at) => operation(at * 10, at * 10 + 5, ...carryOut(values, one, 1_000 + at)));
});

describe('at random', () => {
  test('a true history is always explained, with revs and without', () => {
    fc.assert(
      fc.property(trueHistory, (history) => {
        expect(verdict(history)).toBe('explained');
        expect(verdict(withoutRevs(history))).toBe('explained');
      }),
      { numRuns: 2_000 },
    );
  });

  test('a value that was seen and never was there is found', () => {
    fc.assert(
      fc.property(trueHistory, fc.nat(), (history, seed) => {
        const told = history.filter(({ ended }) => ended < Infinity);
        const victim = told[seed % Math.max(1, told.length)];
        fc.pre(victim !== undefined);
        const lie: Operation = { ...victim, steps: [...victim.steps, { is: 555_555, key: 0 }] };
        expect(verdict(history.map((one) => (one === victim ? lie : one)))).toBe('impossible');
      }),
      { numRuns: 1_000 },
    );
  });

  test('one after the other: a write that was answered and is lost, or is done twice, is found by a look at the end', () => {
    fc.assert(
      fc.property(oneByOne, fc.nat(), (history, seed) => {
        const writers = history.filter(({ steps }) => steps.some((step) => 'add' in step));
        const victim = writers[seed % Math.max(1, writers.length)];
        fc.pre(victim !== undefined);
        const at = history.indexOf(victim);
        const { key: counted, add: count } = victim.steps.find((step) => 'add' in step) as {
          add: number;
          key: number;
        };
        const end = counterAfter(history, counted);
        fc.pre(lastSet(history, counted) < at);
        const look = (value: number) => operation(1_000_000, 1_000_001, { is: value, key: counted });
        expect(verdict([...history, look(end)])).toBe('explained');
        expect(verdict([...history, look(end - count)])).toBe('impossible');
        expect(verdict([...history, look(end + count)])).toBe('impossible');
      }),
      { numRuns: 500 },
    );
  });

  test('whatever small history there is, the verdict is that of trying every order', () => {
    const anyStep: fc.Arbitrary<Step> = fc.oneof(
      fc.record({ is: fc.nat(2), key }),
      fc.record({ isNot: fc.nat(2), key }),
      fc.record({ set: fc.nat(2), key }),
      fc.record({ add: fc.constant(1), key }),
    );
    const anyOperation = fc
      .record({
        begun: fc.nat(8),
        length: fc.oneof(
          { weight: 4, arbitrary: fc.nat(6) },
          { weight: 1, arbitrary: fc.constant(Infinity) },
        ),
        steps: fc.array(anyStep, { minLength: 1, maxLength: 3 }),
        rev: fc.option(fc.integer({ min: 0, max: 4 }), { freq: 5 }),
      })
      .map(({ begun, length, steps, rev }): Operation => {
        const one = operation(begun, begun + length, ...steps);
        return rev === null || length === Infinity ? one : { ...one, rev };
      });
    const count = { explained: 0, impossible: 0 };
    fc.assert(
      fc.property(fc.array(anyOperation, { maxLength: 6 }), (history) => {
        const wanted = anyOrderExplains(history, START) ? 'explained' : 'impossible';
        count[wanted] += 1;
        expect(verdict(history)).toBe(wanted);
      }),
      { numRuns: 5_000 },
    );
    // Neither is a rare case that was hardly tried.
    expect(Math.min(count.explained, count.impossible)).toBeGreaterThan(300);
  });
});

function counterAfter(history: readonly Operation[], counted: number): number {
  let value = 0;
  for (const step of history.flatMap(({ steps }) => steps)) {
    if (step.key !== counted) continue;
    if ('set' in step) value = step.set;
    if ('add' in step) value += step.add;
  }
  return value;
}

function lastSet(history: readonly Operation[], counted: number): number {
  return history.findLastIndex(({ steps }) => steps.some((step) => 'set' in step && step.key === counted));
}

/** Every order of every selection, in the most simple-minded way: the checker's own code is not used. */
function anyOrderExplains(left: readonly Operation[], { rev, values }: Registers): boolean {
  if (left.every(({ ended }) => ended === Infinity)) return true;
  return left.some((one) => {
    const others = left.filter((other) => other !== one);
    if (others.some(({ ended }) => ended < one.begun)) return false;
    const next = [...values];
    let wrote = 0;
    for (const step of one.steps) {
      const value = next[step.key] as number;
      if ('is' in step && step.is !== value) return false;
      if ('isNot' in step && step.isNot === value) return false;
      if ('set' in step) next[step.key] = step.set;
      if ('add' in step) next[step.key] = value + step.add;
      if ('set' in step || 'add' in step) wrote = 1;
    }
    if (one.rev !== undefined && one.rev !== rev + wrote) return false;
    return anyOrderExplains(others, { rev: rev + wrote, values: next });
  });
}
