import { createHash } from 'node:crypto';
import { BARE, type DecodedBatch, type DecodedStatement } from '../../protocol/decode-exec-batch.js';

/** UTF-16 units from which on Node's own hash is faster than a loop. */
const LONG_TEXT = 4096;

/**
 * A number of 53 bits that tells one batch's body from another's: what it would do and answer, not how it was sent (its
 * id, what it acknowledges, how long it may take). It guards against a `seq` that was used twice by mistake; nobody is
 * kept out by it, so it need not be a cryptographic one, which would cost more than the batch.
 */
export function fingerprint(batch: DecodedBatch, beginning?: Beginning): number {
  const { stmts, tx, durable, expect_rev, expect_epoch, results } = batch;
  const plain =
    tx === undefined &&
    durable === undefined &&
    expect_rev === undefined &&
    expect_epoch === undefined &&
    results === undefined;
  const hash = plain && beginning !== undefined ? new Hash(beginning) : begin(batch);
  for (let index = 0; index < stmts.length; index += 1) {
    const { sql, params, param_sets, expect } = stmts[index] as DecodedStatement;
    if (index > 0) hash.value(sql);
    hash.value(params);
    hash.value(param_sets);
    hash.value(expect?.rows_affected);
  }
  return hash.sum();
}

/** How far a fingerprint has come. */
export interface Beginning {
  readonly one: number;
  readonly two: number;
}

/** A fingerprint behind the text of the first statement, of a batch that has nothing else: most have been seen before. */
export function beginningOf(sql: string): Beginning {
  return begin({ ...BARE, stmts: [{ sql, params: undefined, param_sets: undefined, expect: undefined }] });
}

function begin({ stmts, tx, durable, expect_rev, expect_epoch, results }: DecodedBatch): Hash {
  const hash = new Hash(START);
  hash.value(tx);
  hash.value(durable);
  hash.value(expect_rev);
  hash.value(expect_epoch);
  hash.value(results);
  if (stmts[0] !== undefined) hash.value(stmts[0].sql);
  return hash;
}

const START: Beginning = { one: 0xdeadbeef, two: 0x41c6ce57 };

/** For the bits of a number. Written and read at once: it keeps nothing. */
const double = new Float64Array(1);
const words = new Uint32Array(double.buffer);

/** cyrb53 (https://github.com/bryc/code/blob/master/jshash/experimental/cyrb53.js), fed piece by piece. */
class Hash implements Beginning {
  #one: number;
  #two: number;

  constructor({ one, two }: Beginning) {
    this.#one = one;
    this.#two = two;
  }

  get one(): number {
    return this.#one;
  }

  get two(): number {
    return this.#two;
  }

  /** Any JSON value; its kind goes before it, so that two values never run together. */
  value(value: unknown): void {
    switch (typeof value) {
      case 'string':
        this.#text(value);
        break;
      case 'number':
        double[0] = value;
        this.#mix(2);
        this.#mix(words[0] ?? 0);
        this.#mix(words[1] ?? 0);
        break;
      case 'boolean':
        this.#mix(value ? 3 : 4);
        break;
      case 'object':
        this.#object(value);
        break;
      default:
        this.#mix(5);
    }
  }

  sum(): number {
    let one = Math.imul(this.#one ^ (this.#one >>> 16), 2246822507);
    one ^= Math.imul(this.#two ^ (this.#two >>> 13), 3266489909);
    let two = Math.imul(this.#two ^ (this.#two >>> 16), 2246822507);
    two ^= Math.imul(this.#one ^ (this.#one >>> 13), 3266489909);
    return 4294967296 * (2097151 & two) + (one >>> 0);
  }

  #object(value: object | null): void {
    if (value === null) {
      this.#mix(6);
      return;
    }
    if (Array.isArray(value)) {
      this.#mix(7);
      this.#mix(value.length);
      for (const item of value) this.value(item);
      return;
    }
    // In the order sent: a client that sends again sends the same.
    const keys = Object.keys(value);
    this.#mix(8);
    this.#mix(keys.length);
    for (const key of keys) {
      this.#text(key);
      this.value((value as { readonly [key: string]: unknown })[key]);
    }
  }

  #text(text: string): void {
    this.#mix(9);
    this.#mix(text.length);
    if (text.length >= LONG_TEXT) {
      const digest = createHash('sha1').update(text).digest();
      for (let at = 0; at < digest.length; at += 4) this.#mix(digest.readInt32LE(at));
      return;
    }
    let one = this.#one;
    let two = this.#two;
    for (let at = 0; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      one = Math.imul(one ^ code, 2654435761);
      two = Math.imul(two ^ code, 1597334677);
    }
    this.#one = one;
    this.#two = two;
  }

  #mix(word: number): void {
    this.#one = Math.imul(this.#one ^ word, 2654435761);
    this.#two = Math.imul(this.#two ^ word, 1597334677);
  }
}
