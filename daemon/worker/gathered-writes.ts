import type { Socket } from 'node:net';

/** Pieces from this size on are written as they are; smaller ones are copied together. */
const LARGE = 16 * 1024;
/** What small pieces are copied into, in bytes. */
const BLOCK = 64 * 1024;

interface Piece {
  readonly bytes: Buffer;
  readonly onFlushed: (() => void) | undefined;
}

/** Free bytes to copy small pieces into, for all sockets of the process: what a socket has not written yet is never reused. */
let block = Buffer.allocUnsafeSlow(BLOCK);

/**
 * Writes to one socket what one turn of the event loop brings for it, together. Frames are small and many: the system call
 * is most of what a frame costs, and a `writev` of hundreds of pieces costs several times a `write` of their copy.
 */
export class GatheredWrites {
  readonly #socket: Socket;
  #pieces: Piece[] = [];
  #bytes = 0;
  #scheduled = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Bytes that the kernel has not taken yet. */
  get length(): number {
    return this.#bytes + this.#socket.writableLength;
  }

  /**
   * Adds a piece; it leaves with the others at the end of this turn. The caller must not write to it again.
   * @param onFlushed called when it has left, or never can
   */
  write(bytes: Buffer, onFlushed?: () => void): void {
    this.#pieces.push({ bytes, onFlushed });
    this.#bytes += bytes.length;
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  /** Writes what was gathered now. */
  flush(): void {
    if (this.#pieces.length === 0) return;
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#bytes = 0;
    const socket = this.#socket;
    if (!socket.writable) {
      for (const { onFlushed } of pieces) onFlushed?.();
      return;
    }
    socket.cork();
    let start = 0;
    let end = 0;
    for (const { bytes, onFlushed } of pieces) {
      const large = bytes.length >= LARGE || onFlushed !== undefined;
      if (large || end + bytes.length > BLOCK) {
        if (end > start) socket.write(block.subarray(start, end));
        start = end;
      }
      if (large) {
        socket.write(bytes, onFlushed && (() => onFlushed()));
        continue;
      }
      if (end + bytes.length > BLOCK) {
        block = Buffer.allocUnsafeSlow(BLOCK);
        start = 0;
        end = 0;
      }
      block.set(bytes, end);
      end += bytes.length;
    }
    if (end > start) socket.write(block.subarray(start, end));
    socket.uncork();
    // Not all of it is out: it is still being read from.
    if (end > 0 && socket.writableLength > 0) block = Buffer.allocUnsafeSlow(BLOCK);
  }
}
