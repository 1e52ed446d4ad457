import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { fallbackOf, SETTING_NAMES, SETTINGS, type Setting } from '../../../daemon/settings.js';

const PAGE = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8');

test('docs/configuration.md has the settings as the program has them', () => {
  const rows = SETTING_NAMES.map((name) => {
    const { kind, help } = SETTINGS[name] as Setting<unknown>;
    const fallback = fallbackOf(name);
    return `| \`${name}\` | ${fallback === '' ? '' : `\`${fallback}\``} | ${kind.takes} | ${help} |`;
  });
  const head = '| setting | default | takes | what it is |\n| --- | --- | --- | --- |\n';
  const start = PAGE.indexOf(head) + head.length;
  const found = PAGE.slice(start, PAGE.indexOf('\n\n', start));
  // To mend it, put this in the place of the table's rows.
  expect(found).toBe(rows.join('\n'));
});
