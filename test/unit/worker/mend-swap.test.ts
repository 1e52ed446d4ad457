import {
  existsSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { mendSwap } from '../../../daemon/worker/copy.js';

let dir: string;
let path: string;
let kept: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sky-swap-'));
  path = join(dir, 'x.db');
  kept = join(dir, 'x.db.before-epoch-2');
  writeFileSync(kept, 'old');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('a swap that was cut off between its steps leaves the old file under its own name alone', () => {
  linkSync(kept, path);
  mendSwap(path, kept);
  expect(readdirSync(dir)).toEqual(['x.db']);
});

test('where there is no file, the old one comes back', () => {
  mendSwap(path, kept);
  expect(readFileSync(path, 'utf8')).toBe('old');
  expect(existsSync(kept)).toBe(false);
});

test('behind the last step both files stay', () => {
  writeFileSync(path, 'new');
  mendSwap(path, kept);
  expect([path, kept].map((file) => readFileSync(file, 'utf8'))).toEqual(['new', 'old']);
});

test('a link to the old file is no second name of it: it would lead nowhere', () => {
  symlinkSync(kept, path);
  mendSwap(path, kept);
  expect(readFileSync(path, 'utf8')).toBe('old');
});
