import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LogFile, prettyLine } from '../../../daemon/log.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sky-log-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

test('the log never grows beyond twice its bound, and the newest lines are there', () => {
  const path = join(dir, 'logs', 'daemon.log');
  const log = new LogFile(path, 1_000);
  for (let n = 0; n < 500; n += 1) log.write(`line ${n}\n`);
  expect(statSync(path).size + statSync(`${path}.1`).size).toBeLessThan(2_100);
  expect(readFileSync(`${path}.1`, 'utf8') + readFileSync(path, 'utf8')).toMatch(/line 499\n$/);
});

test('a daemon that starts again goes on in the same file', () => {
  const path = join(dir, 'daemon.log');
  new LogFile(path).write('first\n');
  new LogFile(path).write('second\n');
  expect(readFileSync(path, 'utf8')).toBe('first\nsecond\n');
  expect(existsSync(`${path}.1`)).toBe(false);
});

test('the log is for its owner alone', () => {
  const path = join(dir, 'state', 'daemon.log');
  new LogFile(path).write('x\n');
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(join(dir, 'state')).mode & 0o777).toBe(0o700);
});

test('on a terminal a line is for people', () => {
  const line =
    '{"level":40,"time":"2026-01-02T03:04:05.678Z","pid":7,"db":"/x.db","worker":9,"msg":"worker died"}\n';
  expect(prettyLine(line)).toBe('03:04:05 warn  worker died db=/x.db worker=9\n');
});
