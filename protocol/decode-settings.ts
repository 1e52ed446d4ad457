import { invalidRequest } from './errors.js';
import { asArray, asInteger, asObject, asString, field, oneOf } from './fields.js';
import type { DatabaseSettings } from './messages.js';

const MIB = 1024 * 1024;
/** setTimeout cuts anything longer to 1 ms. */
const MAX_TIMER_MS = 2 ** 31 - 1;

type Reader = (value: unknown, where: string) => string | number;

/** Each setting and what it takes. */
const SETTINGS: { readonly [Name in keyof Required<DatabaseSettings>]: Reader } = {
  durability: oneOf(['normal', 'full']),
  wal_limit: within(MIB, 1024 * MIB),
  // SQLITE_MAX_MMAP_SIZE: https://sqlite.org/mmap.html
  mmap_size: within(0, 2 ** 31 - MIB),
  worker_idle_timeout_ms: within(0, MAX_TIMER_MS),
  busy_timeout_ms: within(0, MAX_TIMER_MS),
  max_statements: within(1, 1_000_000),
  max_parameters: within(1, 32_766),
  max_sql_bytes: within(1, 1_000_000_000),
  max_result_bytes: within(1, 1_000_000_000),
};

export const SETTING_NAMES = Object.keys(SETTINGS) as readonly (keyof DatabaseSettings)[];

/**
 * A database's settings, checked one by one. Unlike elsewhere an unknown one is an error: a misspelt setting that is
 * ignored would be missed for years.
 * @throws ProtocolError `INVALID_REQUEST`
 */
export function decodeSettings(value: unknown, where: string): DatabaseSettings {
  const object = asObject(value, where);
  const settings: Record<string, string | number> = {};
  for (const name of Object.keys(object)) {
    const known = asSettingName(name, where);
    settings[known] = SETTINGS[known](field(object, name), `${where}.${name}`);
  }
  return settings as DatabaseSettings;
}

export function asSettingNames(value: unknown, where: string): (keyof DatabaseSettings)[] {
  return asArray(value, where).map((name) => asSettingName(asString(name, where), where));
}

function asSettingName(name: string, where: string): keyof DatabaseSettings {
  const found = SETTING_NAMES.find((known) => known === name);
  if (found === undefined)
    throw invalidRequest(
      `"${where}": there is no setting ${JSON.stringify(name.slice(0, 60))}. There are ${SETTING_NAMES.join(', ')}.`,
    );
  return found;
}

function within(min: number, max: number): Reader {
  return (value, where) => {
    const number = asInteger(value, where, min);
    if (number > max) throw invalidRequest(`"${where}" must be at most ${max}, but is ${number}.`);
    return number;
  };
}
