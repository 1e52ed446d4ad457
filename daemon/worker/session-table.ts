import type Database from 'better-sqlite3';
import { digits } from '../../protocol/digits.js';

/**
 * The daemon's own table of sessions in each database: one row per client session, with the outcomes that its client may
 * ask for again. Written in the transaction of the batches themselves, once per group, so that outcome and effect are one.
 */
const TABLE = '_skylinedb_sessions';

/** What became of a batch: `ok` and `error` with the answer, `cut` with one whose results are too large, `begun` with the
 * number of statements that were done so far (`tx: "none"`). */
export type RecordKind = 'ok' | 'cut' | 'error' | 'begun';

/** One outcome as a line of text, and what is looked at without reading it. */
export interface OutcomeRecord {
  readonly seq: number;
  /** Fingerprint of the batch's body. */
  readonly body: number;
  /** `seq body kind text`. The text is JSON without line breaks, exactly as it was sent: 2.0 must not become 2. */
  readonly line: string;
}

/** A session as it is kept. */
export interface Session {
  /** The highest seq that is recorded. */
  last: number;
  /** Up to here the client has all answers, or they are not kept any more. */
  acked: number;
  /** Their seqs rise. No Map: entries that come and go all the time make iterating one slow, and garbage. */
  readonly records: OutcomeRecord[];
  /** Of all lines together, in UTF-16 units. */
  size: number;
}

/** A new session, of which nothing is recorded. */
export function newSession(): Session {
  return { last: 0, acked: 0, records: [], size: 0 };
}

export function toLine(seq: number, body: number, kind: RecordKind, text: string): string {
  return `${digits(seq)} ${digits(body)} ${kind} ${text}`;
}

/** The inverse of {@link toLine}. */
export function fromLine(line: string): { seq: number; body: number; kind: RecordKind; text: string } {
  const [seq = '', body = '', kind = ''] = line.split(' ', 3);
  return {
    seq: Number(seq),
    body: Number(body),
    kind: kind as RecordKind,
    text: line.slice(seq.length + body.length + kind.length + 3),
  };
}

interface Row {
  readonly last: number;
  readonly acked: number;
  readonly outcomes: string;
}

interface Statements {
  readonly read: Database.Statement<[string], Row>;
  readonly write: Database.Statement<unknown[]>;
}

/**
 * Reads and writes the rows. WITHOUT ROWID and REPLACE leave last_insert_rowid() as it is and changes() at 1, as the
 * position's row does, so that no client can see that there are sessions.
 */
export class SessionTable {
  readonly #db: Database.Database;
  #statements: Statements | null = null;

  constructor(db: Database.Database) {
    this.#db = db;
  }

  /** The session's row; undefined when there is none. */
  read(name: string): Session | undefined {
    const row = this.#existing()?.read.get(name);
    if (row === undefined) return undefined;
    const session = { ...newSession(), last: row.last, acked: row.acked };
    for (const line of row.outcomes === '' ? [] : row.outcomes.split('\n')) {
      const { seq, body } = fromLine(line);
      session.records.push({ seq, body, line });
      session.size += line.length;
    }
    return session;
  }

  /** Writes the session's row, in the transaction that is open; makes the table with the first one. */
  write(name: string, { last, acked, records }: Session, seconds: number): void {
    let outcomes = '';
    for (const { line } of records) outcomes += outcomes === '' ? line : `\n${line}`;
    this.#made().write.run(name, seconds, last, acked, outcomes);
  }

  /** How many sessions there are, and how long the longest unused one has been so: the time of its last use. */
  count(): { count: number; oldest: number } {
    if (this.#existing() === null) return { count: 0, oldest: 0 };
    return this.#db
      .prepare(`SELECT count(*) AS count, ifnull(min(used), 0) AS oldest FROM ${TABLE}`)
      .get() as {
      count: number;
      oldest: number;
    };
  }

  /** Removes sessions last used before then, and so many more, the longest unused first; `most` of them at once. */
  remove(before: number, surplus: number, most: number): void {
    this.#db
      .prepare(
        `DELETE FROM ${TABLE} WHERE session IN (SELECT session FROM (SELECT session, used, row_number() OVER (ORDER BY used) AS place FROM ${TABLE}) WHERE used < ? OR place <= ? ORDER BY used LIMIT ?)`,
      )
      .run(before, surplus, most);
  }

  /** After a rollback the table may be gone again. */
  forget(): void {
    this.#statements = null;
  }

  #made(): Statements {
    const existing = this.#existing();
    if (existing !== null) return existing;
    // `outcomes` last: looking for the unused ones need not read them.
    this.#db.exec(
      `CREATE TABLE ${TABLE} (session TEXT PRIMARY KEY, used INTEGER NOT NULL, last INTEGER NOT NULL, acked INTEGER NOT NULL, outcomes TEXT NOT NULL) WITHOUT ROWID`,
    );
    return this.#prepare();
  }

  #existing(): Statements | null {
    if (this.#statements !== null) return this.#statements;
    const present =
      this.#db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(TABLE) !==
      undefined;
    return present ? this.#prepare() : null;
  }

  #prepare(): Statements {
    this.#statements = {
      read: this.#db.prepare<[string], Row>(`SELECT last, acked, outcomes FROM ${TABLE} WHERE session = ?`),
      write: this.#db.prepare(
        `REPLACE INTO ${TABLE} (session, used, last, acked, outcomes) VALUES (?, ?, ?, ?, ?)`,
      ),
    };
    return this.#statements;
  }
}
