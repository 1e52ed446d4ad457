import { BARE, type DecodedBatch, type DecodedStatement } from '../../protocol/decode-exec-batch.js';
import { SkylineError } from '../../protocol/errors.js';
import type { CommitRequest, Limits } from '../../protocol/messages.js';
import type { FrameText } from '../../protocol/values.js';
import type { Connection } from './connection.js';
import { type Beginning, beginningOf, fingerprint } from './fingerprint.js';
import { inspectStatement, READS, type StatementFacts } from './guard.js';
import { bindParameters, type ParameterPlan, parameterPlan } from './parameters.js';
import { isSavepoint } from './savepoint.js';
import { givenUp } from './session-answers.js';
import { fromSqlite } from './sqlite-errors.js';
import { nothingDone, outcomeToJson, type ResultBudget, type StatementOutcome } from './statement-outcome.js';

/** A statement that has passed the guard. */
export interface CheckedStatement {
  readonly statement: DecodedStatement;
  readonly facts: StatementFacts;
  readonly plan: ParameterPlan;
  /** Of the fingerprint of a batch that begins with it. */
  readonly beginning: Beginning | undefined;
}

/** A batch's place in its session: what it is recorded under. */
export interface Turn {
  readonly session: string;
  readonly seq: number;
  /** Up to this seq the client has all answers. */
  readonly acked: number;
  /** Of the session's earlier answers. */
  readonly epoch: number | undefined;
  /** Of the session's latest answer. */
  readonly rev: number | undefined;
  /** As an earlier answer has told it. */
  readonly database: string | undefined;
  /** Answer with the record; run nothing. */
  readonly onlyReplay: boolean;
  /** Fingerprint of what it would do. */
  readonly body: number;
  /** It is the commit of a client's own transaction, not a batch. */
  readonly commit?: true;
}

/** A batch that has passed the guard: nothing in it can reach beyond its own transaction. */
export interface CheckedBatch {
  readonly request: DecodedBatch;
  /** Where its numbers came from, for exactness. */
  readonly frame: FrameText;
  readonly statements: readonly CheckedStatement[];
  readonly mayWrite: boolean;
  /** It could see what others of its group have left behind. */
  readonly observes: boolean;
  /** null without a session, and for what only reads: that may run again. */
  readonly turn: Turn | null;
  /** In a client's own transaction: SAVEPOINT, RELEASE or ROLLBACK TO. */
  readonly isSavepoint: boolean;
}

/** What a batch's statements did so far. */
export interface BatchResults {
  rowsAffected: number;
  /** Result objects as JSON text, with commas between them; null when the client wants none. */
  json: string | null;
  readonly budget: ResultBudget;
}

const MAX_REMEMBERED = 1024;
const MAX_REMEMBERED_SQL = 16 * 1024;

/** Looks at each SQL text once and remembers what it found. One per database: it holds no state of the process. */
export class Guard {
  readonly #known = new Map<string, Omit<CheckedStatement, 'statement'>>();

  /**
   * @throws SkylineError `STATEMENT_NOT_ALLOWED`, `INVALID_REQUEST`, with the statement's index
   */
  check(request: DecodedBatch, frame: FrameText): CheckedBatch {
    const { stmts } = request;
    const statements = new Array<CheckedStatement>(stmts.length);
    let mayWrite = false;
    let observes = false;
    for (let index = 0; index < stmts.length; index += 1) {
      const checked = this.#checkStatement(stmts[index] as DecodedStatement, request, index);
      statements[index] = checked;
      if (checked.facts.mayWrite) mayWrite = true;
      if (checked.facts.observes) observes = true;
    }
    // What only reads is never recorded.
    if (!mayWrite && request.only_replay === true) throw givenUp(request);
    const turn = mayWrite ? turnOf(request, statements[0]?.beginning) : null;
    return { request, frame, statements, mayWrite, observes, turn, isSavepoint: false };
  }

  /**
   * The same for what a client runs in a transaction of its own, where SAVEPOINT and its like are allowed.
   * @throws SkylineError `STATEMENT_NOT_ALLOWED`, `INVALID_REQUEST`, with the statement's index
   */
  checkExec(request: DecodedBatch, frame: FrameText): CheckedBatch {
    try {
      return this.check(request, frame);
    } catch (error) {
      if (!(error instanceof SkylineError) || error.code !== 'STATEMENT_NOT_ALLOWED') throw error;
      return savepointOf(request, frame, error);
    }
  }

  #checkStatement(statement: DecodedStatement, request: DecodedBatch, index: number): CheckedStatement {
    try {
      const { facts, plan, beginning } = this.#look(statement.sql);
      if (facts.isVacuum && request.tx !== 'none') {
        throw new SkylineError(
          'STATEMENT_NOT_ALLOWED',
          'VACUUM cannot run inside a transaction; send it in a batch with "tx": "none".',
        );
      }
      return { statement, facts, plan, beginning };
    } catch (error) {
      throw atStatement(error, index);
    }
  }

  #look(sql: string) {
    const known = this.#known.get(sql);
    if (known !== undefined) return known;
    const facts = inspectStatement(sql);
    const kept = sql.length <= MAX_REMEMBERED_SQL;
    const beginning = kept ? beginningOf(sql) : undefined;
    const looked = { facts, plan: parameterPlan(facts.variables), beginning };
    if (kept) {
      if (this.#known.size >= MAX_REMEMBERED) this.#known.clear();
      this.#known.set(sql, looked);
    }
    return looked;
  }
}

/** Knows of no parameters, rows or changes. */
const SAVEPOINT: StatementFacts = { ...READS, observes: false, readsOwnTables: false, variables: [] };

