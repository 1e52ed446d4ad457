import { tokenize } from './tokenizer.js';

/** Where an INSERT goes, as far as last_insert_rowid is concerned. */
export interface InsertTarget {
  readonly table: string;
  /** It may update instead (ON CONFLICT DO UPDATE), and then leaves last_insert_rowid as it was. */
  readonly upserts: boolean;
}

/** The table of an INSERT or REPLACE; null when there is no INTO, which SQLite will refuse. */
export function insertTarget(sql: string): InsertTarget | null {
  const words = tokenize(sql).map(({ text }) => text);
  const into = words.findIndex((word) => word.toLowerCase() === 'into');
  if (into < 0) return null;
  const qualified = words[into + 2] === '.';
  const name = words[into + (qualified ? 3 : 1)];
  if (name === undefined) return null;
  const upserts = words.some(
    (word, at) => word.toLowerCase() === 'do' && words[at + 1]?.toLowerCase() === 'update',
  );
  return { table: unquote(name), upserts };
}

function unquote(name: string): string {
  const first = name[0];
  if (first === '[') return name.slice(1, -1);
  if (first === '"' || first === '`' || first === "'")
    return name.slice(1, -1).replaceAll(first + first, first);
  return name;
}
