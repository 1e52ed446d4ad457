import { invalidRequest, messageOf, type ProtocolError } from '../../protocol/errors.js';
import type { WireParams, WireValue } from '../../protocol/messages.js';
import { decodeParam, type FrameText, type SqlBind } from '../../protocol/values.js';

/** SQLITE_MAX_VARIABLE_NUMBER, see https://sqlite.org/limits.html#max_variable_number */
const MAX_PARAMETERS = 32_766;

/** How a statement's parameters are numbered and named; made once per statement by {@link parameterPlan}. */
export interface ParameterPlan {
  /** The largest number, which is what `sqlite3_bind_parameter_count` says: gaps count. */
  readonly count: number;
  /** For each position from 0: the name under which better-sqlite3 binds it; undefined for `?` and for gaps. */
  readonly names: readonly (string | undefined)[];
  /** Every spelling that an object of parameters may use, with and without prefix, to the position. */
  readonly positions: ReadonlyMap<string, number>;
  /** The position of the first `?` that has no name; undefined without one. */
  readonly anonymous: number | undefined;
}

const NONE: ParameterPlan = { count: 0, names: [], positions: new Map(), anonymous: undefined };
const NO_ARGUMENTS: readonly unknown[] = Object.freeze([]);

/**
 * Numbers a statement's parameters as SQLite does: `?` is the largest number so far plus 1, `?N` is N, a new name is
 * the largest plus 1. See https://sqlite.org/lang_expr.html#varparam and, for what it leaves open (`?` that `?1` names
 * afterwards; `?1` that means `:a`), `sqlite3ExprAssignVarNumber` in https://sqlite.org/src/file/src/expr.c
 * @param variables the statement's parameters in order of appearance, as written
 * @throws ProtocolError `INVALID_REQUEST` for a number that SQLite does not take, and for two parameters that differ
 *   only in the prefix: better-sqlite3 gives `:a` and `@a` the same value
 */
export function parameterPlan(variables: readonly string[]): ParameterPlan {
  if (variables.length === 0) return NONE;
  const written = new Map<string, number>();
  const firstNames = new Map<number, string>();
  const marks: number[] = [];
  let count = 0;
  for (const variable of variables) {
    const position = positionOf(variable, written, count);
    if (!(position >= 0 && position < MAX_PARAMETERS)) {
      throw refused(variable, `SQLite numbers parameters from ?1 to ?${MAX_PARAMETERS}`);
    }
    count = Math.max(count, position + 1);
    if (variable === '?') {
      marks.push(position);
    } else {
      written.set(variable, position);
      if (!firstNames.has(position)) firstNames.set(position, variable);
    }
  }
  return {
    count,
    names: Array.from({ length: count }, (_, position) => firstNames.get(position)?.slice(1)),
    // A key that is written exactly so in the statement wins: `$a` is not the `:$a` without its prefix.
    positions: new Map([...withoutPrefix(written), ...written]),
    anonymous: marks.find((position) => !firstNames.has(position)),
  };
}

function positionOf(variable: string, written: ReadonlyMap<string, number>, count: number): number {
  if (variable === '?') return count;
  return variable.startsWith('?') ? Number(variable.slice(1)) - 1 : (written.get(variable) ?? count);
}

function withoutPrefix(written: ReadonlyMap<string, number>): Map<string, number> {
  const bare = new Map<string, number>();
  for (const [variable, position] of written) {
    const name = variable.slice(1);
    const other = bare.get(name);
    if (other !== undefined && other !== position) {
      throw refused(name, 'two parameters of the statement differ only in their prefix; rename one of them');
    }
    bare.set(name, position);
  }
  return bare;
}

