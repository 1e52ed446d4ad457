import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Bystander } from '../support/bystander.js';
import { Playground, until } from '../support/playground.js';
import type { Message } from '../support/wire.js';

let ground: Playground;
let shells: Shell[];
beforeEach(() => {
  ground = new Playground();
  shells = [];
});
afterEach(async () => {
  for (const shell of shells) shell.end();
  await ground.dispose();
});

/** A `sqlite3` that somebody has opened in a terminal. */
class Shell {
  readonly #child: ChildProcessWithoutNullStreams;
  #said = '';
  #asked = 0;

  constructor(file: string) {
    this.#child = ground.start('sqlite3', ['-batch', file]) as ChildProcessWithoutNullStreams;
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
    });
    shells.push(this);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Runs some SQL and waits until it is done. */
  async say(sql: string): Promise<void> {
    this.#asked += 1;
    const mark = `done ${this.#asked}`;
    this.#child.stdin.write(`${sql};\nSELECT '${mark}';\n`);
    await until(`sqlite3 has done: ${sql}`, () => this.#said.includes(mark));
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }
}

const insert = ['INSERT INTO t VALUES (1)'];

test.each(['wal', 'delete'])(
  'a foreign BEGIN IMMEDIATE (journal mode %s): BUSY after the busy timeout with its pid, then success',
  async (mode) => {
    await ground.daemon(['--busy-timeout', '300ms']);
    const bystander = await Bystander.start(ground);
    const wire = await ground.wire();
    await ground.sqlite3(ground.file('x.db'), `PRAGMA journal_mode = ${mode}; CREATE TABLE t (a)`);
    if (mode === 'wal') expect(await wire.exec('x.db', insert)).toMatchObject({ status: 'ok', rev: 1 });
    const shell = new Shell(ground.file('x.db'));
    await shell.say('BEGIN IMMEDIATE');
    const start = performance.now();
    const reply = await wire.exec('x.db', insert);
    expect(performance.now() - start).toBeGreaterThanOrEqual(295);
    expect(reply).toMatchObject({ code: 'BUSY', outcome: 'not_applied', retryable: true });
    if (process.platform === 'linux') {
      expect(reply.holders).toEqual([expect.objectContaining({ pid: shell.pid })]);
      expect(reply.message).toContain(`pid ${shell.pid}`);
    }
    // Who only reads is not held up.
    expect(await wire.exec('x.db', ['SELECT count(*) FROM t'])).toMatchObject({ status: 'ok' });
    await shell.say('INSERT INTO t VALUES (2); COMMIT');
    expect(await wire.exec('x.db', insert)).toMatchObject({ status: 'ok', rev: mode === 'wal' ? 2 : 1 });
    expect(await wire.rows('x.db', 'SELECT count(*) FROM t WHERE a = 2')).toEqual([[1]]);
    await bystander.stop();
    shell.end();
    await until('the shell has gone', () => !ground.processes().includes(shell.pid));
    await ground.expectCleanEnd();
  },
);

test('a batch that waits for a foreign lock goes on as soon as that is gone, and so do those behind it', async () => {
  await ground.daemon(['--busy-timeout', '60s']);
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  const shell = new Shell(ground.file('x.db'));
  await shell.say('BEGIN IMMEDIATE');
  for (let id = 0; id < 20; id += 1)
    wire.send({ type: 'ExecBatch', id, db: 'x.db', stmts: [{ sql: 'INSERT INTO t VALUES (1)' }] });
  const impatient = await ground.wire();
  expect(await impatient.exec('x.db', insert, { timeout_ms: 200 })).toMatchObject({
    code: 'TIMEOUT',
    outcome: 'not_applied',
  });
  await shell.say('COMMIT');
  for (let id = 0; id < 20; id += 1) expect(await wire.next()).toMatchObject({ status: 'ok', id });
  expect(await wire.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[20]]);
});

test('a batch with a timeout that itself waits for a foreign lock is answered in time, and not applied', async () => {
  await ground.daemon(['--busy-timeout', '60s']);
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  const shell = new Shell(ground.file('x.db'));
  await shell.say('BEGIN IMMEDIATE');
  const reply = await wire.exec('x.db', insert, { timeout_ms: 200 });
  expect(reply).toMatchObject({ code: 'TIMEOUT', outcome: 'not_applied' });
  await shell.say('COMMIT');
  expect(await wire.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[0]]);
});

test('a foreign EXCLUSIVE lock on a database in rollback mode stops even reading, until it is gone', async () => {
  await ground.daemon(['--busy-timeout', '200ms']);
  const wire = await ground.wire();
  await ground.sqlite3(ground.file('x.db'), 'CREATE TABLE t (a)');
  const shell = new Shell(ground.file('x.db'));
  await shell.say('BEGIN EXCLUSIVE');
  const refused: Partial<Message> = { code: 'BUSY', outcome: 'not_applied', retryable: true };
  expect(await wire.exec('x.db', ['SELECT * FROM t'])).toMatchObject(refused);
  const writing = await wire.exec('x.db', insert);
  expect(writing).toMatchObject(refused);
  if (process.platform === 'linux') expect(writing.message).toContain(`pid ${shell.pid}`);
  await shell.say('COMMIT');
  expect(await wire.exec('x.db', insert)).toMatchObject({ status: 'ok', rev: 1 });
});

test('a shell in EXCLUSIVE locking mode on a database in WAL mode is named, and waited for', async () => {
  await ground.daemon(['--busy-timeout', '200ms']);
  const wire = await ground.wire();
  await ground.sqlite3(ground.file('x.db'), 'PRAGMA journal_mode = WAL; CREATE TABLE t (a)');
  const shell = new Shell(ground.file('x.db'));
  await shell.say('PRAGMA locking_mode = EXCLUSIVE; INSERT INTO t VALUES (0)');
  const reply = await wire.exec('x.db', insert);
  expect(reply).toMatchObject({ code: 'BUSY', outcome: 'not_applied', retryable: true });
  if (process.platform === 'linux') expect(reply.message).toContain(`pid ${shell.pid}`);
  shell.end();
  await until('the shell has gone', () => !ground.processes().includes(shell.pid));
  expect(await wire.exec('x.db', insert)).toMatchObject({ status: 'ok', rev: 1 });
  expect(await wire.rows('x.db', 'SELECT count(*) FROM t')).toEqual([[2]]);
});
