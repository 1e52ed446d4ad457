import type { Client } from '../../client/client.js';
import { SkylineError } from '../../protocol/errors.js';
import type { SqlOutput } from '../../protocol/values.js';
import { count } from '../format.js';
import type { Screen } from '../output.js';
import { Across } from './across.js';
import { dotCommand } from './commands.js';
import type { Names } from './completion.js';
import { parseCommand } from './dot-command.js';
import type { Unit } from './input.js';
import { byHand, interrupted, isInterruption, tooLate } from './interrupted.js';
import { OpenTransaction } from './open-transaction.js';
import { listed, type Place } from './place.js';
import { type Mode, RowPrinter } from './printer.js';
import type { Answer, Ask } from './reading-messages.js';
import { Reads, Writes } from './reads.js';
import { intentOf } from './statement.js';

export interface ShellOptions {
  readonly screen: Screen;
  /** Somebody sits there: what was done is said, and not only what was asked for. */
  readonly interactive: boolean;
  readonly mode: Mode;
  /** Reaches the daemon, starting one if need be. Reading needs none. */
  connect(): Promise<Client>;
}

/** What is done with what was typed. Where it comes from, and where the prompt stands, is somebody else's. */
export class Shell {
  readonly screen: Screen;
  readonly interactive: boolean;
  /** The database; set before anything is done. */
  place: Place = { name: '', path: '', db: '' };
  mode: Mode;
  timer = false;
  /** It is to be left. */
  over = false;
  readonly #connect: () => Promise<Client>;
  readonly #reads = new Reads();
  readonly #across = new Across(() => this.client());
  readonly #transaction = new OpenTransaction();
  #client: Promise<Client> | null = null;
  #running: AbortController | null = null;

  constructor({ screen, interactive, mode, connect }: ShellOptions) {
    this.screen = screen;
    this.interactive = interactive;
    this.mode = mode;
    this.#connect = connect;
  }

  /** Starts what will be needed. */
  prepare(): void {
    this.#reads.prepare();
  }

  /** The database's name, and whether a transaction is open. */
  get prompt(): string {
    return `${this.place.name}${this.#transaction.mark}> `;
  }

  /**
   * Does one thing.
   * @throws SkylineError what has failed; the shell goes on as it was
   */
  async run(unit: Unit): Promise<void> {
    const running = new AbortController();
    this.#running = running;
    try {
      await this.runInside(unit, running.signal, 0);
    } finally {
      this.#running = null;
    }
  }

  /**
   * Does one thing that another one consists of.
   * @param depth how many files are being read
   */
  async runInside(unit: Unit, signal: AbortSignal, depth: number): Promise<void> {
    if (unit.kind === 'command') return await dotCommand(this, parseCommand(unit.text), signal, depth);
    const begun = performance.now();
    try {
      await this.#statement(unit.sql, signal);
      if (signal.aborted) throw tooLate();
    } finally {
      if (this.timer) await this.screen.err.line(`Time: ${(performance.now() - begun).toFixed(1)} ms`);
    }
  }

