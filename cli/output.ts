import pc from 'picocolors';
import { codeOf, messageOf, SkylineError } from '../protocol/errors.js';

/** What a command has to say, in both forms. */
export interface Report {
  /** The one value of `--json`, in pieces. */
  json(): Iterable<string>;
  /** The same for people. */
  human(screen: Screen): Promise<void>;
  /** Default 0. */
  readonly exitCode?: number;
}

/** What a command does that goes on speaking: until it is ended, or with somebody who answers. */
export interface Session {
  /**
   * @param json one JSON value on each line, for programs
   * @returns the exit code
   */
  run(screen: Screen, json: boolean): Promise<number>;
}

/** Results go to `out`, messages to `err`. */
export interface Screen {
  readonly out: Output;
  readonly err: Output;
}

/** What `Output` needs of a stream: process.stdout and process.stderr have it. */
export interface TextStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string, done: (error?: Error | null) => void): boolean;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

/** Bytes, about, that are gathered before they are written. */
const PIECE = 64 * 1024;

/** One of the two streams, with its own idea of terminals and colours. */
export class Output {
  readonly isTerminal: boolean;
  readonly colors: ReturnType<typeof pc.createColors>;
  readonly #stream: TextStream;
  #gone = false;

  constructor(stream: TextStream, env: { readonly [name: string]: string | undefined }) {
    this.#stream = stream;
    this.isTerminal = stream.isTTY === true;
    // picocolors asks stdout alone, and colours whatever runs in a CI: each stream decides for itself here.
    const noColor = (env.NO_COLOR ?? '') !== '' || env.TERM === 'dumb';
    this.colors = pc.createColors(this.isTerminal && !noColor);
    // Without a listener a reader that left (`| head`) would end the process with a stack trace.
    stream.on('error', () => undefined);
  }

  /** Whoever read it has left: nothing more is written. */
  get gone(): boolean {
    return this.#gone;
  }

  /**
   * Writes, and waits until it is written. A reader that has left is no error: the rest is dropped.
   * @throws SkylineError `IO_ERROR`, for instance when the disk is full
   */
  async write(text: string | Iterable<string>): Promise<void> {
    let gathered = '';
    for (const piece of typeof text === 'string' ? [text] : text) {
      gathered += piece;
      if (gathered.length >= PIECE) {
        await this.#flush(gathered);
        if (this.#gone) return;
        gathered = '';
      }
    }
    if (gathered !== '') await this.#flush(gathered);
  }

  /** Writes one line. */
  async line(text: string): Promise<void> {
    await this.write(`${text}\n`);
  }

  #flush(text: string): Promise<void> {
    if (this.#gone) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#stream.write(text, (error) => {
        if (error === undefined || error === null) return resolve();
        const code = codeOf(error);
        this.#gone = code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED';
        if (this.#gone) resolve();
        else reject(unwritten(error));
      });
    });
  }
}

function unwritten(error: Error): SkylineError {
  return new SkylineError(
    'IO_ERROR',
    `The command was carried out, but its output could not be written: ${messageOf(error)}. Look before you repeat it.`,
    { outcome: 'unknown', cause: error },
  );
}

/** The mark in front of what went well. */
export function done(output: Output, text: string): string {
  return `${output.colors.green('✓')} ${text}`;
}

/** Names and values below each other, indented. */
export function details(output: Output, pairs: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(0, ...pairs.map(([name]) => name.length));
  return pairs
    .map(([name, value]) => `  ${output.colors.dim(name.padEnd(width))}  ${visible(value)}\n`)
    .join('');
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
const INVISIBLE = /[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;
const ESCAPES: { readonly [char: string]: string } = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Text for a terminal: what a database holds must not move the cursor, change colours or reverse the line. */
export function visible(text: string): string {
  return text.replace(INVISIBLE, (char) => {
    const code = char.charCodeAt(0);
    const hex = code.toString(16);
    return ESCAPES[char] ?? (code < 0x100 ? `\\x${hex.padStart(2, '0')}` : `\\u${hex}`);
  });
}

/** A report for a reply of the protocol, whose fields are the JSON. */
export function replyReport(reply: object, human: (screen: Screen) => Promise<void>): Report {
  // The id belongs to the connection, which nobody sees here.
  const { id: _id, ...fields } = reply as { id?: unknown };
  return { json: () => [JSON.stringify(fields)], human };
}
