import { invalidRequest, never, SkylineError } from '../../protocol/errors.js';
import { foldCase, isOperator, keywordOf, nameOf, type Token, tokenize } from './tokenizer.js';

/**
 * What one statement may do, read from its tokens before SQLite sees it. Asking SQLite comes too late: some PRAGMAs
 * take effect while they are prepared, even under EXPLAIN (https://sqlite.org/pragma.html: "Some pragmas run during
 * the SQL compilation stage, not the execution stage"), and `sqlite3_stmt_readonly` is true for COMMIT and ATTACH.
 */
export interface StatementFacts {
  /** False only for what surely reads: SELECT, VALUES, EXPLAIN, a PRAGMA that asks. */
  readonly mayWrite: boolean;
  /** INSERT, REPLACE, UPDATE or DELETE: its count of changes means something. */
  readonly changesRows: boolean;
  /** INSERT or REPLACE: the last inserted rowid may be this statement's. */
  readonly inserts: boolean;
  /** Statements that were prepared before are stale afterwards. */
  readonly changesSchema: boolean;
  /** VACUUM, which refuses to run inside a transaction. */
  readonly isVacuum: boolean;
  /** The name of the PRAGMA in lower case; undefined for every other statement. */
  readonly pragma: string | undefined;
  /** It could see what others of its group have left behind: it asks for SQLite's counters, or its result depends on them. */
  readonly observes: boolean;
  /** It names the daemon's own tables, which a group writes at its end only. */
  readonly readsOwnTables: boolean;
  /** Parameters in order of appearance, as written: `?`, `?2`, `:name`. */
  readonly variables: readonly string[];
}

type Effect = 'reads' | 'inserts' | 'changes' | 'schema' | 'vacuum' | 'pragma' | 'unknown';
type Facts = Omit<StatementFacts, 'variables' | 'observes' | 'readsOwnTables'>;

const EFFECTS = byWord<Effect>([
  ['reads', 'select values'],
  ['inserts', 'insert replace'],
  ['changes', 'update delete'],
  ['schema', 'create drop alter reindex analyze'],
  ['vacuum', 'vacuum'],
  ['pragma', 'pragma'],
]);

const REFUSED_VERBS = byWord<string>([
  [
    'the daemon puts each batch into a transaction. Send what belongs together as one batch: one db.batch, one skylinedb-cli exec, the "stmts" of one ExecBatch. A transaction that stays open is begun and ended with requests of its own: db.transaction, or BeginTx, Commit and Rollback.',
    'begin commit end rollback savepoint release',
  ],
  ['a batch works on one database file. Send each file its own request, with its "db".', 'attach detach'],
]);

const REFUSED_CALLS = byWord<string>([
  ['it would load code into a daemon that serves others. Compute it in the application.', 'load_extension'],
  ['it would count the writes of other clients. Use "rows_affected" of the reply.', 'total_changes'],
  // A bound BLOB is taken for a pointer to code, see https://sqlite.org/fts3.html#f3tknzr
  ['it would give the daemon an address to jump to. Use a built-in tokenizer.', 'fts3_tokenizer'],
  // FTS3's function, not documented any more: it writes from within a SELECT that SQLite calls read-only.
  ["it writes from within a query. Use INSERT INTO ft(ft) VALUES('optimize') on that table.", 'optimize'],
]);
/** A name behind one of these is a table's, even if a parenthesis follows: INSERT INTO optimize(a). */
const BEFORE_TABLE = words('into table exists references');

/**
 * `query` only reads, whatever its argument; `bare` reads and must have no argument; `setting` reads without an
 * argument and writes with one; `action` always writes. See https://sqlite.org/pragma.html
 */
type PragmaKind = 'query' | 'bare' | 'setting' | 'action';
const PRAGMAS = byWord<PragmaKind>([
  ['query', 'table_info table_xinfo table_list index_list index_info index_xinfo foreign_key_list'],
  ['query', 'foreign_key_check integrity_check quick_check'],
  ['bare', 'page_count page_size freelist_count encoding schema_version data_version database_list'],
  ['bare', 'collation_list function_list module_list pragma_list compile_options'],
  ['setting', 'user_version application_id defer_foreign_keys'],
  ['action', 'optimize incremental_vacuum'],
]);

/** After these words SQLite takes a '…' string for a name of something to be written or made. */
const BEFORE_NAME = words(
  'into update from table index view trigger exists on to references analyze reindex',
  'rollback abort replace fail ignore',
);
const OWN_TABLES = '_skylinedb';
/** SQLite's counters, and the word of an upsert, whose rowid is told from an older one by them. */
const OBSERVERS = words('changes last_insert_rowid conflict');

