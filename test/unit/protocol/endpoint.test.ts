import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  checkSocketPath,
  isPipe,
  resolveEndpoint,
  type Surroundings,
  stateFolder,
  userDataFolder,
  WINDOWS_PIPE,
} from '../../../protocol/endpoint.js';
import { SkylineError } from '../../../protocol/errors.js';

type Env = Surroundings['env'];

function on(platform: NodeJS.Platform, env: Env = {}): Surroundings {
  const home = { win32: 'C:\\Users\\Ann', darwin: '/Users/ann' }[platform as string] ?? '/home/ann';
  return { platform, env, uid: platform === 'win32' ? -1 : 501, home };
}

function refused(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(SkylineError);
    expect(error).toMatchObject({ code: 'INVALID_REQUEST', retryable: false });
    return (error as SkylineError).message;
  }
  return expect.fail('accepted');
}

describe('resolveEndpoint', () => {
  test.each<[NodeJS.Platform, Env, string | undefined, string]>([
    ['linux', {}, undefined, '/tmp/skylinedb-501/v1.sock'],
    ['darwin', {}, undefined, '/tmp/skylinedb-501/v1.sock'],
    ['freebsd', {}, undefined, '/tmp/skylinedb-501/v1.sock'],
    ['linux', { XDG_RUNTIME_DIR: '/run/user/501' }, undefined, '/run/user/501/skylinedb/v1.sock'],
    ['darwin', { XDG_RUNTIME_DIR: '/run/user/501/' }, undefined, '/run/user/501/skylinedb/v1.sock'],
    ['linux', { XDG_RUNTIME_DIR: '' }, undefined, '/tmp/skylinedb-501/v1.sock'],
    ['linux', { SKYLINEDB_SOCKET: '/a/b.sock', XDG_RUNTIME_DIR: '/run' }, undefined, '/a/b.sock'],
    ['linux', { SKYLINEDB_SOCKET: '/a/./c/../b.sock' }, undefined, '/a/b.sock'],
    ['linux', { SKYLINEDB_SOCKET: '', XDG_RUNTIME_DIR: '/run' }, undefined, '/run/skylinedb/v1.sock'],
    ['linux', { SKYLINEDB_SOCKET: '/a/b.sock' }, '/o.sock', '/o.sock'],
    ['linux', {}, 'rel/o.sock', resolve('rel/o.sock')],
    ['linux', { SKYLINEDB_SOCKET: 'e.sock' }, undefined, resolve('e.sock')],
    [
      'linux',
      { TMPDIR: '/other', HOME: '/root', LOCALAPPDATA: 'C:\\' },
      undefined,
      '/tmp/skylinedb-501/v1.sock',
    ],
    ['win32', {}, undefined, '\\\\.\\pipe\\SkylineDBd-v1'],
    ['win32', { XDG_RUNTIME_DIR: 'C:\\run' }, undefined, '\\\\.\\pipe\\SkylineDBd-v1'],
    ['win32', { SKYLINEDB_SOCKET: '' }, undefined, '\\\\.\\pipe\\SkylineDBd-v1'],
    ['win32', { SKYLINEDB_SOCKET: '\\\\.\\pipe\\mine' }, undefined, '\\\\.\\pipe\\mine'],
    ['win32', { SKYLINEDB_SOCKET: 'mine' }, 'other', '\\\\.\\pipe\\other'],
    ['win32', { SKYLINEDB_SOCKET: 'C:\\Temp\\a b.sock' }, undefined, '\\\\.\\pipe\\C--Temp-a b.sock'],
    ['win32', {}, '/tmp/x/v1.sock', '\\\\.\\pipe\\tmp-x-v1.sock'],
    ['win32', {}, 'x'.repeat(200), `\\\\.\\pipe\\${'x'.repeat(200)}`],
  ])('on %s with %j and the option %j gives %s', (platform, env, option, endpoint) => {
    expect(resolveEndpoint(on(platform, env), option)).toBe(endpoint);
  });

  test.each<[NodeJS.Platform, number]>([
    ['darwin', 104],
    ['linux', 108],
  ])('on %s takes a path of %i bytes with its NUL and refuses one more by name', (platform, max) => {
    const pad = (bytes: number, unit = 'x') =>
      `/${unit.repeat(Math.floor((bytes - 1) / Buffer.byteLength(unit)))}`;
    const longest = pad(max - 1);
    expect(resolveEndpoint(on(platform), longest)).toBe(longest);
    for (const around of [
      on(platform, { SKYLINEDB_SOCKET: `${longest}x` }),
      on(platform, { XDG_RUNTIME_DIR: pad(95) }),
    ]) {
      const message = refused(() => resolveEndpoint(around));
      expect(message).toContain(`takes ${max}`);
      expect(message).toContain('--socket');
    }
    expect(refused(() => resolveEndpoint(on(platform), `${longest}x`))).toContain(`has ${max + 1} bytes`);
    expect(refused(() => resolveEndpoint(on(platform), `${longest}x`))).toContain(`${longest}x`);
  });

  test('counts bytes of UTF-8, not characters', () => {
    const fits = `/${'é'.repeat(53)}`;
    expect(resolveEndpoint(on('linux'), fits)).toBe(fits);
    expect(refused(() => resolveEndpoint(on('linux'), `${fits}x`))).toContain('has 109 bytes');
    expect(refused(() => resolveEndpoint(on('darwin'), `/${'𝄞'.repeat(26)}`))).toContain('has 106 bytes');
    expect(resolveEndpoint(on('darwin'), `/${'𝄞'.repeat(25)}xy`)).toHaveLength(53);
  });

  test('refuses a NUL, where the system would end the path', () => {
    expect(refused(() => resolveEndpoint(on('linux'), '/tmp/a\0b'))).toContain('NUL');
    expect(refused(() => resolveEndpoint(on('darwin', { SKYLINEDB_SOCKET: '\0abstract' })))).toContain('NUL');
  });

  test('checks a relative path at its full length', () => {
    const name = 'x'.repeat(107 - resolve('.').length);
    expect(refused(() => resolveEndpoint(on('linux'), name))).toContain('has 109 bytes');
  });
});

