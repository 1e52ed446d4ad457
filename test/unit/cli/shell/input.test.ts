import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Input, type Unit } from '../../../../cli/shell/input.js';
import { splitSql } from '../../../../cli/split-sql.js';

const take = (lines: readonly string[]) => {
  const input = new Input();
  const units = lines.flatMap((line) => input.add(line));
  return { units, pending: input.pending, rest: input.end() };
};
const textsOf = (units: readonly Unit[]) => units.map((unit) => (unit.kind === 'sql' ? unit.sql : unit.text));

describe('a statement is whole', () => {
  test.each([
    ['at its semicolon', ['select 1;'], ['select 1'], false],
    [
      'several on a line, and what has begun behind them',
      ['select 1; select 2; select'],
      ['select 1', 'select 2'],
      true,
    ],
    ['on its last line', ['select', '1', ';'], ['select\n1'], false],
    ['not within a text', ["select ';", "';"], ["select ';\n'"], false],
    ['not within a comment', ['select 1 -- ;', ';'], ['select 1'], false],
    ['not within a comment that goes on', ['/* one;', 'two; */ select 1;'], ['select 1'], false],
    ['not within a quoted name', ['select "a;b";'], ['select "a;b"'], false],
    [
      'at the end of a trigger',
      ['create trigger t after insert on a begin', 'delete from a;', 'end;', 'select 1;'],
      ['create trigger t after insert on a begin\ndelete from a;\nend', 'select 1'],
      false,
    ],
    ['never, without a semicolon', ['select 1'], [], true],
    ['nothing, where there is only space and comments', ['', '  ', '-- a', '/* b */', ';;'], [], false],
    ['and a comment that has begun is waited for', ['select 1; /* a'], ['select 1'], true],
  ])('%s', (_name, lines, expected, pending) => {
    const taken = take(lines);
    expect(textsOf(taken.units)).toEqual(expected);
    expect(taken.pending).toBe(pending);
  });

  test('and its line is told', () => {
    const { units, rest } = take([
      '-- a comment',
      '',
      'select 1;',
      '  select',
      ' 2; select 3',
      ';',
      '.tables',
      'select 4',
    ]);
    expect([...units, ...rest].map(({ line }) => line)).toEqual([3, 4, 5, 7, 8]);
  });
});

test('a command is one line, where no statement has begun', () => {
  const { units } = take(['.tables', '  \\dt', 'select', '.5;']);
  expect(units.map(({ kind }) => kind)).toEqual(['command', 'command', 'sql']);
  expect(textsOf(units)).toEqual(['.tables', '\\dt', 'select\n.5']);
});

test('what has begun can be forgotten', () => {
  const input = new Input();
  input.add('delete from');
  input.clear();
  expect(input.pending).toBe(false);
  expect(textsOf(input.add('select 1;'))).toEqual(['select 1']);
});

test('line by line it is what it is as a whole', () => {
  const part = fc.constantFrom(
    ...[
      'select 1',
      ';',
      "'a;b'",
      '-- c;\n',
      '/* d;',
      '*/',
      ' ',
      '\n',
      '"x;"',
      'begin',
      'end',
      'create trigger t',
    ],
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 20 }), (parts) => {
      // A command would be one of the shell's own.
      const script = parts.join('');
      const { units, rest } = take(script.split('\n'));
      const whole = splitSql(`${script}\n`);
      expect([...units, ...rest].map((unit) => (unit.kind === 'sql' ? unit : null))).toEqual(
        whole.map(({ sql, line }) => ({ kind: 'sql', sql, line })),
      );
    }),
  );
});
