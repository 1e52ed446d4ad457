import type { Settings } from '../client/named.js';
import { usageError } from './errors.js';

/** What a setting takes, as people write it. */
type Kind = 'word' | 'size' | 'time' | 'count';

/** The names as on the wire, which the daemon's options have with dashes. */
const SETTINGS: { readonly [name: string]: { readonly field: keyof Settings; readonly kind: Kind } } = {
  durability: { field: 'durability', kind: 'word' },
  wal_limit: { field: 'walLimit', kind: 'size' },
  mmap_size: { field: 'mmapSize', kind: 'size' },
  worker_idle_timeout: { field: 'workerIdleTimeoutMs', kind: 'time' },
  busy_timeout: { field: 'busyTimeoutMs', kind: 'time' },
  max_statements: { field: 'maxStatements', kind: 'count' },
  max_parameters: { field: 'maxParameters', kind: 'count' },
  max_sql_bytes: { field: 'maxSqlBytes', kind: 'size' },
  max_result_bytes: { field: 'maxResultBytes', kind: 'size' },
};

const SIZES: { readonly [unit: string]: number } = { '': 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };
const TIMES: { readonly [unit: string]: number } = {
  '': 1,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** For --help. */
export const SETTINGS_HELP = `Settings (KEY=VALUE; without one, a database is served as the daemon is configured; KEY=default takes it back):
  durability=normal|full     full: each commit is on disk before its answer
  wal_limit=SIZE             what the write-ahead log may grow to, such as 16MB
  mmap_size=SIZE             bytes of the file that SQLite maps into memory; 0: none
  worker_idle_timeout=TIME   close the file after this long without requests, such as 30s; 0: never
  busy_timeout=TIME          how long to wait for another program's write lock
  max_statements=N           per batch; and max_parameters=N, max_sql_bytes=SIZE, max_result_bytes=SIZE`;

/**
 * `KEY=VALUE` as the library takes it.
 * @returns what is to be set, and what is to be the daemon's again (`KEY=default`)
 * @throws SkylineError `INVALID_REQUEST`
 */
export function parseSettings(texts: readonly string[]): { settings: Settings; reset: (keyof Settings)[] } {
  const settings: { [field: string]: string | number } = {};
  const reset: (keyof Settings)[] = [];
  for (const text of texts) {
    const [, key = '', value = ''] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
    const setting = SETTINGS[key.replaceAll('-', '_')];
    if (setting === undefined)
      throw usageError(
        `"${text}" is no setting. There are ${Object.keys(SETTINGS).join(', ')}; write KEY=VALUE.`,
      );
    if (value === 'default') reset.push(setting.field);
    else settings[setting.field] = read(key, value, setting.kind);
  }
  return { settings: settings as Settings, reset };
}

/** A setting as {@link parseSettings} takes it, from the wire's form. */
export function settingText(name: string, value: string | number): string {
  return `${name.replace(/_ms$/, '')}=${value}${name.endsWith('_ms') && value !== 0 ? 'ms' : ''}`;
}

function read(key: string, text: string, kind: Kind): string | number {
  if (kind === 'word') return text;
  const [, digits = '', unit = ''] = /^(\d+)([A-Za-z]*)$/.exec(text) ?? [];
  const factor =
    kind === 'size' ? SIZES[unit.toUpperCase()] : kind === 'time' ? TIMES[unit] : unit === '' ? 1 : undefined;
  const value = digits === '' || factor === undefined ? Number.NaN : Number(digits) * factor;
  if (Number.isSafeInteger(value)) return value;
  const takes = { size: 'a size such as 16MB', time: 'a time such as 30s', count: 'a whole number' }[kind];
  throw usageError(`${key} takes ${takes}, but got "${text}".`);
}
