import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Config, parseConfig } from '../../../daemon/config.js';
import { duration } from '../../../daemon/setting-kinds.js';
import type { Surroundings } from '../../../protocol/endpoint.js';
import { SkylineError } from '../../../protocol/errors.js';

const AROUND: Surroundings = { platform: 'linux', env: {}, uid: 1000, home: '/home/me' };

function config(argv: readonly string[], env: Surroundings['env'] = {}): Config {
  return parseConfig(argv, { ...AROUND, env }, '/here');
}

/** The message of the refusal. */
function refusal(argv: readonly string[]): string {
  try {
    config(argv);
  } catch (error) {
    expect(error).toBeInstanceOf(SkylineError);
    expect(error).toMatchObject({ code: 'INVALID_REQUEST' });
    return (error as SkylineError).message;
  }
  throw new Error(`accepted: ${argv.join(' ')}`);
}

test('without any option everything has its default', () => {
  expect(config([])).toMatchObject({
    endpoint: '/tmp/skylinedb-1000/v1.sock',
    dataDir: '/here',
    stateDir: '/home/me/.local/state/skylinedb',
    roots: [],
    idleTimeoutMs: 30 * 60_000,
    workerIdleTimeoutMs: 5 * 60_000,
    busyTimeoutMs: 5_000,
    durability: 'normal',
    logLevel: 'info',
    readyFd: null,
    limits: { max_frame: 16 * 1024 * 1024 },
  });
});

test('what is set cannot be changed afterwards', () => {
  const fixed = config(['--root', '/a']);
  expect(Object.isFrozen(fixed) && Object.isFrozen(fixed.limits) && Object.isFrozen(fixed.roots)).toBe(true);
});

test('the data directory is the argument, else the environment, else the working directory', () => {
  expect(config(['d'], { SKYLINEDB_DATA_DIR: '/env' }).dataDir).toBe('/here/d');
  expect(config(['/abs']).dataDir).toBe('/abs');
  expect(config([], { SKYLINEDB_DATA_DIR: '/env' }).dataDir).toBe('/env');
  expect(config([], { SKYLINEDB_DATA_DIR: '' }).dataDir).toBe('/here');
});

test('the endpoint is the option, else the environment; the state folder comes from the environment', () => {
  const env = { SKYLINEDB_SOCKET: '/e/v1.sock', SKYLINEDB_STATE_DIR: '/state' };
  expect(config([], env)).toMatchObject({ endpoint: '/e/v1.sock', stateDir: '/state' });
  expect(config(['--socket', '/o/v1.sock'], env).endpoint).toBe('/o/v1.sock');
});

test('roots are made absolute, in their order', () => {
  expect(config(['--root', 'a', '--root', '/b', '--root', '../c']).roots).toEqual(['/here/a', '/b', '/c']);
});

test.each([
  ['30m', 1_800_000],
  ['5s', 5_000],
  ['250ms', 250],
  ['250', 250],
  ['0', 0],
  ['0s', 0],
  ['1.5s', 1_500],
  ['2h', 7_200_000],
  ['7d', 604_800_000],
  ['0.4ms', 1],
])('the duration %s is %i ms', (text, ms) => {
  for (const [option, field] of [
    ['--idle-timeout', 'idleTimeoutMs'],
    ['--worker-idle-timeout', 'workerIdleTimeoutMs'],
    ['--busy-timeout', 'busyTimeoutMs'],
    ['--session-ttl', 'sessionTtlMs'],
  ] as const)
    expect(config([option, text])[field]).toBe(ms);
});

test.each([
  '',
  ' ',
  '5 s',
  '-1',
  '25d',
  '5S',
  'never',
  '1e3',
  '.5s',
  '30m10s',
  '597h',
  '0x10',
  'NaN',
  '∞',
  '١s',
])('the duration "%s" is refused, naming the option and what was given', (text) => {
  const message = refusal([`--idle-timeout=${text}`]);
  expect(message).toContain('--idle-timeout');
  expect(message).toContain(`"${text}"`);
  expect(message).toContain('30m');
});

test('a duration is whole milliseconds that a timer can take, and only 0 means never', () => {
  const unit = fc.constantFrom('ms', 's', 'm', 'h', '');
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1e7, noNaN: true }), unit, (amount, text) => {
      const ms = duration().parse(`${amount.toFixed(4)}${text}`, '');
      if (ms === undefined) return;
      expect(Number.isInteger(ms) && ms >= 0 && ms < 2 ** 31).toBe(true);
      if (Number(amount.toFixed(4)) > 0) expect(ms).toBeGreaterThan(0);
    }),
  );
});

test.each([
  ['1KB', 1024],
  ['16MB', 16 * 1024 * 1024],
  ['16mb', 16 * 1024 * 1024],
  ['4096', 4096],
  ['1024MB', 1024 ** 3],
])('the size %s is %i bytes', (text, bytes) => {
  const { limits } = config(['--max-frame', text]);
  expect(limits.max_frame).toBe(bytes);
  expect(limits.max_sql_bytes).toBeLessThanOrEqual(bytes);
  expect(limits.max_result_bytes).toBeLessThanOrEqual(bytes);
});

test('the WAL may have 64 MiB, or what is said, but not less than 1 MiB', () => {
  expect(config([]).walLimit).toBe(64 * 1024 * 1024);
  expect(config(['--wal-limit', '1MB']).walLimit).toBe(1024 * 1024);
  expect(refusal(['--wal-limit', '1023KB'])).toContain('--wal-limit takes a size from 1MB to 1GB');
});

test.each(['1023', '0', '1025MB', '16 MB', '16GB', '-1', '1.5MB', '', '99999999999999999999'])(
  'the size "%s" is refused, naming the option',
  (text) => {
    expect(refusal([`--max-frame=${text}`])).toContain('--max-frame');
  },
);

test.each([
  [['--max-workers', '0'], '--max-workers'],
  [['--max-workers', '4097'], '--max-workers'],
  [['--max-workers', '2.5'], '--max-workers'],
  [['--spare-workers', '-1'], '--spare-workers'],
  [['--spare-workers', '65'], '--spare-workers'],
  [['--ready-fd', 'x'], '--ready-fd'],
  [['--durability', 'FULL'], '--durability'],
  [['--log-level', 'loud'], '--log-level'],
  [['--no-such'], '--no-such'],
  [['--socket'], '--socket'],
  [['a', 'b'], 'a, b'],
  [['--socket', `/${'x'.repeat(200)}`], 'x'.repeat(200)],
])('%j is refused, naming what is wrong', (argv, words) => {
  expect(refusal(argv)).toContain(words);
});
