/**
 * Whom each number on a link stands for. Numbers are used again: a Map whose entries come and go is copied all the time,
 * and the copies that the garbage collector has moved to the old generation keep every entry alive until it looks there.
 * A plain object: no I/O.
 */
export class TagTable<Value> {
  /** By tag; 0 stands for nobody. */
  readonly #values: (Value | undefined)[] = [undefined];
  /** When each was added, for their order. */
  readonly #added: number[] = [0];
  readonly #free: number[] = [];
  #count = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** @returns its tag, from 1 */
  add(value: Value): number {
    const tag = this.#free.pop() ?? this.#values.length;
    this.#count += 1;
    this.#size += 1;
    this.#values[tag] = value;
    this.#added[tag] = this.#count;
    return tag;
  }

  get(tag: number): Value | undefined {
    return this.#values[tag];
  }

  /** Removes it: the tag may stand for another from now on. */
  take(tag: number): Value | undefined {
    const value = this.#values[tag];
    if (value === undefined) return undefined;
    this.#values[tag] = undefined;
    this.#free.push(tag);
    this.#size -= 1;
    return value;
  }

  /** Removes all, and returns them in the order in which they were added. */
  takeAll(): Value[] {
    const tags = this.#values.flatMap((value, tag) => (value === undefined ? [] : [tag]));
    tags.sort((one, other) => (this.#added[one] ?? 0) - (this.#added[other] ?? 0));
    return tags.flatMap((tag) => this.take(tag) ?? []);
  }
}
