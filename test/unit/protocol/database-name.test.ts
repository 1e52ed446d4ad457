import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkDatabaseName, isBareName, nameKey } from '../../../protocol/database-name.js';
import { refusal } from './helpers.js';

describe('what is a name, and what is a file', () => {
  test.each(['stars', 'STARS', '0', '-', '_', 'a b', 'sünde', 'x'.repeat(300)])(
    '%j has neither slash nor dot',
    (db) => {
      expect(isBareName(db)).toBe(true);
    },
  );

  test.each(['', 'x.db', './x', '.x', 'a/b', '/x', 'a\\b', 'C:x', ':memory:', 'file:x', 'x\0'])(
    '%j is none',
    (db) => {
      expect(isBareName(db)).toBe(false);
    },
  );
});

describe('what a database may be called', () => {
  test('every name of the right letters that is not reserved', () => {
    const letters = [...'abcxyzABCXYZ0189_-'];
    const name = fc.string({ unit: fc.constantFrom(...letters), minLength: 1, maxLength: 63 });
    fc.assert(
      fc.property(name, (text) => {
        expect(checkDatabaseName(text)).toBe(text);
        expect(isBareName(text)).toBe(true);
        expect(nameKey(text.toUpperCase())).toBe(nameKey(text));
      }),
    );
  });

  test('nothing with any other character, however it is hidden', () => {
    const good = /^[A-Za-z0-9_-]{1,63}$/;
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 70 }), (text) => {
        if (!good.test(text)) expect(refusal(() => checkDatabaseName(text)).code).toBe('INVALID_REQUEST');
      }),
    );
    for (const text of ['stars\n', '\nstars', '\u017ftars', '\u212a', 'x'.repeat(64)])
      expect(refusal(() => checkDatabaseName(text)).code).toBe('INVALID_REQUEST');
  });

  test.each([
    'con',
    'CON',
    'nul',
    'com1',
    'Lpt9',
    'main',
    'TEMP',
    'skylinedb',
    'skylinedb-catalog',
    '_skylinedb_x',
  ])('%s is taken', (name) => {
    expect(refusal(() => checkDatabaseName(name, 'to')).message).toContain('"to"');
  });

  test.each(['con1', 'com', 'com10', 'maintenance', 'temporary'])('%s only looks like one', (name) => {
    expect(checkDatabaseName(name)).toBe(name);
  });
});