/** @param refusal what is thrown unless there is a SAVEPOINT or its like, by itself */
function savepointOf(request: DecodedBatch, frame: FrameText, refusal: SkylineError): CheckedBatch {
  const index = request.stmts.findIndex(({ sql }) => isSavepoint(sql));
  const statement = request.stmts[index];
  if (statement === undefined) throw refusal;
  if (request.stmts.length > 1) throw atStatement(notAlone(), index);
  const checked = { statement, facts: SAVEPOINT, plan: parameterPlan([]), beginning: undefined };
  return {
    request,
    frame,
    statements: [checked],
    mayWrite: false,
    observes: false,
    turn: null,
    isSavepoint: true,
  };
}

function notAlone(): SkylineError {
  return new SkylineError(
    'STATEMENT_NOT_ALLOWED',
    'SAVEPOINT, RELEASE and ROLLBACK TO must be the only statement of their request: one that fails is taken back as a whole.',
  );
}

/** What stands for the commit of a transaction in its session; null without one. */
export function commitOf(request: CommitRequest, frame: FrameText, asked: boolean): CheckedBatch | null {
  const { tx, session, seq, acked, session_epoch, session_rev, session_database, id } = request;
  if (session === undefined) return null;
  const sql = `COMMIT ${tx}`;
  const statement = { sql, params: undefined, param_sets: undefined, expect: undefined };
  const told = { session_epoch, session_rev, session_database };
  const fields = { ...BARE, id, session, seq, acked, ...told, only_replay: asked };
  const turn = turnOf({ ...fields, stmts: [statement] });
  return {
    request: { ...fields, stmts: [] },
    frame,
    statements: [],
    mayWrite: true,
    observes: false,
    turn: turn && { ...turn, commit: true },
    isSavepoint: false,
  };
}

function turnOf(request: DecodedBatch, beginning?: Beginning): Turn | null {
  const { session, seq, acked = 0, session_epoch: epoch, session_rev: rev } = request;
  if (session === undefined || seq === undefined) return null;
  return {
    session,
    seq,
    acked,
    epoch,
    rev,
    database: typeof request.session_database === 'string' ? request.session_database : undefined,
    onlyReplay: request.only_replay === true,
    body: fingerprint(request, beginning),
  };
}

export function newResults(request: DecodedBatch, limits: Limits): BatchResults {
  return {
    rowsAffected: 0,
    json: request.results === false ? null : '',
    budget: { left: limits.max_result_bytes },
  };
}

/**
 * Runs one statement of a batch inside whatever transaction is open, and adds its result.
 * @param path the database's file, for messages
 * @throws SkylineError with `statement_index`
 */
export function runStatement(
  connection: Connection,
  batch: CheckedBatch,
  index: number,
  results: BatchResults,
  path: string,
): void {
  const checked = batch.statements[index];
  if (checked === undefined) return;
  const { statement, facts, plan } = checked;
  const wasInTransaction = connection.inTransaction;
  try {
    const keep = results.json !== null;
    const outcome = nothingDone();
    if (statement.param_sets === undefined) {
      const bindings = bindParameters(plan, statement.params, batch.frame);
      connection.run(statement.sql, facts, bindings, results.budget, keep, outcome);
    } else runSets(connection, checked, batch.frame, results, keep, path, outcome);
    if (wasInTransaction && !connection.inTransaction) {
      throw new SkylineError('STATEMENT_NOT_ALLOWED', 'The statement ended the transaction.');
    }
    const expected = statement.expect?.rows_affected;
    if (expected !== undefined && expected !== outcome.rowsAffected) {
      throw new SkylineError(
        'EXPECTATION_FAILED',
        `expected to affect ${expected} rows, but affected ${outcome.rowsAffected}.`,
        { details: { expected, actual: outcome.rowsAffected } },
      );
    }
    results.rowsAffected += outcome.rowsAffected;
    if (results.json !== null) {
      const json = outcomeToJson(outcome);
      results.json = results.json === '' ? json : `${results.json},${json}`;
    }
  } catch (error) {
    throw atStatement(fromSqlite(error, path), index);
  }
}

/** One statement, many sets of parameters: one result, with the rows of all. */
function runSets(
  connection: Connection,
  { statement, facts, plan }: CheckedStatement,
  frame: FrameText,
  results: BatchResults,
  keep: boolean,
  path: string,
  outcome: StatementOutcome,
): void {
  const sets = statement.param_sets ?? [];
  for (let set = 0; set < sets.length; set += 1) {
    try {
      const bindings = bindParameters(plan, sets[set], frame);
      connection.run(statement.sql, facts, bindings, results.budget, keep, outcome);
    } catch (error) {
      throw atSet(fromSqlite(error, path), set);
    }
  }
}

/** The same error, saying which of a statement's many sets it is about. */
function atSet(error: unknown, set: number): unknown {
  if (!(error instanceof SkylineError)) return error;
  return new SkylineError(error.code, `Parameter set ${set}: ${error.message}`, {
    outcome: error.outcome,
    retryable: error.retryable,
    details: { parameter_set: set, ...error.details },
    cause: error,
  });
}

/** The same error, saying which statement it is about. */
export function atStatement(error: unknown, index: number): unknown {
  if (!(error instanceof SkylineError) || error.details.statement_index !== undefined) return error;
  return new SkylineError(error.code, `Statement ${index}: ${error.message}`, {
    outcome: error.outcome,
    retryable: error.retryable,
    details: { statement_index: index, ...error.details },
    cause: error,
  });
}
