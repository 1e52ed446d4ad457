import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { VERSION } from '../../protocol/version.js';
import { type Installed, installVersion } from '../support/other-version.js';
import { DAEMON_MAIN, Playground, until } from '../support/playground.js';
import { Program } from '../support/program.js';

/**
 * Two versions of the package on one machine, for real: a daemon of the older one under clients of both.
 */
const long = (steps: number) =>
  `INSERT INTO done WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < ${steps}) SELECT 'a', max(n) FROM c`;

let ground: Playground;
let older: Installed;
let newer: Installed;
beforeEach(() => {
  ground = new Playground();
  older = installVersion(ground, '0.0.9');
  newer = installVersion(ground, '0.10.0');
});
afterEach(async () => {
  await ground.dispose();
});

interface Counted {
  readonly name: string;
  readonly applied: number[];
  readonly refused: unknown[];
}

/** A program that writes numbers through a version's library until it is told to stop. */
async function counter(name: string, { library }: Installed, options = '{}'): Promise<Program> {
  const program = Program.fixture(ground, 'counts-through-all', [
    ground.file('x.db'),
    name,
    '8',
    options,
    library,
  ]);
  expect(await program.line()).toBe('begun');
  return program;
}

/** Runs JavaScript that has a version's `connect`; returns what it prints and warns of. */
function program({ library }: Installed, script: string, env: NodeJS.ProcessEnv = {}) {
  const text = `import { connect } from ${JSON.stringify(library)};\n${script}`;
  return ground.run(process.execPath, ['--input-type=module', '-e', text], { env });
}

/** Connects, writes a row, and tells the version of the daemon that took it. */
const WRITES = (options = '{}') => `
const client = await connect(${options});
const db = client.database(${JSON.stringify(ground.file('x.db'))});
await db.exec('CREATE TABLE IF NOT EXISTS met (who TEXT)');
await db.run('INSERT INTO met VALUES (?)', [String(process.pid)]);
console.log((await client.ping()).version);
client.close();`;

/** Times that a daemon has begun to listen, by the log. */
function starts(): number {
  const log = readFileSync(join(ground.stateDir, 'daemon.log'), 'utf8');
  return log.split('\n').filter((line) => line.includes('"msg":"listening"')).length;
}

test('under writers of both versions the newer daemon takes over: no write is lost or doubled, none fails', async () => {
  const before = await Promise.all([counter('old-1', older), counter('old-2', older)]);
  // One that starts no daemon waits for the one that another starts.
  before.push(await counter('old-3', older, '{"autoStart":false}'));
  expect(starts()).toBe(1);
  await until('the older daemon has written', async () => {
    const rows = await ground.sqlite3(ground.file('x.db'), 'SELECT count(*) FROM counts');
    return Number(rows) > 200;
  });
  const after = await counter('new', newer);
  const version = await program(newer, WRITES());
  expect(version).toMatchObject({ code: 0, stdout: '0.10.0\n', stderr: '' });
  const written = Number(await ground.sqlite3(ground.file('x.db'), 'SELECT count(*) FROM counts'));
  await until('all of them go on', async () => {
    const rows = await ground.sqlite3(ground.file('x.db'), 'SELECT count(*) FROM counts');
    return Number(rows) > written + 600;
  });
  for (const writer of [...before, after]) {
    const report = JSON.parse(await writer.ask('stop')) as Counted;
    expect(report.refused).toEqual([]);
    const rows = await ground.sqlite3(
      ground.file('x.db'),
      `SELECT json_group_array(n) FROM (SELECT n FROM counts WHERE who = '${report.name}' ORDER BY n)`,
    );
    expect(JSON.parse(rows)).toEqual([...report.applied].sort((one, other) => one - other));
    expect((await writer.exited).stderr).toBe('');
  }
  // The older clients have not brought their own daemon back.
  expect(starts()).toBe(2);
  expect(ground.daemons()).toHaveLength(1);
  expect((await program(older, WRITES())).stdout).toBe('0.10.0\n');
  await ground.expectCleanEnd();
});

test('many newer clients at once: one hand-off, and all of them write to the newer daemon', async () => {
  expect((await program(older, WRITES())).stdout).toBe('0.0.9\n');
  const all = await Promise.all(Array.from({ length: 8 }, () => program(newer, WRITES())));
  for (const { stdout, stderr } of all)
    expect({ stdout, stderr }).toEqual({ stdout: '0.10.0\n', stderr: '' });
  expect(starts()).toBe(2);
  expect(await ground.sqlite3(ground.file('x.db'), 'SELECT count(*) FROM met')).toBe('9');
  await ground.expectCleanEnd();
});

