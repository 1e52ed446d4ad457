import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Playground, until } from '../support/playground.js';
import { Exposition } from '../support/prometheus.js';
import type { Message, Wire } from '../support/wire.js';
import { jsonOf } from './cli-harness.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

const INSERT = 'INSERT INTO t VALUES (1)';
const SLOW =
  'WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 300000) SELECT count(*) FROM c';

async function ask(wire: Wire): Promise<Exposition> {
  const { status, text } = await wire.request({ type: 'Metrics' });
  expect(status).toBe('ok');
  return new Exposition(String(text));
}

async function record(wire: Wire, db: string): Promise<Message> {
  const { databases } = await wire.request({ type: 'Status', db });
  return (databases as Message[])[0] ?? {};
}

/** Nothing that is counted has fallen. */
function expectRisen(before: Exposition, after: Exposition): void {
  const rising = after.rising;
  for (const [sample, value] of before.rising)
    expect(rising.get(sample) ?? Number.NaN, sample).toBeGreaterThanOrEqual(value);
}

test('what is counted: batches, groups, the parts of their time, errors by code, processes', async () => {
  await ground.daemon();
  const [wire, other] = [await ground.wire(), await ground.wire()];
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  // While it runs, the others wait, and are a group behind it.
  const slow = wire.exec('x.db', [SLOW]);
  await Promise.all([slow, ...Array.from({ length: 39 }, () => wire.exec('x.db', [INSERT]))]);
  expect(await wire.exec('x.db', ['INSERT INTO missing VALUES (1)'])).toMatchObject({ code: 'SQL_ERROR' });
  expect(await wire.request({ type: 'Nothing' })).toMatchObject({ code: 'INVALID_REQUEST' });
  other.raw(Buffer.from([0, 0, 0, 0]));
  expect(await other.next()).toMatchObject({ code: 'PROTOCOL_ERROR' });

  const metrics = await ask(wire);
  const db = ground.file('x.db');
  expect(metrics.value('skylinedb_batches_total', { db })).toBe(42);
  expect(metrics.value('skylinedb_batches_failed_total', { db })).toBe(1);
  for (const part of ['batch', 'queue'])
    expect(metrics.value(`skylinedb_${part}_seconds_count`, { db })).toBe(42);
  const commits = metrics.value('skylinedb_commits_total', { db }) ?? 0;
  expect(metrics.value('skylinedb_commit_seconds_count', { db })).toBeGreaterThanOrEqual(commits);
  expect(metrics.value('skylinedb_execute_seconds_count', { db })).toBeGreaterThanOrEqual(commits);
  expect(metrics.value('skylinedb_group_batches_sum', { db })).toBe(42);
  expect(metrics.value('skylinedb_group_batches_count', { db })).toBeLessThan(42);
  // A batch's whole time has its parts in it.
  const sum = (part: string) => metrics.value(`skylinedb_${part}_seconds_sum`, { db }) ?? 0;
  expect(sum('batch')).toBeGreaterThan(sum('queue'));
  expect(sum('queue') + sum('execute') + sum('commit')).toBeGreaterThan(0);
  for (const code of ['SQL_ERROR', 'INVALID_REQUEST', 'PROTOCOL_ERROR'])
    expect(metrics.value('skylinedb_errors_total', { code }), code).toBe(1);
  expect(metrics.value('skylinedb_workers')).toBe(1);
  expect(metrics.value('skylinedb_databases', { state: 'open' })).toBe(1);
  expect(metrics.value('skylinedb_connections', { to: 'daemon' })).toBeGreaterThanOrEqual(1);
  expect(metrics.value('skylinedb_wal_bytes', { db })).toBeGreaterThan(0);
  expect(metrics.value('skylinedb_requests_total')).toBeGreaterThanOrEqual(44);

  const status = await record(wire, 'x.db');
  expect(status).toMatchObject({ counters: { batches: 42, failed: 1, errors: { SQL_ERROR: 1 } } });
  for (const part of ['latency_us', 'queue_us', 'execute_us', 'commit_us', 'group_batches'])
    expect(status[part], part).toMatchObject({ p50: expect.any(Number), max: expect.any(Number) });
  expect(status.latency_us).not.toHaveProperty('buckets');
  const { databases } = await wire.request({ type: 'Status', db: 'x.db', detail: true });
  const { buckets } = (databases as { latency_us: { buckets: [number, number][] } }[])[0]?.latency_us ?? {};
  expect(buckets?.reduce((all, [, batches]) => all + batches, 0)).toBe(42);
});

