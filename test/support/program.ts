import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { FIXTURES, type Finished, type Playground } from './playground.js';

/** A fixture program that speaks in lines: it says where it is, and goes on when it is told. */
export class Program {
  readonly child: ChildProcess;
  /** Resolves when the process has ended. */
  readonly exited: Promise<Finished>;
  readonly #lines: string[] = [];
  readonly #takers: { resolve(line: string): void; reject(error: Error): void }[] = [];
  #rest = '';
  #stdout = '';
  #stderr = '';

  /**
   * Starts a program of test/fixtures with the playground's environment.
   * @param name its file name without `.mjs`
   */
  static fixture(
    ground: Playground,
    name: string,
    args: readonly string[] = [],
    options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
  ): Program {
    const path = join(FIXTURES, `${name}.mjs`);
    return new Program(ground.start(process.execPath, [path, ...args], options));
  }

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    // Telling something to a program that has just died is no failure of the test.
    child.stdin?.on('error', () => undefined);
    this.exited = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        const end = { code, signal, stdout: this.#stdout, stderr: this.#stderr };
        for (const { reject } of this.#takers.splice(0)) reject(new Error(endedEarly(end)));
        resolve(end);
      });
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** The next line that it writes. */
  line(): Promise<string> {
    const first = this.#lines.shift();
    if (first !== undefined) return Promise.resolve(first);
    if (this.child.exitCode !== null || this.child.signalCode !== null)
      return this.exited.then((end) => {
        const last = this.#lines.shift();
        if (last === undefined) throw new Error(endedEarly(end));
        return last;
      });
    return new Promise((resolve, reject) => this.#takers.push({ resolve, reject }));
  }

  /** The next line, which is JSON. */
  async json<T>(): Promise<T> {
    return JSON.parse(await this.line()) as T;
  }

  say(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  /** Says a line and waits for the one that answers it. */
  ask(line: string): Promise<string> {
    this.say(line);
    return this.line();
  }

  /** Ends its input and waits for it to leave. */
  end(): Promise<Finished> {
    this.child.stdin?.end();
    return this.exited;
  }

  kill(): Promise<Finished> {
    this.child.kill('SIGKILL');
    return this.exited;
  }

  #read(text: string): void {
    this.#stdout += text;
    const parts = (this.#rest + text).split('\n');
    this.#rest = parts.pop() ?? '';
    for (const line of parts) {
      const taker = this.#takers.shift();
      if (taker === undefined) this.#lines.push(line);
      else taker.resolve(line);
    }
  }
}

function endedEarly({ code, signal, stderr }: Finished): string {
  return `the program ended (code ${code}, signal ${signal}) before it said more: ${stderr.slice(-2000)}`;
}
