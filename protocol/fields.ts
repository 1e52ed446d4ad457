import { invalidRequest, type ProtocolError } from './errors.js';
import type { JsonObject } from './frame.js';

/**
 * Small readers for fields that arrived from outside: each checks one field and says what was expected and what came.
 * They read own properties only, so `__proto__` and the like are ordinary unknown names.
 */

/** The field's value; undefined when it is absent. */
export function field(object: JsonObject, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/** A short description of a value for an error message. */
export function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

/** The error for a field that is not what it must be. */
export function unexpected(where: string, expected: string, value: unknown): ProtocolError {
  return invalidRequest(`"${where}" must be ${expected}, but is ${describe(value)}.`);
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function asObject(value: unknown, where: string): JsonObject {
  if (!isObject(value)) throw unexpected(where, 'an object', value);
  return value;
}

export function asArray(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw unexpected(where, 'an array', value);
  return value;
}

export function asString(value: unknown, where: string): string {
  if (typeof value !== 'string') throw unexpected(where, 'a string', value);
  return value;
}

export function asBoolean(value: unknown, where: string): boolean {
  if (typeof value !== 'boolean') throw unexpected(where, 'true or false', value);
  return value;
}

/** A whole number from `min` to 2^53−1. */
export function asInteger(value: unknown, where: string, min = 0): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min) {
    throw unexpected(where, `a whole number from ${min}`, value);
  }
  return value;
}

/** Longest `timeout_ms`: a day. */
const MAX_TIMEOUT_MS = 24 * 60 * 60 * 1000;

/** Milliseconds, at most a day: setTimeout cuts anything over 2^31−1 to 1 ms. */
export function asTimeout(value: unknown, where: string): number {
  return Math.min(asInteger(value, where), MAX_TIMEOUT_MS);
}

/** A field that is a whole number. */
export function integer(object: JsonObject, name: string): number {
  return asInteger(field(object, name), name);
}

/** A field that is a string. */
export function text(object: JsonObject, name: string): string {
  return asString(field(object, name), name);
}

/** A field that is true or false. */
export function flag(object: JsonObject, name: string): boolean {
  return asBoolean(field(object, name), name);
}

/** A field that may be null. */
export function orNull<T>(
  object: JsonObject,
  name: string,
  read: (value: unknown, where: string) => T,
): T | null {
  const value = field(object, name);
  return value === null ? null : read(value, name);
}

/** An optional field's value, checked if there is one. */
export function given<T>(
  value: unknown,
  where: string,
  read: (value: unknown, where: string) => T,
): T | undefined {
  return value === undefined ? undefined : read(value, where);
}

/** With all its fields, absent ones undefined: one shape for all. */
export type Complete<T> = { readonly [Name in keyof Required<T>]: T[Name] };

/** Reads an optional field: `{}` when absent, else the field alone. Suits exactOptionalPropertyTypes. */
export function optional<Name extends string, Value>(
  object: JsonObject,
  name: Name,
  read: (value: unknown, where: string) => Value,
): { [key in Name]?: Value } {
  const value = field(object, name);
  if (value === undefined) return {};
  return { [name]: read(value, name) } as { [key in Name]?: Value };
}

/** One of a few words. */
export function oneOf<const Word extends string>(words: readonly Word[]) {
  return (value: unknown, where: string): Word => {
    const found = words.find((word) => word === value);
    if (found === undefined) throw unexpected(where, words.map((word) => `"${word}"`).join(' or '), value);
    return found;
  };
}
