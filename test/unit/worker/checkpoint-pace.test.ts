import { expect, test } from 'vitest';
import { CheckpointPace } from '../../../daemon/worker/checkpoint-pace.js';

const FRAME = 4_096 + 24;
const MIB = 1024 * 1024;

test('a slow disk makes checkpoints more frequent at once, a fast one rarer by and by', () => {
  const pace = new CheckpointPace(64 * MIB, FRAME);
  const first = pace.frames;
  for (let round = 0; round < 20; round += 1) pace.measured(1_000, 5);
  const fast = pace.frames;
  expect(fast).toBeGreaterThan(3 * first);
  pace.measured(2_000, 30);
  expect(pace.frames).toBeLessThan(fast / 2);
  // 30 ms for 2 000 frames: what is planned for 20 ms.
  expect(pace.frames).toBeCloseTo(1_333, -1);
  expect(pace.tooMany).toBeCloseTo(2_000, -1);
});

test('a few frames say nothing about the disk: their syncs are what took the time', () => {
  const pace = new CheckpointPace(64 * MIB, FRAME);
  const before = pace.frames;
  pace.measured(10, 200);
  expect(pace.frames).toBe(before);
});

test.each([
  [1 * MIB, 4_096],
  [64 * MIB, 65_536],
  [1024 * MIB, 512],
])(
  'with a limit of %i bytes and pages of %i, four of them fit in, and none is beyond 16 MiB',
  (limit, page) => {
    const pace = new CheckpointPace(limit, page + 24);
    for (let round = 0; round < 50; round += 1) pace.measured(1_000, 0.01);
    expect(pace.frames).toBeGreaterThan(0);
    expect(4 * pace.frames * (page + 24)).toBeLessThanOrEqual(limit);
    expect(pace.frames * (page + 24)).toBeLessThanOrEqual(16 * MIB);
    for (let round = 0; round < 50; round += 1) pace.measured(1_000, 10_000);
    expect(4 * pace.frames * (page + 24)).toBeLessThanOrEqual(limit);
  },
);
