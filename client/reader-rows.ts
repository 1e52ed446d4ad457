import type BetterSqlite3 from 'better-sqlite3';
import { encodeValue, type SqlInput, type SqlOutput } from '../protocol/values.js';
import type { Row, SqlParams } from './batch.js';

type Statement = BetterSqlite3.Statement<unknown[]>;

export function rowsOf(
  stmt: Statement,
  sql: string,
  params: SqlParams | undefined,
): { columns: string[]; rows: SqlOutput[][] } {
  const rows = stmt
    .safeIntegers(true)
    .raw(true)
    .all(...bindings(sql, params)) as unknown[][];
  return { columns: columnsOf(stmt), rows: rows.map((row) => row.map(toOutput)) };
}

export function columnsOf(stmt: Statement): string[] {
  return stmt.columns().map(({ name }) => name);
}

export function objectOf(columns: readonly string[], row: readonly SqlOutput[]): Row {
  return Object.fromEntries(columns.map((column, at) => [column, row[at] as SqlOutput]));
}

/** To better-sqlite3 `?1` is a parameter of the name 1. */
const NUMBERED = /\?\d/;

export function bindings(sql: string, params: SqlParams | undefined): unknown[] {
  if (params === undefined) return [];
  if (Array.isArray(params)) {
    const values = (params as readonly SqlInput[]).map(toBind);
    return NUMBERED.test(sql) ? [Object.fromEntries(values.map((value, at) => [at + 1, value]))] : values;
  }
  return [
    Object.fromEntries(
      Object.entries(params).map(([name, value]) => [name.replace(/^[:@$?]/, ''), toBind(value as SqlInput)]),
    ),
  ];
}

/** better-sqlite3 binds every number as REAL: whole ones go in as bigint. */
function toBind(value: SqlInput): unknown {
  if (value instanceof Uint8Array) return value;
  const wire = encodeValue(value);
  if (typeof wire === 'number') return Number.isInteger(wire) ? BigInt(wire) : wire;
  if (typeof wire === 'boolean') return wire ? 1n : 0n;
  if (typeof value === 'bigint') return value;
  if (typeof wire === 'object' && wire !== null && '$real' in wire) return Number(wire.$real);
  return wire;
}

export function toOutput(value: unknown): SqlOutput {
  if (typeof value !== 'bigint') return value as SqlOutput;
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(value)
    : value;
}