describe('a Windows pipe', () => {
  test('is told from a path', () => {
    expect(isPipe(WINDOWS_PIPE)).toBe(true);
    for (const path of ['/tmp/v1.sock', 'pipe', '\\\\.\\pip', '\\\\server\\pipe\\x', ''])
      expect(isPipe(path)).toBe(false);
  });

  test('has no bound of a socket path', () => {
    checkSocketPath(`\\\\.\\pipe\\${'x'.repeat(200)}`, 'win32');
    refused(() => checkSocketPath('x'.repeat(200), 'linux'));
  });
});

describe('the folders of a user', () => {
  test.each<[NodeJS.Platform, Env, string, string]>([
    ['linux', {}, '/home/ann/.local/state/skylinedb', '/home/ann/.local/share/skylinedb'],
    ['freebsd', {}, '/home/ann/.local/state/skylinedb', '/home/ann/.local/share/skylinedb'],
    ['linux', { XDG_STATE_HOME: '/s', XDG_DATA_HOME: '/d' }, '/s/skylinedb', '/d/skylinedb'],
    [
      'linux',
      { XDG_STATE_HOME: '', XDG_DATA_HOME: '' },
      '/home/ann/.local/state/skylinedb',
      '/home/ann/.local/share/skylinedb',
    ],
    [
      'linux',
      { SKYLINEDB_STATE_DIR: '/a/', SKYLINEDB_DATA_DIR: '/b/../c', XDG_STATE_HOME: '/s' },
      '/a',
      '/c',
    ],
    [
      'linux',
      { SKYLINEDB_STATE_DIR: '', SKYLINEDB_DATA_DIR: '', XDG_DATA_HOME: '/d' },
      '/home/ann/.local/state/skylinedb',
      '/d/skylinedb',
    ],
    [
      'linux',
      { SKYLINEDB_STATE_DIR: 'rel', SKYLINEDB_DATA_DIR: './dat' },
      join(process.cwd(), 'rel'),
      join(process.cwd(), 'dat'),
    ],
    ['darwin', {}, '/Users/ann/Library/Logs/SkylineDB', '/Users/ann/Library/Application Support/SkylineDB'],
    [
      'darwin',
      { XDG_STATE_HOME: '/s', XDG_DATA_HOME: '/d' },
      '/Users/ann/Library/Logs/SkylineDB',
      '/Users/ann/Library/Application Support/SkylineDB',
    ],
    ['darwin', { SKYLINEDB_STATE_DIR: '/a', SKYLINEDB_DATA_DIR: '/b' }, '/a', '/b'],
    ['win32', { LOCALAPPDATA: 'D:\\Local' }, 'D:\\Local\\SkylineDB\\state', 'D:\\Local\\SkylineDB\\data'],
    [
      'win32',
      { LOCALAPPDATA: '' },
      'C:\\Users\\Ann\\AppData\\Local\\SkylineDB\\state',
      'C:\\Users\\Ann\\AppData\\Local\\SkylineDB\\data',
    ],
    [
      'win32',
      { XDG_DATA_HOME: 'E:\\x' },
      'C:\\Users\\Ann\\AppData\\Local\\SkylineDB\\state',
      'C:\\Users\\Ann\\AppData\\Local\\SkylineDB\\data',
    ],
    ['win32', { SKYLINEDB_STATE_DIR: 'D:/a/../s', SKYLINEDB_DATA_DIR: 'D:\\d\\' }, 'D:\\s', 'D:\\d'],
  ])('on %s with %j are %s and %s', (platform, env, state, data) => {
    expect(stateFolder(on(platform, env))).toBe(state);
    expect(userDataFolder(on(platform, env))).toBe(data);
  });
});
