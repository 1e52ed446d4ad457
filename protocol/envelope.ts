import { isUtf8 } from 'node:buffer';
import { decodeRequest } from './decode-request.js';
import { ProtocolError } from './errors.js';
import { endOfString, MAX_DEPTH } from './frame.js';
import type { ExecBatchEnvelope, ExecEnvelope } from './messages.js';

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** The members that are looked for, and their keys as they mostly come. */
const WANTED = (['type', 'id', 'db', 'timeout_ms', 'session', 'only_replay', 'cancellable'] as const).map(
  (name) => ({
    name,
    bytes: Buffer.from(`"${name}"`),
  }),
);
type Wanted = (typeof WANTED)[number]['name'];
/** Bytes of the longest of these keys with each character written as `\u0064`, and its quotes. */
const MAX_KEY_BYTES = 68;

/** Where a value is: its first byte and the one behind its last, or behind the space that follows it. */
interface Span {
  readonly start: number;
  readonly end: number;
}
type Found = { [Name in Wanted]: Span | undefined };

/**
 * What the router needs of an `ExecBatch` or `Exec`, without parsing the rest: parsing 16 MiB keeps all other clients waiting for
 * hundreds of milliseconds. For every frame that is right it is what `decodeRequest` gives for the whole.
 *
 * Values in between are skipped by their quotes and brackets alone, so a frame that is not JSON may pass here: whoever parses
 * it whole finds that.
 * @returns null for any other request, and for a frame in which something is wrong, or that nests deep: parse it whole to learn
 *   what
 */
export function readBatchEnvelope(payload: Buffer): ExecBatchEnvelope | ExecEnvelope | null {
  const found = isUtf8(payload) ? findMembers(payload) : null;
  if (found === null) return null;
  const members: Record<string, unknown> = {};
  for (const { name } of WANTED) {
    const span = found[name];
    if (span === undefined) continue;
    const value = readSmall(payload, span);
    if (value === undefined) return null;
    members[name] = value;
  }
  if (members.type !== 'ExecBatch' && members.type !== 'Exec') return null;
  try {
    return decodeRequest(members) as ExecBatchEnvelope | ExecEnvelope;
  } catch (error) {
    if (error instanceof ProtocolError) return null;
    throw error;
  }
}

/** Of members with the same key the last one counts, as for JSON.parse; null when this is no object. */
function findMembers(payload: Buffer): Found | null {
  const found: Found = {
    type: undefined,
    id: undefined,
    db: undefined,
    timeout_ms: undefined,
    session: undefined,
    only_replay: undefined,
    cancellable: undefined,
  };
  let at = skipSpace(payload, 0);
  if (payload[at] !== OPEN_BRACE) return null;
  at = skipSpace(payload, at + 1);
  while (payload[at] === QUOTE) {
    const keyEnd = endOfString(payload, at) + 1;
    const key = wantedKey(payload, at, keyEnd);
    const colon = skipSpace(payload, keyEnd);
    if (payload[colon] !== COLON) return null;
    const start = skipSpace(payload, colon + 1);
    const end = endOfValue(payload, start);
    if (end < 0) return null;
    if (key !== undefined) found[key] = { start, end };
    at = skipSpace(payload, end);
    if (payload[at] === CLOSE_BRACE) return skipSpace(payload, at + 1) === payload.length ? found : null;
    if (payload[at] !== COMMA) return null;
    at = skipSpace(payload, at + 1);
  }
  return null;
}

/** Which of the members that are looked for this key names; it may be written in escapes. */
function wantedKey(payload: Buffer, start: number, end: number): Wanted | undefined {
  for (const { name, bytes } of WANTED) if (startsWith(payload, start, bytes)) return name;
  if (end - start > MAX_KEY_BYTES || !hasBackslash(payload, start, end)) return undefined;
  const text = readSmall(payload, { start, end });
  return WANTED.find(({ name }) => name === text)?.name;
}

function startsWith(payload: Buffer, start: number, bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += 1) if (payload[start + at] !== bytes[at]) return false;
  return true;
}

function hasBackslash(payload: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) if (payload[at] === BACKSLASH) return true;
  return false;
}

/** The string, number or word here; undefined when it is something else. */
function readSmall(payload: Buffer, { start, end }: Span): unknown {
  const first = payload[start];
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return undefined;
  const text = payload.toString('utf8', start, end);
  if (first === QUOTE && !text.includes('\\')) return text.slice(1, -1);
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function skipSpace(payload: Buffer, start: number): number {
  let at = start;
  for (; at < payload.length; at += 1) {
    const byte = payload[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
  }
  return at;
}

/** Where the value that begins here ends: behind its last byte. Negative when it nests too deep. */
function endOfValue(payload: Buffer, start: number): number {
  const first = payload[start];
  if (first === QUOTE) return endOfString(payload, start) + 1;
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return endOfNested(payload, start);
  let at = start;
  for (; at < payload.length; at += 1) {
    const byte = payload[at] as number;
    if (byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET) break;
  }
  return at;
}

/** Behind the bracket that closes the one here; negative as above. Which kind closes which is for the parser to check. */
function endOfNested(payload: Buffer, start: number): number {
  const { length } = payload;
  let depth = 0;
  for (let at = start; at < length; at += 1) {
    const byte = payload[at] as number;
    // Digits, commas and colons are most of what stands outside of strings.
    if (byte > QUOTE && byte < OPEN_BRACKET) continue;
    if (byte === QUOTE) at = endOfString(payload, at);
    else if (byte === OPEN_BRACKET || byte === OPEN_BRACE) {
      depth += 1;
      // The frame's own brace is the first level.
      if (depth >= MAX_DEPTH) return -1;
    } else if (byte === CLOSE_BRACKET || byte === CLOSE_BRACE) {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return length;
}
