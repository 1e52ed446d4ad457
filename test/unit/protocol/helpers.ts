import { expect } from 'vitest';
import { ProtocolError } from '../../../protocol/errors.js';
import {
  decodeText,
  encodeFrame,
  HEADER_BYTES,
  type JsonObject,
  parseObject,
} from '../../../protocol/frame.js';
import type { ErrorCode } from '../../../protocol/messages.js';
import {
  decodeCell,
  decodeParam,
  encodeValue,
  FrameText,
  type SqlBind,
  type SqlInput,
  type SqlOutput,
} from '../../../protocol/values.js';

/** Runs what must be refused and returns the refusal. */
export function refusal(run: () => unknown, code: ErrorCode = 'INVALID_REQUEST'): ProtocolError {
  let thrown: unknown;
  try {
    const value = run();
    expect.fail(`accepted: ${String(value)}`);
  } catch (error) {
    thrown = error;
  }
  if (!(thrown instanceof ProtocolError)) throw thrown;
  expect(thrown.code).toBe(code);
  return thrown;
}

/** Refused as INVALID_REQUEST by a message that names the field. */
export function refusesField(name: string, run: () => unknown): void {
  expect(refusal(run).message).toContain(`"${name}"`);
}

/** The object as it arrives: undefined fields gone, nothing shared with the sample. */
export function arrived(object: object): JsonObject {
  return parseObject(JSON.stringify(object));
}

/** Values of every JSON type that a field of the named type must refuse. */
export const WRONG = {
  string: [null, 7, true, [], {}],
  integer: [null, '7', true, 1.5, -1, 2 ** 53, [], {}],
  boolean: [null, 0, 1, 'true', [], {}],
  array: [null, 7, 'x', true, {}],
  object: [null, 7, 'x', true, []],
  params: [null, 7, 'x', true],
} as const;

export const BAD_IDS = [null, true, 1.5, 2 ** 53, -(2 ** 53), [], {}, 'x'.repeat(257)];

/** The longest timeout, in milliseconds. */
export const DAY = 24 * 60 * 60 * 1000;

/** The params of one frame, from the client's JSON over the wire to what the worker binds. */
export function bindAll(values: readonly SqlInput[]): SqlBind[] {
  const frame = encodeFrame(JSON.stringify({ params: values.map(encodeValue) }));
  const text = decodeText(frame.subarray(HEADER_BYTES));
  return (parseObject(text).params as unknown[]).map((param) => decodeParam(param, new FrameText(text)));
}

/** A parameter written by hand in a frame, as a program in another language would. */
export function bindJson(json: string): SqlBind {
  const text = `{"params":[${json}]}`;
  return decodeParam((parseObject(text).params as unknown[])[0], new FrameText(text));
}

export function readJson(json: string): SqlOutput {
  return decodeCell((JSON.parse(`[${json}]`) as unknown[])[0]);
}

/** Storage class and bits, comparable: a Buffer and a Uint8Array of the same bytes are one BLOB. */
export function bits(value: SqlBind | SqlOutput): unknown {
  if (value instanceof Uint8Array) return ['BLOB', Buffer.from(value).toString('hex')];
  if (typeof value === 'number') {
    const eight = Buffer.alloc(8);
    eight.writeDoubleBE(value);
    return ['REAL', eight.toString('hex')];
  }
  return [typeof value, value];
}