/**
 * Says what one SQL statement may do, and refuses what no client may do on a connection that others share.
 * @param sql one statement; semicolons and comments around it do not count
 * @throws SkylineError `STATEMENT_NOT_ALLOWED`: transaction control, other files, TEMP objects, functions that reach
 *   outside of the batch, PRAGMAs off the list, writing to the daemon's own tables, more than one statement
 * @throws ProtocolError `INVALID_REQUEST`: no statement in it, a NUL, a lone surrogate
 */
export function inspectStatement(sql: string): StatementFacts {
  if (sql.includes('\0'))
    throw invalidRequest('The sql has a NUL, where SQLite stops reading. Bind such a text.');
  if (!sql.isWellFormed()) throw invalidRequest('The sql has a lone surrogate, which UTF-8 cannot hold.');
  const tokens = tokenize(sql);
  const start = tokens.findIndex((token) => !isOperator(token, ';'));
  if (start < 0) throw invalidRequest('The sql has no statement in it, only space, comments or semicolons.');

  const explained = keywordOf(tokens[start]) === 'explain';
  const queryPlan = keywordOf(tokens[start + 1]) === 'query' && keywordOf(tokens[start + 2]) === 'plan';
  const begin = explained ? start + (queryPlan ? 3 : 1) : start;
  const end = endOfStatement(tokens, begin);
  const body = tokens.slice(begin, end);
  const verb = verbOf(body);

  const reason = REFUSED_VERBS.get(verb);
  if (reason !== undefined) throw refused(verb.toUpperCase(), reason);
  // The argument of a PRAGMA is no expression, and PRAGMA optimize(…) no call.
  if (verb !== 'pragma') refuseCalls(body);
  const facts = factsOf(verb, body);
  if (explained && facts.pragma !== undefined && facts.mayWrite) {
    throw refused(`EXPLAIN PRAGMA ${facts.pragma}`, 'SQLite may apply it even so. Leave EXPLAIN out.');
  }
  if (facts.mayWrite && !explained) refuseOwnTables(body);
  if (tokens.slice(end).some((token) => !isOperator(token, ';'))) {
    throw refused('More than one statement in one sql', 'send them as several entries of "stmts".');
  }
  // The arguments of a virtual table are the module's text: SQLite counts no parameters there.
  const hasVariables = !(verb === 'create' && keywordOf(body[1]) === 'virtual');
  const variables = hasVariables
    ? body.filter((token) => token.kind === 'variable').map((token) => token.text)
    : [];
  return {
    ...(explained ? READS : facts),
    observes: body.some((token) => OBSERVERS.has(foldedName(token))),
    readsOwnTables: body.some((token) => foldedName(token).startsWith(OWN_TABLES)),
    variables,
  };
}

/**
 * Index of the semicolon that ends the statement. The body of a trigger has semicolons of its own: there only
 * `; END ;` ends it, see https://sqlite.org/c3ref/complete.html
 */
function endOfStatement(tokens: readonly Token[], begin: number): number {
  // CREATE TEMP TRIGGER need not be found: it is refused, however it ends.
  const trigger = keywordOf(tokens[begin]) === 'create' && keywordOf(tokens[begin + 1]) === 'trigger';
  for (let at = begin; at < tokens.length; at += 1) {
    if (!isOperator(tokens[at], ';')) continue;
    if (!trigger || (keywordOf(tokens[at - 1]) === 'end' && isOperator(tokens[at - 2], ';'))) return at;
  }
  return tokens.length;
}

/** The word that decides. Behind WITH it is the first one after a `)` of the outermost level that is not AS. */
function verbOf(body: readonly Token[]): string {
  const first = keywordOf(body[0]);
  if (first !== 'with') return first;
  let depth = 0;
  for (const [at, token] of body.entries()) {
    if (isOperator(token, '(')) depth += 1;
    else if (isOperator(token, ')')) depth -= 1;
    else if (depth === 0 && isOperator(body[at - 1], ')') && token.kind === 'word') {
      const word = keywordOf(token);
      if (word !== 'as') return word;
    }
  }
  return '';
}

/** What reads and does nothing else. */
export const READS: Facts = {
  mayWrite: false,
  changesRows: false,
  inserts: false,
  changesSchema: false,
  isVacuum: false,
  pragma: undefined,
};

function factsOf(verb: string, body: readonly Token[]): Facts {
  const effect = EFFECTS.get(verb) ?? 'unknown';
  switch (effect) {
    case 'reads':
      return READS;
    case 'inserts':
      return { ...READS, mayWrite: true, changesRows: true, inserts: true };
    case 'changes':
      return { ...READS, mayWrite: true, changesRows: true };
    case 'schema':
      refuseTemporary(verb, body);
      return { ...READS, mayWrite: true, changesSchema: true };
    case 'vacuum':
      if (body.some((token) => keywordOf(token) === 'into')) {
        throw refused('VACUUM INTO', 'it writes another file. Use the Backup request.');
      }
      return { ...READS, mayWrite: true, changesSchema: true, isVacuum: true };
    case 'pragma':
      return pragmaFacts(body);
    case 'unknown':
      // SQLite will refuse it with its own message, which says where.
      return { ...READS, mayWrite: true };
    default:
      return never(effect);
  }
}

