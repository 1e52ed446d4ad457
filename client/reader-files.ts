import { statSync } from 'node:fs';
import { SkylineError } from '../protocol/errors.js';

/** Which files are at the paths. */
export interface Files {
  readonly main: string;
  /** The `-shm`s beside them: those of writers, or left over. */
  readonly index: string;
}

/** @throws SkylineError `DATABASE_NOT_FOUND`, `DATABASE_NOT_ALLOWED` */
export function filesAt(paths: readonly string[]): Files {
  return { main: paths.map(fileAt).join(), index: paths.map(indexAt).join() };
}

function fileAt(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (stat === undefined)
    throw new SkylineError(
      'DATABASE_NOT_FOUND',
      `There is no database at ${path}. The first write makes it.`,
    );
  if (!stat.isFile())
    throw new SkylineError('DATABASE_NOT_ALLOWED', `${path} is no regular file, so no database.`);
  return `${stat.dev}:${stat.ino}`;
}

export function sameFiles(one: Files, other: Files | null): boolean {
  return one.main === other?.main && one.index === other.index;
}

/** Whether a file is in both, with another `-shm` in one than in the other. */
export function shareStale(one: Files, other: Files): boolean {
  const index = other.index.split(',');
  const theirs = new Map(other.main.split(',').map((file, at) => [file, index[at]]));
  return one.main
    .split(',')
    .some((file, at) => theirs.has(file) && theirs.get(file) !== one.index.split(',')[at]);
}

/** Which `-shm` lies there; '' for none. With another than the writer's, nothing is heard of its commits. */
function indexAt(path: string): string {
  const stat = statSync(`${path}-shm`, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? '' : `${stat.dev}:${stat.ino}`;
}
