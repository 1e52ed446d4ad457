import { randomUUID } from 'node:crypto';
import type { DecodedBatch } from '../../protocol/decode-exec-batch.js';
import { digits } from '../../protocol/digits.js';
import { SkylineError } from '../../protocol/errors.js';
import type { Limits } from '../../protocol/messages.js';
import { atStatement, type BatchResults, type CheckedBatch, newResults, runStatement } from './batch.js';
import { Connection } from './connection.js';
import type { DatabaseFile, Durability } from './database-file.js';
import { monotonicMs, type Position } from './link.js';
import { notBegun } from './patience.js';
import { okReply } from './reply.js';
import { isRecorded } from './sessions.js';
import { fromSqlite } from './sqlite-errors.js';
import type { Tables } from './written-tables.js';

/** What holds for all batches of a database. */
export interface Terms {
  /** Where the database stands before. */
  readonly position: Position;
  readonly limits: Limits;
  readonly durability: Durability;
}

/**
 * What a batch has come to: its reply as JSON text or its error, the database's rev right after it, and the tables that it
 * has written to, if it has counted as a rev.
 */
export type Outcome = { readonly rev: number; readonly tables?: Tables } & (
  | { readonly reply: string }
  | { readonly error: SkylineError }
);

type OnCommit = (position: Position, tables: readonly Tables[]) => void;

/**
 * Executes a batch in transactions of its own.
 * @param onCommit told after each commit where the database stands, and what was written to with each new rev: with
 *   `tx: "none"` there may be several before an error
 * @returns the reply as JSON text
 * @throws SkylineError with the outcome
 */
export function execute(file: DatabaseFile, batch: CheckedBatch, terms: Terms, onCommit: OnCommit): string {
  const { position, limits } = terms;
  checkExpectations(batch.request, position);
  if (batch.mayWrite) file.makeWritable();
  const durability = durabilityOf(batch, terms);
  if (batch.request.tx === 'none') return executeEach(file, batch, terms, onCommit);
  if (batch.mayWrite) {
    let reply = '';
    let tables: Tables = null;
    const work = () => {
      const done = apply(file, batch, position, limits);
      file.sessions.record(batch, done);
      ({ reply, tables } = done);
      return done.position;
    };
    onCommit(file.write(durability, work), [tables]);
    return reply;
  }
  const results = newResults(batch.request, limits);
  file.read(durability, () => runAll(file.connection, batch, results, file.path));
  return replyTo(batch.request, position, results, limits).reply;
}

/** Whether a batch may share a transaction with others: it can neither reach beyond its savepoint nor change the schema. */
export function isGroupable({ request, statements }: CheckedBatch): boolean {
  if (request.tx === 'none' || request.only_replay === true) return false;
  for (const { facts } of statements) {
    if (facts.changesSchema || facts.isVacuum || facts.readsOwnTables) return false;
    if (facts.pragma !== undefined && facts.mayWrite) return false;
  }
  return true;
}

/** Told before a batch's statements run; until the router can know of it, undefined when it can already. */
export type Begin = (index: number) => Promise<void> | undefined;

/** Milliseconds after which a group takes no further batch: what one client may cost another. */
const GROUP_MS = 5;

/**
 * Executes batches in one transaction: one commit, one sync, for all of them. Nobody can tell from the outcome.
 * @param onBegin told before each batch
 * @returns where the database stands afterwards, and the outcomes of the first batches: as many as there was time for
 * @throws GroupBroken, SkylineError: nothing was applied, and each has to be executed by itself
 */
