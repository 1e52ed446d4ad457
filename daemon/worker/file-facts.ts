import { statSync } from 'node:fs';

/** What a file was at one moment: if all of it is the same, nobody has touched it. */
export interface FileFacts {
  readonly dev: string;
  readonly ino: string;
  readonly size: string;
  readonly mtimeNs: string;
}

/** A database's files at one moment. */
export interface DatabaseFacts {
  readonly main: FileFacts | null;
  readonly wal: FileFacts | null;
}

/** The facts to compare later; null when there is no file. */
export function factsOf(path: string): FileFacts | null {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (stat === undefined) return null;
  return { dev: `${stat.dev}`, ino: `${stat.ino}`, size: `${stat.size}`, mtimeNs: `${stat.mtimeNs}` };
}

export function databaseFactsOf(path: string): DatabaseFacts {
  const wal = factsOf(`${path}-wal`);
  // An empty one comes and goes with whoever reads.
  return { main: factsOf(path), wal: wal?.size === '0' ? null : wal };
}

export function sameFacts(one: FileFacts | null, other: FileFacts | null): boolean {
  if (one === null || other === null) return one === other;
  return (
    one.dev === other.dev && one.ino === other.ino && one.size === other.size && one.mtimeNs === other.mtimeNs
  );
}

export function sameDatabaseFacts(one: DatabaseFacts, other: DatabaseFacts): boolean {
  return sameFacts(one.main, other.main) && sameFacts(one.wal, other.wal);
}
