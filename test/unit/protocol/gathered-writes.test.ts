import type { Socket } from 'node:net';
import { Writable } from 'node:stream';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GatheredWrites } from '../../../protocol/transport/gathered-writes.js';

/** A socket whose kernel takes bytes at once, or only when it is told to: until then they are read from the writer's buffers. */
class FakeSocket extends Writable {
  slow = false;
  calls = 0;
  readonly #taken: Buffer[] = [];
  #waiting: (() => void) | null = null;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#accept([chunk], done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.#accept(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  take(): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.();
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#taken);
  }

  #accept(chunks: Buffer[], done: () => void): void {
    this.calls += 1;
    const take = () => {
      for (const chunk of chunks) this.#taken.push(Buffer.from(chunk));
      done();
    };
    if (this.slow) this.#waiting = take;
    else take();
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const pair = () => {
  const socket = new FakeSocket();
  return { socket, output: new GatheredWrites(socket as unknown as Socket) };
};

test('what one turn brings leaves in one call, and small buffers are free at once', async () => {
  const { socket, output } = pair();
  const shared = Buffer.alloc(4);
  for (let n = 0; n < 20_000; n += 1) {
    shared.writeUInt32LE(n);
    output.write(shared);
  }
  expect(output.length).toBe(80_000);
  await turn();
  // More than a block.
  expect(socket.calls).toBe(1);
  expect(output.length).toBe(0);
  for (let n = 0; n < 20_000; n += 1) expect(socket.bytes.readUInt32LE(4 * n)).toBe(n);
});

test('all bytes leave in their order, however slowly they are taken, and each piece is told of once', async () => {
  const size = fc.oneof(fc.nat(200), fc.integer({ min: 7_000, max: 9_000 }), fc.nat(40_000));
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ size, told: fc.boolean() }) },
    { weight: 2, arbitrary: fc.constantFrom('turn', 'flush', 'take', 'slow', 'fast') },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      // Two sockets at once: they take their blocks from the same store.
      const both = [pair(), pair()];
      const sent: Buffer[] = [];
      const told: number[] = [];
      let expected = 0;
      for (const [n, one] of steps.entries()) {
        if (one === 'turn') await turn();
        else if (one === 'flush') for (const { output } of both) output.flush();
        else if (one === 'take') both[0]?.socket.take();
        else if (one === 'slow' || one === 'fast')
          for (const { socket } of both) socket.slow = one === 'slow';
        else {
          const bytes = Buffer.alloc(one.size, n + 1);
          sent.push(bytes);
          if (one.told) expected += 2;
          for (const { output } of both)
            output.write(Buffer.from(bytes), one.told ? () => told.push(n) : undefined);
        }
      }
      for (const { socket } of both) socket.slow = false;
      for (const { socket, output } of both) {
        for (let tries = 0; output.length > 0 && tries < 200; tries += 1) {
          socket.take();
          await turn();
        }
        expect(output.length).toBe(0);
        expect(socket.bytes.equals(Buffer.concat(sent))).toBe(true);
      }
      await turn();
      expect(told.length).toBe(expected);
    }),
    { numRuns: 300 },
  );
});

test('after the end nothing is written, and whoever waits is told', async () => {
  const { socket, output } = pair();
  let told = 0;
  output.write(Buffer.from('small'));
  output.write(Buffer.from('counted'), () => {
    told += 1;
  });
  socket.destroy();
  await turn();
  expect(told).toBe(1);
  expect(socket.calls).toBe(0);
  expect(output.length).toBe(0);
});
