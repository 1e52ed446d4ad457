import type { Row, Sample } from './sample.js';

/** What rows can be sorted by, in the order of the columns. */
export const SORTS = [
  'db',
  'batches',
  'p50',
  'p99',
  'queue',
  'wal',
  'readers',
  'clients',
  'state',
  'worker',
] as const;
export type Sort = (typeof SORTS)[number];

/** What the screen shows and how. */
export interface TopState {
  /** null before the first. */
  readonly sample: Sample | null;
  /** What is wrong, or has happened. */
  readonly message: string | null;
  readonly sort: Sort;
  /** Numbers come with the largest first, words in their order; or the other way round. */
  readonly reverse: boolean;
  readonly paused: boolean;
  readonly help: boolean;
  /** Rows that are above the screen. */
  readonly scroll: number;
}

export const START: TopState = {
  sample: null,
  message: null,
  sort: 'batches',
  reverse: false,
  paused: false,
  help: false,
  scroll: 0,
};

const SORT_KEYS: { readonly [key: string]: Sort } = { d: 'db', b: 'batches', l: 'p99', u: 'queue', w: 'wal' };

/**
 * What a key does.
 * @param key its name as node:readline gives it, or its character
 * @param page rows that fit on the screen
 * @returns null to leave
 */
export function press(state: TopState, key: string, page: number): TopState | null {
  const sort = SORT_KEYS[key];
  if (sort !== undefined) return { ...state, sort };
  const last = Math.max(0, (state.sample?.rows.length ?? 0) - page);
  const scrolled = (by: number) => ({ ...state, scroll: Math.min(last, Math.max(0, state.scroll + by)) });
  switch (key) {
    case 'q':
      return null;
    case 'escape':
      return state.help ? { ...state, help: false } : null;
    case '?':
    case 'h':
      return { ...state, help: !state.help };
    case 'p':
    case 'space':
      return { ...state, paused: !state.paused };
    case 'r':
      return { ...state, reverse: !state.reverse };
    case '<':
    case 'left':
      return { ...state, sort: beside(state.sort, -1) };
    case '>':
    case 'right':
      return { ...state, sort: beside(state.sort, 1) };
    case 'up':
    case 'k':
      return scrolled(-1);
    case 'down':
    case 'j':
      return scrolled(1);
    case 'pageup':
      return scrolled(-page);
    case 'pagedown':
      return scrolled(page);
    case 'home':
      return scrolled(-last);
    case 'end':
      return scrolled(last);
    default:
      return state;
  }
}

function beside(sort: Sort, by: number): Sort {
  return SORTS[(SORTS.indexOf(sort) + by + SORTS.length) % SORTS.length] ?? sort;
}

/** The rows in the order that was asked for; those that are equal by their names. */
export function sorted({ sample, sort, reverse }: TopState): Row[] {
  const direction = reverse ? -1 : 1;
  return [...(sample?.rows ?? [])].sort(
    (one, other) => direction * compare(one[sort], other[sort]) || compare(one.db, other.db),
  );
}

/** Words in their order, numbers with the largest first; what is not known comes last. */
function compare(one: string | number | null, other: string | number | null): number {
  if (typeof one === 'string' && typeof other === 'string') return one < other ? -1 : one > other ? 1 : 0;
  return Number(other ?? -1) - Number(one ?? -1);
}
