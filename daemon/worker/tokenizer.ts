/**
 * SQL text to tokens, by the rules of SQLite's own tokenizer, so that what the guard judges is what SQLite will read.
 * Every token is found by looking ahead only, and every character is passed once: time is linear in the text.
 *
 * The rules are those of `sqlite3GetToken` in https://sqlite.org/src/file/src/tokenize.c, in the configuration that
 * better-sqlite3 compiles. There `SQLITE_OMIT_TCL_VARIABLE` is set, so that Tcl's `$a::b(c)` is no variable: `$a`
 * ends before the `::`, which is illegal.
 */

/** What a token is. `illegal` is where SQLite stops with "unrecognized token". */
export type TokenKind =
  | 'word'
  | 'quoted'
  | 'string'
  | 'blob'
  | 'number'
  | 'variable'
  | 'operator'
  | 'illegal';

/** One token as it stands in the text. */
export interface Token {
  /** `word` is a keyword or a bare name; `quoted` a name in `"…"`, `` `…` `` or `[…]`; `string` is `'…'`. */
  readonly kind: TokenKind;
  /** The characters, quotes included. */
  readonly text: string;
  /** Where it begins, in UTF-16 code units. */
  readonly start: number;
}

/**
 * Splits SQL text into tokens. White space, comments (unterminated ones too) and byte order marks are left out. The
 * text ends at a NUL, as it does for SQLite. Never throws: what SQLite cannot read is a token of kind `illegal`.
 * @param sql any text
 */
export function tokenize(sql: string): Token[] {
  const nul = sql.indexOf('\0');
  const scanner = new Scanner(nul < 0 ? sql : sql.slice(0, nul));
  const tokens: Token[] = [];
  for (let token = scanner.next(); token !== undefined; token = scanner.next()) tokens.push(token);
  return tokens;
}

/**
 * The name or text that a token stands for: without its quotes, and with doubled quotes made single. Tokens without
 * quotes stand for themselves.
 */
export function nameOf(token: Token): string {
  const { kind, text } = token;
  if (kind !== 'quoted' && kind !== 'string') return text;
  const inner = text.slice(1, -1);
  const quote = text.charAt(0);
  // Within […] nothing is an escape, see https://sqlite.org/lang_keywords.html
  return quote === '[' || !inner.includes(quote) ? inner : inner.replaceAll(quote + quote, quote);
}

/**
 * Lower case as SQLite folds names and keywords: A to Z and nothing else. `toLowerCase` would turn the Kelvin sign
 * into a k and so find keywords where SQLite sees none.
 */
