import {
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import {
  endOf,
  MARK_TABLES,
  makeMarks,
  type ReaderReport,
  readMarks,
  startWatcher,
  startWriter,
  type WriterReport,
} from '../support/marks.js';
import { judgeFiles } from '../support/marks-in-files.js';
import type { Playground } from '../support/playground.js';
import type { Random } from '../support/random.js';
import type { Message } from '../support/wire.js';
import { leave } from './kill-storm.js';
import { blowsOn, type StormResult, type StormSetting, sleep } from './storm.js';

/** What a request of maintenance may say when processes are killed, or somebody reads. */
const REFUSALS = new Set([
  'CHECKPOINT_BUSY',
  'DATABASE_PREPARING',
  'DATABASE_CLOSED',
  'SHUTTING_DOWN',
  'WORKER_CRASHED',
  'INVALID_REQUEST',
]);

/**
 * The file is replaced again and again, by good files and bad ones, through the daemon and by hand while it is closed, while
 * processes write it, read it, and are killed. Every file that was in its place is kept, and holds in the end what was
 * answered for it.
 */
export async function maintenanceStorm({
  ground,
  random,
  seconds,
  least,
}: StormSetting): Promise<StormResult> {
  const db = ground.file('x.db');
  await ground.daemon();
  const wire = await ground.wire();
  await makeMarks(wire, db);
  wire.destroy();
  const writers = await Promise.all(
    Array.from({ length: 3 }, (_, at) =>
      startWriter(ground, {
        db,
        name: `w${at}`,
        inFlight: 1 + random.int(8),
        seed: random.seed(),
        options: { direct: at > 0, pauseMs: 4, readsBack: false },
      }),
    ),
  );
  const watchers = [await startWatcher(ground, db), await startWatcher(ground, db)];
  const keeper = new Keeper(ground, random, db);
  const end = performance.now() + seconds * 1000;
  while (blowsOn(end, keeper.figures, least)) await keeper.act();
  await keeper.reopen();
  const reports = await Promise.all(writers.map((writer) => endOf<WriterReport>(writer)));
  const seen = await Promise.all(watchers.map((watcher) => endOf<ReaderReport>(watcher)));
  await leave(ground);
  const names = readdirSync(ground.dataDir).filter((name) =>
    /^(x\.db|kept-\d+\.db)(\.before-epoch-\d+)?$/.test(name),
  );
  const files = [];
  for (const name of names) files.push(await readMarks(ground, ground.file(name)));
  const verdict = judgeFiles(reports, files);
  return {
    figures: {
      ...keeper.figures,
      'files that were in place': files.length,
      'batches done': verdict.done,
      'batches failed': verdict.failed,
      'outcomes unknown': verdict.unknown,
      ...Object.fromEntries(
        Object.entries(verdict.codes).map(([code, count]) => [`  of them ${code}`, count]),
      ),
      'looks of watchers': seen.reduce((sum, { looks }) => sum + looks, 0),
    },
    violations: [...verdict.violations, ...keeper.violations, ...seen.flatMap((report) => report.violations)],
  };
}

/** Whoever looks after the file. */
class Keeper {
  readonly figures: Record<string, number> = {};
  readonly violations: string[] = [];
  readonly #ground: Playground;
  readonly #random: Random;
  readonly #db: string;
  #count = 0;

  constructor(ground: Playground, random: Random, db: string) {
    this.#ground = ground;
    this.#random = random;
    this.#db = db;
  }

  /** One thing, after a moment. */
  async act(): Promise<void> {
    await sleep(this.#random.int(250));
    await this.#random.pick([
      () => this.#replace(() => this.#fresh()),
      () => this.#replace(() => this.#fresh()),
      () => this.#replace(() => this.#ownCopy()),
      () => this.#replaceByWrong(),
      () => this.#exchangeByHand(),
      () => this.#closeAndReopen(),
      () => this.#replaceUnderFire(),
    ])();
  }

  /** Until it is open, whatever was done to it before. */
  async reopen(): Promise<void> {
    for (let tries = 0; tries < 200; tries += 1) {
      const answer = await this.#ask({ type: 'ReopenDatabase' });
      if (answer.status === 'ok') return;
      this.#check('reopen', answer);
      await sleep(20);
    }
    this.violations.push('the database could not be reopened');
  }

  async #replace(source: () => Promise<string | null>): Promise<boolean> {
    const from = await source();
    if (from === null) return false;
    const answer = await this.#ask({ type: 'ReplaceDatabase', from, timeout_ms: 5_000 });
    if (answer.status === 'ok') this.#add('replaced');
    else this.#check('replace', answer);
    return answer.status === 'ok';
  }

  /** What is no database, or a damaged one, is refused, and the old file is served as before. */
  async #replaceByWrong(): Promise<void> {
    const from = (await this.#fresh()) ?? '';
    const way = this.#random.int(3);
    if (way === 0) writeFileSync(from, 'This is a letter and no database.\n'.repeat(200));
    else if (way === 1) truncateSync(from, 4096 * 3);
    else {
      const bytes = readFileSync(from);
      bytes.fill(0xaa, 4096, 3 * 4096);
      writeFileSync(from, bytes);
    }
    const answer = await this.#ask({ type: 'ReplaceDatabase', from, timeout_ms: 5_000 });
    if (answer.status === 'ok') this.violations.push(`a file that is wrong (${way}) was put in place`);
    else if (answer.code === 'DATABASE_CORRUPT' || answer.code === 'NOT_A_DATABASE')
      this.#add('wrong files refused');
    else this.#check('replace by a wrong file', answer);
  }

  /** Close, put another file there, reopen: as a sync service does it that knows nothing of ReplaceDatabase. */
  async #exchangeByHand(): Promise<void> {
    const from = await this.#fresh();
    const closing = await this.#ask({ type: 'CloseDatabase', timeout_ms: 5_000 });
    if (closing.status !== 'ok' || from === null) {
      this.#check('close', closing);
      return;
    }
    if (existsSync(`${this.#db}-wal`) && readFileSync(`${this.#db}-wal`).length > 0)
      this.violations.push('a closed database has a WAL');
    this.#count += 1;
    renameSync(this.#db, this.#ground.file(`kept-${this.#count}.db`));
    await sleep(this.#random.int(10));
    renameSync(from, this.#db);
    await this.reopen();
    this.#add('exchanged by hand');
  }

  async #closeAndReopen(): Promise<void> {
    this.#check('close', await this.#ask({ type: 'CloseDatabase', timeout_ms: 5_000 }));
    await sleep(this.#random.int(20));
    await this.reopen();
    this.#add('closed and reopened');
  }

  async #replaceUnderFire(): Promise<void> {
    const replacing = this.#replace(() => this.#fresh());
    await sleep(this.#random.int(60));
    const ground = this.#ground;
    const victims = this.#random.pick([
      ground.workers(),
      ground.daemons(),
      ground.processes().length > 0 ? [...ground.workers(), ...ground.daemons()] : [],
    ]);
    for (const pid of victims) {
      try {
        process.kill(pid, 'SIGKILL');
        this.#add('processes killed');
      } catch {
        // It has just left.
      }
    }
    await replacing;
    // Closed is not what it may have become; if the daemon has to finish first, that is waited for.
    await this.reopen();
  }

  /** A file that has nothing to do with what was there. */
  async #fresh(): Promise<string> {
    this.#count += 1;
    const file = this.#ground.file(`fresh-${this.#count}.db`);
    const position = `CREATE TABLE _skylinedb_database (one INTEGER PRIMARY KEY CHECK (one = 0), id TEXT NOT NULL, epoch INTEGER NOT NULL, rev INTEGER NOT NULL);
      INSERT INTO _skylinedb_database VALUES (0, 'fresh-${this.#count}', ${1 + this.#random.int(3)}, ${this.#random.int(5000)});`;
    const rows = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${this.#random.int(400)})
      INSERT INTO padding SELECT randomblob(1000) FROM n;`;
    const journal = this.#random.chance(0.5) ? 'PRAGMA journal_mode = wal;' : '';
    const own = this.#random.chance(0.5) ? position : '';
    await this.#ground.sqlite3(
      file,
      `${journal}${MARK_TABLES.join(';')}; CREATE TABLE padding (b); ${rows} ${own}`,
    );
    return file;
  }

  /** The database as it was a moment ago, its marks taken out: its sessions and its identity are in it. */
  async #ownCopy(): Promise<string | null> {
    this.#count += 1;
    const file = this.#ground.file(`copy-${this.#count}.db`);
    const answer = await this.#ask({ type: 'Backup', to: file });
    if (answer.status !== 'ok') {
      this.#check('backup', answer);
      return null;
    }
    const clean = this.#ground.file(`clean-${this.#count}.db`);
    copyFileSync(file, clean);
    await this.#ground.sqlite3(clean, 'DELETE FROM marks; UPDATE counter SET n = 0;');
    return clean;
  }

  /** Of whichever daemon there is; the writers start one when there is none. */
  async #ask(message: Message): Promise<Message> {
    for (;;) {
      const wire = await this.#ground.wire().catch(() => null);
      if (wire === null) {
        await sleep(10);
        continue;
      }
      try {
        return await wire.request({ db: this.#db, ...message });
      } catch {
        return { status: 'error', code: 'CONNECTION_LOST' };
      } finally {
        wire.destroy();
      }
    }
  }

  #check(what: string, answer: Message): void {
    const code = String(answer.code);
    if (answer.status === 'ok') return;
    this.#add(`refused: ${code}`);
    if (!REFUSALS.has(code) && code !== 'CONNECTION_LOST')
      this.violations.push(`${what}: ${JSON.stringify(answer)}`);
  }

  #add(what: string): void {
    this.figures[what] = (this.figures[what] ?? 0) + 1;
  }
}
