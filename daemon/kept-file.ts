import { existsSync } from 'node:fs';

/** Where a replacement keeps the old file: beside the database, under a name that says when it was the database. */

const KEPT = /\.before-epoch-\d+(-\d+)?$/;

/**
 * A name that is free.
 * @param epoch the one that begins
 */
export function keptName(path: string, epoch: number): string {
  const name = `${path}.before-epoch-${epoch}`;
  for (let number = 1; ; number += 1) {
    const candidate = number === 1 ? name : `${name}-${number}`;
    if (!existsSync(candidate)) return candidate;
  }
}

/** Whether a file has such a name. */
export function isKept(path: string): boolean {
  return KEPT.test(path);
}
