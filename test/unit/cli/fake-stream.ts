import type { TextStream } from '../../../cli/output.js';

/** A stream that keeps what is written, and fails when it is told to. */
export class FakeStream implements TextStream {
  text = '';
  writes = 0;
  readonly isTTY: boolean;
  failure: Error | null = null;
  listeners = 0;

  constructor(isTTY = false) {
    this.isTTY = isTTY;
  }

  write(text: string, done: (error?: Error | null) => void): boolean {
    this.writes += 1;
    if (this.failure === null) this.text += text;
    queueMicrotask(() => done(this.failure));
    return true;
  }

  on(): this {
    this.listeners += 1;
    return this;
  }
}

/** A system error as streams give it. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: write`), { code });
}
