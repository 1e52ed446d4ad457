import { once } from 'node:events';
import { constants, createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { messageOf } from '../protocol/errors.js';
import { usageError } from './errors.js';

/** Bytes of one row's text: more than that does not fit into a frame of the daemon. */
export const MAX_ROW_BYTES = 16 * 1024 * 1024;

const S_IFMT = BigInt(constants.S_IFMT);
const S_IFREG = BigInt(constants.S_IFREG);

/** A file, or standard input, that is read once from its beginning. */
export class ImportText {
  /** For messages. */
  readonly name: string;
  /** undefined for standard input and for pipes. */
  readonly path: string | undefined;
  /** Bytes; undefined where there is no path. */
  readonly size: number | undefined;
  /** What tells a changed file: its size and the time of its last change. Empty where there is no path. */
  readonly version: string;
  readonly #stream: Readable;
  #bytesRead = 0;

  private constructor(
    name: string,
    stream: Readable,
    file?: { path: string; size: number; version: string },
  ) {
    this.name = name;
    this.#stream = stream;
    this.path = file?.path;
    this.size = file?.size;
    this.version = file?.version ?? '';
  }

  /** @throws ProtocolError `INVALID_REQUEST` for a file that cannot be read */
  static async open(file: string): Promise<ImportText> {
    if (file === '-') return new ImportText('standard input', process.stdin);
    const path = resolve(file);
    try {
      const { size, mtimeNs, mode } = await stat(path, { bigint: true });
      const stream = createReadStream(path, { highWaterMark: 256 * 1024 });
      await once(stream, 'ready');
      // A pipe is what standard input is: it has no size, and cannot be read twice.
      if ((mode & S_IFMT) !== S_IFREG) return new ImportText(file, stream);
      return new ImportText(file, stream, { path, size: Number(size), version: `${size} bytes, ${mtimeNs}` });
    } catch (error) {
      throw usageError(`${file} cannot be read: ${messageOf(error)}.`);
    }
  }

  get bytesRead(): number {
    return this.#bytesRead;
  }

  /**
   * The bytes, which are UTF-8 for sure: reading on with replaced bytes would store something else than the file says.
   * @throws ProtocolError `INVALID_REQUEST`
   */
  async *bytes(): AsyncGenerator<Buffer> {
    for await (const { chunk } of this.#decoded()) yield chunk;
  }

  /** The lines, without their ends and without a byte order mark. */
  async *lines(): AsyncGenerator<string> {
    let rest = '';
    for await (const { text } of this.#decoded()) {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) yield line.endsWith('\r') ? line.slice(0, -1) : line;
      if (rest.length > MAX_ROW_BYTES)
        throw usageError(
          `${this.name} has a line of more than ${MAX_ROW_BYTES} bytes, which no row can have.`,
        );
    }
    if (rest !== '') yield rest;
  }

  /** Nobody reads on. Idempotent. */
  close(): void {
    this.#stream.destroy();
  }

  async *#decoded(): AsyncGenerator<{ chunk: Buffer; text: string }> {
    const decoder = new TextDecoder('utf-8', { fatal: true });
    const decode = (chunk?: Buffer) => {
      try {
        return decoder.decode(chunk, { stream: chunk !== undefined });
      } catch {
        throw usageError(`${this.name} is not UTF-8. Convert it first, for instance with iconv.`);
      }
    };
    const chunks = this.#stream[Symbol.asyncIterator]();
    for (;;) {
      const { done, value } = await chunks.next().catch((error: unknown) => {
        throw usageError(`${this.name} cannot be read: ${messageOf(error)}.`);
      });
      if (done === true) break;
      const chunk = value as Buffer;
      this.#bytesRead += chunk.length;
      yield { chunk, text: decode(chunk) };
    }
    const text = decode();
    if (text !== '') yield { chunk: Buffer.alloc(0), text };
  }
}
