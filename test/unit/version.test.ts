import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { VERSION } from '../../protocol/version.js';

test('the version that programs tell is the one of package.json', () => {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  expect((JSON.parse(manifest) as { version: string }).version).toBe(VERSION);
});
