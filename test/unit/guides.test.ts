import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { blocksOf } from '../support/guide.js';

const DOCS = fileURLToPath(new URL('../../docs', import.meta.url));
const GUIDES = join(DOCS, 'guides');
const read = (path: string) => readFileSync(path, 'utf8');
const guides = readdirSync(GUIDES).filter((name) => name.endsWith('.md'));

describe('blocks', () => {
  test('a named block becomes a file, others are commands and what they print', () => {
    const text =
      '# x\n\n```js\n// lib/a.mjs\n1;\n```\n\n- y\n\n  ```sh\n  node lib/a.mjs\n  ```\n\n```text\n1\n```\n';
    expect(blocksOf(text).map(({ language, file, line, text }) => [language, file, line, text])).toEqual([
      ['js', 'lib/a.mjs', 3, '// lib/a.mjs\n1;\n'],
      ['sh', null, 10, 'node lib/a.mjs\n'],
      ['text', null, 14, '1\n'],
    ]);
  });

  test.each(['```js\n1;\n', '```\nx\n```\n', '```python\nx\n```\n'])('is refused: %j', (text) => {
    expect(() => blocksOf(text)).toThrow(/^line 1/);
  });
});

test.each([...guides.map((name) => join('guides', name)), 'troubleshooting.md'])(
  'the links of docs/%s lead somewhere',
  (name) => {
    const path = join(DOCS, name);
    const prose = read(path).replace(/^ *```.*?^ *```$/gms, '');
    const links = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '');
    for (const link of links.filter((link) => !link.startsWith('http'))) {
      const [file = '', anchor] = link.split('#');
      const target = file === '' ? path : join(dirname(path), file);
      expect(existsSync(target), link).toBe(true);
      if (anchor !== undefined) expect(anchorsOf(read(target)), link).toContain(anchor);
    }
  },
);

test('each guide is in the list of guides', () => {
  const list = read(join(GUIDES, 'README.md'));
  for (const name of guides.filter((name) => name !== 'README.md')) expect(list).toContain(`(${name})`);
});

test('each figure of "Do I need this?" is in performance.md', () => {
  const figures = [...read(join(GUIDES, 'do-i-need-this.md')).matchAll(/\*\*(\d[^*]*)\*\*/g)].map(
    (match) => match[1],
  );
  expect(figures.length).toBeGreaterThan(15);
  const measured = read(join(DOCS, 'performance.md'));
  for (const figure of figures) expect(measured).toContain(figure);
});

/** As GitHub makes them of headings. */
function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.*)$/gm)].map((match) =>
    (match[1] ?? '')
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}
