import { Command, InvalidArgumentError } from 'commander';
import { expect, test } from 'vitest';
import {
  collect,
  commonOptions,
  type DatabaseOptions,
  databaseOption,
  duration,
  optionsOf,
  whole,
} from '../../../cli/options.js';

test.each([
  ['5s', 5_000],
  ['250ms', 250],
  ['1.5s', 1_500],
  ['2m', 120_000],
  ['24h', 86_400_000],
  ['300', 300],
  ['0', 0],
])('%s is a time', (text, ms) => {
  expect(duration(text)).toBe(ms);
});

test.each(['', 's', '-1s', '5 s', '5sec', '25h', '1e3', 'never', '.5s', '99999999999999999999'])(
  '%j is none',
  (text) => {
    expect(() => duration(text)).toThrow(InvalidArgumentError);
  },
);

test('whole numbers', () => {
  expect(whole('0')).toBe(0);
  expect(whole('9007199254740991')).toBe(Number.MAX_SAFE_INTEGER);
  for (const text of ['', '-1', '1.5', 'x', '9007199254740993', '1e3'])
    expect(() => whole(text)).toThrow(InvalidArgumentError);
});

test('repeated options keep their order', () => {
  expect(['a', 'b'].reduce<string[] | undefined>((before, text) => collect(text, before), undefined)).toEqual(
    ['a', 'b'],
  );
});

function parse(...argv: string[]): DatabaseOptions {
  const program = commonOptions(new Command().exitOverride().enablePositionalOptions(), 'a time');
  const command = commonOptions(databaseOption(program.command('do')), 'a time').action(() => undefined);
  program.parse(argv, { from: 'user' });
  return optionsOf<DatabaseOptions>(command);
}

test('options count in front of the command and behind it; the nearer one wins', () => {
  expect(parse('do')).toEqual({ db: 'data.db' });
  expect(parse('--json', '--socket', 'a', 'do', '--socket', 'b', '--db', 'x')).toEqual({
    json: true,
    socket: 'b',
    db: 'x',
  });
  expect(parse('--timeout', '1s', 'do', '--json')).toEqual({ db: 'data.db', timeout: 1000, json: true });
});
