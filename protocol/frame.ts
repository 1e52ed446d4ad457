import { isUtf8 } from 'node:buffer';
import { ProtocolError } from './errors.js';

/** Bytes of the length in front of each frame. */
export const HEADER_BYTES = 4;
/** Default bound of one frame's payload, in bytes. */
export const DEFAULT_MAX_FRAME = 16 * 1024 * 1024;

const EMPTY = Buffer.alloc(0);

/**
 * Cuts a byte stream into frames. Holds the chunks as they came and joins a frame's bytes once: joining at every
 * chunk made a 16 MiB frame in 64 KiB pieces cost a second instead of milliseconds.
 *
 * Does no I/O: `push` what was read, then take `next` until it says `null`. A length over the bound is refused from
 * the header alone, before any of its bytes is kept.
 */
export class FrameDecoder {
  readonly #maxFrame: number;
  #chunks: Buffer[] = [];
  /** Bytes of the first chunk that are taken already. */
  #taken = 0;
  #buffered = 0;
  /** Payload length that the header announced; -1 while the header itself is incomplete. */
  #expected = -1;

  /** @param maxFrame largest payload in bytes */
  constructor(maxFrame: number = DEFAULT_MAX_FRAME) {
    this.#maxFrame = maxFrame;
  }

  /** Bytes held that belong to no finished frame yet. */
  get buffered(): number {
    return this.#buffered;
  }

