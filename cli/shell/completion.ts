import { COMMANDS } from './dot-command.js';
import { KEYWORDS } from './keywords.js';
import { MODES } from './printer.js';

/** What names can be completed to. */
export interface Names {
  /** Tables and views, with their columns. */
  readonly tables: ReadonlyMap<string, readonly string[]>;
  readonly databases: readonly string[];
}

/** What may stand for a word's beginning, and that beginning: what node:readline asks for. */
export type Completion = [hits: string[], word: string];

const DOT_NAMES = Object.keys(COMMANDS).map((name) => `.${name}`);
const TWINS = Object.values(COMMANDS).flatMap(({ twins }) => twins);
const PLAIN = /^[a-z_\u0080-\uffff][a-z0-9_$\u0080-\uffff]*$/i;
const MOST = 500;

/** Completes the word at the end of a line. */
export function complete(line: string, names: Names): Completion {
  const command = /^\s*([.\\]\S*)(?:\s+(\S*))?$/.exec(line);
  if (command !== null) {
    const [, word = '', argument] = command;
    return argument === undefined
      ? beginning([...DOT_NAMES, ...TWINS], word)
      : beginning(argumentsOf(word, names), argument);
  }
  if (/^\s*use\s+\S*$/i.test(line)) return beginning(names.databases, /\S*$/.exec(line)?.[0] ?? '');
  const word = /[\p{L}\p{N}_$."]*$/u.exec(line)?.[0] ?? '';
  const dot = word.lastIndexOf('.');
  if (dot >= 0) {
    const owner = word.slice(0, dot).replaceAll('"', '').toLowerCase();
    const columns = [...names.tables].find(([table]) => table.toLowerCase() === owner)?.[1] ?? [];
    const [hits] = beginning(columns.map(written), word.slice(dot + 1));
    return [hits.map((hit) => word.slice(0, dot + 1) + hit), word];
  }
  if (word === '') return [[], ''];
  const lower = word === word.toLowerCase();
  const columns = [...names.tables.values()].flat();
  return beginning(
    [
      ...[...names.tables.keys(), ...columns].map(written),
      ...names.databases,
      ...KEYWORDS.map((keyword) => (lower ? keyword.toLowerCase() : keyword)),
    ],
    word,
  );
}

/** What a command takes. */
function argumentsOf(word: string, names: Names): readonly string[] {
  switch (word) {
    case '.mode':
      return MODES;
    case '.timer':
    case '\\timing':
      return ['on', 'off'];
    case '.use':
    case '\\c':
      return names.databases;
    case '.tables':
    case '.schema':
    case '.columns':
    case '.dump':
    case '\\dt':
    case '\\d':
      return [...names.tables.keys()];
    default:
      return [];
  }
}

/** Those that begin so, whatever their case, each once. */
function beginning(words: readonly string[], start: string): Completion {
  const wanted = start.toLowerCase();
  const hits = new Set(
    words.filter((word) => word.replace('"', '').toLowerCase().startsWith(wanted.replace('"', ''))),
  );
  return [[...hits].slice(0, MOST).sort(), start];
}

/** As SQL takes it. */
function written(name: string): string {
  return PLAIN.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}
