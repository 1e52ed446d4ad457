import { expect, test } from 'vitest';
import { complete } from '../../../../cli/shell/completion.js';

const NAMES = {
  tables: new Map([
    ['stars', ['id', 'name']],
    ['star types', ['class']],
  ]),
  databases: ['moon', 'sun'],
};

test.each([
  ['SEL', ['SELECT'], 'SEL'],
  ['select * from sta', ['"star types"', 'stars'], 'sta'],
  ['select na', ['name', 'natural'], 'na'],
  ['select stars.', ['stars.id', 'stars.name'], 'stars.'],
  ['select STARS.na', ['STARS.name'], 'STARS.na'],
  ['select nothing.x', [], 'nothing.x'],
  ['select "sta', ['"star types"', 'stars'], '"sta'],
  ['insert into mo', ['moon'], 'mo'],
  ['USE s', ['sun'], 's'],
  ['.mod', ['.mode'], '.mod'],
  ['.mode c', ['csv'], 'c'],
  ['\\d', ['\\d', '\\dt'], '\\d'],
  ['\\c m', ['moon'], 'm'],
  ['.schema st', ['star types', 'stars'], 'st'],
  ['.timer ', ['off', 'on'], ''],
  ['.quit now', [], 'now'],
  ['select 1 ', [], ''],
  ['', [], ''],
])('%j', (line, hits, word) => {
  expect(complete(line, NAMES)).toEqual([hits, word]);
});

test('there are never more than a screen can show', () => {
  const columns = Array.from({ length: 2_000 }, (_, at) => `column${at}`);
  const [hits] = complete('col', { tables: new Map([['t', columns]]), databases: [] });
  expect(hits.length).toBeLessThanOrEqual(500);
});
