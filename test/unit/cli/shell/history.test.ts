import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { History } from '../../../../cli/shell/history.js';

let dir: string;
let file: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sky-'));
  file = join(dir, 'state', 'shell-history');
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

test('lines come back, newest first, from whichever shell they were', () => {
  const [one, other] = [new History(file), new History(file)];
  one.add('select 1;');
  other.add('select 2;');
  one.add('select 3;');
  expect(new History(file).lines).toEqual(['select 3;', 'select 2;', 'select 1;']);
});

test('only the user can read them', () => {
  new History(file).add('select 1;');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(statSync(join(dir, 'state')).mode & 0o777).toBe(0o700);
});

test('not kept are secrets behind a space, repetitions, nothing, and what is too long', () => {
  const history = new History(file);
  for (const line of [' secret', '', '  ', 'a', 'a', 'x'.repeat(5_000)]) history.add(line);
  expect(readFileSync(file, 'utf8')).toBe('a\n');
});

test('the file does not grow without end', () => {
  mkdirSync(join(dir, 'state'));
  writeFileSync(file, Array.from({ length: 5_000 }, (_, at) => `select ${at};\n`).join(''), { mode: 0o644 });
  expect(new History(file).lines).toHaveLength(1_000);
  expect(new History(file).lines[0]).toBe('select 4999;');
  expect(readFileSync(file, 'utf8').split('\n')).toHaveLength(1_001);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  writeFileSync(file, `${'y'.repeat(4_000)}\n`.repeat(500));
  new History(file);
  expect(statSync(file).size).toBeLessThan(256 * 1024);
});

test('a file that cannot be used is no reason not to work', () => {
  writeFileSync(join(dir, 'state'), '');
  const history = new History(file);
  history.add('select 1;');
  expect(history.lines).toEqual([]);
  expect(existsSync(file)).toBe(false);
});
