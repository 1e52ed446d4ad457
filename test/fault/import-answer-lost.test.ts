import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DiskFaults } from '../support/disk-faults.js';
import { CLI_MAIN, finished, Playground, until } from '../support/playground.js';
import { Preload } from '../support/preload.js';

/**
 * An import whose last answers are lost: it has committed, and does not know. The worker is killed between the commit and the
 * answer, and where it says so the daemon right after it.
 */
const NAME = 'the quick brown fox jumps over the lazy dog '.repeat(3);
/** What a load sends at once, some times, and a rest. */
const FULL = 4 * 5_000;
const ROWS = FULL + 10;

const preload = new Preload('disk-faults');
let ground: Playground;
let faults: DiskFaults;
beforeEach(async () => {
  ground = new Playground();
  faults = new DiskFaults(preload, ground.dir, ground.file('x.db'));
  await ground.daemon([], faults.env);
  // Without a key: a row that comes twice must be seen.
  await ground.cli(['exec', '--db', 'x.db', 'CREATE TABLE t (id INTEGER, name TEXT)']);
});
afterEach(async () => {
  faults.none();
  await ground.dispose();
});
afterAll(() => preload.dispose());

const look = (sql: string) => ground.sqlite3(ground.file('x.db'), sql).catch(() => '');
const others = () => look("SELECT group_concat(name) FROM sqlite_schema WHERE name GLOB 'skylinedb*'");

function lines(from: number, to: number): string {
  return Array.from({ length: to - from }, (_, at) => `${from + at},${NAME}\n`).join('');
}

describe.skipIf(preload.missing !== null)(
  `answers that are lost (${preload.missing ?? 'with LD_PRELOAD'})`,
  () => {
    test.each([
      [0, 'the last rows', false],
      [1, 'the move into the table', false],
      [1, 'the move into the table, and the daemon', true],
    ])(
      'after %i more, that of %s: all rows are there, once, and the import knows',
      async (skip, _what, daemonToo) => {
        const args = ['import', '--db', 'x.db', '--table', 't', '--format', 'csv', '--json', '-'];
        const child = ground.start(process.execPath, [CLI_MAIN, ...args]);
        const ended = finished(child);
        child.stdin?.write(`id,name\n${lines(0, FULL + 1)}`);
        await until('all that fills a batch is staged', async () => {
          const staging = await others();
          return staging !== '' && (await look(`SELECT count(*) FROM ${staging}`)) === `${FULL}`;
        });
        faults.set({ on: 'answer', file: 'wal', with: 'SIGKILL', times: 1, skip });
        child.stdin?.end(lines(FULL + 1, ROWS));
        await until('the worker is killed', () => faults.hits === 1);
        if (skip === 1) expect(await look('SELECT count(*) FROM t')).toBe(`${ROWS}`);
        if (daemonToo) for (const pid of ground.daemons()) process.kill(pid, 'SIGKILL');
        const { code, stdout, stderr } = await ended;
        expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
        expect(JSON.parse(stdout)).toMatchObject({ status: 'ok', rows: ROWS });
        const all = await look('SELECT count(*), sum(id), count(DISTINCT id) FROM t');
        expect(all).toBe(`${ROWS}|${(ROWS * (ROWS - 1)) / 2}|${ROWS}`);
        expect(await others()).toBe('');
      },
    );
  },
);
