import type { Socket } from 'node:net';

/** Bytes that small pieces are copied into, for one system call. */
const BLOCK = 32 * 1024;
/** Pieces from this size on are written as they are. */
const LARGE = 8 * 1024;
/** Blocks that are kept for the next turns, by all sockets of the process together. */
const MAX_SPARE = 16;

const spare: Buffer[] = [];

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
  #scheduled = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Bytes that the kernel has not taken yet. */
  get length(): number {
    return this.#bytes + this.#socket.writableLength;
  }

  /**
   * Adds a piece, which leaves with the others at the end of this turn. Small ones are copied: their buffer is free again.
   * @param onFlushed called when it has left, or never can
   */
  write(bytes: Buffer, onFlushed?: () => void): void {
    this.#bytes += bytes.length;
    if (bytes.length < LARGE && onFlushed === undefined) {
      if (this.#block === null || this.#end + bytes.length > BLOCK) this.#nextBlock();
      this.#block?.set(bytes, this.#end);
      this.#end += bytes.length;
    } else {
      this.#endPiece();
      this.#pieces.push({ bytes, onFlushed });
    }
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  /** Writes what was gathered now. */
  flush(): void {
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

  #nextBlock(): void {
    this.#endPiece();
    this.#block = spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK);
    this.#start = 0;
    this.#end = 0;
  }

  #endPiece(): void {
    if (this.#block === null || this.#start === this.#end) return;
    this.#pieces.push({ bytes: this.#block.subarray(this.#start, this.#end), onFlushed: undefined });
    this.#start = this.#end;
  }
}