test('attached clients and their errors are counted, too', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  const direct = await ground.wire(String((await wire.request({ type: 'Attach', db: 'x.db' })).endpoint));
  for (let n = 0; n < 5; n += 1) await direct.exec(undefined, [INSERT]);
  expect(await direct.exec('/another.db', [INSERT])).toMatchObject({ code: 'DATABASE_NOT_ALLOWED' });
  expect(await direct.exec(undefined, ['INSERT INTO missing VALUES (1)'])).toMatchObject({
    code: 'SQL_ERROR',
  });
  const metrics = await ask(wire);
  expect(metrics.value('skylinedb_connections', { to: 'worker' })).toBe(1);
  expect(metrics.value('skylinedb_batches_total', { db: ground.file('x.db') })).toBe(7);
  expect(metrics.value('skylinedb_errors_total', { code: 'DATABASE_NOT_ALLOWED' })).toBe(1);
  expect(metrics.value('skylinedb_errors_total', { code: 'SQL_ERROR' })).toBe(1);
});

describe('nothing that is counted falls', () => {
  test('when a worker leaves, and another process serves the database', async () => {
    await ground.daemon(['--max-workers', '1', '--spare-workers', '2']);
    const wire = await ground.wire();
    let last = await ask(wire);
    const pids = new Set<unknown>();
    for (let round = 1; round <= 3; round += 1) {
      for (const name of ['a.db', 'b.db']) {
        await wire.exec(name, ['CREATE TABLE IF NOT EXISTS t (a)', INSERT]);
        pids.add((await record(wire, name)).worker_pid);
        const now = await ask(wire);
        expectRisen(last, now);
        expect(now.value('skylinedb_batches_total', { db: ground.file(name) })).toBe(round);
        last = now;
      }
    }
    expect(await record(wire, 'a.db')).toMatchObject({ counters: { batches: 3, commits: 3 } });
    expect((await record(wire, 'a.db')).latency_us).not.toBe(null);
    expect(last.value('skylinedb_worker_restarts_total', { db: ground.file('a.db') })).toBe(0);
  });

  test('when a worker is killed: what it had said counts', async () => {
    await ground.daemon();
    const wire = await ground.wire();
    await wire.exec('x.db', ['CREATE TABLE t (a)', INSERT]);
    const before = await ask(wire);
    for (const worker of ground.workers()) process.kill(worker, 'SIGKILL');
    await until('the router knows it', async () => (await record(wire, 'x.db')).worker_pid === null);
    expectRisen(before, await ask(wire));
    await wire.exec('x.db', [INSERT]);
    const after = await ask(wire);
    expectRisen(before, after);
    const db = ground.file('x.db');
    expect(after.value('skylinedb_batches_total', { db })).toBe(2);
    expect(after.value('skylinedb_worker_restarts_total', { db })).toBe(1);
  });
});

test('an open transaction shows', async () => {
  await ground.daemon();
  const wire = await ground.wire();
  await wire.exec('x.db', ['CREATE TABLE t (a)']);
  const { tx } = await wire.request({ type: 'BeginTx', db: 'x.db' });
  const open = async () =>
    (await ask(wire)).value('skylinedb_open_transactions', { db: ground.file('x.db') });
  expect(await open()).toBe(1);
  await wire.request({ type: 'Rollback', db: 'x.db', tx });
  expect(await open()).toBe(0);
});

