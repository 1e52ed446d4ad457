import { invalidRequest } from './errors.js';
import type { JsonObject } from './frame.js';
import type { WireReal, WireValue } from './messages.js';

/**
 * SQLite's five storage classes as JSON, exactly. The rules, both ways:
 *
 * - A JSON number without fraction is an INTEGER; one that does not fit ±(2^53−1) travels as `{"$int":"…"}`.
 * - A REAL is a number. In replies it always shows a fraction or an exponent (`2.0`), so that a language that can
 *   tell keeps the storage class; JavaScript senders force one with `{"$real":2}`.
 * - Text must be well-formed: a lone surrogate has no UTF-8 form and is refused instead of replaced.
 */

/** What the worker binds: INTEGER as bigint, REAL as number. better-sqlite3 binds every JavaScript number as REAL. */
export type SqlBind = null | bigint | number | string | Buffer;

/** What applications may pass as a parameter. */
export type SqlInput = null | number | bigint | string | boolean | Uint8Array | WireReal;

/** What applications get: bigint only beyond ±(2^53−1). */
export type SqlOutput = null | number | bigint | string | Uint8Array;

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
const SAFE_MIN = BigInt(Number.MIN_SAFE_INTEGER);
const SAFE_MAX = BigInt(Number.MAX_SAFE_INTEGER);
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const DECIMAL = /^-?\d{1,20}$/;

/** Forces a whole number to be stored as REAL: `real(1)` binds 1.0. */
export function real(value: number): WireReal {
  if (Number.isNaN(value)) throw invalidRequest('NaN cannot be stored: SQLite would turn it into NULL.');
  if (value === Number.POSITIVE_INFINITY) return { $real: 'Infinity' };
  if (value === Number.NEGATIVE_INFINITY) return { $real: '-Infinity' };
  return { $real: Object.is(value, -0) ? '-0' : value };
}

/**
 * Application value to wire value. Numbers without fraction within ±(2^53−1) become INTEGER, all others REAL.
 * @throws ProtocolError `INVALID_REQUEST` for NaN, lone surrogates, 64-bit overflow and foreign types
 */
export function encodeValue(value: SqlInput): WireValue {
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed())
        throw invalidRequest('The text has a lone surrogate, which UTF-8 cannot hold.');
      return value;
    case 'number':
      return isPlain(value) ? value : real(value);
    case 'boolean':
      return value;
    case 'bigint':
      if (value < INT64_MIN || value > INT64_MAX) throw invalidRequest(`${value} does not fit into 64 bits.`);
      return isSafe(value) ? Number(value) : { $int: value.toString() };
    case 'object':
      if (value === null) return null;
      if (value instanceof Uint8Array) {
        return { $blob: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') };
      }
      if ('$real' in value) return typeof value.$real === 'number' ? real(value.$real) : value;
      break;
    default:
  }
  throw invalidRequest(
    `A value of type ${typeof value} cannot be stored; use null, a number, a bigint, a string, a boolean or a Uint8Array.`,
  );
}

/** Whether the value travels as it is: {@link encodeValue} would return the same. */
export function isPlain(value: SqlInput): boolean {
  switch (typeof value) {
    case 'string':
      return value.isWellFormed();
    case 'number':
      return Number.isSafeInteger(value)
        ? !Object.is(value, -0)
        : Number.isFinite(value) && !Number.isInteger(value);
    case 'boolean':
      return true;
    default:
      return value === null;
  }
}

/** A frame's text, for the numbers that JSON.parse may have rounded. It is searched once at most, however many there are. */
export class FrameText {
  readonly #text: string;
  #rounded: boolean | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  /** Whether the frame holds a whole number that JSON.parse had to round. */
  get hasUnsafeInteger(): boolean {
    this.#rounded ??= hasUnsafeInteger(this.#text);
    return this.#rounded;
  }
}

/**
 * A parameter as it arrived to what is bound.
 * @param frame where it came from, looked at only when a number may have lost digits in parsing
 * @throws ProtocolError `INVALID_REQUEST`; the caller adds which statement and parameter
 */
export function decodeParam(value: unknown, frame: FrameText): SqlBind {
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed())
        throw invalidRequest('the text has a lone surrogate, which UTF-8 cannot hold');
      return value;
    case 'boolean':
      return value ? 1n : 0n;
    case 'number':
      // JSON's -0 and -0.0 are one to JSON.parse; INTEGER has no such value.
      if (!Number.isInteger(value) || Object.is(value, -0)) return finite(value);
      if (Number.isSafeInteger(value)) return BigInt(value);
      if (frame.hasUnsafeInteger) {
        throw invalidRequest(
          'a whole number beyond ±(2^53−1) must be written as {"$int":"…"}, or as {"$real":…} if a REAL is meant',
        );
      }
      return finite(value);
    case 'object':
      if (value === null) return null;
      if (!Array.isArray(value)) return decodeTagged(value as JsonObject);
      break;
    default:
  }
  throw invalidRequest('an array is no SQL value');
}

