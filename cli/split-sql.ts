/** One statement of a script. */
export interface ScriptStatement {
  /** From its first token to its last, without the semicolon. */
  readonly sql: string;
  /** The line on which it begins, from 1. */
  readonly line: number;
}

/** What matters of a token here: `;`, a bare word in lower case, or anything else. */
interface Piece {
  readonly start: number;
  readonly end: number;
  readonly word: string;
}

/** SQLite's white space, and byte order marks, which it skips too. */
const SPACE = /[ \t\n\v\f\r\ufeff]+/y;
/** SQLite's names: letters, digits, `_`, `$` and everything outside of ASCII. */
const WORD = /[A-Za-z0-9_$\u0080-\uffff]+/y;

/**
 * Splits a script where SQLite itself would: at the semicolons that end a statement, not at those in strings, quoted names,
 * comments and the bodies of triggers. Empty statements are left out. Never throws: what SQLite cannot read stays in its
 * statement, for SQLite to refuse.
 *
 * The rules are those of https://sqlite.org/c3ref/complete.html: within CREATE TRIGGER only `; END ;` ends the statement.
 */
export function splitSql(script: string): ScriptStatement[] {
  const { statements, rest } = takeComplete(script);
  return rest === null ? statements : [...statements, rest];
}

/**
 * The same for a script that is still being written.
 * @returns the statements whose semicolon has come, what has begun behind them (null for nothing), and the place behind the
 *   last semicolon
 */
export function takeComplete(script: string): {
  statements: ScriptStatement[];
  rest: ScriptStatement | null;
  end: number;
} {
  const statements: ScriptStatement[] = [];
  const lines = new LineCounter(script);
  let pieces: Piece[] = [];
  const begun = (): ScriptStatement | null => {
    const [first, last] = [pieces[0], pieces.at(-1)];
    if (first === undefined || last === undefined) return null;
    return { sql: script.slice(first.start, last.end), line: lines.at(first.start) };
  };
  let at = 0;
  const end = (piece: Piece) => {
    at = piece.end;
    const statement = begun();
    if (statement !== null) statements.push(statement);
    pieces = [];
  };
  for (const piece of piecesOf(script)) {
    if (piece.word !== ';') pieces.push(piece);
    else if (!isTrigger(pieces)) end(piece);
    else if (pieces.at(-1)?.word === 'end' && pieces.at(-2)?.word === ';') end(piece);
    else pieces.push(piece);
  }
  return { statements, rest: begun(), end: at };
}

/** `[EXPLAIN [QUERY PLAN]] CREATE [TEMP | TEMPORARY] TRIGGER` */
function isTrigger(pieces: readonly Piece[]): boolean {
  const words = pieces.slice(0, 6).map(({ word }) => word);
  return /^(explain (query plan )?)?create (temp(orary)? )?trigger( |$)/.test(words.join(' '));
}

function* piecesOf(script: string): Generator<Piece> {
  let at = 0;
  while (at < script.length) {
    const start = at;
    const blank = skip(script, at);
    if (blank > at) {
      at = blank;
      continue;
    }
    const char = script.charAt(at);
    const word = lengthOf(WORD, script, at);
    at += word > 0 ? word : tokenLength(script, at);
    yield {
      start,
      end: at,
      word:
        char === ';'
          ? ';'
          : word > 0 && word <= 'temporary'.length
            ? script.slice(start, at).toLowerCase()
            : '',
    };
  }
}

/** The place behind white space or a comment that begins here; `at` itself if none does. */
function skip(script: string, at: number): number {
  if (script.startsWith('--', at)) return endAt(script, '\n', at + 2);
  if (script.startsWith('/*', at)) return endAt(script, '*/', at + 2);
  return at + lengthOf(SPACE, script, at);
}

function tokenLength(script: string, at: number): number {
  const open = script.charAt(at);
  if (open === '[') return endAt(script, ']', at + 1) - at;
  if (open !== "'" && open !== '"' && open !== '`') return 1;
  // A doubled quote, which stands for itself, is here as good as an end and a new beginning.
  return endAt(script, open, at + 1) - at;
}

function endAt(script: string, mark: string, from: number): number {
  const found = script.indexOf(mark, from);
  return found < 0 ? script.length : found + mark.length;
}

function lengthOf(pattern: RegExp, script: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.exec(script)?.[0].length ?? 0;
}

/** Counts line feeds once, however often it is asked, as long as the places come in order. */
class LineCounter {
  readonly #text: string;
  #line = 1;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  at(place: number): number {
    for (;;) {
      const feed = this.#text.indexOf('\n', this.#at);
      if (feed < 0 || feed >= place) return this.#line;
      this.#line += 1;
      this.#at = feed + 1;
    }
  }
}
