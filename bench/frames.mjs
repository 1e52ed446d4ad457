/** Length-prefixed frames, as short as they can be: for the echo, which is to show what they cost at least. */

/** @param {string} text */
export function encodeFrame(text) {
  const bytes = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(4 + bytes);
  frame.writeUInt32LE(bytes, 0);
  frame.write(text, 4);
  return frame;
}

export class FrameReader {
  #rest = Buffer.alloc(0);
  #onText;

  /** @param {(text: string) => void} onText told of each frame */
  constructor(onText) {
    this.#onText = onText;
  }

  /** @param {Buffer} chunk */
  take(chunk) {
    const all = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (all.length - at >= 4) {
      const end = at + 4 + all.readUInt32LE(at);
      if (end > all.length) break;
      this.#onText(all.toString('utf8', at + 4, end));
      at = end;
    }
    this.#rest = all.subarray(at);
  }
}
