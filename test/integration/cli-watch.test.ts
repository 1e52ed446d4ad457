import type { ChildProcess } from 'node:child_process';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CLI_MAIN, type Finished, finished, Playground, until } from '../support/playground.js';
import { runJson } from './cli-harness.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(() => ground.dispose());

/** A `watch` that runs, and what it has said so far. */
class Watching {
  readonly ended: Promise<Finished>;
  readonly child: ChildProcess;
  out = '';
  err = '';

  constructor(args: readonly string[]) {
    this.child = ground.start(process.execPath, [CLI_MAIN, 'watch', '--db', 'x.db', ...args]);
    this.child.stdout?.on('data', (text) => {
      this.out += String(text);
    });
    this.child.stderr?.on('data', (text) => {
      this.err += String(text);
    });
    this.ended = finished(this.child);
  }

  get lines(): string[] {
    return this.out.split('\n').slice(0, -1);
  }
}

async function subscribed(): Promise<void> {
  const wire = await ground.wire();
  await until('it watches', async () => (await wire.request({ type: 'Status' })).subscriptions === 1);
}

const exec = (...sql: string[]) => ground.cli(['exec', '--db', 'x.db', ...sql]);

test('prints a line for each change, and ends with Ctrl-C and no error', async () => {
  await ground.daemon();
  const watching = new Watching([]);
  await until('it has begun', () => watching.err !== '');
  expect(watching.err).toBe('Watching x.db. Ctrl-C ends it.\n');
  await exec('CREATE TABLE stars (x)', 'CREATE TABLE planets (x)');
  await exec('PRAGMA user_version = 3');
  await ground.sqlite3(ground.file('x.db'), 'INSERT INTO stars VALUES (1)');
  await until('it has told of it', () => watching.lines.length === 3);
  expect(watching.lines).toEqual([
    '1:1  planets, stars',
    '1:2  (no table)',
    '1:2  another program has written past the daemon',
  ]);
  watching.child.kill('SIGINT');
  expect(await watching.ended).toMatchObject({ code: 0, signal: null });
});

test('prints JSON, of the tables that were asked for, since the rev that was asked for', async () => {
  await ground.daemon();
  await exec('CREATE TABLE stars (x)', 'CREATE TABLE planets (x)');
  const all = new Watching(['--json']);
  await subscribed();
  await exec('INSERT INTO planets VALUES (1)');
  await exec('INSERT INTO stars VALUES (1)');
  await until('it has told of it', () => all.lines.length === 2);
  all.child.kill('SIGTERM');
  expect(await all.ended).toMatchObject({ code: 0, stderr: '' });
  const some = new Watching(['--json', '--table', 'moons', '--table', 'Stars', '--since', '1:1']);
  await until('it has told of it', () => some.lines.length === 1);
  expect(some.lines.map((line) => JSON.parse(line))).toEqual([
    { event: 'change', epoch: 1, rev: 3, tables: ['stars'] },
  ]);
  some.child.kill('SIGINT');
  expect((await some.ended).code).toBe(0);
});

test('starts no daemon', async () => {
  expect(await runJson(ground, ['watch', '--db', 'x.db'])).toMatchObject({ exit: 3, code: 'NO_DAEMON' });
  expect(ground.processes()).toEqual([]);
});

test('refuses what cannot be meant, and what cannot be watched', async () => {
  await ground.daemon();
  expect(await runJson(ground, ['watch', '--since', '7'])).toMatchObject({
    exit: 2,
    code: 'INVALID_REQUEST',
  });
  expect(await runJson(ground, ['watch', '--db', ':memory:'])).toMatchObject({
    exit: 1,
    code: 'DATABASE_NOT_ALLOWED',
  });
});

test('says that the daemon has ended, and goes on with the next one', async () => {
  await ground.daemon();
  await exec('CREATE TABLE stars (x)');
  const people = new Watching([]);
  await until('it has begun', () => people.err !== '');
  const program = new Watching(['--json']);
  const wire = await ground.wire();
  await until('both watch', async () => (await wire.request({ type: 'Status' })).subscriptions === 2);
  await ground.cli(['shutdown']);
  await until(
    'it has noticed',
    () => people.err.includes('The daemon has ended.') && program.lines.length === 1,
  );
  await exec('INSERT INTO stars VALUES (1)');
  await until(
    'both are back',
    () => people.err.includes('there again') && program.lines.includes('{"event":"connected"}'),
  );
  await exec('INSERT INTO stars VALUES (2)');
  await until('both have told of the last', () =>
    [people, program].every(({ lines }) => /\b3\b/.test(lines.at(-1) ?? '')),
  );
  expect(people.lines.at(-1)).toBe('1:3  stars');
  expect(program.lines[0]).toBe('{"event":"disconnected"}');
  people.child.kill('SIGINT');
  program.child.kill('SIGINT');
  expect([(await people.ended).code, (await program.ended).code]).toEqual([0, 0]);
});
