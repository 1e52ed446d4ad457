import { beforeEach, describe, expect, test } from 'vitest';
import { CatalogRows } from '../../../daemon/catalog-rows.js';
import { newEntry } from '../../../daemon/catalog-table.js';

const stars = newEntry('stars', '/data/stars.db');
const dropped = { ...stars, dropped: '2026-01-01T00:00:00.000Z' };
let rows: CatalogRows;

beforeEach(() => {
  rows = new CatalogRows();
});

describe('a row', () => {
  test('is found by its name, whatever the case of its letters, and by its path', () => {
    rows.keep(stars);
    expect(rows.find('STARS')).toBe(stars);
    expect(rows.at('/data/stars.db')).toBe(stars);
    expect(rows.find('moon')).toBeUndefined();
  });

  test('with another name and path is not found by the old ones', () => {
    rows.keep(stars);
    const suns = { ...stars, name: 'suns', path: '/data/suns.db' };
    rows.keep(suns);
    expect(rows.find('stars')).toBeUndefined();
    expect(rows.at('/data/stars.db')).toBeUndefined();
    expect(rows.all()).toEqual([suns]);
  });

  test('that is dropped is there, and has no name and no path', () => {
    rows.keep(stars);
    rows.keep(dropped);
    expect(rows.find('stars')).toBeUndefined();
    expect(rows.at('/data/stars.db')).toBeUndefined();
    expect(rows.all()).toEqual([dropped]);
  });

  test('that is dropped and forgotten leaves the name to whoever has it now', () => {
    const next = newEntry('stars', '/data/stars.db');
    rows.replace([dropped, next]);
    rows.drop(dropped.id);
    expect(rows.find('stars')).toBe(next);
    expect(rows.all()).toEqual([next]);
  });

  test('that is not read again is not known any more', () => {
    const moon = newEntry('moon', '/data/moon.db');
    rows.replace([stars]);
    rows.replace([moon]);
    expect(rows.find('stars')).toBeUndefined();
    expect(rows.find('moon')).toBe(moon);
  });
});

describe('a claim', () => {
  const refused = expect.objectContaining({ code: 'DATABASE_EXISTS' });

  test('keeps a name and a path from others until it is released', () => {
    const claims = rows.claim([stars]);
    expect(() => rows.claim([newEntry('Stars', '/data/other.db')])).toThrow(refused);
    expect(() => rows.claim([newEntry('other', '/data/stars.db')])).toThrow(refused);
    rows.release(claims);
    expect(rows.claim([newEntry('stars', '/data/stars.db')])).toHaveLength(2);
  });

  test("is not given for another row's name or path, but for the own ones", () => {
    rows.keep(stars);
    expect(() => rows.claim([newEntry('stars', '/data/other.db')])).toThrow(refused);
    expect(() => rows.claim([newEntry('other', '/data/stars.db')])).toThrow(refused);
    rows.release(rows.claim([stars]));
  });

  test('that is refused leaves nothing claimed', () => {
    rows.keep(stars);
    const moon = newEntry('moon', '/data/moon.db');
    expect(() => rows.claim([moon, newEntry('stars', '/data/other.db')])).toThrow(refused);
    expect(rows.claim([moon])).toHaveLength(2);
  });

  test('is not needed for what is dropped', () => {
    rows.claim([stars]);
    expect(rows.claim([dropped])).toEqual([]);
  });
});
