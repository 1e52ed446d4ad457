import { describe, expect, test } from 'vitest';
import { parseSettings, settingText } from '../../../cli/settings.js';
import { refusal } from '../protocol/helpers.js';

describe('settings of a database', () => {
  test('as people write them', () => {
    expect(
      parseSettings([
        'durability=full',
        'wal-limit=16MB',
        'mmap_size=1gb',
        'worker_idle_timeout=30s',
        'busy_timeout=250ms',
        'max_statements=10',
        'max_sql_bytes=4kb',
      ]),
    ).toEqual({
      settings: {
        durability: 'full',
        walLimit: 16 * 1024 ** 2,
        mmapSize: 1024 ** 3,
        workerIdleTimeoutMs: 30_000,
        busyTimeoutMs: 250,
        maxStatements: 10,
        maxSqlBytes: 4096,
      },
      reset: [],
    });
    expect(parseSettings(['wal_limit=default']).reset).toEqual(['walLimit']);
  });

  test.each([
    '',
    'durability',
    '=full',
    'walLimit=1',
    'wal_limit=',
    'wal_limit=-1',
    'wal_limit=1.5MB',
    'max_statements=1s',
  ])('%j is refused, and what there is is said', (text) => {
    expect(refusal(() => parseSettings([text])).code).toBe('INVALID_REQUEST');
  });

  test('what is printed can be set', () => {
    for (const text of [
      'durability=full',
      'wal_limit=2097152',
      'worker_idle_timeout=0',
      'busy_timeout=30ms',
    ]) {
      const { settings } = parseSettings([text]);
      const [[field = '', value = ''] = []] = Object.entries(settings);
      const wire = field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      expect(settingText(wire, value)).toBe(text);
    }
  });
});
