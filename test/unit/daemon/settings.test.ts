import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseConfig } from '../../../daemon/config.js';
import { type ConfigFile, parseConfigFile } from '../../../daemon/config-file.js';
import { daemonHelp } from '../../../daemon/help.js';
import { duration, size } from '../../../daemon/setting-kinds.js';
import {
  fallbackOf,
  flagOf,
  SETTING_NAMES,
  SETTINGS,
  type Setting,
  variableOf,
} from '../../../daemon/settings.js';
import { similar } from '../../../daemon/similar.js';
import type { Surroundings } from '../../../protocol/endpoint.js';
import { messageOf } from '../../../protocol/errors.js';

const AROUND: Surroundings = { platform: 'linux', env: {}, uid: 1000, home: '/home/me' };

interface Said {
  readonly argv?: readonly string[];
  readonly env?: Surroundings['env'];
  readonly files?: readonly ConfigFile[];
}

function config({ argv = [], env = {}, files = [] }: Said) {
  return parseConfig(argv, { ...AROUND, env }, '/here', files);
}

/** The message of the refusal. */
function refusal(said: Said): string {
  try {
    config(said);
  } catch (error) {
    expect(error).toMatchObject({ code: 'INVALID_REQUEST' });
    return messageOf(error);
  }
  throw new Error(`accepted: ${JSON.stringify(said)}`);
}

function toml(text: string, path = '/data/skylinedb.toml'): Promise<ConfigFile> {
  return parseConfigFile(path, text);
}

function comesFrom(said: Said, name: string) {
  const found = config(said).effective.find((one) => one.name === name);
  return found === undefined ? undefined : [found.value, found.source, found.where];
}

test('a flag counts before the environment, that before the files in their order, those before the default', async () => {
  const argv = ['--max-workers', '1'];
  const env = { SKYLINEDB_MAX_WORKERS: '2' };
  const data = await toml('# here\n\nmax_workers = 3');
  const state = await toml('max_workers = 4', '/state/skylinedb.toml');
  const from = (said: Said) => comesFrom(said, 'max_workers');
  expect(from({ argv, env, files: [data, state] })).toEqual(['1', 'flag', '--max-workers']);
  expect(from({ env, files: [data, state] })).toEqual(['2', 'environment', 'SKYLINEDB_MAX_WORKERS']);
  expect(from({ files: [data, state] })).toEqual(['3', 'file', '/data/skylinedb.toml:3']);
  expect(from({ files: [state] })).toEqual(['4', 'file', '/state/skylinedb.toml:1']);
  expect(from({ env: { SKYLINEDB_MAX_WORKERS: '' } })).toEqual(['64', 'default', '']);
  expect(config({ env, files: [data] }).maxWorkers).toBe(2);
  expect(config({ files: [data, state] }).maxWorkers).toBe(3);
});

const SOME: { readonly [placeholder: string]: string } = { DIR: '/a', N: '7', SIZE: '1MB', TIME: '5s' };

test('each setting can be said in each way, and its default is one of its values', async () => {
  for (const name of SETTING_NAMES) {
    const { kind, fallback } = SETTINGS[name] as Setting<unknown>;
    // Where the default is that nothing is set, some value.
    const text = fallbackOf(name) || (SOME[kind.placeholder] ?? '');
    const value = kind.format(kind.parse(text, '/'));
    if (fallbackOf(name) !== '') expect(kind.parse(text, '/')).toEqual(fallback);
    const files = [await toml(`${name} = ${JSON.stringify(text)}`)];
    expect(comesFrom({ argv: [`--${flagOf(name)}`, text] }, name)).toEqual([
      value,
      'flag',
      `--${flagOf(name)}`,
    ]);
    expect(comesFrom({ env: { [variableOf(name)]: text } }, name)).toEqual([
      value,
      'environment',
      variableOf(name),
    ]);
    expect(comesFrom({ files }, name)).toEqual([value, 'file', '/data/skylinedb.toml:1']);
  }
});

test('the help names each setting with its default, in lines that fit', () => {
  const help = daemonHelp();
  for (const name of SETTING_NAMES) expect(help).toContain(`  --${flagOf(name)} `);
  expect(help).toContain('(default: 64MB)');
  for (const line of help.split('\n')) expect(line.length, line).toBeLessThanOrEqual(118);
});

test('numbers need no quotes in a file, and folders may be many', async () => {
  const files = [await toml('wal_limit = 1048576\nidle_timeout = 1500\nroot = ["sub", "/abs"]')];
  expect(config({ files })).toMatchObject({
    walLimit: 1024 ** 2,
    idleTimeoutMs: 1500,
    // In a file, relative ones belong to its folder.
    roots: ['/data/sub', '/abs'],
  });
  expect(config({ env: { SKYLINEDB_ROOT: '/a:b' } }).roots).toEqual(['/a', '/here/b']);
});

