import { usageError } from '../errors.js';

/** A command of the shell. */
export interface DotCommand {
  readonly name: CommandName;
  readonly args: readonly string[];
}

interface Entry {
  /** psql's name for it. */
  readonly twins: readonly string[];
  readonly args: string;
  readonly most: number;
  readonly least: number;
  readonly summary: string;
}

const entry = (
  args: string,
  [least, most]: readonly [number, number],
  twins: readonly string[],
  summary: string,
): Entry => ({ args, least, most, twins, summary });

/** All there are, in the order of the help. */
export const COMMANDS = {
  help: entry('', [0, 0], ['\\?'], 'this list'),
  databases: entry('', [0, 0], ['\\l'], 'the databases of the daemon; also SHOW DATABASES'),
  use: entry('DB', [1, 1], ['\\c'], 'go on with another database: a name, or a file; also USE name'),
  tables: entry('[TABLE]', [0, 1], ['\\dt'], 'tables and views; with % and _ as in LIKE'),
  schema: entry('[TABLE]', [0, 1], [], 'the CREATE statements'),
  columns: entry('[TABLE]', [0, 1], ['\\d'], "a table's columns, indexes and triggers"),
  mode: entry('[MODE]', [0, 1], [], 'how rows are shown: table, csv, json, line or tabs'),
  timer: entry('[on|off]', [0, 1], ['\\timing'], 'whether the time of each statement is shown'),
  read: entry('FILE', [1, 1], ['\\i'], 'run the statements and commands of a file, up to the first error'),
  import: entry('FILE TABLE', [2, 2], [], 'load a CSV or NDJSON file into a table: all rows or none'),
  dump: entry('[TABLE]', [0, 1], [], 'SQL that makes the database, or a table, again'),
  status: entry('', [0, 0], [], "the daemon's figures of this database"),
  quit: entry('', [0, 0], ['\\q'], 'leave; also Ctrl-D'),
} as const satisfies { readonly [name: string]: Entry };
export type CommandName = keyof typeof COMMANDS;

const NAMES = Object.keys(COMMANDS) as CommandName[];

/**
 * Reads a command's line: `.mode csv`, `\\i "my file.sql"`.
 * @throws ProtocolError `INVALID_REQUEST`
 */
export function parseCommand(line: string): DotCommand {
  const [word = '', ...args] = wordsOf(line);
  const name = nameOf(word);
  const { most, least, args: form } = COMMANDS[name];
  if (args.length < least || args.length > most)
    throw usageError(`It is written ${[`.${name}`, form].join(' ').trim()}.`);
  return { name, args };
}

/** `.q` is enough for `.quit`, as long as it can be no other. */
function nameOf(word: string): CommandName {
  const twin = NAMES.find((name) => (COMMANDS[name].twins as readonly string[]).includes(word));
  if (twin !== undefined) return twin;
  const wanted = word.slice(1).toLowerCase();
  if (word.startsWith('.') && wanted !== '') {
    const exact = NAMES.find((name) => name === wanted || (wanted === 'exit' && name === 'quit'));
    if (exact !== undefined) return exact;
    const beginning = NAMES.filter((name) => name.startsWith(wanted));
    const [only] = beginning;
    if (only !== undefined && beginning.length === 1) return only;
    if (beginning.length > 1)
      throw usageError(`${word} may be ${beginning.map((name) => `.${name}`).join(' or ')}.`);
  }
  throw usageError(`There is no command ${word}. Type .help for all of them.`);
}

/** Words are separated by spaces, and may be quoted as in a shell. */
function wordsOf(line: string): string[] {
  const words: string[] = [];
  for (const [, double, single, plain] of line.trim().matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g))
    words.push(double ?? single ?? plain ?? '');
  // `.tables;` is meant well.
  const last = words.at(-1);
  if (last !== undefined && last.length > 1) words[words.length - 1] = last.replace(/;$/, '');
  return words;
}

/** What `.help` prints. */
export function helpText(): string {
  const lines = NAMES.map((name) => {
    const { args, twins, summary } = COMMANDS[name];
    return `  ${`.${name} ${args}`.trim().padEnd(20)}${twins.join(' ').padEnd(10)}${summary}\n`;
  });
  return `${lines.join('')}
A statement ends with a semicolon. What only reads is read from the file; all else goes through the daemon. BEGIN … COMMIT is a
transaction. OTHER.TABLE reads another database. Ctrl-C stops the statement that runs, or forgets the one that has begun.
`;
}
