import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { FIXTURES, type Finished, finished, type Playground } from './playground.js';

/** A program from test/fixtures, running. It speaks in lines; the end of its input ends it. */
export class Fixture {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #finished: Promise<Finished>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#finished = finished(child);
    if (child.stdout === null) throw new Error('a fixture needs a pipe for its output');
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** Starts it and waits until it is ready. */
  static async start(ground: Playground, name: string, ...args: string[]): Promise<Fixture> {
    const path = join(FIXTURES, `${name}.mjs`);
    const fixture = new Fixture(ground.start(process.execPath, [path, ...args]));
    const line = await fixture.#next();
    if (line !== 'ready')
      throw new Error(`${name} did not start: ${line ?? (await fixture.#finished).stderr}`);
    return fixture;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Sends a line and returns the next one that comes back. */
  async say(line = ''): Promise<string> {
    this.#child.stdin?.write(`${line}\n`);
    return (await this.#next()) ?? 'gone';
  }

  /** Ends it; returns what it wrote. */
  async end(): Promise<Finished> {
    this.#child.stdin?.end();
    return await this.#finished;
  }

  async #next(): Promise<string | undefined> {
    const { done, value } = await this.#lines.next();
    return done === true ? undefined : value;
  }
}