test.each([
  ['wal_limit = "64 MB"', ':1: wal_limit takes a size from 1MB to 1GB, but got "64 MB".'],
  ['\nwal_limit = true', ':2: wal_limit takes a size from 1MB to 1GB, but got true.'],
  ['wal_limit = 0.5', ':1: wal_limit takes'],
  ['idle_timeout = 1979-05-27', ':1: idle_timeout takes a time such as 30m'],
  ['log_level = "wran"', 'but got "wran". Did you mean warn?'],
  ['durability = ["full"]', ':1: durability takes normal or full, but got an array.'],
  ['root = [["/a"]]', ':1: root takes folders, but got an array.'],
  ['root = ["/a", ""]', ':1: root takes folders, but got "".'],
  ['wal-limit = 1', 'there is no setting "wal-limit". Did you mean wal_limit?'],
  ['x = 1\nwal_limti = 1', ':1: there is no setting "x". See'],
  ['wal_limti = 1', 'there is no setting "wal_limti". Did you mean wal_limit?'],
  ['[limits]\nmax_frame = 1', ':1: there is no setting "limits". See'],
  ['toString = 1', 'there is no setting "toString".'],
  ['"__proto__" = 1', 'there is no setting "__proto__".'],
])('the file %j is refused with its line: %s', async (text, message) => {
  const files = [await toml(text)];
  expect(refusal({ files })).toContain(`skylinedb-daemon: /data/skylinedb.toml`);
  expect(refusal({ files })).toContain(message);
});

test.each([
  ['wal_limit = ', ':1 cannot be used: '],
  ['a = 1\nb = "x', ':2 cannot be used: '],
  ['wal_limit = 1\nwal_limit = 2', ':2 cannot be used: '],
  ['{"wal_limit": 1}', ':1 cannot be used: '],
])('what is no TOML is refused with its line: %j', async (text, message) => {
  await expect(toml(text)).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
    message: expect.stringContaining(`/data/skylinedb.toml${message}`),
  });
});

test('whatever a file says, it is taken or refused, and nothing else', async () => {
  const value = fc.oneof(fc.string(), fc.double(), fc.integer(), fc.boolean(), fc.array(fc.string()));
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...SETTING_NAMES), value, async (name, given) => {
      const files: ConfigFile[] = [
        { path: '/data/skylinedb.toml', entries: [{ name, value: given, line: 1 }] },
      ];
      try {
        config({ files });
      } catch (error) {
        expect(error).toMatchObject({ code: 'INVALID_REQUEST', message: expect.stringContaining(name) });
      }
    }),
  );
});

test.each([
  'SKYLINEDB_WAL_LIMITS',
  'SKYLINEDB_WALLIMIT',
  'SKYLINEDB_MAX_WROKERS',
  'SKYLINEDB_SOCKT',
  'SKYLINEDB_wal_limit',
])('the variable %s is taken for a mistake', (variable) => {
  expect(refusal({ env: { [variable]: '' } })).toMatch(
    /the environment has SKYLINEDB_\w+, .*Did you mean SKYLINEDB_/,
  );
});

test.each([
  'SKYLINEDB_TEST_MARK',
  'SKYLINEDB_COLOR',
  'SKYLINEDB_',
  'MY_SKYLINEDB_WAL_LIMITS',
  'SKYLINEDB_BENCH_DIR',
])("the variable %s is somebody else's", (variable) => {
  expect(() => config({ env: { [variable]: 'x' } })).not.toThrow();
});

test('a value that does not count is checked as well', () => {
  const said = { argv: ['--max-workers', '1'], env: { SKYLINEDB_MAX_WORKERS: 'many' } };
  expect(refusal(said)).toContain(
    'SKYLINEDB_MAX_WORKERS takes a whole number from 1 to 4096, but got "many".',
  );
});

test('an option that does not exist is refused with the one that was meant', () => {
  expect(refusal({ argv: ['--wal-limits', '1'] })).toContain(
    'no option --wal-limits. Did you mean --wal-limit?',
  );
  expect(refusal({ argv: ['--zzz'] })).toMatch(/no option --zzz\. See/);
});

test('what is written can be read again', () => {
  const times = duration({ max: Number.MAX_SAFE_INTEGER });
  const sizes = size({ min: 0, max: Number.MAX_SAFE_INTEGER });
  fc.assert(
    fc.property(fc.nat(), fc.constantFrom(1, 1000, 60_000, 1024, 1024 ** 2), (amount, unit) => {
      expect(times.parse(times.format(amount * unit), '')).toBe(amount * unit);
      expect(sizes.parse(sizes.format(amount * unit), '')).toBe(amount * unit);
    }),
  );
});

test('names are similar when a letter or two differ, are missing, or have changed places', () => {
  expect(similar('wal_limti', SETTING_NAMES)).toBe('wal_limit');
  expect(similar('WAL_LIMIT', SETTING_NAMES)).toBe('wal_limit');
  expect(similar('durabilty', SETTING_NAMES)).toBe('durability');
  expect(similar('rot', SETTING_NAMES)).toBe('root');
  expect(similar('cat', SETTING_NAMES)).toBeUndefined();
  expect(similar('x'.repeat(10_000), SETTING_NAMES)).toBeUndefined();
  expect(similar('', SETTING_NAMES)).toBeUndefined();
});
