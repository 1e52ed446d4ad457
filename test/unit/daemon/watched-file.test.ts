import { mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type FileId, lookAt } from '../../../daemon/identity.js';
import { WatchedFile } from '../../../daemon/watched-file.js';

let dir: string;
let path: string;
let file: WatchedFile;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sky-watched-'));
  path = join(dir, 'x.db');
  file = new WatchedFile(path, 'here', pino({ level: 'silent' }));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Another file is put there, as by `mv`. */
function put(): FileId {
  const other = join(dir, 'other');
  writeFileSync(other, '');
  renameSync(other, path);
  return lookAt(path) as FileId;
}

/** What a worker leaves that was killed: a WAL with contents. */
function die(): string[] {
  writeFileSync(`${path}-wal`, 'frames');
  file.workerEnded(false);
  return readdirSync(dir).filter((name) => name.startsWith('x.db-wal'));
}

/** A request has looked, and found another file than the worker has. */
function look(): boolean {
  const other = file.see(lookAt(path));
  if (other) file.exchange(true);
  return other;
}

test('the WAL of a worker whose file was exchanged under it is set aside', () => {
  file.see(put());
  file.opened(put());
  expect(look()).toBe(false);
  put();
  expect(look()).toBe(true);
  expect(die()).toEqual([expect.stringMatching(/^x\.db-wal\.orphaned-/)]);
});

test('a worker that had opened the new file before it was stopped for it leaves a WAL that belongs there', () => {
  file.see(put());
  const now = put();
  expect(look()).toBe(true);
  // Its word was on the way.
  file.opened(now);
  expect(die()).toEqual(['x.db-wal']);
  expect(file.exchanged).toBe(false);
});

test('a file that was made, and exchanged before anybody looked, is seen to be exchanged', () => {
  expect(file.see(undefined)).toBe(false);
  const made = put();
  put();
  expect(look()).toBe(false);
  file.opened(made);
  expect(look()).toBe(true);
});

test('what a worker had open is what the next look is compared with, when it has gone', () => {
  file.opened(put());
  expect(die()).toEqual(['x.db-wal']);
  expect(file.see(put())).toBe(true);
});

test('what a helper had open, which was never the worker, is nothing to the worker that starts', () => {
  file.opened(put());
  rmSync(path);
  file.see(undefined);
  file.workerStarts();
  expect(look()).toBe(false);
});
