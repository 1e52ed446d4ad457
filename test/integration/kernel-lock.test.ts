import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';
import { Program } from '../support/program.js';

const RACERS = 8;
const ROUNDS = 50;

let ground: Playground;
let path: string;
beforeEach(() => {
  ground = new Playground();
  path = join(ground.dir, 'test.lock');
});
afterEach(async () => {
  await ground.dispose();
});

async function racers(count: number): Promise<Program[]> {
  const programs = Array.from({ length: count }, () =>
    Program.fixture(ground, 'takes-a-kernel-lock', [path]),
  );
  for (const program of programs) expect(await program.line()).toBe('loaded');
  return programs;
}

/** All want the lock at the same moment; exactly one of them has it then, and the others are told who. */
async function race(programs: readonly Program[]): Promise<Program> {
  const answers = await Promise.all(programs.map((program) => program.ask('acquire')));
  const owners = programs.filter((_, at) => answers[at] === 'owner');
  expect(owners.length, answers.join(', ')).toBe(1);
  const [owner] = owners as [Program];
  const others = programs.filter((program) => program !== owner);
  const refusals = await Promise.all(others.map((program) => program.ask('acquire')));
  expect(refusals).toEqual(others.map(() => `refused ${owner.pid}`));
  return owner;
}

test('of eight processes that want the lock at once one gets it, and the others learn who, in fifty rounds', async () => {
  const programs = await racers(RACERS);
  for (let round = 0; round < ROUNDS; round += 1) {
    const owner = await race(programs);
    expect(await owner.ask('release')).toBe('released');
  }
  for (const program of programs) expect(await program.end()).toMatchObject({ code: 0, stderr: '' });
  expect(readdirSync(ground.dir).filter((name) => name.startsWith('test.lock'))).toEqual([]);
}, 120_000);

test('while others keep trying, a lock that goes from hand to hand never has two owners', async () => {
  const programs = await racers(RACERS);
  let owner = await race(programs);
  for (let round = 0; round < ROUNDS; round += 1) {
    // The release races with the others' attempts: none of them may win more than once, and perhaps nobody does.
    const others = programs.filter((program) => program !== owner);
    const [, ...answers] = await Promise.all([
      owner.ask('release'),
      ...others.map((one) => one.ask('acquire')),
    ]);
    const winners = others.filter((_, at) => answers[at] === 'owner');
    expect(winners.length).toBeLessThanOrEqual(1);
    owner = winners[0] ?? (await race(programs));
  }
  for (const program of programs) await program.kill();
}, 120_000);

test('the lock is free at once when its owner is killed, and the file that stays is taken over', async () => {
  const programs = await racers(3);
  for (const _ of [1, 2]) {
    const owner = await race(programs);
    await owner.kill();
    programs.splice(programs.indexOf(owner), 1);
    expect(existsSync(path)).toBe(true);
  }
  expect(await programs[0]?.ask('acquire')).toBe('owner');
  expect(await programs[0]?.end()).toMatchObject({ code: 0 });
});

test('whenever somebody is killed while taking the lock, the next one gets it', async () => {
  for (let round = 0; round < 12; round += 1) {
    const [victim, next] = (await racers(2)) as [Program, Program];
    victim.say('acquire');
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 6));
    await victim.kill();
    expect(await next.ask('acquire')).toBe('owner');
    await next.kill();
  }
}, 120_000);

test('a damaged or an empty lock file of ours is taken over; anything else stays as it is', async () => {
  const [program] = (await racers(1)) as [Program];
  const damaged = Buffer.concat([Buffer.from('SQLite format 3\0'), Buffer.alloc(500, 7)]);
  for (const contents of [Buffer.alloc(0), damaged]) {
    writeFileSync(path, contents);
    expect(await program.ask('acquire')).toBe('owner');
    expect(await program.ask('release')).toBe('released');
    expect(existsSync(path)).toBe(false);
  }
  writeFileSync(path, 'a text that somebody needs, in the place of the lock');
  program.say('acquire');
  expect(await program.exited).toMatchObject({ code: 1, stderr: expect.stringContaining('not a database') });
  expect(existsSync(path)).toBe(true);
});

test('a database of somebody else in the place of the lock keeps its contents and its journal mode', async () => {
  const [program] = (await racers(1)) as [Program];
  await ground.sqlite3(path, 'PRAGMA journal_mode = WAL; CREATE TABLE mine (a); INSERT INTO mine VALUES (7)');
  program.say('acquire');
  expect(await program.exited).toMatchObject({ code: 1, stderr: expect.stringContaining(path) });
  expect(await ground.sqlite3(path, 'PRAGMA journal_mode; SELECT a FROM mine')).toBe('wal\n7');
});
