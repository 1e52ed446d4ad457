import { expect, test } from 'vitest';
import { nativeModuleRemedy } from '../../../protocol/native-module.js';

test('a native part that is missing, or of another Node.js, is told with what to run', () => {
  const missing = nativeModuleRemedy(new Error('Could not locate the bindings file. Tried:\n → /x'));
  expect(missing).toMatch(/has not been compiled.*npm rebuild better-sqlite3/);
  const other = nativeModuleRemedy(
    Object.assign(new Error('NODE_MODULE_VERSION 115'), { code: 'ERR_DLOPEN_FAILED' }),
  );
  expect(other).toMatch(/another Node.js.*npm rebuild better-sqlite3/);
});

test.each([
  new Error('database is locked'),
  Object.assign(new Error('x'), { code: 'SQLITE_BUSY' }),
  'text',
  null,
])('any other error is not its matter: %s', (error) => {
  expect(nativeModuleRemedy(error)).toBeNull();
});