test('the command line hands off, too, unless SKYLINEDB_HAND_OFF says never', async () => {
  await program(older, WRITES());
  const exec = [newer.cli, 'exec', '--db', 'x.db', 'INSERT INTO met VALUES (1)'];
  const stays = await ground.run(process.execPath, exec, { env: { SKYLINEDB_HAND_OFF: 'never' } });
  expect(stays).toMatchObject({ code: 0, stderr: expect.stringContaining('SKYLINEDB_OLD_DAEMON') });
  expect(starts()).toBe(1);
  expect(await ground.run(process.execPath, exec)).toMatchObject({ code: 0, stderr: '' });
  const { stdout } = await ground.run(process.execPath, [newer.cli, 'ping', '--json']);
  expect(JSON.parse(stdout)).toMatchObject({ version: '0.10.0' });
  // A command that starts no daemon ends none.
  await ground.run(process.execPath, [newer.cli, 'shutdown']);
  await program(older, WRITES());
  const ping = await ground.run(process.execPath, [newer.cli, 'ping', '--json']);
  expect(JSON.parse(ping.stdout)).toMatchObject({ version: '0.0.9' });
  expect(starts()).toBe(3);
});

test('an older client works with a newer daemon, and leaves it where it is', async () => {
  expect((await program(newer, WRITES())).stdout).toBe('0.10.0\n');
  const { stdout, stderr } = await program(older, WRITES());
  expect({ stdout, stderr }).toEqual({ stdout: '0.10.0\n', stderr: '' });
  expect(starts()).toBe(1);
});

test.each([
  ['{ handOff: "never" }', {}],
  ['{ autoStart: false }', {}],
  ['{}', { SKYLINEDB_HAND_OFF: 'never' }],
])('a client with %s and %j uses the older daemon, and says so', async (options, env) => {
  await program(older, WRITES());
  const { stdout, stderr } = await program(newer, WRITES(options), env);
  expect(stdout).toBe('0.0.9\n');
  expect(stderr).toContain('SKYLINEDB_OLD_DAEMON');
  expect(starts()).toBe(1);
});

test('a daemon that was started by hand stays; by hand it can be followed', async () => {
  const child = ground.start(process.execPath, [older.daemon]);
  await until('it listens', async () => (await ground.cli(['ping'])).code === 0);
  expect((await program(newer, WRITES())).stdout).toBe('0.0.9\n');
  const left = new Promise((resolve) => child.once('exit', resolve));
  ground.start(process.execPath, [newer.daemon, '--hand-off']);
  expect(await left).toBe(0);
  await until('the newer one listens', async () => (await ground.cli(['ping'])).code === 0);
  expect((await program(newer, WRITES())).stdout).toBe('0.10.0\n');
});

test('a daemon in the middle of something long goes on, with everybody, and is left in peace for a while', async () => {
  const [writer] = [await counter('old', older)];
  await program(
    older,
    `const c = await connect(); await c.database(${JSON.stringify(ground.file('y.db'))}).exec('CREATE TABLE done (a, n)'); c.close();`,
  );
  const running = program(
    older,
    `const c = await connect(); const { rev } = await c.database(${JSON.stringify(ground.file('y.db'))}).run(${JSON.stringify(long(20_000_000))}); console.log(rev); c.close();`,
  );
  await until('the long statement runs', async () => {
    const { stdout } = await ground.cli(['status', '--json']);
    const { databases } = JSON.parse(stdout) as { databases: { db_path: string; queue_depth: number }[] };
    return databases.some(({ db_path: path, queue_depth: depth }) => path.endsWith('y.db') && depth === 1);
  });
  const first = await program(newer, WRITES());
  expect(first).toMatchObject({ code: 0, stdout: '0.0.9\n' });
  expect(first.stderr).toContain('SKYLINEDB_OLD_DAEMON');
  const wire = await ground.wire();
  expect(await wire.request({ type: 'Hello', protocol: 1 })).toMatchObject({
    version: '0.0.9',
    hand_off: false,
  });
  expect(await running).toMatchObject({ code: 0, stdout: '2\n' });
  const report = JSON.parse(await writer.ask('stop')) as Counted;
  expect(report.refused).toEqual([]);
  expect(starts()).toBe(1);
});