  /**
   * Stops what runs. The second time it is not waited for any more: what it has sent ends with its connection.
   * @returns false when nothing runs
   */
  interrupt(): boolean {
    if (this.#running?.signal.aborted === true) this.#hangUp();
    this.#running?.abort(byHand());
    return this.#running !== null;
  }

  #hangUp(): void {
    void this.#client?.then(
      (client) => client.close(),
      () => undefined,
    );
    this.#client = null;
  }

  /** The connection to the daemon, made when it is first needed. */
  client(): Promise<Client> {
    this.#client ??= this.#connect().catch((error: unknown) => {
      this.#client = null;
      throw error;
    });
    return this.#client;
  }

  /** Says what was done, if somebody is there. */
  async say(text: string): Promise<void> {
    if (this.interactive) await this.screen.err.line(text);
  }

  /** @throws SkylineError while a transaction is open, which what is meant to be done would not be part of */
  outsideTransaction(what: string): void {
    this.#transaction.refuse(`${what} is no part of it`);
  }

  /** Goes on with another database. */
  async use(place: Place): Promise<void> {
    this.place = place;
    this.#across.forget();
    await this.say(`Using ${place.path}`);
  }

  /** Reads the file directly. @throws Writes when that would be no reading */
  async read(
    what: Ask['what'],
    signal: AbortSignal,
    piece: (answer: Answer) => Promise<void>,
  ): Promise<void> {
    await this.#across.with(this.place, (attach) =>
      this.#reads.ask({ path: this.place.path, attach, what }, signal, piece),
    );
  }

  /** All rows of a question of the shell's own, for instance for its tables. A database without a file has none. */
  async rows(
    sql: string,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<(readonly SqlOutput[])[]> {
    // What the transaction has done only its own statements see.
    if (this.#transaction.begun) return [...((await this.#transaction.exec(sql, signal)).rows ?? [])];
    const all: (readonly SqlOutput[])[] = [];
    try {
      await this.read({ op: 'rows', sql }, signal, async (answer) => {
        if (answer.kind === 'rows') all.push(...answer.set.rows);
      });
    } catch (error) {
      if (!(error instanceof SkylineError) || error.code !== 'DATABASE_NOT_FOUND') throw error;
    }
    return all;
  }

  /** What names can be completed to. Never fails. */
  async names(): Promise<Names> {
    // While something runs, what reads is busy. A transaction is not kept open by somebody's looking around.
    if (this.#running !== null || this.#transaction.begun) return { tables: new Map(), databases: [] };
    const tables = new Map<string, string[]>();
    const rows = await this.rows(
      `SELECT m.name, c.name FROM sqlite_schema m, pragma_table_xinfo(m.name) c
       WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND m.name NOT LIKE '\\_skylinedb\\_%' ESCAPE '\\'`,
      AbortSignal.timeout(COMPLETION_MS),
    ).catch(() => []);
    for (const [table, column] of rows)
      tables.set(String(table), [...(tables.get(String(table)) ?? []), String(column)]);
    const databases = this.#client === null ? [] : await listed(await this.#client).catch(() => []);
    return { tables, databases: databases.map(({ name }) => name) };
  }

  /**
   * Ends it.
   * @returns whether a transaction was open, which is rolled back
   */
  async close(): Promise<boolean> {
    const open = this.#transaction.abandon();
    this.#reads.close();
    const client = await this.#client?.catch(() => null);
    client?.close();
    return open;
  }

  async #statement(sql: string, signal: AbortSignal): Promise<void> {
    const intent = intentOf(sql);
    switch (intent.kind) {
      case 'read':
        if (this.#transaction.begun) await this.#write(sql, signal);
        else await this.#readStatement(sql, signal);
        return;
      case 'begin':
        await this.#transaction.begin((await this.client()).database(this.place.db), intent.read, signal);
        return;
      case 'commit': {
        const { rowsAffected } = await this.#transaction.commit();
        await this.say(`Committed, ${count(rowsAffected, 'row')} changed`);
        return;
      }
      case 'rollback':
        await this.#transaction.rollback();
        await this.say('Rolled back');
        return;
      case 'use':
        await dotCommand(this, { name: 'use', args: [intent.name] }, signal);
        return;
      case 'show databases':
        await dotCommand(this, { name: 'databases', args: [] }, signal);
        return;
      case 'create database': {
        this.outsideTransaction('Making a database');
        const { name, ifNotExists } = intent;
        const { created } = await (await this.client()).createDatabase(name, { ifNotExists });
        await this.say(created ? `Created ${name}` : `${name} is there already`);
        return;
      }
      case 'drop database': {
        this.outsideTransaction('Dropping a database');
        const { name, ifExists } = intent;
        const { dropped, until } = await (await this.client()).dropDatabase(name, { ifExists });
        await this.say(
          dropped
            ? `Dropped ${name}${until === undefined ? '' : `. Until ${until}, "skylinedb-cli restore-database ${name}" brings it back`}`
            : `There is no ${name}`,
        );
        return;
      }
      default:
        await this.#write(sql, signal);
    }
  }

  async #readStatement(sql: string, signal: AbortSignal): Promise<void> {
    const printer = new RowPrinter(this.screen.out, this.mode);
    try {
      await this.read({ op: 'rows', sql }, signal, async (answer) => {
        if (answer.kind === 'rows') await printer.piece(answer.set);
      });
      await printer.end();
    } catch (error) {
      // A file that is not there yet the daemon answers for: as if it were empty.
      const missing = error instanceof SkylineError && error.code === 'DATABASE_NOT_FOUND';
      if (!(error instanceof Writes) && !missing) throw error;
      await this.#write(sql, signal);
    }
  }

  async #write(sql: string, signal: AbortSignal): Promise<void> {
    const inside = this.#transaction.begun;
    try {
      const { columns, rows, rowsAffected } = inside
        ? await this.#transaction.exec(sql, signal)
        : await (await this.client()).database(this.place.db).exec(sql, undefined, { signal, ...alone(sql) });
      if (columns === undefined)
        return await this.say(rowsAffected === 0 ? 'Done' : `${count(rowsAffected, 'row')} changed`);
      const printer = new RowPrinter(this.screen.out, this.mode);
      await printer.piece({ columns, rows: rows ?? [] });
      await printer.end();
    } catch (error) {
      if (isInterruption(error, signal)) throw interrupted(error, inside && this.#transaction.stopped(error));
      throw await this.#across.explained(error, inside);
    }
  }
}

/** Milliseconds that somebody waits for a completion. */
const COMPLETION_MS = 1_000;

/** VACUUM cannot run inside a transaction. */
function alone(sql: string): { tx?: 'none' } {
  return /^\s*vacuum\b/i.test(sql) ? { tx: 'none' } : {};
}
