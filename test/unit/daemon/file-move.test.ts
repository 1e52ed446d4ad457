import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { inodeOf, mendMove, moveFile } from '../../../daemon/file-move.js';
import { KernelLock } from '../../../daemon/worker/kernel-lock.js';

let dir: string;
let from: string;
let to: string;
let inode: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sky-move-'));
  from = join(dir, 'a.db');
  to = join(dir, 'trash', 'b.db');
  writeFileSync(from, 'rows');
  inode = inodeOf(from);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const SELF = { pid: process.pid, routerPid: process.pid, endpoint: 'here' };
const code = (work: () => unknown) => {
  try {
    work();
  } catch (error) {
    return (error as { code?: string }).code;
  }
  return 'done';
};

describe('a move', () => {
  test('gives the same file another name, makes the folder, and leaves nothing of it behind', () => {
    const { ino } = statSync(from);
    writeFileSync(`${from}-wal`, '');
    writeFileSync(`${from}-shm`, 'index');
    moveFile(from, to, SELF);
    expect(statSync(to)).toMatchObject({ ino, nlink: 1 });
    expect(readdirSync(dir)).toEqual(['trash']);
  });

  test('never takes the place of another file, nor lies beside another one’s WAL', () => {
    mkdirSync(join(dir, 'trash'));
    writeFileSync(to, 'other');
    expect(code(() => moveFile(from, to, SELF))).toBe('DATABASE_EXISTS');
    expect(readFileSync(to, 'utf8')).toBe('other');
    rmSync(to);
    writeFileSync(`${to}-wal`, 'frames');
    expect(code(() => moveFile(from, to, SELF))).toBe('DATABASE_EXISTS');
    expect(readFileSync(from, 'utf8')).toBe('rows');
  });

  test('never takes the place of the file that its own name leads to: that is no other spelling of it', () => {
    const link = join(dir, 'link.db');
    symlinkSync('a.db', link);
    expect(code(() => moveFile(link, from, SELF))).toBe('DATABASE_EXISTS');
    expect(readFileSync(from, 'utf8')).toBe('rows');
    expect(mendMove(link, from, inodeOf(link))).toBe(false);
    expect(readFileSync(from, 'utf8')).toBe('rows');
  });

  test('is refused while something is in the WAL or the journal', () => {
    for (const suffix of ['-wal', '-journal']) {
      writeFileSync(`${from}${suffix}`, 'frames');
      expect(code(() => moveFile(from, to, SELF))).toBe('DATABASE_IN_USE');
      rmSync(`${from}${suffix}`);
    }
    expect(readFileSync(from, 'utf8')).toBe('rows');
  });

  test('is refused while another has the file', () => {
    const lock = KernelLock.acquire(`${from}-owner`, { ...SELF, endpoint: 'there' });
    expect(code(() => moveFile(from, to, SELF))).toBe('DATABASE_IN_USE');
    (lock as KernelLock).release();
    moveFile(from, to, SELF);
    expect(existsSync(to)).toBe(true);
  });

  test('of a file that is gone, or into a folder that is none, says so and does nothing', () => {
    expect(code(() => moveFile(join(dir, 'nowhere.db'), to, SELF))).toBe('IO_ERROR');
    writeFileSync(join(dir, 'file'), 'no folder');
    expect(code(() => moveFile(from, join(dir, 'file', 'b.db'), SELF))).toBe('IO_ERROR');
    expect(readFileSync(from, 'utf8')).toBe('rows');
  });
});

describe('a move that was cut off', () => {
  beforeEach(() => mkdirSync(join(dir, 'trash')));

  test('before its first step: the file has its old name', () => {
    expect(mendMove(from, to, inode)).toBe(false);
    expect(readFileSync(from, 'utf8')).toBe('rows');
  });

  test('between its steps: the file loses the old one of two names', () => {
    linkSync(from, to);
    writeFileSync(`${from}-shm`, 'index');
    expect(mendMove(from, to, inode)).toBe(true);
    expect(statSync(to).nlink).toBe(1);
    expect(readdirSync(dir)).toEqual(['trash']);
  });

  test('behind its last step: the file has its new name', () => {
    moveFile(from, to, SELF);
    expect(mendMove(from, to, inode)).toBe(true);
    expect(readFileSync(to, 'utf8')).toBe('rows');
  });

  test('where another file has the new name: nothing is touched, and it is not taken for this one', () => {
    writeFileSync(to, 'other');
    expect(mendMove(from, to, inode)).toBe(false);
    expect([readFileSync(from, 'utf8'), readFileSync(to, 'utf8')]).toEqual(['rows', 'other']);
    rmSync(from);
    expect(mendMove(from, to, inode)).toBe(false);
    expect(readFileSync(to, 'utf8')).toBe('other');
  });
});
