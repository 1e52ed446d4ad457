import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { BatchOptions, BatchResult, BatchStatement, SqlParams } from '../../../client/batch.js';
import { bytesOf, quoteName } from '../../../client/insert-rows.js';
import { type BatchTaker, load } from '../../../client/load.js';
import { SkylineError } from '../../../protocol/errors.js';

const DONE: BatchResult = { rev: 1, epoch: 1, rowsAffected: 0, results: [] };

/** A database whose answers the test gives. */
class Taker implements BatchTaker {
  readonly batches: { sql: string; sets: readonly SqlParams[]; rest: readonly BatchStatement[] }[] = [];
  readonly #answers: { resolve(done: BatchResult): void; reject(error: unknown): void }[] = [];
  open = 0;
  most = 0;

  /** @param answer what becomes of the batch with this number; undefined: the test answers it later */
  constructor(private readonly answer: (at: number) => BatchResult | Error | undefined = () => DONE) {}

  batch(statements: readonly BatchStatement[], options: BatchOptions): Promise<BatchResult> {
    expect(options.results).toBe(false);
    const [insert, ...rest] = statements;
    if (typeof insert !== 'object') throw new Error('no statement with parameters');
    const at = this.batches.push({ sql: insert.sql, sets: insert.paramSets ?? [], rest }) - 1;
    this.open += 1;
    this.most = Math.max(this.most, this.open);
    const answered = new Promise<BatchResult>((resolve, reject) => this.#answers.push({ resolve, reject }));
    const answer = this.answer(at);
    if (answer !== undefined) this.settle(at, answer);
    return answered.finally(() => {
      this.open -= 1;
    });
  }

  settle(at: number, answer: BatchResult | Error): void {
    const waiting = this.#answers[at];
    if (answer instanceof Error) setImmediate(() => waiting?.reject(answer));
    else setImmediate(() => waiting?.resolve(answer));
  }
}

const INSERT = { sql: 'INSERT INTO t VALUES (?)' };
const refused = () => new SkylineError('SQL_ERROR', 'UNIQUE constraint failed');

/** Rows that are counted, and that say whether they were told of the end. */
function counted(total: number) {
  const state = { read: 0, returned: false };
  function* rows(): Generator<SqlParams> {
    try {
      while (state.read < total) {
        state.read += 1;
        yield [state.read];
      }
    } finally {
      state.returned = true;
    }
  }
  return { state, rows: rows() };
}

async function failureOf(promise: Promise<unknown>): Promise<SkylineError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof SkylineError)) throw new Error(`no SkylineError: ${String(error)}`);
  return error;
}

const anyRow = fc.array(
  fc.oneof(
    fc.string({ maxLength: 40 }),
    fc.integer(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 30 }),
    fc.boolean(),
  ),
  { minLength: 1, maxLength: 4 },
);

describe('batches', () => {
  test('are bounded by rows and bytes, and bring every row once, in order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyRow, { maxLength: 60 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 4 }),
        fc.boolean(),
        async (rows, batchRows, batchBytes, inFlight, asynchronous) => {
          const taker = new Taker();
          const source = asynchronous
            ? (async function* () {
                yield* rows;
              })()
            : rows;
          const done = await load(taker, INSERT, source, { batchRows, batchBytes, inFlight });
          expect(taker.batches.flatMap(({ sets }) => sets)).toEqual(rows);
          expect(done).toMatchObject({ rows: rows.length, batches: taker.batches.length });
          expect(taker.most).toBeLessThanOrEqual(inFlight);
          for (const { sets } of taker.batches) {
            expect(sets.length).toBeGreaterThan(0);
            expect(sets.length).toBeLessThanOrEqual(batchRows);
            // Only a row that is larger by itself may be over the bound.
            const bytes = sets.reduce((sum, row) => sum + bytesOf(row), 0);
            if (sets.length > 1) expect(bytes).toBeLessThanOrEqual(batchBytes);
          }
        },
      ),
    );
  });

  test('are never larger on the wire than six times their count', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { maxLength: 5 }), (row) => {
        expect(Buffer.byteLength(JSON.stringify(row))).toBeLessThanOrEqual(6 * bytesOf(row));
      }),
    );
  });

  test('the rows are read no faster than batches are answered', async () => {
    const taker = new Taker(() => undefined);
    const { state, rows } = counted(1_000);
    const loading = load(taker, INSERT, rows, { batchRows: 10, inFlight: 2 });
    const turns = async () => {
      for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    };
    await turns();
    // Two are on their way, a third is ready.
    expect([taker.open, state.read]).toEqual([2, 30]);
    taker.settle(0, DONE);
    await turns();
    expect([taker.open, state.read]).toEqual([2, 40]);
    for (let at = 1; at < 100; at += 1) {
      taker.settle(at, DONE);
      await turns();
    }
    expect((await loading).rows).toBe(1_000);
  });

  test('progress is what is committed, and statements alongside belong to the batch', async () => {
    const taker = new Taker();
    const seen: number[] = [];
    await load(taker, INSERT, counted(25).rows, {
      batchRows: 10,
      onProgress: ({ rows }) => seen.push(rows),
      alongside: (from, to) => [`SELECT ${from}, ${to}`],
    });
    expect(seen).toEqual([10, 20, 25]);
    expect(taker.batches.map(({ rest }) => rest)).toEqual([
      ['SELECT 0, 10'],
      ['SELECT 10, 20'],
      ['SELECT 20, 25'],
    ]);
  });
});