export function executeGroup(
  file: DatabaseFile,
  work: readonly { readonly batch: CheckedBatch; readonly deadline: number }[],
  terms: Terms,
  onBegin: Begin,
): { position: Position; outcomes: Outcome[] } {
  const { limits } = terms;
  let writes = false;
  let { durability } = terms;
  for (const { batch } of work) {
    if (batch.mayWrite) writes = true;
    if (batch.request.durable === true) durability = 'full';
  }
  if (writes) file.makeWritable();
  let outcomes: Outcome[] = [];
  const until = performance.now() + GROUP_MS;
  let current: CheckedBatch;
  // One for all of them, not one for each: that would be garbage as large as the batch.
  const piece = (before: Position): Position => {
    const batch = current;
    if (onBegin(outcomes.length) !== undefined) throw unheard();
    const done = apply(file, batch, before, limits);
    file.sessions.record(batch, done);
    const { reply, position, tables } = done;
    outcomes.push(batch.mayWrite ? { reply, rev: position.rev, tables } : { reply, rev: position.rev });
    return position;
  };
  const position = file.group(writes, durability, terms.position, (pieces) => {
    outcomes = [];
    for (const { batch, deadline } of work) {
      if (outcomes.length > 0 && performance.now() > until) return;
      const outcome = settledBefore(file, batch, deadline, terms.position, pieces.position.rev);
      if (outcome !== null) {
        outcomes.push(outcome);
        continue;
      }
      try {
        current = batch;
        pieces.run(batch.observes, piece);
      } catch (error) {
        if (!(error instanceof SkylineError)) throw error;
        outcomes.push({ error, rev: pieces.position.rev });
        if (isRecorded(error)) file.sessions.record(batch, { error });
      }
    }
  });
  return { position, outcomes };
}

/** What is answered without running it: a record of its session, or that its time is over. */
function settledBefore(
  file: DatabaseFile,
  batch: CheckedBatch,
  deadline: number,
  position: Position,
  rev: number,
): Outcome | null {
  const settled = file.sessions.lookUp(batch, position);
  if (settled !== null) return { ...settled, rev };
  return deadline > 0 && monotonicMs() >= deadline ? { error: notBegun(), rev } : null;
}

/** A batch with a deadline must not run unheard: its router would call it not begun. By itself it can wait. */
function unheard(): SkylineError {
  return new SkylineError('INTERNAL', 'The router cannot be told which batch runs.');
}

/** A reply's text, and the part of it that is recorded. */
export interface ReplyText {
  readonly reply: string;
  readonly body: string;
}

interface Applied extends ReplyText {
  readonly position: Position;
  readonly tables: Tables;
}

/** Runs a batch's statements inside whatever transaction or savepoint is open. */
function apply(file: DatabaseFile, batch: CheckedBatch, before: Position, limits: Limits): Applied {
  checkExpectations(batch.request, before);
  const results = newResults(batch.request, limits);
  file.connection.beginBatch(batch.request.stmts);
  runAll(file.connection, batch, results, file.path);
  const tables = file.connection.takeWritten();
  const position = batch.mayWrite ? following(before) : before;
  // Before the commit: a reply that is too large must not belong to a batch that was applied.
  const { reply, body } = replyTo(batch.request, position, results, limits);
  return { position, tables, reply, body };
}

/** Where a database stands after one more batch. It gets its id with the first one, which can tell it then. */
function following({ id, epoch, rev }: Position): Position {
  return { id: id ?? randomUUID(), epoch, rev: rev + 1 };
}

function durabilityOf(batch: CheckedBatch, terms: Terms): Durability {
  return batch.request.durable === true ? 'full' : terms.durability;
}

/**
 * `tx: "none"`: each statement is a transaction, and a rev, of its own; the first error ends it. How far it has come is
 * recorded with each: sent again after it was cut off, it is answered with that.
 */
function executeEach(file: DatabaseFile, batch: CheckedBatch, terms: Terms, onCommit: OnCommit): string {
  const { limits } = terms;
  const durability = durabilityOf(batch, terms);
  const results = newResults(batch.request, limits);
  let position = terms.position;
  let written = 0;
  let tables: Tables = null;
  const next = () => following(position);
  const commit = (done: Position) => {
    position = done;
    written += 1;
    onCommit(done, [tables]);
  };
  const last = batch.statements.length - 1;
  /** What is recorded with the statement that was just done. */
  const progress = (index: number, after: Position) =>
    index < last ? { begun: index + 1 } : replyTo(batch.request, after, results, limits);
  const record = (index: number, after: Position) => {
    if (batch.turn !== null) file.sessions.record(batch, progress(index, after));
    return after;
  };
  for (const [index, { facts }] of batch.statements.entries()) {
    const statement = () => {
      file.connection.beginBatch(batch.request.stmts);
      runStatement(file.connection, batch, index, results, file.path);
      tables = file.connection.takeWritten();
    };
    try {
      if (facts.isVacuum) {
        // VACUUM cannot run inside a transaction: its rev follows in one of its own.
        file.connection.setDurability(durability);
        statement();
        commit(file.write(durability, () => record(index, next())));
      } else if (facts.mayWrite) {
        const work = () => {
          statement();
          return record(index, next());
        };
        commit(file.write(durability, work));
      } else file.read(durability, statement);
    } catch (error) {
      throw stoppedAt(index, written, atStatement(fromSqlite(error, file.path), index) as SkylineError);
    }
  }
  const whole = replyTo(batch.request, position, results, limits);
  // The statements that only read come after the last commit: their rows are not recorded yet.
  if (batch.turn !== null && batch.statements[last]?.facts.mayWrite === false)
    onCommit(
      file.write(durability, () => record(last, position)),
      [],
    );
  return whole.reply;
}

