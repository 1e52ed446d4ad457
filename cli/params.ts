import type { SqlParams } from '../client/batch.js';
import { messageOf } from '../protocol/errors.js';
import { decodeCell, real, type SqlInput } from '../protocol/values.js';
import { usageError } from './errors.js';

/** `:name=value`. SQLite's names are ASCII letters, digits, `_`, `$` and everything outside of ASCII. */
const NAMED = /^:([A-Za-z0-9_$\u0080-\u{10ffff}]+)=(.*)$/su;
/** JSON's grammar of numbers, https://www.rfc-editor.org/rfc/rfc8259#section-6 */
const NUMBER = /^[ \t\n\r]*(-?(?:0|[1-9]\d*))((?:\.\d+)?(?:[eE][+-]?\d+)?)[ \t\n\r]*$/;

/**
 * The values of all `--param`, by position or by name.
 * @throws ProtocolError `INVALID_REQUEST` that quotes the parameter
 */
export function parseParams(texts: readonly string[]): SqlParams {
  const named = texts.map((text) => NAMED.exec(text));
  if (named.every((match) => match === null)) return texts.map((text) => parseValue(text));
  const byName = new Map<string, SqlInput>();
  for (const [at, match] of named.entries()) {
    const [, name, value] = match ?? [];
    if (name === undefined || value === undefined)
      throw wrong(texts[at], 'some parameters have names (:name=value) and this one has none');
    if (byName.has(name)) throw wrong(texts[at], `:${name} is given twice`);
    byName.set(name, parseValue(value));
  }
  return Object.fromEntries(byName);
}

/**
 * One value as it was typed: JSON if it is JSON, else text.
 *
 * Finer than JSON.parse where SQLite tells apart what JavaScript does not: digits alone are an INTEGER of up to 64 bits, with
 * a point or an exponent it is a REAL.
 * @param what it belongs to, for messages
 */
export function parseValue(text: string, what = '--param'): SqlInput {
  const number = NUMBER.exec(text);
  if (number !== null) return parseNumber(text, number[1] ?? '', number[2] ?? '', what);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return text;
  }
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  // SQLite keeps JSON documents as text. What looks like one of our tags must be one: a slip is not stored in silence.
  const tagged = typeof value === 'object' && Object.keys(value).some((key) => key.startsWith('$'));
  return tagged ? parseTagged(text, value, what) : text;
}

function parseNumber(text: string, whole: string, rest: string, what: string): SqlInput {
  if (rest === '') {
    const integer = BigInt(whole);
    if (BigInt.asIntN(64, integer) !== integer)
      throw wrong(
        text,
        'it does not fit into 64 bits; write it with a point or as "text" if that is meant',
        what,
      );
    return integer;
  }
  const value = Number(text);
  if (!Number.isFinite(value))
    throw wrong(text, 'it is too large for a REAL; write {"$real":"Infinity"} if that is meant', what);
  return real(value);
}

function parseTagged(text: string, value: unknown, what: string): SqlInput {
  try {
    const decoded = decodeCell(value);
    return typeof decoded === 'number' ? real(decoded) : decoded;
  } catch (error) {
    throw wrong(text, `${messageOf(error)}; as a text, write it as a JSON string`, what);
  }
}

function wrong(text: string | undefined, why: string, what = '--param'): Error {
  const short = text !== undefined && text.length > 60 ? `${text.slice(0, 60)}…` : text;
  return usageError(`${what} '${short}': ${why}.`);
}
