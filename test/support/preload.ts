import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FIXTURES } from './playground.js';

/**
 * A small library of test/fixtures that is loaded into the daemon's processes before the system's own (ld.so(8), LD_PRELOAD),
 * and takes the place of some of its functions.
 */
export class Preload {
  /** Why this cannot be done here; null when it can. */
  readonly missing: string | null;
  readonly #folder: string;

  /** @param name the source's name, without `.c` */
  constructor(name: string) {
    this.#folder = mkdtempSync(join(tmpdir(), 'sky-preload-'));
    this.missing = this.#compile(join(FIXTURES, `${name}.c`));
  }

  /** For LD_PRELOAD. */
  get library(): string {
    return join(this.#folder, 'preload.so');
  }

  /** Use in afterAll. */
  dispose(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #compile(source: string): string | null {
    if (process.platform !== 'linux') return 'needs Linux';
    try {
      execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', this.library, source, '-ldl'], { stdio: 'pipe' });
      return null;
    } catch (error) {
      return `needs a C compiler: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
}
