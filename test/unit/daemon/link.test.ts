import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  decodeLink,
  encodeLink,
  type LinkFrame,
  LinkKind,
  MAX_LINK_FRAME,
  monotonicMs,
} from '../../../daemon/worker/link.js';
import { FrameDecoder } from '../../../protocol/frame.js';

const frame: fc.Arbitrary<LinkFrame> = fc.record({
  kind: fc.constantFrom(...Object.values(LinkKind)),
  tag: fc.integer({ min: 0, max: 0xffff_ffff }),
  lane: fc.integer({ min: 0, max: 0xffff_ffff }),
  number: fc.double(),
  payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
});

const encode = ({ kind, tag, lane, number, payload }: LinkFrame) =>
  Buffer.concat(encodeLink(kind, tag, lane, number, payload));

test('frames arrive as they were sent, however the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 40 })),
      (frames, cuts) => {
        const bytes = Buffer.concat(frames.map(encode));
        const decoder = new FrameDecoder(MAX_LINK_FRAME);
        const arrived: LinkFrame[] = [];
        let at = 0;
        for (const length of [...cuts, bytes.length]) {
          decoder.push(bytes.subarray(at, at + length));
          at += length;
          for (let next = decoder.next(); next !== null; next = decoder.next())
            arrived.push(decodeLink(next));
        }
        expect(arrived).toEqual(frames);
      },
    ),
  );
});

test('the payload is written as it is, without a copy, and an empty one not at all', () => {
  const payload = Buffer.from('as it came');
  expect(encodeLink(LinkKind.Request, 1, 2, 3, payload)[1]).toBe(payload);
  expect(encodeLink(LinkKind.LaneClosed, 0, 2, 0).length).toBe(1);
  expect(
    decodeLink(
      encode({ kind: LinkKind.Drained, tag: 0, lane: 1, number: 2 ** 40, payload: Buffer.alloc(0) }).subarray(
        4,
      ),
    ),
  ).toMatchObject({ number: 2 ** 40 });
});

test('the clock of the deadlines goes forward and counts milliseconds', () => {
  const [clock, performanceClock] = [monotonicMs(), performance.now()];
  for (let count = 0; count < 1000; count += 1) expect(monotonicMs()).toBeGreaterThanOrEqual(clock);
  const difference = monotonicMs() - clock - (performance.now() - performanceClock);
  expect(Math.abs(difference)).toBeLessThan(50);
});