test('a newer daemon that cannot start leaves the older one where it is', async () => {
  await program(older, WRITES());
  writeFileSync(newer.daemon, 'throw new Error("installed badly");');
  const { stdout, stderr } = await program(newer, WRITES());
  expect(stdout).toBe('0.0.9\n');
  expect(stderr).toMatch(/SKYLINEDB_HAND_OFF.*could not take over.*installed badly/s);
  expect(starts()).toBe(1);
});

test('on the wire: a daemon leaves only for a newer version, and only if it can finish in time', async () => {
  const { exited } = await ground.daemon();
  const wire = await ground.wire();
  expect(await wire.request({ type: 'Hello', protocol: 1 })).toMatchObject({ hand_off: true });
  for (const version of [VERSION, '0.0.1', '0.0.1-rc.1'])
    expect(await wire.request({ type: 'Shutdown', if_older_than: version })).toMatchObject({
      code: 'EXPECTATION_FAILED',
      outcome: 'not_applied',
      message: expect.stringContaining(`${VERSION}, which is not older than ${version}`),
    });
  for (const version of ['2', 'newest', 7, '', `1.0.0-${'x'.repeat(300)}`])
    expect(await wire.request({ type: 'Shutdown', if_older_than: version })).toMatchObject({
      code: 'INVALID_REQUEST',
      message: expect.stringContaining('if_older_than'),
    });
  await wire.exec('y.db', ['CREATE TABLE done (a, n)']);
  const busy = await ground.wire();
  const running = busy.exec('y.db', [long(8_000_000)]);
  await until('it runs', async () => {
    const { databases } = (await wire.request({ type: 'Status' })) as {
      databases: { queue_depth: number }[];
    };
    return databases.some(({ queue_depth: depth }) => depth === 1);
  });
  const late = wire.request({ type: 'Shutdown', if_older_than: '99.0.0', timeout_ms: 300 });
  const meanwhile = await ground.wire();
  await until(
    'requests are refused',
    async () => (await meanwhile.request({ type: 'Ping' })).code === 'SHUTTING_DOWN',
  );
  expect(await late).toMatchObject({ code: 'TIMEOUT', outcome: 'not_applied', retryable: true });
  expect(await meanwhile.exec('x.db', ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok' });
  expect(await running).toMatchObject({ status: 'ok', rows_affected: 1 });
  expect(await wire.request({ type: 'Shutdown', if_older_than: '99.0.0', timeout_ms: 5_000 })).toMatchObject({
    status: 'ok',
  });
  expect(await exited).toMatchObject({ code: 0 });
  await ground.expectCleanEnd();
});

test('a second daemon of the same version is told that the first one stays', async () => {
  await ground.daemon();
  const { code, stderr } = await ground.run(process.execPath, [DAEMON_MAIN, '--hand-off']);
  expect(code).toBe(1);
  expect(stderr).toMatch(/Another daemon instance is already running.*It was asked to leave: .* it stays/s);
});

test.each([
  ['soon is waited for', true, '0.10.0\n'],
  ['later keeps the older daemon', false, '0.0.9\n'],
])('a transaction that ends %s, and is committed', async (_what, soon, version) => {
  const file = JSON.stringify(ground.file('x.db'));
  await program(
    older,
    `const c = await connect(); await c.database(${file}).exec('CREATE TABLE t (a)'); c.close();`,
  );
  const script = `
let told = ${soon};
process.stdin.once('data', () => { told = true; process.stdin.destroy(); });
const c = await connect();
await c.database(${file}).transaction(async (tx) => {
  await tx.run('INSERT INTO t VALUES (1)');
  console.log('open');
  do {
    // Often enough for its lease.
    await new Promise((resolve) => setTimeout(resolve, 300));
    await tx.run('INSERT INTO t VALUES (0)');
  } while (!told);
});
console.log('committed');
process.stdin.destroy();
c.close();`;
  const text = `import { connect } from ${JSON.stringify(older.library)};\n${script}`;
  const holder = new Program(ground.start(process.execPath, ['--input-type=module', '-e', text]));
  expect(await holder.line()).toBe('open');
  const asks = 'const c = await connect(); console.log((await c.ping()).version); c.close();';
  expect((await program(newer, asks)).stdout).toBe(version);
  holder.say('end it');
  expect(await holder.line()).toBe('committed');
  expect(await holder.exited).toMatchObject({ code: 0, stderr: '' });
  expect(await ground.sqlite3(ground.file('x.db'), 'SELECT sum(a) FROM t')).toBe('1');
});
