import { delimiter, resolve } from 'node:path';

/** The kinds of values that settings have: how people write them, and what they are in the program. */

/** One kind, with its bounds. */
export interface Kind<T> {
  /** For the help: TIME, SIZE, N, DIR, or the words. */
  readonly placeholder: string;
  /** For messages: "a time such as 30m, 5s, 250ms or 0". */
  readonly takes: string;
  /**
   * @param base the folder in which relative paths belong
   * @returns undefined when the text is no such value
   */
  parse(text: string, base: string): T | undefined;
  /** The value as people write it. */
  format(value: T): string;
  /** It may be given many times, or as an array: the value is all of them. */
  readonly many?: true;
}

const MS: Units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 24 * 3_600_000 };
const BYTES: Units = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };
/** setTimeout cuts anything longer to 1 ms (https://nodejs.org/api/timers.html#settimeoutcallback-delay-args). */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** For what is compared with a date and sets no timer. */
export const MAX_AGE_MS = 3650 * 24 * 3_600_000;

type Units = { readonly [unit: string]: number };

/** A duration in milliseconds: `7d`, `30m`, `5s`, `250ms`, `0`; a plain number is milliseconds. */
export function duration({ min = 0, max = MAX_TIMER_MS } = {}): Kind<number> {
  return {
    placeholder: 'TIME',
    takes: min === 0 ? 'a time such as 30m, 5s, 250ms or 0' : 'a time such as 30m, 5s or 250ms',
    parse: (text) => {
      const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
      // Up, not off: 0 would mean never.
      const value = match === null ? Number.NaN : Math.ceil(Number(match[1]) * (MS[match[2] ?? 'ms'] ?? 1));
      return value >= min && value <= max ? value : undefined;
    },
    format: (value) => (value === 0 ? '0' : inUnits(value, MS)),
  };
}

/** A size in bytes: `64MB`, `512KB`; a plain number is bytes. */
export function size({ min = 1024, max = 1024 ** 3 } = {}): Kind<number> {
  return {
    placeholder: 'SIZE',
    takes: `a size from ${inUnits(min, BYTES)} to ${inUnits(max, BYTES)}`,
    parse: (text) => {
      const match = /^(\d+)(B|KB|MB|GB)?$/i.exec(text);
      const value = Number(match?.[1]) * (BYTES[(match?.[2] ?? 'B').toUpperCase()] ?? 1);
      return value >= min && value <= max ? value : undefined;
    },
    format: (value) => inUnits(value, BYTES),
  };
}

/** A whole number. */
export function count(min: number, max: number): Kind<number> {
  return {
    placeholder: 'N',
    takes: `a whole number from ${min} to ${max}`,
    parse: (text) => {
      const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
      return value >= min && value <= max ? value : undefined;
    },
    format: String,
  };
}

/** One of a few words. */
export function word<const Word extends string>(words: readonly Word[]): Kind<Word> {
  return {
    placeholder: words.length > 2 ? 'WORD' : words.join('|'),
    takes: words.join(' or '),
    parse: (text) => words.find((one) => one === text),
    format: (value) => value,
  };
}

/** Folders, of which there may be many; in a variable with the platform's `:` or `;` between them, as in PATH. */
export function folders(): Kind<readonly string[]> {
  return {
    placeholder: 'DIR',
    takes: 'folders',
    many: true,
    parse: (text, base) => (text === '' ? undefined : [resolve(base, text)]),
    format: (value) => value.join(delimiter),
  };
}

/** A kind whose value may also be left open: null. */
export function orNone<T>(kind: Kind<T>, none: string): Kind<T | null> {
  return { ...kind, format: (value) => (value === null ? none : kind.format(value)) };
}

/** In the largest unit that leaves a whole number. */
function inUnits(value: number, units: Units): string {
  const [unit, factor] = Object.entries(units).findLast(([, by]) => value >= by && value % by === 0) ?? [
    '',
    1,
  ];
  return `${value / factor}${unit}`;
}