function stoppedAt(index: number, written: number, failure: SkylineError): SkylineError {
  const outcome =
    failure.outcome !== 'not_applied' ? failure.outcome : written > 0 ? 'partial' : 'not_applied';
  return new SkylineError(failure.code, failure.message, {
    outcome,
    details: { ...failure.details, applied: index },
    cause: failure,
  });
}

/**
 * Runs a batch for a file that does not exist on an empty database in memory: what fails there fails here, and nothing is
 * created. The file itself is made only for a batch that has succeeded and writes.
 */
export function rehearse(batch: CheckedBatch, { position, limits }: Terms, path: string): string {
  checkExpectations(batch.request, position);
  const memory = Connection.open(':memory:', { create: true, limits, durability: 'normal' });
  try {
    const results = newResults(batch.request, limits);
    const atomic = batch.request.tx !== 'none';
    if (atomic) memory.begin(true, 'normal');
    runAll(memory, batch, results, path);
    if (atomic) memory.commit();
    return replyTo(batch.request, position, results, limits).reply;
  } catch (error) {
    throw fromSqlite(error, path);
  } finally {
    memory.close();
  }
}

/** Runs a batch's statements inside whatever transaction or savepoint is open. */
export function runAll(
  connection: Connection,
  batch: CheckedBatch,
  results: BatchResults,
  path: string,
): void {
  for (let index = 0; index < batch.statements.length; index += 1)
    runStatement(connection, batch, index, results, path);
}

/** @throws SkylineError `EXPECTATION_FAILED` */
function checkExpectations(request: DecodedBatch, { epoch, rev }: Position): void {
  const { expect_epoch, expect_rev } = request;
  if (expect_epoch !== undefined && expect_epoch !== epoch) throw notThere('epoch', expect_epoch, epoch);
  if (expect_rev !== undefined && expect_rev !== rev) throw notThere('rev', expect_rev, rev);
}

function notThere(name: 'epoch' | 'rev', expected: number, actual: number): SkylineError {
  return new SkylineError(
    'EXPECTATION_FAILED',
    `The batch expects ${name} ${expected}, but the database is at ${name} ${actual}. Read again, then decide.`,
    { details: { expected, actual } },
  );
}

/** @throws SkylineError `RESULT_TOO_LARGE` */
export function replyTo(
  request: DecodedBatch,
  position: Position,
  results: BatchResults,
  limits: Limits,
): ReplyText {
  const list = results.json === null ? '' : `,"results":[${results.json}]`;
  const { rev, epoch } = position;
  const body = `"rev":${digits(rev)},"epoch":${epoch},"rows_affected":${digits(results.rowsAffected)}${list}`;
  const tells = request.session_database === true && position.id !== null;
  const reply = okReply(request.id, tells ? `${body},"database":"${position.id}"` : body);
  // A UTF-16 unit is at most three bytes: most replies need no count.
  if (reply.length * 3 > limits.max_frame && Buffer.byteLength(reply) > limits.max_frame) {
    throw new SkylineError(
      'RESULT_TOO_LARGE',
      `The reply has more than ${limits.max_frame} bytes (max_frame). Use fewer statements, or "results": false.`,
      {
        details: { limit: 'max_frame', limit_value: limits.max_frame },
      },
    );
  }
  return { reply, body };
}
