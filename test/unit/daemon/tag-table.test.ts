import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TagTable } from '../../../daemon/tag-table.js';

test('it is a map whose keys are its own, and which knows the order of adding', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(20))), (steps) => {
      const table = new TagTable<{ n: number }>();
      const model = new Map<number, { n: number }>();
      for (const [n, step] of steps.entries()) {
        const tag = step === null ? table.add({ n }) : step;
        if (step === null) {
          // Never 0, and never one that stands for another.
          expect(tag > 0 && !model.has(tag)).toBe(true);
          model.set(tag, { n });
        } else {
          expect(table.take(tag)).toEqual(model.get(tag));
          model.delete(tag);
        }
        expect(table.size).toBe(model.size);
        for (let one = 0; one < 25; one += 1) expect(table.get(one)).toEqual(model.get(one));
      }
      expect(table.takeAll()).toEqual([...model.values()].sort((one, other) => one.n - other.n));
      expect(table.size).toBe(0);
    }),
  );
});

test('numbers are used again: it grows no larger than what waits at once', () => {
  const table = new TagTable<number>();
  for (let round = 0; round < 1000; round += 1) {
    const tags = [table.add(1), table.add(2), table.add(3)];
    expect(Math.max(...tags)).toBe(3);
    for (const tag of tags) table.take(tag);
  }
});
