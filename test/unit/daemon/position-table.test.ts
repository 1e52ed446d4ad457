import Database from 'better-sqlite3';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Position } from '../../../daemon/worker/link.js';
import {
  continueFrom,
  missingFile,
  nextEpoch,
  PositionWriter,
  readPosition,
  START,
} from '../../../daemon/worker/position-table.js';

/** Positions near each other, so that they often meet. */
const position: fc.Arbitrary<Position> = fc.oneof(
  fc.record({ id: fc.constantFrom('A', 'B', 'C'), epoch: fc.integer({ min: 1, max: 4 }), rev: fc.nat(4) }),
  fc.constant(START),
);

/** Less than 0 when `one` comes before `other`. */
const compare = (one: Position, other: Position) => one.epoch - other.epoch || one.rev - other.rev;

test('whatever file is found, (epoch, rev) never goes backwards and never repeats for other contents', () => {
  fc.assert(
    fc.property(
      position,
      fc.array(fc.oneof(position, fc.constant(null)), { maxLength: 8 }),
      (first, files) => {
        let known = first;
        for (const file of files) {
          const next = file === null ? missingFile(known) : continueFrom(known, file);
          expect(compare(next, known)).toBeGreaterThanOrEqual(0);
          // The contents of another file.
          if (known.id !== null && next.id !== known.id) expect(next.epoch).toBeGreaterThan(known.epoch);
          // An older copy of the same file.
          if (file !== null && compare(file, known) < 0) expect(next.epoch).toBeGreaterThan(known.epoch);
          if (file !== null) expect(next).toMatchObject({ id: file.id, rev: file.rev });
          known = next;
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test('the same file further on keeps its epoch, and what is not known yet is taken as it is', () => {
  const known = { id: 'A', epoch: 3, rev: 7 };
  expect(continueFrom(known, { ...known, rev: 9 })).toEqual({ ...known, rev: 9 });
  expect(continueFrom(known, known)).toEqual(known);
  expect(continueFrom(null, known)).toEqual(known);
  expect(continueFrom(START, known)).toEqual(known);
});

test('a file in the place of another has an epoch above both', () => {
  fc.assert(
    fc.property(position, position, (known, file) => {
      expect(nextEpoch(known, file).epoch).toBeGreaterThan(Math.max(known.epoch, file.epoch));
    }),
  );
  expect(nextEpoch(null, { id: 'A', epoch: 5, rev: 1 }).epoch).toBe(6);
});

test('a missing file that was never used begins at the beginning', () => {
  expect(missingFile(null)).toEqual(START);
  expect(missingFile(START)).toEqual(START);
  expect(missingFile({ id: 'A', epoch: 1, rev: 1 })).toEqual({ id: null, epoch: 2, rev: 0 });
});

test('a position is read as it was written, gets an id once, and hides what was inserted before', () => {
  const db = new Database(':memory:');
  expect(readPosition(db)).toEqual(START);
  const writer = new PositionWriter(db);
  const written = writer.write({ id: null, epoch: 1, rev: 1 });
  expect(written.id).toMatch(/^[0-9a-f-]{36}$/);
  expect(readPosition(db)).toEqual(written);
  db.exec('CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)');
  const later = writer.write({ ...written, rev: 2 });
  expect(later.id).toBe(written.id);
  expect(db.prepare('SELECT last_insert_rowid()').pluck().get()).toBe(0);
  expect(readPosition(db)).toEqual({ ...written, rev: 2 });
  db.close();
});

test('after a rollback of the first write the table is made again', () => {
  const db = new Database(':memory:');
  const writer = new PositionWriter(db);
  db.exec('BEGIN');
  writer.write({ id: 'A', epoch: 1, rev: 1 });
  db.exec('ROLLBACK');
  writer.forget();
  expect(readPosition(db)).toEqual(START);
  writer.write({ id: 'A', epoch: 1, rev: 1 });
  expect(readPosition(db)).toEqual({ id: 'A', epoch: 1, rev: 1 });
  db.close();
});