test('only so many databases have series of their own; the others are summed', async () => {
  await ground.daemon(['--metrics-databases', '2']);
  const wire = await ground.wire();
  for (const [name, batches] of [
    ['one.db', 1],
    ['three.db', 3],
    ['two.db', 2],
    ['busy "\\\n.db', 5],
  ] as const) {
    await wire.exec(name, ['CREATE TABLE t (a)']);
    for (let n = 1; n < batches; n += 1) await wire.exec(name, [INSERT]);
  }
  const metrics = await ask(wire);
  const named = [ground.file('busy "\\\n.db'), ground.file('three.db'), '(other)'];
  expect(metrics.values('skylinedb_batches_total', 'db').sort()).toEqual(named.sort());
  expect(metrics.value('skylinedb_batches_total', { db: '(other)' })).toBe(3);
  expect(metrics.value('skylinedb_wal_bytes', { db: '(other)' })).toBeGreaterThan(0);
});

describe('over HTTP', () => {
  interface Answer {
    readonly status: number | undefined;
    readonly type: string | undefined;
    readonly text: string;
  }
  const get = (port: number, path = '/metrics', headers: object = {}, method = 'GET', body = '') =>
    new Promise<Answer>((resolve, reject) => {
      request(
        { host: '127.0.0.1', port, path, method, headers: { ...headers }, agent: false },
        (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk) => {
            text += chunk;
          });
          response.on('end', () =>
            resolve({ status: response.statusCode, type: response.headers['content-type'], text }),
          );
        },
      )
        .on('error', reject)
        .end(body);
    });

  test('GET /metrics, on the loopback interface alone, by its own name alone', async () => {
    await ground.daemon(['--metrics-port', '0']);
    const wire = await ground.wire();
    await wire.exec('x.db', ['CREATE TABLE t (a)']);
    const told = async () => (await wire.request({ type: 'Status' })).metrics_port as number | null;
    await until('it listens', async () => (await told()) !== null);
    const port = Number(await told());
    const answers = await Promise.all(Array.from({ length: 5 }, () => get(port)));
    for (const { status, type, text } of answers) {
      expect([status, type]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
      expect(new Exposition(text).value('skylinedb_batches_total', { db: ground.file('x.db') })).toBe(1);
    }
    for (const host of [`localhost:${port}`, '127.0.0.1', 'LOCALHOST'])
      expect((await get(port, '/metrics?x=1', { host })).status, host).toBe(200);
    for (const host of ['evil.example', `evil.example:${port}`, '127.0.0.1.evil.example'])
      expect(await get(port, '/metrics', { host }), host).toMatchObject({ status: 403 });
    expect((await get(port, '/')).status).toBe(404);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS'])
      expect((await get(port, '/metrics', {}, method, 'x')).status, method).toBe(405);
    // Nobody else's interface: where the machine has one, it refuses there.
    const { stdout } = await ground.run('sh', ['-c', `ss -Hltn 'sport = :${port}' || true`]);
    if (stdout !== '') expect(stdout.split(/\s+/)[3]).toBe(`127.0.0.1:${port}`);
    wire.destroy();
    await ground.expectCleanEnd();
    await expect(get(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('a port that is taken keeps nobody from databases', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    try {
      await until('it is taken', () => taken.listening);
      const { port } = taken.address() as AddressInfo;
      await ground.daemon(['--metrics-port', String(port)]);
      const wire = await ground.wire();
      expect(await wire.exec('x.db', ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok' });
      expect(await wire.request({ type: 'Status' })).toMatchObject({ metrics_port: null });
    } finally {
      taken.close();
    }
  });
});

test('the command prints them, and starts no daemon', async () => {
  expect(await ground.cli(['metrics'])).toMatchObject({ code: 3, stdout: '' });
  await ground.daemon();
  const { code, stdout, stderr } = await ground.cli(['metrics']);
  expect([code, stderr]).toEqual([0, '']);
  expect(new Exposition(stdout).value('skylinedb_info')).toBe(1);
  const json = jsonOf(await ground.cli(['metrics', '--json']));
  expect(new Exposition(String(json.text)).value('skylinedb_info')).toBe(1);
  await ground.expectCleanEnd();
});
