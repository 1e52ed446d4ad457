import { invalidRequest } from '../../protocol/errors.js';

/** What the shell does with a statement. */
export type Intent =
  /** Perhaps nothing but reading: whoever reads the file tells. */
  | { readonly kind: 'read' }
  | { readonly kind: 'write' }
  /** `read`: BEGIN READ ONLY, which SQLite does not have: a snapshot that nobody waits for. */
  | { readonly kind: 'begin'; readonly read: boolean }
  | { readonly kind: 'commit' }
  | { readonly kind: 'rollback' }
  | { readonly kind: 'use'; readonly name: string }
  | { readonly kind: 'show databases' }
  | { readonly kind: 'create database'; readonly name: string; readonly ifNotExists: boolean }
  | { readonly kind: 'drop database'; readonly name: string; readonly ifExists: boolean };

const COMMENT = /--[^\n]*(?:\n|$)|\/\*[\s\S]*?(?:\*\/|$)/g;
const NAME = String.raw`("(?:[^"]|"")+"|\[[^\]]+\]|${'`'}[^${'`'}]+${'`'}|'(?:[^']|'')+'|\S+)`;
const BEGIN = /^begin( (deferred|immediate|exclusive))?( transaction)?$/i;
const READ = /^begin( transaction)? read only$/i;
const COMMIT = /^(commit|end)( transaction)?$/i;
const ROLLBACK = /^rollback( transaction)?$/i;

/**
 * What a whole statement is, by its first words.
 * @throws ProtocolError `INVALID_REQUEST` for a statement of the shell's own that is not written as it must be
 */
export function intentOf(sql: string): Intent {
  const text = sql.replace(COMMENT, ' ').trim();
  const words = text.replace(/\s+/g, ' ');
  if (BEGIN.test(words)) return { kind: 'begin', read: false };
  if (READ.test(words)) return { kind: 'begin', read: true };
  if (COMMIT.test(words)) return { kind: 'commit' };
  if (ROLLBACK.test(words)) return { kind: 'rollback' };
  if (/^show databases$/i.test(words)) return { kind: 'show databases' };
  if (/^use\b/i.test(words)) {
    const use = match(text, `use\\s+${NAME}`, 'USE name');
    return { kind: 'use', name: unquoted(use[1] ?? '') };
  }
  if (/^create database\b/i.test(words)) {
    const form = 'CREATE DATABASE [IF NOT EXISTS] name';
    const create = match(text, `create\\s+database\\s+(if\\s+not\\s+exists\\s+)?${NAME}`, form);
    return { kind: 'create database', name: unquoted(create[2] ?? ''), ifNotExists: create[1] !== undefined };
  }
  if (/^drop database\b/i.test(words)) {
    const form = 'DROP DATABASE [IF EXISTS] name';
    const drop = match(text, `drop\\s+database\\s+(if\\s+exists\\s+)?${NAME}`, form);
    return { kind: 'drop database', name: unquoted(drop[2] ?? ''), ifExists: drop[1] !== undefined };
  }
  return { kind: /^(select|values|with|explain)\b/i.test(text) ? 'read' : 'write' };
}

function match(text: string, pattern: string, form: string): RegExpExecArray {
  const found = new RegExp(`^${pattern}$`, 'i').exec(text);
  if (found === null) throw invalidRequest(`It is written ${form}.`);
  return found;
}

function unquoted(name: string): string {
  const quote = name.charAt(0);
  if (quote === '[') return name.slice(1, -1);
  if (!/["'`]/.test(quote)) return name;
  return name.slice(1, -1).replaceAll(quote + quote, quote);
}