describe('the end', () => {
  test('a batch that fails ends the load, with an exact account', async () => {
    const taker = new Taker((at) => (at === 1 ? refused() : DONE));
    const { state, rows } = counted(1_000);
    const error = await failureOf(load(taker, INSERT, rows, { batchRows: 10 }));
    expect(error).toMatchObject({ code: 'SQL_ERROR', outcome: 'partial', retryable: false });
    const { rows_committed, failed_rows } = error.details;
    expect(failed_rows).toEqual([10, 20]);
    // What was on its way behind it counts as well.
    const sent = taker.batches.flatMap(({ sets }) => sets).length;
    expect(rows_committed).toBe(sent - 10);
    expect(state.returned).toBe(true);
    expect(state.read).toBeLessThanOrEqual(sent + 10);
  });

  test('with one in flight nothing behind the failed batch is sent', async () => {
    const taker = new Taker((at) => (at === 2 ? refused() : DONE));
    const error = await failureOf(load(taker, INSERT, counted(100).rows, { batchRows: 10, inFlight: 1 }));
    expect(error.details).toMatchObject({ rows_committed: 20, failed_rows: [20, 30] });
    expect(taker.batches).toHaveLength(3);
  });

  test('a lost connection leaves the outcome unknown', async () => {
    const lost = new SkylineError('CONNECTION_LOST', 'gone', { outcome: 'unknown' });
    const error = await failureOf(load(new Taker(() => lost), INSERT, [[1]]));
    expect(error).toMatchObject({
      code: 'CONNECTION_LOST',
      outcome: 'unknown',
      details: { rows_committed: 0 },
    });
  });

  test('a failure is told while the rows have nothing to say', async () => {
    let returned = false;
    const silent: AsyncIterable<SqlParams> = {
      [Symbol.asyncIterator]: () => {
        let given = 0;
        return {
          next: () => {
            given += 1;
            return given > 1 ? new Promise(() => undefined) : Promise.resolve({ done: false, value: [1] });
          },
          return: () => {
            returned = true;
            return Promise.resolve({ done: true, value: undefined });
          },
        };
      },
    };
    const error = await failureOf(load(new Taker(refused), INSERT, silent, { batchRows: 1 }));
    expect([error.code, returned]).toEqual(['SQL_ERROR', true]);
  });

  test('the signal ends it, and what is on its way is waited for', async () => {
    const abort = new AbortController();
    const taker = new Taker(() => undefined);
    const { state, rows } = counted(100);
    const loading = failureOf(
      load(taker, INSERT, rows, { batchRows: 10, inFlight: 2, signal: abort.signal }),
    );
    await new Promise(setImmediate);
    abort.abort(new Error('enough'));
    taker.settle(0, DONE);
    taker.settle(1, DONE);
    expect(await loading).toMatchObject({
      code: 'ABORTED',
      outcome: 'partial',
      details: { rows_committed: 20 },
    });
    expect([state.returned, taker.batches.length]).toEqual([true, 2]);
    const early = await failureOf(load(taker, INSERT, rows, { signal: abort.signal }));
    expect(early).toMatchObject({ code: 'ABORTED', outcome: 'not_applied' });
  });

  test('what the rows or the callback throw is the cause', async () => {
    const broken = new Error('line 7');
    const rows = (function* (): Generator<SqlParams> {
      yield [1];
      throw broken;
    })();
    const error = await failureOf(load(new Taker(), INSERT, rows, { batchRows: 1 }));
    expect(error).toMatchObject({ code: 'ABORTED', cause: broken, details: { rows_committed: 1 } });
    const onProgress = () => {
      throw broken;
    };
    expect(await failureOf(load(new Taker(), INSERT, [[1]], { onProgress }))).toMatchObject({
      cause: broken,
    });
  });
});

describe('tables', () => {
  test('arrays go in the order of the columns, objects by their names', async () => {
    const taker = new Taker();
    await load(taker, 'a "b"', [[1, 2]]);
    await load(taker, 't', [[1]], { columns: ['x y'] });
    await load(taker, 't', [
      { a: 1, b: 2 },
      { b: 4, a: 3 },
    ]);
    expect(taker.batches).toMatchObject([
      { sql: 'INSERT INTO "a ""b""" VALUES (?, ?)', sets: [[1, 2]] },
      { sql: 'INSERT INTO "t" ("x y") VALUES (?)', sets: [[1]] },
      {
        sql: 'INSERT INTO "t" ("a", "b") VALUES (?, ?)',
        sets: [
          [1, 2],
          [3, 4],
        ],
      },
    ]);
  });

  test.each<[string, SqlParams[]]>([
    ['a missing column', [{ a: 1, b: 2 }, { a: 1 }]],
    ['another column', [{ a: 1 }, { b: 1 }]],
    ['one more column', [{ a: 1 }, { a: 1, b: 2 }]],
    ['an array among objects', [{ a: 1 }, [1]]],
    ['nothing at all', [[]]],
  ])('%s is refused', async (_what, rows) => {
    const taker = new Taker();
    expect(await failureOf(load(taker, 't', rows))).toMatchObject({ code: 'INVALID_REQUEST' });
    expect(taker.batches).toEqual([]);
  });

  test('options are checked', async () => {
    for (const options of [{ batchRows: 0 }, { batchBytes: 1.5 }, { inFlight: -1 }])
      await expect(load(new Taker(), INSERT, [], options)).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    expect(() => quoteName('a\0b')).toThrow(/NUL/);
  });
});
