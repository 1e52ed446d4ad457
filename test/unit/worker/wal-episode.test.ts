import { beforeEach, expect, test } from 'vitest';
import type { WalNotice } from '../../../daemon/worker/link.js';
import { WalEpisode } from '../../../daemon/worker/wal-episode.js';

const LIMIT = 1_000;
const READER = { pid: 4711, command: 'node report.mjs' };
let told: WalNotice[];
let episode: WalEpisode;
beforeEach(() => {
  told = [];
  episode = new WalEpisode({
    limit: LIMIT,
    holders: () => [READER],
    tell: (notice) => told.push(notice),
  });
});

test('who is in the way is told once, and once that it is over', () => {
  for (let now = 0; now <= 2_000; now += 100) episode.blocked(2_000 + now, now);
  expect(told).toEqual([{ event: 'wal', blocked: true, bytes: 2_500, limit: LIMIT, holders: [READER] }]);
  expect(episode.lasts(2_100)).toBe(2_100);
  episode.free();
  expect(episode.lasts(2_200)).toBeNull();
  episode.over(2_300);
  episode.over(2_400);
  expect(told.slice(1)).toEqual([{ event: 'wal', blocked: false, limit: LIMIT, most: 4_000, ms: 2_300 }]);
});

test('a reader that leaves by itself is nobody’s business, nor is one while the WAL is within its limit', () => {
  episode.blocked(2_000, 0);
  episode.blocked(2_000, 400);
  episode.free();
  episode.over(450);
  for (let now = 1_000; now < 9_000; now += 100) episode.blocked(LIMIT, now);
  expect(episode.lasts(9_000)).toBeNull();
  expect(told).toEqual([]);
});

test('a second reader, before the WAL is short again, belongs to the same episode', () => {
  episode.blocked(2_000, 0);
  episode.blocked(2_000, 600);
  episode.free();
  episode.blocked(2_000, 700);
  expect(episode.lasts(800)).toBe(100);
  episode.blocked(3_000, 1_300);
  episode.over(2_000);
  expect(told).toMatchObject([{ blocked: true }, { blocked: false, most: 3_000, ms: 2_000 }]);
});

test('a file that is closed takes its episode with it', () => {
  episode.blocked(2_000, 0);
  episode.blocked(2_000, 600);
  episode.forget();
  episode.over(700);
  expect(told).toHaveLength(1);
  expect(episode.lasts(800)).toBeNull();
});
