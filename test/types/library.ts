/**
 * Compiled, never run: the package's types as an application with strict settings sees them, through its own exports.
 */
import {
  type BatchResult,
  type Change,
  type Client,
  type CommitResult,
  connect,
  type Database,
  type Reader,
  real,
  SkylineError,
  type SqlOutput,
  type Statements,
  type StepOptions,
  type Transaction,
} from 'skylinedb';
import {
  type ErrorCode,
  encodeValue,
  FrameDecoder,
  type PROTOCOL_VERSION,
  type Request,
  type WireValue,
} from 'skylinedb/protocol';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function holds<_Check extends true>(): void {}

export async function library(): Promise<void> {
  const client: Client = await connect({ name: 'app', daemonArgs: ['--durability', 'full'] });
  const db: Database = client.database('stars.db');

  await db.run('INSERT INTO stars VALUES (?, ?, ?, ?, ?)', [1, 2n, 'x', new Uint8Array(2), real(1)]);
  await db.run('INSERT INTO stars VALUES (:a)', { a: null });
  // @ts-expect-error a Date is no SQL value: it has several forms, and the application chooses
  await db.run('INSERT INTO stars VALUES (?)', [new Date()]);
  // @ts-expect-error undefined is no SQL value: null is
  await db.run('INSERT INTO stars VALUES (?)', [undefined]);
  // @ts-expect-error there is no such transaction mode
  await db.batch(['SELECT 1'], { tx: 'deferred' });

  const result = await db.batch([{ sql: 'SELECT 1', expect: { rowsAffected: 0 } }, 'SELECT 2'], {
    durable: true,
  });
  holds<Equal<typeof result, BatchResult>>();
  const rows = await db.all<{ name: string }>('SELECT name FROM stars');
  holds<Equal<typeof rows, { name: string }[]>>();
  const plain = await db.all('SELECT * FROM stars');
  holds<Equal<(typeof plain)[number][string], SqlOutput>>();

  const loaded = await db.load('stars', [{ name: 'Vega', magnitude: 0.03 }], { batchRows: 10 });
  holds<Equal<typeof loaded.rows, number>>();
  await db.load({ sql: 'INSERT INTO stars VALUES (?)' }, new Set([[1n]]).values());
  // @ts-expect-error undefined is no SQL value in a row either
  await db.load('stars', [[undefined]]);

  const options = { tables: ['stars'], since: { epoch: 1, rev: 2 }, signal: AbortSignal.timeout(1) };
  for await (const change of db.watch(options)) {
    holds<Equal<typeof change, Change>>();
    holds<Equal<typeof change.tables, readonly string[] | undefined>>();
    break;
  }
  for await (const stars of db.live<{ name: string }>('SELECT name FROM stars WHERE id > ?', [1n])) {
    holds<Equal<typeof stars, { name: string }[]>>();
    break;
  }
  // @ts-expect-error a rev alone does not say of which file
  db.watch({ since: { rev: 2 } });

  const counted = await db.transaction(
    async (tx: Transaction) => {
      await tx.run('INSERT INTO stars VALUES (?)', [1], { results: false });
      const star = await tx.get<{ id: number }>('SELECT id FROM stars');
      holds<Equal<typeof star, { id: number } | undefined>>();
      // @ts-expect-error a statement of a transaction has no transaction of its own
      await tx.run('SELECT 1', [], { tx: 'none' });
      return 7;
    },
    { retries: 2, leaseMs: 1_000, maxMs: 2_000, read: false, durable: true },
  );
  holds<Equal<typeof counted, number>>();
  const tx = await db.begin({ timeoutMs: 100 });
  const committed = await tx.commit();
  holds<Equal<typeof committed, CommitResult>>();
  // What serves both: a database, of which each call is a transaction, and a transaction.
  const both = (on: Statements<StepOptions>) => on.all('SELECT 1');
  await both(tx);
  await both(db);

  const reader: Reader = db.reader();
  const one = reader.get<{ n: number }>('SELECT count(*) AS n FROM stars');
  holds<Equal<typeof one, { n: number } | undefined>>();

  const answer = await db.maintenance(async (path) => path.length);
  holds<Equal<typeof answer, number>>();

  try {
    await db.exec('nonsense');
  } catch (error) {
    if (error instanceof SkylineError && error.code === 'SQL_ERROR') {
      const code: string | undefined = error.details.sqlite_code;
      holds<Equal<typeof error.outcome, 'not_applied' | 'unknown' | 'partial'>>();
      void code;
    }
  }
  client.close();
}

export function protocol(): Request {
  holds<Equal<typeof PROTOCOL_VERSION, 1>>();
  const decoder = new FrameDecoder();
  const frame: Buffer | null = decoder.next();
  const value: WireValue = encodeValue(2n ** 60n);
  const code: ErrorCode = 'BUSY';
  // @ts-expect-error there is no such code
  const wrong: ErrorCode = 'BUSSY';
  void [frame, value, code, wrong];
  return { type: 'ExecBatch', db: 'x.db', stmts: [{ sql: 'SELECT ?', params: [{ $int: '1' }] }] };
}
