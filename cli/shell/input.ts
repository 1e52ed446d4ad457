import { splitSql, takeComplete } from '../split-sql.js';

/** What somebody has typed, as soon as it is whole. */
export type Unit =
  | { readonly kind: 'sql'; readonly sql: string; readonly line: number }
  /** A line that begins with `.` or `\`. */
  | { readonly kind: 'command'; readonly text: string; readonly line: number };

/** Comments that have ended. */
const COMMENTS = /--[^\n]*\n|\/\*[\s\S]*?\*\//g;

/** Gathers lines into statements and commands: a statement is whole where SQLite says so. A plain object, without I/O. */
export class Input {
  #text = '';
  /** Where the text begins, from 1. */
  #first = 1;
  #line = 0;

  /** Whether a statement has begun that is not whole yet. */
  get pending(): boolean {
    return this.#text !== '';
  }

  /** Takes a line, without its line feed. */
  add(line: string): Unit[] {
    this.#line += 1;
    if (!this.pending) {
      this.#first = this.#line;
      if (/^\s*[.\\]/.test(line)) return [{ kind: 'command', text: line.trim(), line: this.#line }];
    }
    this.#text += `${line}\n`;
    // Only a semicolon makes a statement whole: a long one is not read again with each of its lines.
    const units = line.includes(';') ? this.#take() : [];
    if (this.#text.length < 4096 && this.#text.replace(COMMENTS, '').trim() === '') this.#text = '';
    return units;
  }

  /** There is nothing more to come: what has begun is all there is. */
  end(): Unit[] {
    const units = splitSql(this.#text).map((statement) => this.#unit(statement));
    this.clear();
    return units;
  }

  /** Forgets what has begun. */
  clear(): void {
    this.#text = '';
  }

  #take(): Unit[] {
    const { statements, end } = takeComplete(this.#text);
    const units = statements.map((statement) => this.#unit(statement));
    this.#first += this.#text.slice(0, end).split('\n').length - 1;
    this.#text = this.#text.slice(end);
    return units;
  }

  #unit({ sql, line }: { readonly sql: string; readonly line: number }): Unit {
    return { kind: 'sql', sql, line: this.#first + line - 1 };
  }
}
