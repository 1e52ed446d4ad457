import { addCounts, type Counts, NO_COUNTS, subtractCounts } from '../counts.js';

/** Milliseconds between two rankings: a database keeps its series for a while, or none could be drawn. */
const RANK_MS = 60_000;
/** Whoever has a series keeps it unless another has done so many times as much. */
const KEEP = 2;

interface Series {
  /** What was counted before it had a series: that is among the others' for ever. */
  readonly before: Counts;
  latest: Counts;
}

/** What the series show. */
export interface SeriesCounts {
  /** By database, since it has its series. */
  readonly named: ReadonlyMap<string, Counts>;
  /** Of all others together, and of those while they had none. */
  readonly others: Counts;
}

/**
 * Which databases have series of their own: the busiest ones, so that there are not more series than a monitor can keep,
 * however many databases there are. What is counted belongs to a database's own series or to the others', wherever it was
 * at the time, and stays there: no series ever goes backwards, and their sum is the whole. A plain object, without a clock.
 */
export class MetricSeries {
  readonly #limit: number;
  readonly #named = new Map<string, Series>();
  /** What those that have lost theirs had counted in it. */
  #retired = NO_COUNTS;
  /** Databases that were counted among the others. */
  #unnamed = new Set<string>();
  /** Batches of each at the last ranking. */
  #ranked = new Map<string, number>();
  #rankedAt = Number.NEGATIVE_INFINITY;

  /** @param limit most databases with a series of their own */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * @param databases what was counted of each that is known, by its path
   * @param forgotten what was counted of those that are not known any more
   * @param now milliseconds of any clock that only goes forward
   */
  update(databases: ReadonlyMap<string, Counts>, forgotten: Counts, now: number): SeriesCounts {
    // Whoever loses its series: as it was last told. What came since then is the others'.
    for (const [path, series] of this.#named) if (!databases.has(path)) this.#retire(path, series);
    if (now - this.#rankedAt >= RANK_MS) this.#rank(databases, now);
    else this.#fill(databases);
    for (const [path, series] of this.#named) series.latest = databases.get(path) ?? series.latest;
    this.#unnamed = new Set([...databases.keys()].filter((path) => !this.#named.has(path)));

    const named = new Map<string, Counts>();
    let others = forgotten;
    for (const counts of databases.values()) others = addCounts(others, counts);
    others = subtractCounts(others, this.#retired);
    for (const [path, { before, latest }] of this.#named) {
      const own = subtractCounts(latest, before);
      named.set(path, own);
      others = subtractCounts(others, own);
    }
    return { named, others };
  }

  /** Gives series to the busiest since the last ranking. */
  #rank(databases: ReadonlyMap<string, Counts>, now: number): void {
    const work = new Map<string, number>();
    for (const [path, { batches }] of databases) {
      const done = batches - (this.#ranked.get(path) ?? 0);
      work.set(path, done * (this.#named.has(path) ? KEEP : 1));
    }
    // The sort is stable: of two that have done as much, the one that has a series comes first.
    const order = [...databases.keys()].sort(
      (one, other) =>
        (work.get(other) ?? 0) - (work.get(one) ?? 0) ||
        Number(this.#named.has(other)) - Number(this.#named.has(one)),
    );
    const busiest = new Set(order.slice(0, this.#limit));
    for (const [path, series] of this.#named) if (!busiest.has(path)) this.#retire(path, series);
    for (const path of busiest) this.#name(path, databases);
    this.#ranked = new Map([...databases].map(([path, { batches }]) => [path, batches]));
    this.#rankedAt = now;
  }

  #fill(databases: ReadonlyMap<string, Counts>): void {
    for (const path of databases.keys()) {
      if (this.#named.size >= this.#limit) return;
      this.#name(path, databases);
    }
  }

  #name(path: string, databases: ReadonlyMap<string, Counts>): void {
    const latest = databases.get(path);
    if (latest === undefined || this.#named.has(path)) return;
    this.#named.set(path, { before: this.#unnamed.has(path) ? latest : NO_COUNTS, latest });
  }

  #retire(path: string, { before, latest }: Series): void {
    this.#named.delete(path);
    this.#retired = addCounts(this.#retired, subtractCounts(latest, before));
  }
}
