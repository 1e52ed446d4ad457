import { linkSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { canonicalPath, checkRoots, lookAt, sameFile, spellingOf } from '../../../daemon/identity.js';

let dir: string;
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'sky-id-')));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

/** The code of the refusal. */
function codeOf(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test('a name is completed with the data directory, and no name means data.db', () => {
  expect(spellingOf(undefined, '/data')).toBe('/data/data.db');
  expect(spellingOf('./a/../x.db', '/data')).toBe('/data/x.db');
  expect(spellingOf('/else/x.db', '/data')).toBe('/else/x.db');
  expect(spellingOf('filed.db', '/data')).toBe('/data/filed.db');
});

test.each([
  ['', 'INVALID_REQUEST'],
  ['a\0', 'INVALID_REQUEST'],
  ['\udc00', 'INVALID_REQUEST'],
  [':memory:', 'DATABASE_NOT_ALLOWED'],
  ['file:x', 'DATABASE_NOT_ALLOWED'],
  ['File:///x', 'DATABASE_NOT_ALLOWED'],
])('the name %j is no file', (name, code) => {
  expect(codeOf(() => spellingOf(name, '/data'))).toBe(code);
});

test('links to the file and to its folder lead to the same path, whether the file exists or not', () => {
  mkdirSync(join(dir, 'real'));
  symlinkSync('real', join(dir, 'folder'));
  symlinkSync('real/x.db', join(dir, 'link'));
  symlinkSync('link', join(dir, 'second'));
  const names = ['real/x.db', 'folder/x.db', 'link', 'second'];
  for (const exists of [false, true]) {
    if (exists) writeFileSync(join(dir, 'real', 'x.db'), '');
    expect(new Set(names.map((name) => canonicalPath(join(dir, name))))).toEqual(
      new Set([join(dir, 'real', 'x.db')]),
    );
  }
});

test('a link through a folder link is resolved from where it lies, not from where it was named', () => {
  mkdirSync(join(dir, 'deep', 'er'), { recursive: true });
  symlinkSync('deep/er', join(dir, 'short'));
  symlinkSync('../x.db', join(dir, 'deep', 'er', 'up'));
  for (const exists of [false, true]) {
    if (exists) writeFileSync(join(dir, 'deep', 'x.db'), '');
    expect(canonicalPath(join(dir, 'short', 'up')), `exists: ${exists}`).toBe(join(dir, 'deep', 'x.db'));
  }
});

test('a missing folder, a file in the place of a folder, and links in a circle are told apart', () => {
  writeFileSync(join(dir, 'file'), '');
  symlinkSync('b', join(dir, 'a'));
  symlinkSync('a', join(dir, 'b'));
  expect(codeOf(() => canonicalPath(join(dir, 'no', 'x.db')))).toBe('DATABASE_NOT_FOUND');
  expect(codeOf(() => canonicalPath(join(dir, 'file', 'x.db')))).toBe('DATABASE_NOT_FOUND');
  expect(codeOf(() => canonicalPath(join(dir, 'a')))).toBe('DATABASE_NOT_ALLOWED');
  expect(codeOf(() => canonicalPath(join(dir, 'x'.repeat(300))))).toBe('DATABASE_NOT_ALLOWED');
});

test('a look tells files apart, and says nothing of a missing one', () => {
  for (const name of ['a', 'b']) writeFileSync(join(dir, name), '');
  const [a, b] = [lookAt(join(dir, 'a')), lookAt(join(dir, 'b'))];
  symlinkSync('a', join(dir, 'link'));
  expect(sameFile(a, lookAt(join(dir, 'link')))).toBe(true);
  expect(sameFile(a, b)).toBe(false);
  expect(lookAt(join(dir, 'missing'))).toBeUndefined();
  expect(sameFile(a, undefined)).toBe(false);
  expect(sameFile(undefined, undefined)).toBe(true);
  linkSync(join(dir, 'a'), join(dir, 'c'));
  expect(codeOf(() => lookAt(join(dir, 'a')))).toBe('DATABASE_NOT_ALLOWED');
  expect(codeOf(() => lookAt(dir))).toBe('DATABASE_NOT_ALLOWED');
  expect(codeOf(() => lookAt('/dev/null'))).toBe('DATABASE_NOT_ALLOWED');
});

test('a root covers what lies below it, and not what only begins like it', () => {
  const allowed = (path: string, roots: readonly string[]) =>
    codeOf(() => checkRoots(path, roots)) === undefined;
  expect(allowed('/a/x.db', [])).toBe(true);
  expect(allowed('/a/x.db', ['/a'])).toBe(true);
  expect(allowed('/a/b/c/x.db', ['/z', '/a'])).toBe(true);
  expect(allowed('/x.db', ['/'])).toBe(true);
  expect(allowed('/ab/x.db', ['/a'])).toBe(false);
  expect(allowed('/a', ['/a'])).toBe(false);
  expect(allowed('/x.db', ['/a'])).toBe(false);
});
