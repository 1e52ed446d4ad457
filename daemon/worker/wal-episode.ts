import type { LockHolder } from '../../protocol/messages.js';
import type { WalNotice } from './link.js';

/** Milliseconds for which others must have been in the way before anybody is told: most readers leave by themselves. */
const TELL_AFTER_MS = 500;

/** What an episode needs to know of the world. */
export interface EpisodeSurroundings {
  /** The bytes that the WAL should not exceed. */
  readonly limit: number;
  /** Whoever uses the WAL now, as far as the system tells. */
  holders(): LockHolder[];
  tell(notice: WalNotice): void;
}

/**
 * A WAL that is beyond its limit because others are in the way: since when, how far it went, and that whoever keeps the log
 * hears of it twice, when it has begun and when it is over.
 */
export class WalEpisode {
  readonly #around: EpisodeSurroundings;
  #since: number | null = null;
  #told = false;
  /** When those began of whom was told. */
  #began = 0;
  #most = 0;

  constructor(around: EpisodeSurroundings) {
    this.#around = around;
  }

  /** Milliseconds since somebody is in the way; null while nobody is. */
  lasts(now: number): number | null {
    return this.#since === null ? null : Math.round(now - this.#since);
  }

  /** A checkpoint could not finish, with so many bytes in the WAL. */
  blocked(bytes: number, now: number): void {
    if (this.#since === null) {
      if (bytes <= this.#around.limit) return;
      this.#since = now;
      if (!this.#told) this.#began = now;
    }
    this.#most = Math.max(this.#most, bytes);
    if (this.#told || now - this.#since < TELL_AFTER_MS) return;
    this.#told = true;
    const { limit, holders, tell } = this.#around;
    tell({ event: 'wal', blocked: true, bytes, limit, holders: holders() });
  }

  /** Nobody is in the way any more. The file is still as long as it was. */
  free(): void {
    this.#since = null;
  }

  /** It is short enough. */
  over(now: number): void {
    const { limit, tell } = this.#around;
    if (this.#told)
      tell({ event: 'wal', blocked: false, limit, most: this.#most, ms: Math.round(now - this.#began) });
    this.forget();
  }

  /** The file is closed: the next one begins anew. */
  forget(): void {
    this.#since = null;
    this.#told = false;
    this.#most = 0;
  }
}
