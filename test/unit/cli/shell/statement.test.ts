import { describe, expect, test } from 'vitest';
import { parseCommand } from '../../../../cli/shell/dot-command.js';
import { intentOf } from '../../../../cli/shell/statement.js';

describe('what a statement is', () => {
  test.each([
    ['select 1', { kind: 'read' }],
    ['-- a\n/* b */ WITH a AS (SELECT 1) SELECT * FROM a', { kind: 'read' }],
    ['values (1)', { kind: 'read' }],
    ['explain query plan delete from t', { kind: 'read' }],
    ['insert into t values (1)', { kind: 'write' }],
    ['pragma user_version', { kind: 'write' }],
    ['selection', { kind: 'write' }],
    ['begin', { kind: 'begin', read: false }],
    ['BEGIN  IMMEDIATE\nTRANSACTION', { kind: 'begin', read: false }],
    ['begin transaction read only', { kind: 'begin', read: true }],
    ['begin tomorrow', { kind: 'write' }],
    ['end transaction', { kind: 'commit' }],
    ['commit', { kind: 'commit' }],
    ['rollback', { kind: 'rollback' }],
    ['rollback to a', { kind: 'write' }],
    ['show  databases', { kind: 'show databases' }],
    ['use moon', { kind: 'use', name: 'moon' }],
    ['USE "a ""b"', { kind: 'use', name: 'a "b' }],
    ['use ./x.db', { kind: 'use', name: './x.db' }],
    ['create database [my-db]', { kind: 'create database', name: 'my-db', ifNotExists: false }],
    ['create database if not exists `x`', { kind: 'create database', name: 'x', ifNotExists: true }],
    ['drop database x', { kind: 'drop database', name: 'x', ifExists: false }],
    ["DROP DATABASE IF EXISTS 'x'", { kind: 'drop database', name: 'x', ifExists: true }],
    ['create table database (a)', { kind: 'write' }],
  ])('%j', (sql, intent) => {
    expect(intentOf(sql)).toEqual(intent);
  });

  test.each([
    'use',
    'use a b',
    'create database',
    'create database a b',
    'drop database if exists',
    'create database if exists a',
  ])('%j is not written as it must be', (sql) => {
    expect(() => intentOf(sql)).toThrow(/It is written/);
  });
});

describe('what a command is', () => {
  test.each([
    ['.help', { name: 'help', args: [] }],
    ['\\?', { name: 'help', args: [] }],
    ['.q', { name: 'quit', args: [] }],
    ['.exit', { name: 'quit', args: [] }],
    ['\\dt a%', { name: 'tables', args: ['a%'] }],
    ['\\d', { name: 'columns', args: [] }],
    ['.tables;', { name: 'tables', args: [] }],
    ['.mode csv', { name: 'mode', args: ['csv'] }],
    ['.import "my file.csv" \'a table\'', { name: 'import', args: ['my file.csv', 'a table'] }],
    ['\\timing', { name: 'timer', args: [] }],
    ['\\c moon;', { name: 'use', args: ['moon'] }],
  ])('%s', (line, command) => {
    expect(parseCommand(line)).toEqual(command);
  });

  test.each([
    ['.nope', /There is no command \.nope/],
    ['\\x', /There is no command/],
    ['.', /There is no command/],
    ['.d', /may be \.databases or \.dump/],
    ['.read', /It is written \.read FILE/],
    ['.import a', /It is written \.import FILE TABLE/],
    ['.help me', /It is written \.help\./],
  ])('%s is none', (line, message) => {
    expect(() => parseCommand(line)).toThrow(message);
  });
});