export function foldCase(name: string): string {
  const plain = !/[^ -~]/.test(name);
  return plain ? name.toLowerCase() : name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** The word in lower case, or '' for what is no word: a quoted "commit" is a name, never the keyword. */
export function keywordOf(token: Token | undefined): string {
  return token?.kind === 'word' ? foldCase(token.text) : '';
}

/** True for this very operator. */
export function isOperator(token: Token | undefined, text: string): boolean {
  return token?.kind === 'operator' && token.text === text;
}

const BOM = 0xfeff;
/** SQLite's CC_SPACE. A vertical tab may go on with white space but not begin it. */
const SPACE_START = new Set([0x09, 0x0a, 0x0c, 0x0d, 0x20]);
const VERTICAL_TAB = 0x0b;

class Scanner {
  readonly #sql: string;
  #at = 0;

  constructor(sql: string) {
    this.#sql = sql;
  }

  next(): Token | undefined {
    this.#skip();
    const start = this.#at;
    if (start >= this.#sql.length) return undefined;
    const kind = this.#scan(start);
    return { kind, text: this.#sql.slice(start, this.#at), start };
  }

  /** Passes white space and comments. */
  #skip(): void {
    const sql = this.#sql;
    for (;;) {
      const code = sql.charCodeAt(this.#at);
      if (SPACE_START.has(code)) {
        do this.#at += 1;
        while (isSpace(sql.charCodeAt(this.#at)));
      } else if (code === BOM) {
        this.#at += 1;
      } else if (sql.startsWith('--', this.#at)) {
        // The line feed is not the comment's: as white space, it may be followed by a vertical tab.
        const end = sql.indexOf('\n', this.#at + 2);
        this.#at = end < 0 ? sql.length : end;
      } else if (sql.startsWith('/*', this.#at) && this.#at + 2 < sql.length) {
        // With nothing behind it, "/*" is a slash and a star.
        this.#at = this.#after('*/', this.#at + 2);
      } else {
        return;
      }
    }
  }

  /** Passes the token that begins at `start`. */
  #scan(start: number): TokenKind {
    const sql = this.#sql;
    const first = sql.charAt(start);
    const following = sql.charCodeAt(start + 1);
    switch (first) {
      case "'":
        return this.#quoted(start, first, 'string');
      case '"':
      case '`':
        return this.#quoted(start, first, 'quoted');
      case '[':
        this.#at = this.#after(']', start + 1);
        return sql.charAt(this.#at - 1) === ']' ? 'quoted' : 'illegal';
      case 'x':
      case 'X':
        return sql.charAt(start + 1) === "'" ? this.#blob(start) : this.#word(start);
      case '?':
        this.#at = this.#while(isDigit, start + 1);
        return 'variable';
      case ':':
      case '@':
      case '$':
      case '#':
        this.#at = this.#while(isNameCode, start + 1);
        return this.#at > start + 1 ? 'variable' : 'illegal';
      case '.':
        if (isDigit(following)) return this.#number(start);
        break;
      default:
    }
    const code = sql.charCodeAt(start);
    if (isDigit(code)) return this.#number(start);
    if (isNameCode(code)) return this.#word(start);
    const length = operatorLength(sql, start);
    this.#at = start + Math.max(length, 1);
    return length > 0 ? 'operator' : 'illegal';
  }

  #word(start: number): TokenKind {
    this.#at = this.#while(isNameCode, start + 1);
    return 'word';
  }

  /** A doubled delimiter stands for itself. */
  #quoted(start: number, delimiter: string, kind: 'quoted' | 'string'): TokenKind {
    const sql = this.#sql;
    let close = sql.indexOf(delimiter, start + 1);
    while (close >= 0 && sql.charAt(close + 1) === delimiter) close = sql.indexOf(delimiter, close + 2);
    this.#at = close < 0 ? sql.length : close + 1;
    return close < 0 ? 'illegal' : kind;
  }

  #blob(start: number): TokenKind {
    const end = this.#while(isHexDigit, start + 2);
    this.#at = this.#after("'", end);
    return this.#sql.charAt(end) === "'" && (end - start) % 2 === 0 ? 'blob' : 'illegal';
  }

  /** Digits may be separated by `_`; where it may stand is checked by SQLite's parser, not by its tokenizer. */
  #number(start: number): TokenKind {
    const sql = this.#sql;
    let at = start;
    if (/^0x[\da-f]/i.test(sql.slice(start, start + 3))) {
      at = this.#while(isHexOrSeparator, start + 3);
    } else {
      at = this.#while(isDigitOrSeparator, at);
      if (sql.charAt(at) === '.') at = this.#while(isDigitOrSeparator, at + 1);
      if (/^e[+-]?\d/i.test(sql.slice(at, at + 3))) at = this.#while(isDigitOrSeparator, at + 2);
    }
    this.#at = this.#while(isNameCode, at);
    return this.#at > at ? 'illegal' : 'number';
  }

  #while(belongs: (code: number) => boolean, from: number): number {
    let at = from;
    while (at < this.#sql.length && belongs(this.#sql.charCodeAt(at))) at += 1;
    return at;
  }

  /** The place behind the next `mark`, or the end of the text. */
  #after(mark: string, from: number): number {
    const found = this.#sql.indexOf(mark, from);
    return found < 0 ? this.#sql.length : found + mark.length;
  }
}

/** 0 for a character that begins no operator. */
function operatorLength(sql: string, at: number): number {
  const following = sql.charAt(at + 1);
  switch (sql.charAt(at)) {
    case '-':
      return following === '>' ? (sql.charAt(at + 2) === '>' ? 3 : 2) : 1;
    case '<':
      return following === '=' || following === '>' || following === '<' ? 2 : 1;
    case '>':
      return following === '=' || following === '>' ? 2 : 1;
    case '=':
      return following === '=' ? 2 : 1;
    case '|':
      return following === '|' ? 2 : 1;
    case '!':
      return following === '=' ? 2 : 0;
    case '(':
    case ')':
    case ';':
    case '+':
    case '*':
    case '/':
    case '%':
    case ',':
    case '&':
    case '~':
    case '.':
      return 1;
    default:
      return 0;
  }
}

function isSpace(code: number): boolean {
  return SPACE_START.has(code) || code === VERTICAL_TAB;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function isHexDigit(code: number): boolean {
  return isDigit(code) || ((code | 0x20) >= 0x61 && (code | 0x20) <= 0x66);
}

function isDigitOrSeparator(code: number): boolean {
  return isDigit(code) || code === 0x5f;
}

function isHexOrSeparator(code: number): boolean {
  return isHexDigit(code) || code === 0x5f;
}

/** SQLite's IdChar: letters, digits, `_`, `$` and everything outside ASCII, Unicode's white space included. */
function isNameCode(code: number): boolean {
  return (
    ((code | 0x20) >= 0x61 && (code | 0x20) <= 0x7a) ||
    isDigit(code) ||
    code === 0x5f ||
    code === 0x24 ||
    code >= 0x80
  );
}