function decodeTagged(value: JsonObject): SqlBind {
  const keys = Object.keys(value);
  const [tag] = keys;
  if (keys.length === 1 && tag !== undefined) {
    const content = value[tag];
    if (tag === '$int' && typeof content === 'string' && DECIMAL.test(content)) {
      const integer = BigInt(content);
      if (integer < INT64_MIN || integer > INT64_MAX)
        throw invalidRequest(`${content} does not fit into 64 bits`);
      return integer;
    }
    if (tag === '$int') throw invalidRequest('"$int" must be a decimal integer of 64 bits, as a string');
    if (tag === '$real') {
      if (typeof content === 'number') return finite(content);
      if (content === 'Infinity') return Number.POSITIVE_INFINITY;
      if (content === '-Infinity') return Number.NEGATIVE_INFINITY;
      if (content === '-0') return -0;
      throw invalidRequest('"$real" must be a number, "Infinity", "-Infinity" or "-0"');
    }
    if (tag === '$blob') {
      if (typeof content === 'string' && content.length % 4 === 0 && BASE64.test(content))
        return Buffer.from(content, 'base64');
      throw invalidRequest('"$blob" must be standard base64 with padding');
    }
  }
  throw invalidRequest('an object is no SQL value, unless it is {"$int":…}, {"$real":…} or {"$blob":…}');
}

/** JSON text such as 1e400 parses to infinity: that would be a rounding in silence. */
function finite(value: number): number {
  if (!Number.isFinite(value))
    throw invalidRequest('the number is too large for a REAL; write {"$real":"Infinity"} if that is meant');
  return value;
}

/**
 * Whether the JSON text holds a whole number that JSON.parse had to round. JSON.parse itself gives no access to the
 * digits before Node 22, so this looks again, outside of strings, in the rare frame that makes it necessary.
 */
export function hasUnsafeInteger(text: string): boolean {
  let at = 0;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === 0x22) {
      at = endOfString(text, at);
    } else if (code >= 0x30 && code <= 0x39) {
      const start = at;
      while (isDigit(text.charCodeAt(at))) at += 1;
      const next = text[at];
      const whole = next !== '.' && next !== 'e' && next !== 'E';
      if (whole && at - start >= 16 && !Number.isSafeInteger(Number(text.slice(start, at)))) return true;
      while (isDigit(text.charCodeAt(at)) || '.eE+-'.includes(text[at] ?? ' ')) at += 1;
    } else {
      at += 1;
    }
  }
  return false;
}

function endOfString(text: string, open: number): number {
  let at = open + 1;
  while (at < text.length && text.charCodeAt(at) !== 0x22) at += text.charCodeAt(at) === 0x5c ? 2 : 1;
  return at + 1;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function isSafe(value: bigint): boolean {
  return value >= SAFE_MIN && value <= SAFE_MAX;
}

/** An INTEGER as JSON text. */
export function integerToJson(value: bigint): string {
  return isSafe(value) ? value.toString() : `{"$int":"${value}"}`;
}

/**
 * One cell of a row as JSON text. bigint is INTEGER and number is REAL, as better-sqlite3 reports them with safe
 * integers on. Written by hand because JSON.stringify knows neither bigint nor the difference between 2 and 2.0.
 */
export function cellToJson(value: SqlBind): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value);
    case 'bigint':
      return integerToJson(value);
    case 'number':
      return realToJson(value);
    default:
      return value === null ? 'null' : `{"$blob":"${value.toString('base64')}"}`;
  }
}

function realToJson(value: number): string {
  if (!Number.isFinite(value)) return `{"$real":"${value}"}`;
  if (Object.is(value, -0)) return '-0.0';
  const text = String(value);
  return Number.isInteger(value) && !text.includes('e') ? `${text}.0` : text;
}

/**
 * A cell as it arrived to what the application gets.
 * @throws ProtocolError `INVALID_REQUEST` when it is no SQL value
 */
export function decodeCell(value: unknown): SqlOutput {
  if (value === null || typeof value === 'number' || typeof value === 'string') return value;
  if (typeof value === 'object' && !Array.isArray(value)) {
    const bound = decodeTagged(value as JsonObject);
    // A Buffer from base64 may be a window on Node's shared pool: applications get bytes of their own.
    return Buffer.isBuffer(bound) ? new Uint8Array(bound) : bound;
  }
  throw invalidRequest('a cell of a row is no SQL value');
}
