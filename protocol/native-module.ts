import { codeOf, messageOf } from './errors.js';

/**
 * What to do when better-sqlite3 is there without its compiled part, or with that of another Node.js: npm was told not to run
 * install scripts, node_modules was copied from elsewhere, or Node.js was updated.
 * @returns null for any other error
 */
export function nativeModuleRemedy(error: unknown): string | null {
  const missing = messageOf(error).startsWith('Could not locate the bindings file');
  if (!missing && codeOf(error) !== 'ERR_DLOPEN_FAILED') return null;
  const why = missing ? 'has not been compiled' : 'was compiled for another Node.js';
  return `better-sqlite3 ${why}. Run "npm rebuild better-sqlite3" where skylinedb is installed. If npm says that it blocks install scripts, allow this one first: "allowScripts": { "better-sqlite3": true } in your package.json.`;
}
