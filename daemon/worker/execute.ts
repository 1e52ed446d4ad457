import { SkylineError } from '../../protocol/errors.js';
import type { ExecBatchRequest, Limits, RequestId } from '../../protocol/messages.js';
import { atStatement, type BatchResults, type CheckedBatch, newResults, runStatement } from './batch.js';
import { Connection } from './connection.js';
import type { DatabaseFile, Durability } from './database-file.js';
import type { Position } from './link.js';
import { fromSqlite } from './sqlite-errors.js';

/** What has come of a batch. */
export interface Executed {
  /** The reply as JSON text. */
  readonly reply: string;
  /** Where the database stands afterwards. */
  readonly position: Position;
}

/** A batch with all it needs to be executed. */
export interface Execution {
  readonly batch: CheckedBatch;
  /** Where the database stands before. */
  readonly position: Position;
  readonly limits: Limits;
  readonly durability: Durability;
}

/**
 * Executes a batch in transactions of its own.
 * @param onCommit told after each commit where the database stands: with `tx: "none"` there may be several before an error
 * @throws SkylineError with the outcome
 */
export function execute(
  file: DatabaseFile,
  { batch, position, limits, durability }: Execution,
  onCommit: (position: Position) => void,
): string {
  checkExpectations(batch.request, position);
  if (batch.mayWrite) file.makeWritable();
  const results = newResults(batch.request, limits);
  const chosen = batch.request.durable === true ? 'full' : durability;
  if (batch.request.tx === 'none')
    return executeEach(file, batch, position, results, limits, chosen, onCommit);
  const statements = () => runAll(file.connection, batch, results, file.path);
  if (!batch.mayWrite) {
    file.read(chosen, statements);
    return replyTo(batch.request, position, results, limits);
  }
  let reply = '';
  const written = file.write(chosen, () => {
    statements();
    const next = { ...position, rev: position.rev + 1 };
    // Before the commit: a reply that is too large must not belong to a batch that was applied.
    reply = replyTo(batch.request, next, results, limits);
    return next;
  });
  onCommit(written);
  return reply;
}

/** `tx: "none"`: each statement is a transaction, and a rev, of its own; the first error ends it. */
function executeEach(
  file: DatabaseFile,
  batch: CheckedBatch,
  start: Position,
  results: BatchResults,
  limits: Limits,
  durability: Durability,
  onCommit: (position: Position) => void,
): string {
  let position = start;
  let written = 0;
  const next = () => ({ ...position, rev: position.rev + 1 });
  const commit = (done: Position) => {
    position = done;
    written += 1;
    onCommit(done);
  };
  for (const [index, { facts }] of batch.statements.entries()) {
    const statement = () => runStatement(file.connection, batch, index, results, file.path);
    try {
      if (facts.isVacuum) {
        // VACUUM cannot run inside a transaction: its rev follows in one of its own.
        file.connection.setDurability(durability);
        statement();
        commit(file.write(durability, next));
      } else if (facts.mayWrite) {
        const work = () => {
          statement();
          return next();
        };
        commit(file.write(durability, work));
      } else file.read(durability, statement);
    } catch (error) {
      throw stoppedAt(index, written, atStatement(fromSqlite(error, file.path), index) as SkylineError);
    }
  }
  return replyTo(batch.request, position, results, limits);
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
export function rehearse({ batch, position, limits }: Execution, path: string): string {
  checkExpectations(batch.request, position);
  const memory = Connection.open(':memory:', { create: true, limits, durability: 'normal' });
  try {
    const results = newResults(batch.request, limits);
    const atomic = batch.request.tx !== 'none';
    if (atomic) memory.begin(true, 'normal');
    runAll(memory, batch, results, path);
    if (atomic) memory.commit();
    return replyTo(batch.request, position, results, limits);
  } catch (error) {
    throw fromSqlite(error, path);
  } finally {
    memory.close();
  }
}

function runAll(connection: Connection, batch: CheckedBatch, results: BatchResults, path: string): void {
  for (let index = 0; index < batch.statements.length; index += 1)
    runStatement(connection, batch, index, results, path);
}

/** @throws SkylineError `EXPECTATION_FAILED` */
function checkExpectations(request: ExecBatchRequest, { epoch, rev }: Position): void {
  const wanted = [
    { name: 'epoch', expected: request.expect_epoch, actual: epoch },
    { name: 'rev', expected: request.expect_rev, actual: rev },
  ];
  for (const { name, expected, actual } of wanted) {
    if (expected === undefined || expected === actual) continue;
    throw new SkylineError(
      'EXPECTATION_FAILED',
      `The batch expects ${name} ${expected}, but the database is at ${name} ${actual}. Read again, then decide.`,
      { details: { expected, actual } },
    );
  }
}

/** @throws SkylineError `RESULT_TOO_LARGE` */
function replyTo(
  request: ExecBatchRequest,
  position: Position,
  results: BatchResults,
  limits: Limits,
): string {
  const list = results.json === null ? '' : `,"results":[${results.json.join(',')}]`;
  const reply = `{"status":"ok"${idField(request.id)},"rev":${position.rev},"epoch":${position.epoch},"rows_affected":${results.rowsAffected}${list}}`;
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
  return reply;
}

/** `,"id":…` for a message to the client, or nothing. */
export function idField(id: RequestId | undefined): string {
  return id === undefined ? '' : `,"id":${JSON.stringify(id)}`;
}
