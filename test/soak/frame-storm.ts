import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mutant } from '../support/mutants.js';
import { type Playground, until } from '../support/playground.js';
import { memoryOf } from '../support/proc.js';
import type { Random } from '../support/random.js';
import { Wire } from '../support/wire.js';
import { blowsOn, type StormResult, type StormSetting, sleep } from './storm.js';

const CLIENTS = 4;
/** More than this, and somebody has been kept something of. */
const MAX_MIB = 500;
/** Answers that only a fault of ours can bring. */
const FAULTS = new Set(['INTERNAL', 'WORKER_CRASHED']);

/**
 * Mutated and random frames, to the router's socket and to a worker's: whatever comes, the daemon lives, answers what it
 * knows, and others notice nothing.
 */
export async function frameStorm(setting: StormSetting): Promise<StormResult> {
  const { ground } = setting;
  const daemon = await ground.daemon(['--log-level', 'warn', '--max-workers', '8']);
  const storm = new FrameStorm(setting);
  await Promise.all([storm.bystander(), ...Array.from({ length: CLIENTS }, () => storm.client())]);
  const { violations } = storm;
  if (daemon.child.exitCode !== null) violations.push(`the daemon has ended; ${storm.recent()}`);
  else {
    const wire = await ground.wire();
    await until('the connections are gone', async () => {
      return (await wire.request({ type: 'Status' })).connections === 1;
    });
    const memory = Math.round(memoryOf(daemon.pid));
    if (memory > MAX_MIB) violations.push(`the daemon has ${memory} MiB`);
    await wire.request({ type: 'ReopenDatabase', db: 'fuzz.db' });
    const after = await wire.exec('after.db', ['CREATE TABLE t (a)']);
    if (after.status !== 'ok') violations.push(`afterwards: ${JSON.stringify(after)}`);
    for (const name of readdirSync(ground.dataDir).filter((one) => one.endsWith('.db'))) {
      const found = await ground.sqlite3(ground.file(name), 'PRAGMA integrity_check');
      if (found !== 'ok') violations.push(`${name}: ${found}`);
    }
    await wire.request({ type: 'Shutdown' });
    await until('no process is left', () => ground.processes().length === 0);
    violations.push(...deaths(readFileSync(join(ground.stateDir, 'daemon.log'), 'utf8'), storm));
  }
  return { figures: storm.figures, violations };
}

/** Workers that died, other than those that were stopped because a batch took too long. A client would hardly notice. */
function deaths(log: string, storm: FrameStorm): string[] {
  const count = (text: string) => log.split('\n').filter((line) => line.includes(text)).length;
  const died = count('"worker died"') - count('ran past its deadline');
  return died > 0 ? [`${died} workers died; ${storm.recent()}`] : [];
}

class FrameStorm {
  readonly figures = {
    'frames sent': 0,
    'answers read': 0,
    'connections to workers': 0,
    'rows of others': 0,
  };
  readonly violations: string[] = [];
  readonly #ground: Playground;
  readonly #random: Random;
  readonly #least: StormSetting['least'];
  readonly #end: number;
  readonly #recent: string[] = [];

  constructor({ ground, random, seconds, least }: StormSetting) {
    this.#ground = ground;
    this.#random = random;
    this.#least = least;
    this.#end = performance.now() + seconds * 1000;
  }

  get #blowsOn(): boolean {
    // What is violated need not be proven at length.
    return blowsOn(this.#end, this.figures, this.violations.length > 0 ? {} : this.#least);
  }

  /** The latest frames, in hex: what is found goes into test/fixtures/corpus. */
  recent(): string {
    return `the latest frames: ${this.#recent.join(' ')}`;
  }

  async client(): Promise<void> {
    const random = this.#random;
    while (this.#blowsOn) {
      const wire = await this.#connect();
      if (wire === null) return;
      const count = 1 + random.int(20);
      for (let sent = 0; sent < count; sent += 1) {
        const bytes = mutant(random);
        this.#recent.push(bytes.toString('hex'));
        this.#recent.splice(0, this.#recent.length - 60);
        wire.raw(bytes);
      }
      this.figures['frames sent'] += count;
      random.pick([() => wire.socket.end(), () => wire.destroy(), () => undefined])();
      for (let taken = 0; taken < count; taken += 1) {
        const reply = await Promise.race([wire.next(), this.#heard()]);
        if (reply === null) break;
        this.figures['answers read'] += 1;
        if (FAULTS.has(String(reply.code)))
          this.violations.push(`${JSON.stringify(reply)}; ${this.recent()}`);
      }
      wire.destroy();
    }
  }

  /** Somebody who behaves, and must not notice. */
  async bystander(): Promise<void> {
    const wire = await this.#ground.wire();
    await wire.exec('bystander.db', ['CREATE TABLE steps (n INTEGER)']);
    let written = 0;
    while (this.#blowsOn) {
      const insert = { sql: 'INSERT INTO steps VALUES (?)', params: [written + 1] };
      const reply = await wire.exec('bystander.db', [insert]).catch((error: Error) => error.message);
      if (typeof reply === 'string' || reply.status !== 'ok') {
        this.violations.push(`somebody else was told: ${JSON.stringify(reply)}; ${this.recent()}`);
        return;
      }
      written += 1;
      await sleep(1);
    }
    const [row] = await wire.rows('bystander.db', 'SELECT count(*), max(n) FROM steps');
    if (row?.[0] !== written || row[1] !== written)
      this.violations.push(`somebody else wrote ${written} rows and finds ${JSON.stringify(row)}`);
    this.figures['rows of others'] = written;
    wire.destroy();
  }

  /** To the router or, when the database is open, to its worker. */
  async #connect(): Promise<Wire | null> {
    const { socket } = this.#ground;
    try {
      if (this.#random.chance(0.6)) return await Wire.connect(socket);
      const router = await Wire.connect(socket);
      const { endpoint } = await router.request({ type: 'Attach', db: 'fuzz.db' });
      router.destroy();
      const worker = typeof endpoint === 'string' ? await Wire.connect(endpoint).catch(() => null) : null;
      if (worker !== null) this.figures['connections to workers'] += 1;
      return worker ?? (await Wire.connect(socket));
    } catch (error) {
      this.violations.push(`${String(error)}; ${this.recent()}`);
      return null;
    }
  }

  /** A mutant may be half a frame, for whose rest the daemon waits: another answer shows that it was read. */
  async #heard(): Promise<null> {
    try {
      const other = await Wire.connect(this.#ground.socket);
      await other.request({ type: 'Ping' });
      other.destroy();
    } catch (error) {
      this.violations.push(`${String(error)}; ${this.recent()}`);
    }
    return null;
  }
}