  /** Adds what was read. The chunk is kept, not copied: the caller must not write to it again. */
  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
  }

  /**
   * The next whole payload, or null until more bytes came.
   * @throws ProtocolError `FRAME_TOO_LARGE` or `PROTOCOL_ERROR` (zero length); the stream is lost then
   */
  next(): Buffer | null {
    if (this.#expected < 0) {
      if (this.#buffered < HEADER_BYTES) return null;
      const length = this.#takeLength();
      if (length === 0) {
        throw new ProtocolError(
          'PROTOCOL_ERROR',
          'A frame of zero length arrived; a frame is a u32 length and that many bytes of JSON.',
        );
      }
      if (length > this.#maxFrame) {
        throw new ProtocolError(
          'FRAME_TOO_LARGE',
          `A frame of ${length} bytes was announced; the limit is ${this.#maxFrame} bytes (max_frame). Send smaller batches or raise --max-frame.`,
          { details: { limit: 'max_frame', limit_value: this.#maxFrame } },
        );
      }
      this.#expected = length;
    }
    if (this.#buffered < this.#expected) return null;
    const payload = this.#take(this.#expected);
    this.#expected = -1;
    return payload;
  }

  /** Most frames come whole, many in one chunk: no object is made for their length. */
  #takeLength(): number {
    const first = this.#chunks[0] ?? EMPTY;
    const at = this.#taken;
    if (first.length - at <= HEADER_BYTES) return this.#take(HEADER_BYTES).readUInt32LE(0);
    this.#taken += HEADER_BYTES;
    this.#buffered -= HEADER_BYTES;
    return first.readUInt32LE(at);
  }

  /** Removes exactly `size` bytes, which must be there. */
  #take(size: number): Buffer {
    const first = this.#chunks[0] ?? EMPTY;
    const start = this.#taken;
    const end = start + size;
    this.#buffered -= size;
    if (first.length > end) {
      this.#taken = end;
      return first.subarray(start, end);
    }
    this.#taken = 0;
    if (first.length === end) {
      this.#chunks.shift();
      return start === 0 ? first : first.subarray(start);
    }
    const parts: Buffer[] = [first.subarray(start)];
    let missing = end - first.length;
    let used = 1;
    while (missing > 0) {
      const chunk = this.#chunks[used] ?? EMPTY;
      if (chunk.length > missing) {
        parts.push(chunk.subarray(0, missing));
        this.#taken = missing;
        break;
      }
      parts.push(chunk);
      used += 1;
      missing -= chunk.length;
    }
    this.#chunks.splice(0, used);
    return Buffer.concat(parts, size);
  }
}

/**
 * One frame, ready to write.
 * @throws ProtocolError `FRAME_TOO_LARGE` when the text has more than `maxFrame` bytes
 */
export function encodeFrame(json: string, maxFrame: number = DEFAULT_MAX_FRAME): Buffer {
  const length = Buffer.byteLength(json);
  if (length > maxFrame) throw frameTooLarge(length, maxFrame);
  const frame = Buffer.allocUnsafe(HEADER_BYTES + length);
  frame.writeUInt32LE(length, 0);
  frame.write(json, HEADER_BYTES);
  return frame;
}

/** The error for a message that its receiver would not take. */
export function frameTooLarge(length: number, maxFrame: number): ProtocolError {
  return new ProtocolError(
    'FRAME_TOO_LARGE',
    `This message has ${length} bytes; the limit of a frame is ${maxFrame} bytes (max_frame). Send smaller batches or raise --max-frame.`,
    { details: { limit: 'max_frame', limit_value: maxFrame } },
  );
}

/** A JSON object whose fields nobody has looked at yet. */
export type JsonObject = { readonly [key: string]: unknown };

/** Levels of nesting in a frame that is large enough to hurt. The protocol itself needs six. */
export const MAX_DEPTH = 64;
/** Below this a frame cannot nest deep enough to cost anything. */
const DEPTH_CHECK_BYTES = 64 * 1024;

/** Parsing 16 MiB of brackets takes seconds and half a gigabyte; counting them takes milliseconds. */
function refuseDeepNesting(payload: Buffer): void {
  if (payload.length < DEPTH_CHECK_BYTES) return;
  let depth = 0;
  for (let at = 0; at < payload.length; at += 1) {
    const byte = payload[at];
    if (byte === 0x22) {
      at = endOfString(payload, at);
    } else if (byte === 0x5b || byte === 0x7b) {
      depth += 1;
      if (depth > MAX_DEPTH)
        throw new ProtocolError(
          'PROTOCOL_ERROR',
          `A frame arrived that nests more than ${MAX_DEPTH} levels deep.`,
        );
    } else if (byte === 0x5d || byte === 0x7d) depth -= 1;
  }
}

/** Bytes of a string that are looked at here: most end within them, and asking natively costs as much as twenty of them. */
const SHORT_STRING = 24;

/**
 * Where the string that begins here ends: at its closing quote, or behind the last byte.
 * @param open where its first quote is
 */
export function endOfString(payload: Buffer, open: number): number {
  const near = Math.min(open + SHORT_STRING, payload.length);
  let at = open + 1;
  while (at < near) {
    const byte = payload[at];
    if (byte === 0x22) return at;
    at += byte === 0x5c ? 2 : 1;
  }
  let close = payload.indexOf(0x22, at);
  while (close > 0) {
    let backslashes = 0;
    while (payload[close - 1 - backslashes] === 0x5c) backslashes += 1;
    if (backslashes % 2 === 0) return close;
    close = payload.indexOf(0x22, close + 1);
  }
  return payload.length;
}

/** What `toString` puts in the place of bytes that are not UTF-8. */
const REPLACEMENT = '\ufffd';

/**
 * The payload's text. Strict: `toString` alone would replace bad bytes in silence.
 * @throws ProtocolError `PROTOCOL_ERROR` when it is not UTF-8, or nested so deep that parsing it would hurt others
 */
export function decodeText(payload: Buffer): string {
  refuseDeepNesting(payload);
  return decodeShallow(payload);
}

/**
 * The same for a frame that is known to nest no deeper, as all that `readBatchEnvelope` has looked through are.
 * @throws ProtocolError `PROTOCOL_ERROR` when it is not UTF-8
 */
export function decodeShallow(payload: Buffer): string {
  const text = payload.toString('utf8');
  // To look for it in the text is nothing: hardly any text has it.
  if (text.includes(REPLACEMENT) && !isUtf8(payload))
    throw new ProtocolError('PROTOCOL_ERROR', 'A frame arrived that is not UTF-8.');
  return text;
}

/**
 * The object that a payload's text holds.
 * @throws ProtocolError `PROTOCOL_ERROR` when it is not JSON or not an object
 */
export function parseObject(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ProtocolError('PROTOCOL_ERROR', 'A frame arrived that is not JSON.', { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ProtocolError('PROTOCOL_ERROR', 'A frame arrived that is JSON, but not an object.');
  }
  return value as JsonObject;
}