/** `PRAGMA x`, `PRAGMA x = y`, `PRAGMA x(y)`, each with or without `main.`. Both names may be quoted. */
function pragmaFacts(body: readonly Token[]): Facts {
  const prefixed = isOperator(body[2], '.');
  const pragma = foldedName(body[prefixed ? 3 : 1]);
  const hasArgument = body.length > (prefixed ? 4 : 2);
  const kind = PRAGMAS.get(pragma);
  if (kind === undefined) {
    throw refused(
      `PRAGMA ${pragma}`,
      'the connection is shared with other clients and its settings belong to the daemon. ' +
        `Allowed are ${[...PRAGMAS.keys()].join(', ')}.`,
    );
  }
  if (prefixed && foldedName(body[1]) !== 'main') {
    throw refused(`PRAGMA ${pragma} of another schema`, 'there is only "main". Leave the prefix out.');
  }
  switch (kind) {
    case 'query':
      return { ...READS, pragma };
    case 'bare':
      if (hasArgument) {
        throw refused(`PRAGMA ${pragma} with an argument`, 'it may only be read. Leave the argument out.');
      }
      return { ...READS, pragma };
    case 'setting':
      return { ...READS, pragma, mayWrite: hasArgument };
    case 'action':
      // `optimize` runs ANALYZE.
      return { ...READS, pragma, mayWrite: true, changesSchema: pragma === 'optimize' };
    default:
      return never(kind);
  }
}

function refuseCalls(body: readonly Token[]): void {
  for (const [at, token] of body.entries()) {
    if (token.kind !== 'word' && token.kind !== 'quoted' && token.kind !== 'string') continue;
    const name = foldedName(token);
    // A PRAGMA as a table: this one runs ANALYZE from within a query, all others only read.
    if (name === 'pragma_optimize')
      throw refused(name, 'it writes from within a query. Use PRAGMA optimize.');
    const reason = token.kind === 'string' ? undefined : REFUSED_CALLS.get(name);
    if (reason !== undefined && isOperator(body[at + 1], '(') && !BEFORE_TABLE.has(keywordOf(body[at - 1]))) {
      throw refused(`A call of ${name}()`, reason);
    }
  }
}

/** CREATE of something in the schema "temp", and ANALYZE of it, which makes tables there. */
function refuseTemporary(verb: string, body: readonly Token[]): void {
  let at = 1;
  if (verb === 'create') {
    while (['unique', 'virtual'].includes(keywordOf(body[at]))) at += 1;
    at += keywordOf(body[at + 1]) === 'if' ? 4 : 1;
  } else if (verb !== 'analyze') {
    return;
  }
  const inTemp = foldedName(body[at]) === 'temp' && (verb === 'analyze' || isOperator(body[at + 1], '.'));
  if (inTemp || (verb === 'create' && isTemporary(body[1]))) {
    throw refused(
      `${verb.toUpperCase()} of a TEMP object`,
      'it would live in the connection, which all clients share. Use an ordinary table and drop it, or a WITH clause.',
    );
  }
}

/** The tables that keep rev, epoch and outcomes. `_skylinedb` itself: an FTS table of that name owns `_skylinedb_data`. */
function refuseOwnTables(body: readonly Token[]): void {
  for (const [at, token] of body.entries()) {
    const before = body[at - 1];
    const isName =
      token.kind === 'word' ||
      token.kind === 'quoted' ||
      (token.kind === 'string' && (BEFORE_NAME.has(keywordOf(before)) || isOperator(before, '.')));
    if (!isName) continue;
    const name = foldedName(token);
    if (name === OWN_TABLES || name.startsWith(`${OWN_TABLES}_`)) {
      throw refused(
        `Writing with the name "${nameOf(token)}"`,
        "these names are the daemon's own. Reading them is allowed.",
      );
    }
  }
}

function isTemporary(token: Token | undefined): boolean {
  const word = keywordOf(token);
  return word === 'temp' || word === 'temporary';
}

function foldedName(token: Token | undefined): string {
  return token === undefined ? '' : foldCase(nameOf(token));
}

function refused(what: string, why: string): SkylineError {
  return new SkylineError('STATEMENT_NOT_ALLOWED', `${what} is not allowed: ${why}`);
}

function words(...lines: readonly string[]): ReadonlySet<string> {
  return new Set(lines.join(' ').split(' '));
}

function byWord<V>(rows: readonly (readonly [V, string])[]): ReadonlyMap<string, V> {
  return new Map(rows.flatMap(([value, line]) => line.split(' ').map((word) => [word, value] as const)));
}
