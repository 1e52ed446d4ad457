import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import type { Surroundings } from '../endpoint.js';

/** The package's version. Compiled code lies in dist/protocol/transport, three folders below package.json. */
export const VERSION: string = (
  JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

/** This process's surroundings, for the rules in protocol/endpoint.ts. */
export function surroundings(): Surroundings {
  return { platform: process.platform, env: process.env, uid: process.getuid?.() ?? -1, home: homedir() };
}
