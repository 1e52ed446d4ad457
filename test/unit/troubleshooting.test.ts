import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { troubleshooting } from '../../cli/errors.js';
import { CLIENT_ERROR_CODES } from '../../protocol/errors.js';
import { ERROR_CODES } from '../../protocol/messages.js';

const page = readFileSync(new URL('../../docs/troubleshooting.md', import.meta.url), 'utf8');
const sections = [...page.matchAll(/^## (.*)$/gm)].map((match) => match[1] ?? '');
const codes = [...ERROR_CODES, ...CLIENT_ERROR_CODES];

test('each error code has a section in docs/troubleshooting.md, and no section is of a code that does not exist', () => {
  expect([...sections].sort()).toEqual([...codes].sort());
});

test('each section says something', () => {
  for (const text of page.split(/^## .*$/m).slice(1)) expect(text.trim().length).toBeGreaterThan(80);
});

test.each(codes)('what the command line names for %s is its section', (code) => {
  const [path, anchor] = troubleshooting(code).split('#');
  expect(path).toBe('docs/troubleshooting.md');
  // The anchor that Markdown renderers make of a heading.
  expect(sections.map((section) => section.toLowerCase())).toContain(anchor);
});
