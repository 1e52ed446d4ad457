import type { Key } from 'node:readline';
import { emitKeypressEvents } from 'node:readline';
import type { ReadStream, WriteStream } from 'node:tty';

/** The second screen, so that what stood there before comes back; no cursor (xterm's control sequences, ctlseqs). */
const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const REST_OF_LINE = '\x1b[K';
const REST_OF_SCREEN = '\x1b[J';

export interface TerminalHooks {
  key(name: string): void;
  /** It has another size, or must be drawn anew. */
  redraw(): void;
  /** Somebody or something ends it: a signal's number, or null. */
  end(signal: NodeJS.Signals | null): void;
}

/**
 * The whole terminal, for as long as a program draws on it. Whatever ends the program, the terminal is as it was before.
 */
export class FullScreen {
  readonly #input: ReadStream;
  readonly #output: WriteStream;
  readonly #hooks: TerminalHooks;
  readonly #onKey = (text: string | undefined, key: Key) => this.#key(text, key);
  readonly #onResize = () => this.#hooks.redraw();
  readonly #onSignal = (signal: NodeJS.Signals) => this.#hooks.end(signal);
  readonly #onGone = () => this.#hooks.end(null);
  readonly #onExit = () => this.leave();
  readonly #onContinue = () => this.#enter();
  #inside = false;

  constructor(input: ReadStream, output: WriteStream, hooks: TerminalHooks) {
    this.#input = input;
    this.#output = output;
    this.#hooks = hooks;
  }

  get size(): { readonly columns: number; readonly rows: number } {
    return { columns: this.#output.columns || 80, rows: this.#output.rows || 24 };
  }

  /** Takes the terminal. */
  begin(): void {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, this.#onSignal);
    process.on('SIGCONT', this.#onContinue);
    // Also after an error that nobody catches.
    process.on('exit', this.#onExit);
    this.#output.on('resize', this.#onResize);
    this.#output.on('error', this.#onGone);
    if (this.#input.isTTY) {
      emitKeypressEvents(this.#input);
      this.#input.on('keypress', this.#onKey);
      this.#input.on('error', this.#onGone);
      this.#input.on('end', this.#onGone);
    }
    this.#enter();
  }

  /** Gives it back, for good. Idempotent. */
  end(): void {
    this.leave();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, this.#onSignal);
    process.off('SIGCONT', this.#onContinue);
    process.off('exit', this.#onExit);
    this.#output.off('resize', this.#onResize);
    this.#input.off('keypress', this.#onKey);
    this.#input.pause();
  }

  draw(lines: readonly string[]): void {
    if (!this.#inside) return;
    const text = lines.map((line) => `${line}${REST_OF_LINE}`).join('\r\n');
    this.#output.write(`${HOME}${text}${REST_OF_SCREEN}`);
  }

  #enter(): void {
    if (this.#input.isTTY) {
      this.#input.setRawMode(true);
      this.#input.resume();
    }
    this.#output.write(ENTER);
    this.#inside = true;
    this.#hooks.redraw();
  }

  leave(): void {
    if (!this.#inside) return;
    this.#inside = false;
    this.#output.write(LEAVE);
    if (this.#input.isTTY) this.#input.setRawMode(false);
  }

  #key(text: string | undefined, key: Key): void {
    if (key.ctrl === true) {
      if (key.name === 'c') this.#hooks.end(null);
      if (key.name === 'z') {
        // As the terminal itself would do, if it were not raw.
        this.leave();
        process.kill(process.pid, 'SIGTSTP');
      }
      return;
    }
    this.#hooks.key(text !== undefined && /^[<>?]$/.test(text) ? text : (key.name ?? text ?? ''));
  }
}
