/** One step of an operation on a few registers that hold whole numbers. */
export type Step =
  /** The register was seen to hold this. */
  | { readonly is: number; readonly key: number }
  /** A compare-and-set was refused: the register held something else. */
  | { readonly isNot: number; readonly key: number }
  | { readonly set: number; readonly key: number }
  | { readonly add: number; readonly key: number };

/** One transaction, as whoever asked for it saw it: steps that came one after the other with nothing in between. */
export interface Operation {
  /** For people: who asked, and what. */
  readonly name: string;
  /** Before it was sent and after its answer had come, on one clock for all. */
  readonly begun: number;
  /** `Infinity`: no answer came. It took place at any time after it was begun, or never. */
  readonly ended: number;
  readonly steps: readonly Step[];
  /** The rev that its answer told, where that is to be checked, too: one more with each operation that writes. */
  readonly rev?: number;
}

/** What is in the registers, and how many operations have written. */
export interface Registers {
  readonly rev: number;
  readonly values: readonly number[];
}

export type Judgement =
  /** One after the other in this order they would all have been answered as they were. */
  | { readonly verdict: 'explained'; readonly order: readonly Operation[] }
  /** No order explains them. */
  | ({ readonly verdict: 'impossible' } & DeadEnd)
  /** Too many orders to try. */
  | ({ readonly verdict: 'undecided' } & DeadEnd);

/** The longest order that was found, what was in the registers then, and what could have come next. */
interface DeadEnd {
  readonly order: readonly Operation[];
  readonly registers: Registers;
  readonly stuck: readonly Operation[];
}

/** Orders begun after which the search is given up. */
const MAX_LOOKS = 3_000_000;

/** One place in the search: what was put last, what is in the registers then, and what could be put next. */
interface Place {
  readonly operation: Operation | null;
  readonly registers: Registers;
  readonly next: Operation[];
}

/**
 * Whether a history is strictly serialisable: whether its operations can be put one after the other so that each is answered
 * as it was, and so that none comes before another that had ended before it began. For operations on one register this is
 * linearisability.
 *
 * The search is Wing and Gong's ("Testing and Verifying Concurrent Objects", 1993): try whatever could come next, and go back
 * where nothing fits. As Lowe found ("Testing for Linearizability", 2017), it becomes fast by never looking twice at the same
 * operations put with the same values left.
 */
export function judgeHistory(history: readonly Operation[], start: Registers): Judgement {
  const left = new Left(history);
  const path: Place[] = [{ operation: null, registers: start, next: left.candidates() }];
  const seen = new Set<string>();
  let farthest: DeadEnd = { order: [], registers: start, stuck: [] };
  for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
    const place = path.at(-1);
    if (place === undefined) break;
    if (left.allAnsweredPut) return { verdict: 'explained', order: orderOf(path) };
    const operation = place.next.pop();
    if (operation === undefined) {
      // Nothing that could come next fits: what was put last comes later, or never.
      if (path.length > farthest.order.length)
        farthest = { order: orderOf(path), registers: place.registers, stuck: left.candidates() };
      if (place.operation !== null) left.takeBack(place.operation);
      path.pop();
      continue;
    }
    const registers = after(place.registers, operation);
    if (registers === null) continue;
    // What only reads, and fits here, need not be tried anywhere else.
    if (registers === place.registers) place.next.length = 0;
    left.put(operation);
    const next = left.candidates();
    const key = `${left.key}|${registers.rev}|${registers.values.join()}`;
    if (seen.has(key) || next.some((one) => isTooLate(one, registers))) left.takeBack(operation);
    else {
      seen.add(key);
      path.push({ operation, registers, next });
    }
  }
  return { verdict: path.length > 0 ? 'undecided' : 'impossible', ...farthest };
}

/** What the registers hold after an operation; null where it would have been answered otherwise. */
function after(before: Registers, operation: Operation): Registers | null {
  const values = [...before.values];
  for (const step of operation.steps) {
    const value = values[step.key] ?? 0;
    if ('is' in step && value !== step.is) return null;
    if ('isNot' in step && value === step.isNot) return null;
    if ('set' in step) values[step.key] = step.set;
    if ('add' in step) values[step.key] = value + step.add;
  }
  const registers = writes(operation) ? { rev: before.rev + 1, values } : before;
  return operation.rev === undefined || operation.rev === registers.rev ? registers : null;
}

/** Whether its rev has passed. Without this, what has no answer would be tried in every gap that there is not. */
function isTooLate(operation: Operation, { rev }: Registers): boolean {
  return operation.rev !== undefined && operation.rev < (writes(operation) ? rev + 1 : rev);
}

function writes({ steps }: Operation): boolean {
  return steps.some((step) => 'set' in step || 'add' in step);
}

function orderOf(path: readonly Place[]): Operation[] {
  return path.flatMap(({ operation }) => operation ?? []);
}

/** The operations that are not put yet. */
class Left {
  /** With an answer, in the order in which they were begun. */
  readonly #answered: readonly Operation[];
  /** Without one, and not without effect. They need not be put at all. */
  readonly #open: readonly Operation[];
  readonly #at: ReadonlyMap<Operation, number>;
  readonly #put = new Set<Operation>();
  /** All answered ones before this one are put. */
  #first = 0;
  /** Answered ones that are put. */
  #count = 0;

  constructor(history: readonly Operation[]) {
    const inOrder = history.toSorted((one, other) => one.begun - other.begun);
    this.#answered = inOrder.filter(({ ended }) => ended < Infinity);
    this.#open = inOrder.filter((operation) => operation.ended === Infinity && writes(operation));
    this.#at = new Map(this.#answered.map((operation, at) => [operation, at]));
  }

  get allAnsweredPut(): boolean {
    return this.#count === this.#answered.length;
  }

  /** Tells which are put. */
  get key(): string {
    const beyond: number[] = [];
    for (let at = this.#first; beyond.length < this.#count - this.#first; at += 1)
      if (this.#has(this.#answered[at])) beyond.push(at);
    const open = this.#open.flatMap((operation, at) => (this.#put.has(operation) ? at : []));
    return `${this.#first}:${beyond.join()}:${open.join()}`;
  }

  put(operation: Operation): void {
    this.#put.add(operation);
    if (operation.ended < Infinity) this.#count += 1;
    while (this.#has(this.#answered[this.#first])) this.#first += 1;
  }

  takeBack(operation: Operation): void {
    this.#put.delete(operation);
    const at = this.#at.get(operation);
    if (at === undefined) return;
    this.#count -= 1;
    this.#first = Math.min(this.#first, at);
  }

  /** Those that may be next, the likeliest last: none that was begun after another had ended that is not put. */
  candidates(): Operation[] {
    const found: Operation[] = [];
    let firstEnd = Infinity;
    for (let at = this.#first; at < this.#answered.length; at += 1) {
      const operation = this.#answered[at];
      if (operation === undefined || operation.begun > firstEnd) break;
      if (this.#put.has(operation)) continue;
      found.push(operation);
      firstEnd = Math.min(firstEnd, operation.ended);
    }
    found.sort((one, other) => Number(writes(other)) - Number(writes(one)) || other.ended - one.ended);
    const open = this.#open.filter((one) => one.begun <= firstEnd && !this.#put.has(one));
    return [...open, ...found];
  }

  #has(operation: Operation | undefined): boolean {
    return operation !== undefined && this.#put.has(operation);
  }
}
