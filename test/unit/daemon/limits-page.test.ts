import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseConfig } from '../../../daemon/config.js';
import { fallbackOf, flagOf, SETTING_NAMES, type SettingName } from '../../../daemon/settings.js';
import { MAX_OUTCOMES, MAX_SESSION_SIZE } from '../../../daemon/worker/sessions.js';
import { decodeRequest } from '../../../protocol/decode-request.js';
import type { Limits } from '../../../protocol/messages.js';

const PAGE = readFileSync(new URL('../../../docs/limits.md', import.meta.url), 'utf8');
const { limits } = parseConfig([], { platform: 'linux', env: {}, uid: 1, home: '/home/me' }, '/here');

/** The cells of the table under a heading, without those of its head. */
function tableUnder(heading: string): string[][] {
  const [, text = ''] = PAGE.split(`\n## ${heading}\n`);
  const [section = ''] = text.split('\n## ');
  return section
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .slice(2)
    .map((line) =>
      line
        .split('|')
        .map((cell) => cell.trim().replaceAll('`', ''))
        .slice(1, -1),
    );
}

test('docs/limits.md has the limits that Hello reports, with their defaults and options', () => {
  const rows = tableUnder('What Hello reports');
  expect(rows.map(([name]) => name)).toEqual(Object.keys(limits));
  for (const [name = '', value, , , option] of rows) {
    expect({ name, value }).toEqual({ name, value: String(limits[name as keyof Limits]) });
    const settable = SETTING_NAMES.includes(name as SettingName);
    expect(option).toBe(settable ? `--${flagOf(name as SettingName)}` : '');
  }
});

test('and every other setting that bounds something', () => {
  const bounds = SETTING_NAMES.filter((name) => /^max_|_max$|_limit$|_timeout$|_ttl$|_lease$/.test(name));
  const rows = tableUnder('What else can be set');
  const others = bounds.filter((name) => !Object.hasOwn(limits, name));
  expect(rows.map(([name]) => name).sort()).toEqual([...others].sort());
  for (const [name, value] of rows) expect(value).toBe(fallbackOf(name as SettingName));
});

test('what it says to be fixed is so', () => {
  const fixed = Object.fromEntries(
    tableUnder('What is fixed').map(([what = '', bound = '']) => [what, bound]),
  );
  expect(fixed['unacknowledged outcomes of a session']).toBe(
    `${MAX_OUTCOMES}, and ${MAX_SESSION_SIZE} UTF-16 units`,
  );
  const ping = (id: string) => () => decodeRequest({ type: 'Ping', id });
  expect(fixed['an id']).toBe('256 UTF-16 units');
  expect(ping('x'.repeat(256))).not.toThrow();
  expect(ping('x'.repeat(257))).toThrow('256');
  const batch = (session: string) => () => decodeRequest({ type: 'ExecBatch', session });
  expect(fixed['a session']).toBe('128 UTF-16 units');
  expect(batch('x'.repeat(128))).not.toThrow();
  expect(batch('x'.repeat(129))).toThrow('128');
  expect(fixed.timeout_ms).toBe('24 hours');
  expect(decodeRequest({ type: 'ExecBatch', timeout_ms: 2 ** 40 })).toMatchObject({ timeout_ms: 86_400_000 });
});
