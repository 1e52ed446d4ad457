import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** A promise of docs/promises.md, and the tests that are named below it. */
interface Promised {
  readonly text: string;
  readonly tests: { readonly file: string; readonly title: string }[];
}

function promises(): Promised[] {
  const found: Promised[] = [];
  for (const line of readFileSync(`${ROOT}docs/promises.md`, 'utf8').split('\n')) {
    const [, text] = /^- (.+)$/.exec(line) ?? [];
    const [, file, title] = /^ {2}- `(.+?)`: (.+)$/.exec(line) ?? [];
    if (text !== undefined) found.push({ text, tests: [] });
    else if (file !== undefined && title !== undefined) found.at(-1)?.tests.push({ file, title });
    else if (/^ *- /.test(line)) throw new Error(`neither a promise nor a test: ${line}`);
  }
  return found;
}

/** The titles of a test file, with `…` for what differs from case to case. */
function titlesOf(file: string): Set<string> {
  const titles = new Set<string>();
  const source = ts.createSourceFile(file, readFileSync(`${ROOT}${file}`, 'utf8'), ts.ScriptTarget.ES2023);
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && ['test', 'it', 'describe'].includes(nameOf(node.expression))) {
      const [title] = node.arguments;
      if (title !== undefined && ts.isStringLiteralLike(title))
        titles.add(title.text.replace(/%[sijdf#]/g, '…'));
      if (title !== undefined && ts.isTemplateExpression(title))
        titles.add(title.head.text + title.templateSpans.map(({ literal }) => `…${literal.text}`).join(''));
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return titles;
}

/** `test` of `test(…)`, `test.each([…])(…)`, `test.skipIf(…)(…)`. */
function nameOf(callee: ts.Expression): string {
  if (ts.isIdentifier(callee)) return callee.text;
  if (ts.isCallExpression(callee) || ts.isPropertyAccessExpression(callee)) return nameOf(callee.expression);
  return '';
}

describe('docs/promises.md', () => {
  const all = promises();

  test('has a test for each promise', () => {
    expect(all.length).toBeGreaterThan(50);
    expect(all.filter(({ tests }) => tests.length === 0).map(({ text }) => text)).toEqual([]);
  });

  test('names tests that there are', () => {
    const known = new Map<string, Set<string>>();
    const missing = all.flatMap(({ tests }) =>
      tests.filter(({ file, title }) => {
        if (!existsSync(`${ROOT}${file}`)) return true;
        const titles = known.get(file) ?? titlesOf(file);
        known.set(file, titles);
        return !titles.has(title);
      }),
    );
    expect(missing.map(({ file, title }) => `${file}: ${title}`)).toEqual([]);
  });
});
