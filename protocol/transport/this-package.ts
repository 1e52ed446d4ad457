import { homedir } from 'node:os';
import type { Surroundings } from '../endpoint.js';

export { VERSION } from '../version.js';

/** This process's surroundings, for the rules in protocol/endpoint.ts. */
export function surroundings(): Surroundings {
  return { platform: process.platform, env: process.env, uid: process.getuid?.() ?? -1, home: homedir() };
}
