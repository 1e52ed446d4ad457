import type { ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CLI_MAIN, type Finished, finished, Playground, until } from '../support/playground.js';

let ground: Playground;
beforeEach(async () => {
  ground = new Playground();
  // Without a key: a row that comes twice must be seen.
  await ground.cli(['exec', '--db', 'x.db', 'CREATE TABLE t (id INTEGER, name TEXT)']);
});
afterEach(async () => {
  await ground.dispose();
});

const ROWS = 150_000;
const IMPORT = ['import', '--db', 'x.db', '--table', 't'];
const ALL = `${ROWS}|${(ROWS * (ROWS - 1)) / 2}|${ROWS}`;

function lines(from: number, to: number): string {
  return Array.from({ length: to - from }, (_, at) => `${from + at},the quick brown fox jumps\n`).join('');
}

/** What plain sqlite3 sees; empty while it cannot look. */
async function look(sql: string): Promise<string> {
  return await ground.sqlite3(ground.file('x.db'), sql).catch(() => '');
}

const imported = () => look('SELECT count(*), sum(id), count(DISTINCT id) FROM t');
const others = () => look("SELECT group_concat(name) FROM sqlite_schema WHERE name GLOB 'skylinedb*'");

type Victim = 'importer' | 'daemon' | 'worker';

async function kill(victim: Victim, importer: ChildProcess): Promise<void> {
  const pids: { readonly [who in Victim]: () => (number | undefined)[] } = {
    importer: () => [importer.pid],
    daemon: () =>
      ground
        .processes()
        .filter((pid) => /^skylinedb-daemon/.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1'))),
    worker: () => ground.workers(),
  };
  const [pid] = pids[victim]();
  if (pid === undefined) throw new Error(`there is no ${victim}`);
  process.kill(pid, 'SIGKILL');
  await until(`the ${victim} is dead`, () => !ground.processes().includes(pid));
}

function start(args: readonly string[]): { child: ChildProcess; ended: Promise<Finished> } {
  const child = ground.start(process.execPath, [CLI_MAIN, ...IMPORT, ...args]);
  return { child, ended: finished(child) };
}

const VICTIMS: readonly Victim[] = ['importer', 'daemon', 'worker'];

describe.each(VICTIMS)('the %s is killed', (victim) => {
  test('all or nothing: the table has all rows or none, and nothing is left behind', async () => {
    const { child, ended } = start(['--format', 'csv', '-']);
    // Standard input stays open: the import is in its middle for as long as the test likes.
    child.stdin?.write(`id,name\n${lines(0, 120_000)}`);
    let staging = '';
    await until('rows are in the staging table', async () => {
      staging = await others();
      return staging !== '' && Number(await look(`SELECT count(*) FROM ${staging}`)) > 0;
    });
    expect(await imported()).toBe('0||0');
    await kill(victim, child);
    child.stdin?.end(lines(120_000, ROWS));
    const { code, stderr } = await ended;
    if (code !== 0) {
      expect(await imported()).toBe('0||0');
      if (victim !== 'importer') {
        expect(stderr).toMatch(/Nothing was imported into t\.$/m);
        expect(await others()).toBe('');
      }
      const file = ground.file('a.csv');
      writeFileSync(file, `id,name\n${lines(0, ROWS)}`);
      expect(await ground.cli([...IMPORT, file])).toMatchObject({ code: 0 });
    }
    expect(victim === 'importer' && code === 0).toBe(false);
    expect(await imported()).toBe(ALL);
    expect(await others()).toBe('');
  });

  test('in pieces: the same command goes on, and every row is there once', async () => {
    const file = ground.file('a.csv');
    writeFileSync(file, `id,name\n${lines(0, ROWS)}`);
    const pieces = ['--batch-rows', '250', '--json', file];
    const { child, ended } = start(pieces);
    await until('some pieces are committed', async () => {
      const progress = await others();
      return progress !== '' && Number(await look(`SELECT rows FROM ${progress}`)) > 0;
    });
    await kill(victim, child);
    const first = await ended;
    // A worker's death need not be noticed: its batches go to the next one.
    if (victim === 'importer') expect(first.signal).toBe('SIGKILL');
    if (first.code !== 0) {
      const again = await ground.cli([...IMPORT, ...pieces]);
      const { status, rows, skipped } = JSON.parse(again.stdout) as { [field: string]: unknown };
      expect({ status, all: Number(rows) + Number(skipped) }).toEqual({ status: 'ok', all: ROWS });
      expect(Number(skipped)).toBeGreaterThan(0);
    }
    expect(await imported()).toBe(ALL);
    expect(await others()).toBe('');
  });
});

test('Ctrl-C in the middle leaves nothing behind, and says so', async () => {
  const { child, ended } = start(['--format', 'csv', '-']);
  child.stdin?.write(`id,name\n${lines(0, 120_000)}`);
  await until('the staging table is there', async () => (await others()) !== '');
  child.kill('SIGINT');
  const { code, stderr } = await ended;
  expect([code, stderr]).toEqual([1, '✗ Error: The import was interrupted. Nothing was imported into t.\n']);
  expect([await imported(), await others()]).toEqual(['0||0', '']);
});
