import { appendFileSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Lines that are kept, and bytes: whoever pastes a dump does not want it back. */
const MOST_LINES = 1_000;
const MOST_BYTES = 256 * 1024;
const MOST_LINE = 4 * 1024;
const OWN = 0o600;

/**
 * The lines that were typed, oldest first, kept in a file that only the user can read. Several shells append to it. A file that
 * cannot be used is no reason not to work: then nothing is kept.
 */
export class History {
  readonly #path: string;
  readonly #lines: string[];
  #usable = true;

  constructor(path: string) {
    this.#path = path;
    this.#lines = this.#load();
  }

  /** Newest first, as node:readline wants them. */
  get lines(): string[] {
    return [...this.#lines].reverse();
  }

  /** A line that begins with a space is not kept, as in a shell: there may be a secret in it. */
  add(line: string): void {
    if (!this.#usable || line.trim() === '' || line.startsWith(' ') || line.length > MOST_LINE) return;
    if (line === this.#lines.at(-1)) return;
    this.#lines.push(line);
    this.#guarded(() => appendFileSync(this.#path, `${line}\n`, { mode: OWN }));
  }

  #load(): string[] {
    return (
      this.#guarded(() => {
        mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
        const { size = 0 } = statSync(this.#path, { throwIfNoEntry: false }) ?? {};
        if (size === 0) return [];
        const all = readFileSync(this.#path, 'utf8').split('\n').filter(Boolean);
        const kept = all.slice(-MOST_LINES);
        if (all.length > 2 * MOST_LINES || size > MOST_BYTES) this.#replace(kept);
        return kept;
      }) ?? []
    );
  }

  #replace(lines: readonly string[]): void {
    const next = `${this.#path}.${process.pid}`;
    let text = '';
    for (const line of [...lines].reverse()) {
      if (text.length + line.length > MOST_BYTES / 2) break;
      text = `${line}\n${text}`;
    }
    writeFileSync(next, text, { mode: OWN });
    renameSync(next, this.#path);
  }

  #guarded<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch {
      this.#usable = false;
      return undefined;
    }
  }
}
