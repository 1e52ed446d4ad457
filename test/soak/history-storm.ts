import { join } from 'node:path';
import { judgeHistory, type Operation, type Registers } from '../support/history.js';
import { readHistories } from '../support/history-files.js';
import type { Playground } from '../support/playground.js';
import { Program } from '../support/program.js';
import type { Random } from '../support/random.js';
import { killAllAlong, leave } from './kill-storm.js';
import { type StormResult, type StormSetting, sleep } from './storm.js';

const CLIENTS = 4;
const REGISTERS = 3;
/** Milliseconds between two kills, at most: there is to be some history between them. */
const KILL_MS = 800;

/** As in the storm of kills; and without numbers, a lost connection leaves a batch's outcome unknown. */
const EXPECTED = new Set([
  'SQL_ERROR not_applied',
  'EXPECTATION_FAILED not_applied',
  'WORKER_CRASHED not_applied',
  'WORKER_CRASHED unknown',
  'SESSION_CONFLICT not_applied',
  'CONNECTION_LOST not_applied',
  'CONNECTION_LOST unknown',
  'TX_EXPIRED not_applied',
]);

/**
 * Processes read and write a few registers, through the daemon and directly, while whatever the daemon is made of is killed, and
 * now and then one of them. What each asked for and was told is kept, and in the end an order is looked for in which all of it
 * could have happened one after the other, each with the rev that was told.
 */
export async function historyStorm({ ground, random, seconds, least }: StormSetting): Promise<StormResult> {
  const db = ground.file('x.db');
  await ground.daemon();
  const wire = await ground.wire();
  const values = Array.from({ length: REGISTERS }, () => 0);
  const made = await wire.exec(db, [
    'CREATE TABLE registers (k INTEGER PRIMARY KEY, v INTEGER NOT NULL)',
    'CREATE TABLE never (v INTEGER CHECK (v = 0))',
    { sql: 'INSERT INTO registers VALUES (?, ?)', param_sets: values.map((value, key) => [key, value]) },
  ]);
  if (made.status !== 'ok') throw new Error(JSON.stringify(made));
  wire.destroy();

  const files: string[] = [];
  const start = async (): Promise<Program> => {
    const at = files.length;
    const file = join(ground.dir, `history-${at}`);
    files.push(file);
    // One of them stays with the router, and one does not send anything again.
    const options = { direct: at % CLIENTS > 0, exactlyOnce: at % CLIENTS !== 1 };
    const args = [db, file, `${at + 1}`, `${1 + random.int(5)}`, `${random.seed()}`, JSON.stringify(options)];
    const program = Program.fixture(ground, 'history-client', args);
    const line = await program.line();
    if (line !== 'begun') throw new Error(`a client said: ${line}`);
    return program;
  };
  const clients = await Promise.all(Array.from({ length: CLIENTS }, start));
  const end = performance.now() + seconds * 1000;
  const [kills, killed] = await Promise.all([
    killAllAlong(ground, random, end, least, KILL_MS),
    killClients(clients, start, random, end),
  ]);
  await Promise.all(clients.map(endOf));
  await leave(ground);

  const { operations, codes, violations } = readHistories(files);
  const history = [...operations, await lookInTheEnd(ground, db)];
  const unexpected = Object.keys(codes).filter((code) => !EXPECTED.has(code));
  return {
    figures: {
      ...kills,
      'clients killed': killed,
      operations: history.length,
      'outcomes unknown': history.filter(({ ended }) => ended === Infinity).length,
      ...Object.fromEntries(Object.entries(codes).map(([code, count]) => [`  of them ${code}`, count])),
    },
    violations: [
      ...violations,
      ...judge(history, { rev: Number(made.rev), values }),
      ...unexpected.map((code) => `a failure that nothing explains: ${code}`),
    ],
  };
}

/** Kills clients in the middle of whatever they ask for, and puts others in their place. */
async function killClients(
  clients: Program[],
  start: () => Promise<Program>,
  random: Random,
  end: number,
): Promise<number> {
  let killed = 0;
  for (;;) {
    await sleep(1_000 + random.int(1_000));
    if (performance.now() > end) return killed;
    const at = random.int(clients.length);
    await clients[at]?.kill();
    killed += 1;
    clients[at] = await start();
  }
}

/** What plain SQLite finds in the file once everybody has left. */
async function lookInTheEnd(ground: Playground, db: string): Promise<Operation> {
  const begun = Number(process.hrtime.bigint() / 1000n);
  const found = await ground.sqlite3(
    db,
    'SELECT rev FROM _skylinedb_database UNION ALL SELECT * FROM (SELECT v FROM registers ORDER BY k)',
  );
  const [rev = 0, ...values] = found.split('\n').map(Number);
  const steps = values.map((value, key) => ({ is: value, key }));
  return { name: 'the file in the end', begun, ended: begun + 1, steps, rev };
}

async function endOf(program: Program): Promise<void> {
  const line = await program.ask('stop');
  if (line !== 'ended') throw new Error(`a client said: ${line}`);
  await program.exited;
}

function judge(history: readonly Operation[], start: Registers): string[] {
  const judgement = judgeHistory(history, start);
  if (judgement.verdict === 'explained') return [];
  const { order, registers, stuck } = judgement;
  const tell = ({ name, begun, ended, steps, rev }: Operation) =>
    `${name} [${begun}, ${ended}] rev ${rev}: ${JSON.stringify(steps)}`;
  const text = [
    `the history is ${judgement.verdict}: after ${order.length} of ${history.length} operations`,
    `with ${registers.values.join()} at rev ${registers.rev}`,
    `the last being ${order.slice(-3).map(tell).join(' ; ')}`,
    `none of these fits: ${stuck.slice(-8).map(tell).join(' ; ')}`,
  ];
  return [text.join(', ')];
}