/**
 * A statement's parameters as the arguments for better-sqlite3's `run`, `all`, `get` or `iterate`: values for `?` in
 * order, then one object for whatever has a name.
 * @param plan the statement's plan
 * @param params as they arrived: an array by SQLite's numbers, named ones included, complete; or an object whose keys
 *   are the names with or without prefix (`2` or `?2` for `?2`), each exactly once. Numbers that the statement skips
 *   (only `?3`) need a value in an array, as SQLite counts them, and none in an object.
 * @param frame the frame that brought them, see {@link decodeParam}
 * @throws ProtocolError `INVALID_REQUEST`; `details.parameter` has the position from 0 or the name
 */
export function bindParameters(
  plan: ParameterPlan,
  params: WireParams | undefined,
  frame: FrameText,
): readonly unknown[] {
  if (params === undefined) {
    if (plan.count === 0) return NO_ARGUMENTS;
    throw refused(firstOf(plan), `the statement has ${parameters(plan.count)} and no values were given`);
  }
  if (!isList(params)) return bindNames(plan, params, frame);
  const { count, positions } = plan;
  if (params.length !== count) {
    throw refused(
      Math.min(params.length, count),
      `the statement has ${parameters(count)} and ${params.length} ${params.length === 1 ? 'was' : 'were'} given`,
    );
  }
  const values = new Array<SqlBind>(count);
  for (let at = 0; at < count; at += 1) values[at] = decoded(params[at], frame, at);
  return positions.size === 0 ? values : arrange(plan, values);
}

function bindNames(
  plan: ParameterPlan,
  params: Readonly<Record<string, WireValue>>,
  frame: FrameText,
): readonly unknown[] {
  if (plan.anonymous !== undefined) {
    throw refused(plan.anonymous, 'it is a "?" without a name, and an object gives names; send an array');
  }
  const values = new Array<SqlBind | undefined>(plan.count);
  for (const key of Object.keys(params)) {
    const position = plan.positions.get(key);
    if (position === undefined) throw refused(key, `the statement has no such parameter${known(plan)}`);
    if (values[position] !== undefined) throw refused(key, 'it is given twice, with and without its prefix');
    values[position] = decoded(params[key], frame, key);
  }
  for (let at = 0; at < plan.count; at += 1) {
    const name = plan.names[at];
    if (values[at] !== undefined) continue;
    if (name !== undefined) throw refused(name, 'no value was given for it');
    // Nothing in the statement uses this number, but better-sqlite3 wants a value for it.
    values[at] = null;
  }
  return plan.count === 0 ? NO_ARGUMENTS : arrange(plan, values);
}

/** Splits values by position into those without a name and the object with the others. */
function arrange(plan: ParameterPlan, values: readonly (SqlBind | undefined)[]): readonly unknown[] {
  const unnamed: unknown[] = [];
  // Without a prototype a parameter may be called __proto__.
  const named: Record<string, unknown> = Object.create(null);
  for (let at = 0; at < plan.count; at += 1) {
    const name = plan.names[at];
    if (name === undefined) unnamed.push(values[at]);
    else named[name] = values[at];
  }
  unnamed.push(named);
  return unnamed;
}

function decoded(value: unknown, frame: FrameText, parameter: number | string): SqlBind {
  try {
    return decodeParam(value, frame);
  } catch (error) {
    throw refused(parameter, messageOf(error));
  }
}

/** `Array.isArray` does not narrow a readonly array. */
function isList(params: WireParams): params is readonly WireValue[] {
  return Array.isArray(params);
}

function firstOf(plan: ParameterPlan): number | string {
  return plan.names[0] ?? 0;
}

function parameters(count: number): string {
  return count === 1 ? '1 parameter' : `${count} parameters`;
}

function known(plan: ParameterPlan): string {
  const names = plan.names.filter((name) => name !== undefined);
  return names.length === 0
    ? ''
    : `; it has ${names.slice(0, 20).join(', ')}${names.length > 20 ? ', …' : ''}`;
}

function refused(parameter: number | string, why: string): ProtocolError {
  const label = typeof parameter === 'number' ? parameter : JSON.stringify(parameter);
  return invalidRequest(`Parameter ${label}: ${why}.`, { parameter });
}
