import type { Socket } from 'node:net';

/** Bytes that small pieces are copied into, for one system call. */
const BLOCK = 32 * 1024;
/** Pieces from this size on are written as they are. */
const LARGE = 8 * 1024;
/** Blocks that are kept for the next turns, by all sockets of the process together. */
const MAX_SPARE = 16;
/** Most bytes that a UTF-16 unit takes as UTF-8. */
const UTF8_BYTES = 3;

const spare: Buffer[] = [];
/** What has something to write, of the whole process. */
let waiting: GatheredWrites[] = [];

/** Writes what was gathered for all sockets of this process now, instead of later. */
export function flushWrites(): void {
  const all = waiting;
  waiting = [];
  for (const output of all) output.flush();
}

interface Piece {
  readonly bytes: Buffer;
  readonly onFlushed: (() => void) | undefined;
}

/**
 * Writes to one socket what one turn of the event loop brings for it, together. Frames are small and many: the system call
 * is most of what a frame costs, and a `writev` of hundreds of pieces costs several times a `write` of their copy.
 */
export class GatheredWrites {
  readonly #socket: Socket;
  readonly #pieces: Piece[] = [];
  #block: Buffer | null = null;
  /** Where in the block the bytes are that are in no piece yet. */
  #start = 0;
  #end = 0;
  #bytes = 0;
  #waiting = false;
  readonly #later: (flush: () => void) => void;

  /** @param later when to write what was gathered: at the end of the turn, if nothing else is said */
  constructor(socket: Socket, later: (flush: () => void) => void = setImmediate) {
    this.#socket = socket;
    this.#later = later;
  }

  /** Bytes that the kernel has not taken yet. */
  get length(): number {
    return this.#bytes + this.#socket.writableLength;
  }

  /**
   * Adds a piece, which leaves with the others. Small ones are copied: their buffer is free again.
   * @param onFlushed called when it has left, or never can
   */
  write(bytes: Buffer, onFlushed?: () => void): void {
    this.#bytes += bytes.length;
    if (bytes.length < LARGE && onFlushed === undefined) {
      const block = this.#room(bytes.length);
      block.set(bytes, this.#end);
      this.#end += bytes.length;
    } else {
      this.#endPiece();
      this.#pieces.push({ bytes, onFlushed });
    }
    this.#wait();
  }

  /**
   * Adds a frame of text: a header that begins with the u32 length of what follows it, then the text as UTF-8. Small texts
   * are encoded where they are written from: no object is made for them.
   * @param header copied; its length field is set here
   */
  writeFrame(header: Buffer, text: string): void {
    const most = header.length + text.length * UTF8_BYTES;
    if (most >= LARGE) {
      const bytes = Buffer.from(text);
      header.writeUInt32LE(header.length - 4 + bytes.length, 0);
      this.write(header);
      this.write(bytes);
      return;
    }
    const block = this.#room(most);
    const length = block.write(text, this.#end + header.length);
    header.writeUInt32LE(header.length - 4 + length, 0);
    block.set(header, this.#end);
    this.#end += header.length + length;
    this.#bytes += header.length + length;
    this.#wait();
  }

  /** Writes what was gathered now. */
  flush(): void {
    this.#waiting = false;
    this.#endPiece();
    if (this.#pieces.length === 0) return;
    this.#bytes = 0;
    const socket = this.#socket;
    const pieces = this.#pieces.splice(0);
    if (socket.writable) {
      if (pieces.length > 1) socket.cork();
      for (const { bytes, onFlushed } of pieces) socket.write(bytes, onFlushed && (() => onFlushed()));
      if (pieces.length > 1) socket.uncork();
    } else {
      for (const { onFlushed } of pieces) onFlushed?.();
    }
    // What the kernel has not taken is still read from the block.
    if (this.#block !== null && socket.writableLength === 0 && spare.length < MAX_SPARE)
      spare.push(this.#block);
    this.#block = null;
  }

  #wait(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    if (waiting.push(this) === 1) this.#later(flushWrites);
  }

  /** The block, with so many bytes free in it. */
  #room(bytes: number): Buffer {
    if (this.#block !== null && this.#end + bytes <= BLOCK) return this.#block;
    this.#endPiece();
    this.#block = spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK);
    this.#start = 0;
    this.#end = 0;
    return this.#block;
  }

  #endPiece(): void {
    if (this.#block === null || this.#start === this.#end) return;
    this.#pieces.push({ bytes: this.#block.subarray(this.#start, this.#end), onFlushed: undefined });
    this.#start = this.#end;
  }
}
